"""Any folder of photos -> Dataset for colorization: RGB pictures with colour in them, and planes of 0 as targets.

Parts are the folders called train, val, test; groups are found as in split.py. What is no photo with colours is
left out, and the notes say so: masks (by the name of their folder, or x_mask.png beside x.jpg), pictures that one
sees through, and grey photos. A photo is looked at shrunk to at most SIDE pixels a side, which averages noise away:
`colors.is_grey` of that decides. What was seen is kept in the cache folder until the file changes.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from segtrial.classes import Classes
from segtrial.data._parallel import all_of
from segtrial.data._walk import INSTANCES, File, require_own_names, walk
from segtrial.data.cache import default_cache
from segtrial.data.pairing import SUFFIX_WORDS
from segtrial.data.pictures import GREY_MODES, has_alpha, lowest_alpha, opened, plain_mode, read_image
from segtrial.data.reading import Fingerprint, stamp
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.errors import DataError, DataNotFound, RunError, listing, several
from segtrial.files import sha256, write_atomic

CLASSES = Classes.named(["photo"])

SIDE = 128
"""Pixels: the longer side of what is looked at."""

COLOURED, ALPHA, GREY, TRANSPARENT = "coloured", "coloured, opaque alpha", "grey", "transparent"

RULE = 1
"""Raised whenever photos are looked at in another way, so that what was kept is found again."""


@dataclass(frozen=True)
class Blank:
    """A reader whose samples keep their image and have a plane of 0 for target."""

    read: Callable[[Item], Sample]

    def __call__(self, item: Item) -> Sample:
        """The sample without its mask."""
        sample = self.read(item)
        return replace(sample, target=np.zeros_like(sample.target))


def read_photo(item: Item) -> Sample:
    """The photo as RGB. Raises ImageError, naming the file."""
    assert item.image is not None
    image = read_image(item.image, 3)
    return Sample(image, np.zeros(image.shape[1:], np.uint8), item.key, item.group)


def open_photos(root: Path, options: SplitOptions) -> Dataset:
    """Understand a folder. Decodes every photo once, in small, to find the grey ones.

    Raises DataNotFound, DataError if no photo has colour, PairingError, ImageError or SplitError.
    """
    files, masks = _files(root)
    items, left_out = coloured(root, [Item(file.key, file.key, file.path) for file in files])
    items, grouped = with_groups(items, str(root))
    part_of = {file.key: file.part for file in files}
    given = defaultdict(list)
    for item in items:
        given[part_of[item.key]].append(item)
    parts, made = split(given, options, str(root))
    notes = (f"{len(files)} photos", *masks, *left_out, *grouped, *made)
    return Dataset(root, "photos", CLASSES, parts, read_photo, Fingerprint("photo"), notes)


def photos_of(dataset: Dataset) -> Dataset:
    """The photos of a data set with masks, in its parts and groups. Raises DataError if none has colour."""
    notes = (f"the images of a data set with masks ({dataset.layout}), which are not looked at", *dataset.notes)
    if dataset.root is None:  # generated, in colour
        return replace(dataset, layout="photos", classes=CLASSES, read=Blank(dataset.read), notes=notes)
    everything = [item for items in dataset.parts.values() for item in items]
    kept, left_out = coloured(dataset.root, everything)
    keys = {item.key for item in kept}
    parts = {name: tuple(item for item in items if item.key in keys) for name, items in dataset.parts.items()}
    return Dataset(dataset.root, "photos", CLASSES, parts, read_photo, Fingerprint("photo"), (*notes, *left_out))


def coloured(root: Path, items: Sequence[Item]) -> tuple[list[Item], tuple[str, ...]]:
    """The items with colour, and notes on the others. Raises DataError if there are none, ImageError for damage."""
    looks = _looks(root, items)
    names: dict[str, list[str]] = defaultdict(list)
    for item in items:
        names[looks[item.key]].append(item.key)
    counts = {look: f"{len(keys)} of {len(items)}: {listing(keys, most=8)}" for look, keys in names.items()}
    if not names[COLOURED] and not names[ALPHA]:
        found = f"no photo has colour (grey are {len(names[GREY])}, transparent {len(names[TRANSPARENT])})"
        raise DataError(root, found, "Give colour photos: colours are learned from them")
    said = {GREY: "grey photos are left out", TRANSPARENT: "photos with transparent pixels are left out"}
    said[ALPHA] = "photos have alpha, opaque everywhere, which is dropped"
    notes = tuple(f"{words} ({counts[look]})" for look, words in said.items() if names[look])
    return [item for item in items if looks[item.key] in (COLOURED, ALPHA)], notes


def look(path: Path) -> str:
    """COLOURED, ALPHA, GREY or TRANSPARENT. Raises ImageError if the picture cannot be read as a photo."""
    with opened(path) as picture:
        if picture.mode in GREY_MODES:
            return GREY
        alpha = has_alpha(picture)
        if alpha and lowest_alpha(picture) < 255:
            return TRANSPARENT
        picture.draft("RGB", (SIDE, SIDE))  # JPEG decodes at 1/8 to 1/2 of its size; other formats ignore it
        small = plain_mode(path, picture).convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return GREY if _is_grey(small) else ALPHA if alpha else COLOURED


def _is_grey(picture: Image.Image) -> bool:
    import torch

    from segtrial.colors import is_grey

    pixels = np.array(picture).transpose(2, 0, 1)  # c h w
    return is_grey(torch.from_numpy(pixels)[None])[0]


def _looks(root: Path, items: Sequence[Item]) -> dict[str, str]:
    """What each item's photo is, by key: from the cache folder, else looked at now."""
    paths = {item.key: item.image for item in items if item.image is not None}
    wanted = {key: f"{path} {stamp(path)}" for key, path in paths.items()}
    place = default_cache() / f"photos-{sha256(str(root.resolve()).encode())[:20]}.json"
    known = _known(place)
    unknown = [key for key, file in wanted.items() if file not in known]
    found = dict(zip(unknown, all_of(root, lambda key: look(paths[key]), unknown), strict=True))
    looks = {key: found.get(key) or known[file] for key, file in wanted.items()}
    if found:
        kept = {"rule": RULE, "looks": {file: looks[key] for key, file in wanted.items()}}
        with suppress(RunError):  # a folder that cannot be written: they are looked at again next time
            write_atomic(place, json.dumps(kept).encode())
    return looks


