"""One item -> a Record: what its image and its mask are, in a few numbers.

Picture files are seen once, by `data.glance`; here what was seen gets its meaning, from the classes of the data set.
"""

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segtrial.data.class_arrays import Reader as ArrayReader
from segtrial.data.glance import Glance, MaskGlance, has_halved_chroma, tally
from segtrial.data.masks import Encoding, as_colors, as_values, is_colored, mask_header, pack, read_mask_picture
from segtrial.data.memory import Kind
from segtrial.data.pictures import EXTENSIONS, Header, opened_file
from segtrial.data.sample import Dataset, Item
from segtrial.errors import DataError, MaskError
from segtrial.files import sha256
from segtrial.shapes import IGNORE

MOST_KEPT = 64
"""Values or colours of a mask that its record keeps, the commonest."""

AT_ONCE = 8192
"""Colours whose distances are computed together: bounds memory where a photo stands in for a mask."""

Fault = tuple[str, str, str, str]
"""Where, what was found, the fix, and the name of the error's class."""


@dataclass(frozen=True)
class Look:
    """What one file is. `size` is (h, w), upright. `values` are (value or packed colour, pixels), commonest first.

    `off`, `far` and `worst` are for masks that were read by an encoding: pixels of values or colours that stand for
    no class, those of them too far from every class, and the largest distance.
    """

    path: str = ""
    format: str = ""
    mode: str = ""
    size: tuple[int, int] = (0, 0)
    turned: bool = False
    lossy_chroma: bool = False
    alpha: bool = False
    constant: bool = False
    colored: bool = False
    distinct: int = 0
    values: tuple[tuple[int, int], ...] = ()
    off: int = 0
    far: int = 0
    worst: float = 0.0
    nearest: tuple[tuple[int, int, float, int], ...] = ()
    """The commonest numbers that stand for no class: number, pixels, distance, nearest class."""

    @property
    def pixels(self) -> int:
        """Of the whole file."""
        return self.size[0] * self.size[1]

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return Header(self.format, self.mode, self.size, self.turned).channels

    @property
    def bits(self) -> int:
        """Bits of one channel."""
        return 16 if ";16" in self.mode else {"1": 1, "I": 32, "F": 32}.get(self.mode, 8)


@dataclass(frozen=True)
class Record:
    """One item. `counts` has the pixels of each class, and of IGNORE at the end; empty if they could not be told."""

    key: str
    group: str
    part: str
    image: Look | None = None
    mask: Look | None = None
    counts: tuple[int, ...] = ()
    faults: tuple[Fault, ...] = ()


class Told(NamedTuple):
    """What an item's mask is, the pixels of each class and of IGNORE, and its image where that is no picture file."""

    mask: Look | None
    counts: tuple[int, ...]
    image: Look | None = None


@dataclass(frozen=True)
class Looker:
    """Makes the record of an item of `part`. `dataset` reads what is no pair of picture files."""

    dataset: Dataset | None
    encoding: Encoding | None
    classes: int
    whole: bool = False  # a picture has one class, and no mask

    def reads_mask(self, item: Item) -> bool:
        """Whether an item's mask is a picture, which `encoding` explains, or nothing does."""
        return (self.encoding is not None or self.dataset is None) and is_picture(item.target)

    def told_by(self, item: Item, seen: MaskGlance | DataError) -> Told | DataError | None:
        """What a mask means by what was seen of it; None if that is not enough: look at the item."""
        assert item.target is not None
        if isinstance(seen, DataError):
            return seen
        if seen.fault is not None:
            return MaskError(item.target, *seen.fault)
        packed = seen.colored if self.encoding is None else self.encoding.colors is not None
        found = _numbers(seen, packed=packed)
        return self._told(item.target, seen.header, packed, *found) if found is not None else None

    def __call__(self, item: Item) -> Told:
        """Look at an item whose files have not said enough. Raises DataError."""
        if self.reads_mask(item):
            assert item.target is not None
            header, picture = mask_header(item.target), read_mask_picture(item.target)
            packed = is_colored(picture) if self.encoding is None else self.encoding.colors is not None
            numbers, counts = tally(as_colors(picture) if packed else as_values(item.target, picture))
            return self._told(item.target, header, packed, numbers.tolist(), counts.tolist())
        assert self.dataset is not None
        sample = self.dataset.read(item)
        counts = _class_counts(sample.target, self.classes, self.whole)
        mask = None if self.whole else Look("", "", "L", sample.target.shape, distinct=sum(map(bool, counts)))
        image = None if is_picture(item.image) else look_at_pixels(item.key, sample.image, _bytes(self.dataset, item))
        return Told(mask, counts, image)

    @cached_property
    def kind(self) -> Kind[Item, Told]:
        """What a memory calls the question that a call answers: by the rule by which masks are read."""
        names = self.dataset.classes.names if self.dataset else ()
        rule = [self.encoding and self.encoding.describe(), self.classes, self.whole, names]
        mark = self.dataset.fingerprint if self.dataset else None  # of every file that is read for an item
        return Kind(f"item {sha256(json.dumps(rule).encode())[:20]}", self, _told_from_json, _told_to_json, mark=mark)

    @cached_property
    def _meanings(self) -> dict[int, int]:
        """Value or packed colour -> class or IGNORE."""
        assert self.encoding is not None
        if self.encoding.colors is not None:
            return {pack(color): index for color, index in self.encoding.colors.items()}
        return dict(self.encoding.values or {})

    def _told(self, path: Path, header: Header, packed: bool, numbers: list[int], counts: list[int]) -> Told:
        commonest = sorted(zip(numbers, counts, strict=True), key=lambda pair: -pair[1])[:MOST_KEPT]
        about: dict[str, Any] = {
            "alpha": "A" in header.mode,
            "constant": len(numbers) == 1,
            "colored": packed,
            "distinct": len(numbers),
            "values": tuple(commonest),
        }
        meant: tuple[int, ...] = ()
        if self.encoding is not None:
            tolerance = self.encoding.tolerance if packed else 0.0
            meant, strange = _meaning(numbers, counts, self._meanings, self.classes, tolerance, packed=packed)
            about |= strange
        return Told(Look(str(path), header.format, header.mode, header.size, header.turned, **about), meant)


