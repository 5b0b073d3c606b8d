"""One mask file for each class or object of a picture -> one plane of class indices, the smaller one on top.

    root/images/a.jpg
    root/masks/CLASS/a.png, masks/CLASS/a_2.png     recognised where a picture has masks in several folders
    root/masks/a_CLASS.png, masks/a_CLASS_2.png     with `mask_files: class` in data.yaml

A number at the end of a mask's name counts the objects of its class. Each file is 0 outside and one other value
inside. Classes are the names in alphabetical order after the background, which is what lies under no file; names such
as void or ignore count nowhere. A picture without any file is not labelled: it is left out, not background.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from segtrial.data._annotation import Names, name_classes
from segtrial.data._walk import File, hidden_stems, walk
from segtrial.data.masks import as_values, check_size, read_mask_picture
from segtrial.data.pictures import Header, read_header, read_image
from segtrial.data.polygons import BACKGROUND
from segtrial.data.reading import channels_of, stamp
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.errors import MaskError, PairingError, listing, several
from segtrial.files import sha256

Layer = tuple[str, Path]
"""The class that a mask file is for, and the file."""

DECLARE = 'Name masks IMAGE_CLASS.png or CLASS/IMAGE.png, or remove "mask_files: class" from data.yaml'


@dataclass(frozen=True)
class Layered:
    """Pictures with their mask files by key, the part of each by key, and notes on what was left out."""

    images: Mapping[str, File]
    layers: Mapping[str, tuple[Layer, ...]]
    notes: tuple[str, ...]

    @property
    def items(self) -> list[Item]:
        """One item a picture, each a group of its own; its target is the first of its files."""
        return [Item(key, key, self.images[key].path, layers[0][1]) for key, layers in self.layers.items()]

    def by_part(self, items: Iterable[Item]) -> dict[str, list[Item]]:
        """Items under the part that their picture's folder names ("" for none)."""
        parts: dict[str, list[Item]] = defaultdict(list)
        for item in items:
            parts[self.images[item.key].part].append(item)
        return parts


@dataclass(frozen=True)
class LayerReader:
    """Decodes one item: the picture, and its files as one plane."""

    layers: Mapping[str, tuple[Layer, ...]]
    index: Mapping[str, int]
    channels: int

    def __call__(self, item: Item) -> Sample:
        """The checked sample. Raises ImageError or MaskError, naming the file."""
        assert item.image is not None
        header = read_header(item.image)
        planes = [(self.index[label], read_layer(path, header)) for label, path in self.layers[item.key]]
        target = np.full(header.size, BACKGROUND, np.uint8)
        for index, inside in sorted(planes, key=lambda one: -int(one[1].sum())):
            target[inside > 0] = index
        return Sample(read_image(item.image, self.channels), target, item.key, item.group)


@dataclass(frozen=True)
class LayerStamps:
    """Changes when any file of an item does, or the rule by which they are read."""

    rule: str
    layers: Mapping[str, tuple[Layer, ...]]

    def __call__(self, item: Item) -> str:
        """Sizes in bytes and times of change in ns. Raises DataNotFound if a file is gone."""
        assert item.image is not None
        paths = [item.image, *(path for _, path in self.layers[item.key])]
        return " ".join([self.rule, *(f"{path.name}:{stamp(path)}" for path in paths)])


def read_layer(path: Path, image: Header) -> UInt8[np.ndarray, "h w"]:
    """1 inside, 0 outside. Raises MaskError if the file has other values or another size than its picture."""
    picture = read_mask_picture(path)
    check_size(path, (picture.height, picture.width), image)
    values = as_values(path, picture)
    found = np.unique(values)
    if len(found[found != 0]) > 1:
        what = f"the mask of one class holds the values {listing(found.tolist(), most=8)}"
        raise MaskError(path, what, "Save it as PNG with 0 outside and one other value inside")
    return (values != 0).astype(np.uint8)


def recognises(root: Path) -> bool:
    """Whether masks lie in a folder for each class, and a picture has masks in two of them at least."""
    pictures = walk(root).pictures
    masks = [file for file in pictures if file.role == "mask"]
    images = [file for file in pictures if file.role != "mask"]
    if not masks or not images or not all(mask.rest for mask in masks):
        return False
    places = {(file.part, *file.rest, file.stem) for file in images}
    placed = [(place, mask.rest[-1]) for mask in masks if (place := _in_folder(mask, places)) is not None]
    classes = Counter(place for place, _ in set(placed))
    return 2 * len(placed) > len(masks) and max(classes.values()) > 1  # those without a picture are named later