def _known(place: Path) -> Mapping[str, str]:
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        kept = json.loads(place.read_bytes())
        if kept["rule"] == RULE:
            return {file: said for file, said in kept["looks"].items() if said in (COLOURED, ALPHA, GREY, TRANSPARENT)}
    return {}


def _files(root: Path) -> tuple[list[File], tuple[str, ...]]:
    """The pictures that are no masks by their place or name, and notes on the others."""
    found = walk(root)
    names = {(file.folder, file.stem) for file in found.pictures}
    photos, masks = [], []
    for file in found.pictures:
        (masks if _is_mask(file, names) else photos).append(file)
    if not photos:
        others = [f"{several(len(masks), 'mask')} by place or name"] * bool(masks)
        others += [f"{n} {kind}" for kind, n in found.others.items()]
        what = f" ({listing(others)})" if others else ""
        raise DataNotFound(root, f"no photo below it{what}", "Give a folder of photos")
    require_own_names(root, photos)
    notes = [f"{several(found.junk, 'hidden or junk file')} (Thumbs.db and the like) ignored"] if found.junk else []
    if masks:
        first = listing((file.key for file in masks), most=4)
        are = several(len(masks), "picture is a mask by its", "pictures are masks by their")
        notes.append(f"{are} folder or name: left out ({first})")
    return photos, tuple(notes)


def _is_mask(file: File, names: set[tuple[str, str]]) -> bool:
    """By a folder called masks, labels, gt, ..., or by a name such as x_mask (x_L only if there is an x)."""
    if file.role == "mask" or INSTANCES in file.folder.split("/"):
        return True
    ending = re.fullmatch(r"(.+)[_\-. ]([^_\-. ]+)", file.stem)
    if ending is None or ending[2].lower() not in SUFFIX_WORDS:
        return False
    return (file.folder, ending[1]) in names or len(ending[2]) > 1