def is_picture(path: Path | None) -> bool:
    """Whether a file is a picture by its name: not arrays, and not outlines."""
    return path is not None and path.suffix.lower() in EXTENSIONS


def look_of(path: Path, seen: Glance) -> Look:
    """What an image file without a fault is."""
    about: dict[str, Any] = {"lossy_chroma": seen.halved, "alpha": seen.alpha, "constant": seen.constant}
    return Look(str(path), seen.format, seen.mode, seen.size, seen.turned, **about)


def look_at_pixels(key: str, image: np.ndarray, encoded: bytes | None) -> Look:
    """An image that came out of an array file (perhaps as the bytes of a picture), or was generated."""
    kind, mode, halved = "", "L" if len(image) == 1 else "RGB", False
    if encoded is not None:
        with opened_file(key, io.BytesIO(encoded)) as picture:
            kind, mode, halved = picture.format or "", picture.mode, has_halved_chroma(picture)
    about: dict[str, Any] = {"lossy_chroma": halved, "constant": bool((image == image[:, :1, :1]).all())}
    return Look(key, kind, mode, (image.shape[1], image.shape[2]), **about)


def _bytes(dataset: Dataset, item: Item) -> bytes | None:
    return dataset.read.encoded(item) if isinstance(dataset.read, ArrayReader) else None


def _numbers(seen: MaskGlance, *, packed: bool) -> tuple[list[int], list[int]] | None:
    """All values, or (`packed`) colours, of a mask in order, and the pixels of each; None if they were not kept."""
    if seen.distinct > len(seen.numbers):
        return None
    if packed == seen.colored:
        return list(seen.numbers), list(seen.counts)
    shown = seen.colors()
    if not packed or shown is None:
        return None
    pixels: Counter[int] = Counter()
    for color, count in zip(shown, seen.counts, strict=True):
        pixels[color] += count
    colors = sorted(pixels)
    return colors, [pixels[color] for color in colors]


def _meaning(
    numbers: list[int], counts: list[int], known: dict[int, int], classes: int, tolerance: float, *, packed: bool
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Pixels of each class and of IGNORE, and what is strange."""
    if all(number in known for number in numbers):
        total = [0] * (classes + 1)
        for number, count in zip(numbers, counts, strict=True):
            total[classes if known[number] == IGNORE else known[number]] += count
        return tuple(total), {}
    table, pixels = np.array(sorted(known), dtype=np.int64), np.array(counts)
    nearest, distance = nearest_meaning(np.array(numbers), table, packed=packed)
    indices = np.array([known[number] for number in table[nearest].tolist()], dtype=np.int64)
    off, far = distance > 0, distance > tolerance
    meant = np.bincount(np.where(indices == IGNORE, classes, indices)[~far], pixels[~far], classes + 1)
    rows = sorted(np.flatnonzero(off).tolist(), key=lambda row: -counts[row])[:5]
    shown = tuple((numbers[r], counts[r], round(float(distance[r]), 1), int(indices[r])) for r in rows)
    worst = float(distance[off].max())
    strange = {"off": int(pixels[off].sum()), "far": int(pixels[far].sum()), "worst": worst, "nearest": shown}
    return tuple(int(count) for count in meant), strange


def nearest_meaning(numbers: np.ndarray, table: np.ndarray, *, packed: bool) -> tuple[np.ndarray, np.ndarray]:
    """The place in the table nearest to each number, and how far it is: Euclidean in RGB for packed colours."""
    nearest, distance = [], []
    for start in range(0, max(1, len(numbers)), AT_ONCE):
        some, known = numbers[start : start + AT_ONCE], table
        some, known = (_channels(some), _channels(known)) if packed else (some[:, None], known[:, None])
        apart = np.sqrt(((some[:, None].astype(np.float64) - known[None]) ** 2).sum(axis=2))  # numbers, table
        nearest.append(apart.argmin(axis=1))
        distance.append(apart.min(axis=1))
    return np.concatenate(nearest), np.concatenate(distance)


def _channels(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1)


def _class_counts(target: np.ndarray, classes: int, whole: bool) -> tuple[int, ...]:
    """Pixels of each class and of IGNORE; one for the class of a whole picture."""
    if whole:
        return tuple(int(index == target.flat[0]) for index in range(classes + 1))
    counts = np.bincount(target.ravel(), minlength=256)
    return (*(int(count) for count in counts[:classes]), int(counts[IGNORE]))


def _told_to_json(told: Told) -> list:
    return [told.mask and vars(told.mask), told.counts, told.image and vars(told.image)]


def _told_from_json(tree: list) -> Told:
    mask, counts, image = tree
    return Told(_look_from_json(mask), tuple(counts), _look_from_json(image))


def _look_from_json(tree: Mapping[str, Any] | None) -> Look | None:
    if tree is None:
        return None
    lists = {name: tuple(tuple(one) for one in tree[name]) for name in ("values", "nearest")}
    return Look(**{**tree, **lists, "size": tuple(tree["size"])})