def open_layers(root: Path, options: SplitOptions) -> Dataset:
    """Understand a folder that `recognises` knows. Raises PairingError, ImageError or DataError."""
    pictures = walk(root).pictures
    masks = [file for file in pictures if file.role == "mask"]
    found = layered(root, [file for file in pictures if file.role != "mask"], masks)
    items, grouped = with_groups(found.items, str(root))
    parts, made = split(found.by_part(items), options, str(root))
    return dataset_of(root, found, parts, (*grouped, *made))


def layered(root: Path, images: Sequence[File], masks: Sequence[File]) -> Layered:
    """Masks to the pictures that their names name. Raises PairingError for masks without a picture."""
    by_place: dict[tuple[str, ...], File] = {(file.part, *file.rest, file.stem): file for file in images}
    if len(by_place) < len(images):
        twice = Counter((file.part, *file.rest, file.stem) for file in images)
        same = [str(file.path.relative_to(root)) for file in images if twice[file.part, *file.rest, file.stem] > 1]
        raise PairingError(root, f"images that share one name: {listing(same)}", "Keep one")
    layers: dict[str, list[Layer]] = defaultdict(list)
    lost = []
    for mask in masks:
        known = by_place.keys()
        place, label = _in_folder(mask, known), mask.rest[-1] if mask.rest else ""
        if place is None:
            place, label = _in_name(mask, known)
        if place is None and not _of_hidden(mask):
            lost.append(mask.path.relative_to(root))
        elif place is not None:
            layers[by_place[place].key].append((label, mask.path))
    if lost:
        many = several(len(lost), "mask names no picture and class", "masks name no picture and class")
        error = PairingError(root, f"{many}: {listing(lost)}", DECLARE)
        error.files = tuple(map(str, lost))
        raise error
    keys = {file.key: file for file in images}
    bare = [file.path.name for file in images if file.key not in layers]
    notes = [f"{len(masks)} mask files, one for each class or object, of {len(layers)} pictures; the smaller on top"]
    have = several(len(bare), "picture has", "pictures have")
    notes += [f"{have} no mask file: left out ({listing(bare, most=4)})"] if bare else []
    return Layered(keys, {key: tuple(sorted(layers[key])) for key in sorted(layers)}, tuple(notes))


def dataset_of(root: Path, found: Layered, parts: Mapping[str, tuple[Item, ...]], notes: Sequence[str]) -> Dataset:
    """The data set of these parts, with its classes, channels and reader."""
    names: Names = name_classes(root, sorted({label for layers in found.layers.values() for label, _ in layers}))
    channels, mixed = channels_of(root, found.items)
    said = (*found.notes, *names.notes, *mixed, *notes)
    rule = sha256(f"{channels} layers {names.classes.names} {sorted(names.index.items())}".encode())[:16]
    reader = LayerReader(found.layers, names.index, channels)
    return Dataset(root, "layers", names.classes, parts, reader, LayerStamps(rule, found.layers), said)


Places = Iterable[tuple[str, ...]]


def _in_folder(mask: File, places: Places) -> tuple[str, ...] | None:
    """The place of the picture of masks/CLASS/STEM or masks/CLASS/STEM_NUMBER."""
    if not mask.rest:
        return None
    stems = (mask.stem, re.sub(r"[_\-. ]\d+$", "", mask.stem))
    return next((place for stem in stems if (place := (mask.part, *mask.rest[:-1], stem)) in places), None)


def _of_hidden(mask: File) -> bool:
    """Whether the picture of a mask may be one that is passed over now."""
    return any(re.match(rf"{re.escape(stem)}($|[_\-. ])", mask.stem) for stem in hidden_stems())


def _in_name(mask: File, places: Places) -> tuple[tuple[str, ...] | None, str]:
    """The place of the picture of masks/STEM_CLASS or masks/STEM_CLASS_NUMBER (the longest stem), and the class."""
    for cut in reversed([match.start() for match in re.finditer(r"[_\-. ]", mask.stem)]):
        label = re.sub(r"[_\-. ]\d+$", "", mask.stem[cut + 1 :])
        if label and not label.isdigit() and (place := (mask.part, *mask.rest, mask.stem[:cut])) in places:
            return place, label
    return None, ""
