"""A folder of .npz files, each one image and its mask as arrays -> Dataset.

    root/train/a.npz, root/val/b.npz    or all in one folder, or in any folders below it
      image (or img, x)                 uint8: h w, h w 1, h w 3, 1 h w or 3 h w; uint16: h w, scaled to 8 bits
      mask (or label, seg, target, y)   whole numbers or bool: h w, h w 1 or 1 h w

Only where no picture lies below the root. Masks are understood as those in files are: with a table of classes, or as
class numbers, or as 0 and 255. Nothing is unpickled.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8

from segtrial.data import _npz
from segtrial.data._parallel import all_of
from segtrial.data._walk import part_of, walk
from segtrial.data.encoding import Survey, understand
from segtrial.data.masks import Encoding, decode_values
from segtrial.data.merging import reduce_classes
from segtrial.data.pictures import eight_bits
from segtrial.data.reading import stamp
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.data.tables import find_table, with_swaps
from segtrial.errors import DataError, ImageError, MaskError, listing
from segtrial.files import sha256

IMAGES, MASKS = ("image", "img", "x"), ("mask", "label", "seg", "target", "y")

Looked = tuple[int, dict[int, int]]
"""Channels of the image, and counts of the mask's values."""


@dataclass(frozen=True)
class PairReader:
    """Decodes one item, whose file is known by its key. `channels` is 1 or 3 for the whole data set."""

    files: Mapping[str, Path]
    encoding: Encoding
    channels: int

    def __call__(self, item: Item) -> Sample:
        """The checked sample. Raises DataError, ImageError or MaskError, naming the file and the array."""
        path = self.files[item.key]
        image, mask = read_pair(path)
        if len(image) < self.channels:
            image = np.repeat(image, self.channels, axis=0)
        return Sample(image, decode_values(path, mask, self.encoding), item.key, item.group)


@dataclass(frozen=True)
class PairStamps:
    """Changes when an item's file does, or the rule by which it is read."""

    rule: str
    files: Mapping[str, Path]

    def __call__(self, item: Item) -> str:
        """Size in bytes and time of change in ns. Raises DataNotFound if the file is gone."""
        return f"{self.rule} {stamp(self.files[item.key])}"


def recognises(root: Path) -> bool:
    """Whether there are .npz files below `root`, the first that can be opened with an image and a mask, and no picture.

    Raises DataError if none can be opened.
    """
    if walk(root).pictures:
        return False
    damage: DataError | None = None
    for path in _paths(root):
        try:
            return _is_pair(path)
        except DataError as error:
            damage = damage or error
    if damage is not None:
        raise damage
    return False


def open_npz_pairs(root: Path, options: SplitOptions) -> Dataset:
    """Understand the folder. Reads every file once. Raises DataError, ImageError or MaskError, naming the file."""
    paths = _paths(root)
    seen, channels = Survey(root), 1
    for path, (count, values) in zip(paths, all_of(root, _look, paths), strict=True):
        channels = max(channels, count)
        seen.values.update(values)
        for value in values:
            seen.where.setdefault(value, path)
    understood = reduce_classes(understand(seen, find_table(root)))
    classes, swapped = with_swaps(understood.classes)
    files = {path.relative_to(root).with_suffix("").as_posix(): path for path in paths}
    items, grouped = with_groups([Item(key, key, path, path) for key, path in files.items()], str(root))
    parts: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        parts[next(filter(None, map(part_of, item.key.split("/")[:-1])), "")].append(item)
    made_parts, made = split(parts, options, str(root))
    reader = PairReader(files, understood.encoding, channels)
    rule = sha256(f"npz {channels} {understood.encoding.describe()}".encode())[:16]
    notes = (f"{len(paths)} .npz files of an image and a mask", *understood.notes, *swapped, *grouped, *made)
    return Dataset(root, "npz pairs", classes, made_parts, reader, PairStamps(rule, files), notes)


def read_pair(path: Path) -> tuple[UInt8[np.ndarray, "c h w"], Int[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"]]:
    """The image, with 1 or 3 channels, and the mask's values. Raises ImageError, MaskError or DataError."""
    image, mask = _image(path, _npz.read_array(path, _name(path, IMAGES))), _npz.read_array(path, _name(path, MASKS))
    shape = mask.shape
    if mask.ndim == 3 and 1 in (shape[0], shape[2]):
        mask = mask[0] if shape[0] == 1 else mask[:, :, 0]
    if mask.ndim != 2 or mask.dtype.kind not in "biu":
        found = f"the mask is {shape} of {mask.dtype}"
        raise MaskError(path, found, "Save one plane h w of class numbers (for one plane a class: its argmax)")
    if mask.shape != image.shape[1:]:
        raise MaskError(
            path, f"the mask is {mask.shape} but the image is {image.shape[1:]} (height, width)", "Cut both"
        )
    return image, mask if mask.dtype == np.uint8 else mask.astype(np.int64)


def _image(path: Path, image: np.ndarray) -> np.ndarray:
    shape = image.shape
    if image.ndim == 2:
        planes = (eight_bits(image) if image.dtype == np.uint16 else image)[None]
    elif image.ndim == 3 and shape[2] in (1, 3):
        planes = image.transpose(2, 0, 1)  # c h w
    else:
        planes = image
    if planes.dtype != np.uint8 or planes.ndim != 3 or len(planes) not in (1, 3):
        found = f"the image is {shape} of {image.dtype}"
        raise ImageError(path, found, "Save it as uint8, h w or h w 3, scaled to the range that you mean")
    return np.ascontiguousarray(planes)


def _look(path: Path) -> Looked:
    image, mask = read_pair(path)
    values, counts = np.unique(mask, return_counts=True)
    return len(image), dict(zip(values.tolist(), counts.tolist(), strict=True))


def _name(path: Path, wanted: tuple[str, ...]) -> str:
    """The one array of these names. Raises DataError for none or several."""
    names = _npz.array_names(path)
    found = [name for name in names if name.lower() in wanted]
    if len(found) != 1:
        what = f"it holds {listing(found)}" if found else f"no array {wanted[0]} among {listing(names) or 'none'}"
        raise DataError(path, what, f"Save numpy.savez(FILE, {IMAGES[0]}=..., {MASKS[0]}=...)")
    return found[0]


def _is_pair(path: Path) -> bool:
    """Whether the file has an image and a mask. Raises DataError if it cannot be opened."""
    names = _npz.array_names(path)
    masks = [name for name in names if name.lower() in MASKS]
    planes = [name for name in masks if len(_npz.read_header(path, name).shape) > 1]  # else: labels of whole pictures
    return bool(planes) and any(name.lower() in IMAGES for name in names)


def _paths(root: Path) -> list[Path]:
    return [path for path in walk(root).arrays if path.suffix.lower() == ".npz" and path.is_file()]
