"""One item -> a Record: what its image and its mask are, in a few numbers; plain values, for a cache."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, JpegImagePlugin

from segtrial.data.class_arrays import Reader as ArrayReader
from segtrial.data.masks import Encoding, as_colors, as_values, mask_header, pack, read_mask_picture
from segtrial.data.pictures import (
    DEEP_GREY_MODES,
    Header,
    has_alpha,
    header_of,
    opened,
    opened_file,
    plain_mode,
    upright,
)
from segtrial.data.sample import Dataset, Item
from segtrial.errors import DataError
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
        return 16 if self.mode in DEEP_GREY_MODES else {"1": 1, "I": 32, "F": 32}.get(self.mode, 8)


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

    def to_json(self) -> dict[str, Any]:
        """Plain values; the inverse of `record_from_json`."""
        looks = {"image": self.image and vars(self.image), "mask": self.mask and vars(self.mask)}
        return {**vars(self), **looks}


def record_from_json(tree: Mapping[str, Any]) -> Record:
    """The inverse of `Record.to_json`. Raises KeyError, TypeError or ValueError for other things."""
    looks = {name: None if tree[name] is None else _look_from_json(tree[name]) for name in ("image", "mask")}
    faults = tuple((str(a), str(b), str(c), str(d)) for a, b, c, d in tree["faults"])
    return Record(tree["key"], tree["group"], tree["part"], counts=tuple(tree["counts"]), faults=faults, **looks)


def _look_from_json(tree: Mapping[str, Any]) -> Look:
    lists = {name: tuple(tuple(one) for one in tree[name]) for name in ("values", "nearest")}
    return Look(**{**tree, **lists, "size": tuple(tree["size"])})


@dataclass(frozen=True)
class Looker:
    """Makes the record of an item of `part`. `dataset` reads what is no pair of picture files."""

    dataset: Dataset | None
    encoding: Encoding | None
    classes: int
    whole: bool = False  # a picture has one class, and no mask

    def __call__(self, place: tuple[str, Item]) -> Record:
        """Never raises DataError: it becomes the record's fault."""
        part, item = place
        faults: list[Fault] = []
        image = self._try(faults, look_at_image, item.image) if item.image is not None else None
        mask, counts = None, ()
        pair = self.encoding is not None or self.dataset is None
        if item.target is not None and item.target.suffix.lower() != ".json" and pair:
            found = self._try(faults, look_at_mask, item.target, self.encoding, self.classes)
            mask, counts = found if found is not None else (None, ())
        elif self.dataset is not None and not faults:
            sample = self._try(faults, self.dataset.read, item)
            if sample is not None:
                counts = _class_counts(sample.target, self.classes, self.whole)
                image = image or look_at_pixels(item.key, sample.image, _bytes(self.dataset, item))
                mask = None if self.whole else Look("", "", "L", sample.target.shape, distinct=sum(map(bool, counts)))
        return Record(item.key, item.group, part, image, mask, counts, tuple(faults))

    @staticmethod
    def _try(faults: list[Fault], function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except DataError as error:
            faults.append((error.place, error.found, error.fix, type(error).__name__))
            return None


def look_at_image(path: Path) -> Look:
    """Decode an image. Raises ImageError."""
    with opened(path) as picture:
        header, halved = header_of(picture), _has_halved_chroma(picture)
        picture = upright(path, picture)
    extremes = np.reshape(plain_mode(path, picture).getextrema(), (-1, 2))  # channels, low and high
    about: dict[str, Any] = {"alpha": has_alpha(picture), "constant": bool((extremes[:, 0] == extremes[:, 1]).all())}
    return Look(str(path), header.format, header.mode, header.size, header.turned, lossy_chroma=halved, **about)


def look_at_pixels(key: str, image: np.ndarray, encoded: bytes | None) -> Look:
    """An image that came out of an array file (perhaps as the bytes of a picture), or was generated."""
    kind, mode, halved = "", "L" if len(image) == 1 else "RGB", False
    if encoded is not None:
        with opened_file(key, io.BytesIO(encoded)) as picture:
            kind, mode, halved = picture.format or "", picture.mode, _has_halved_chroma(picture)
    about: dict[str, Any] = {"lossy_chroma": halved, "constant": bool((image == image[:, :1, :1]).all())}
    return Look(key, kind, mode, (image.shape[1], image.shape[2]), **about)


def _bytes(dataset: Dataset, item: Item) -> bytes | None:
    return dataset.read.encoded(item) if isinstance(dataset.read, ArrayReader) else None


def look_at_mask(path: Path, encoding: Encoding | None, classes: int) -> tuple[Look, tuple[int, ...]]:
    """Decode a mask and count its values or colours, and the classes where `encoding` is known. Raises MaskError."""
    header = mask_header(path)
    picture = read_mask_picture(path)
    packed = encoding.colors is not None if encoding is not None else _is_colored(picture)
    numbers, counts = _tally(as_colors(picture) if packed else as_values(path, picture))
    order = np.argsort(-counts, kind="stable")[:MOST_KEPT]
    values = tuple((int(numbers[place]), int(counts[place])) for place in order)
    size = (picture.height, picture.width)
    about: dict[str, Any] = {
        "alpha": "A" in header.mode,
        "constant": len(numbers) == 1,
        "colored": packed,
        "distinct": len(numbers),
    }
    meant, strange = _meaning(numbers, counts, encoding, classes) if encoding is not None else ((), {})
    return Look(str(path), header.format, header.mode, size, header.turned, values=values, **about, **strange), meant


def _has_halved_chroma(picture: Image.Image) -> bool:
    """Whether a JPEG keeps colours at half the resolution or less."""
    return isinstance(picture, JpegImagePlugin.JpegImageFile) and JpegImagePlugin.get_sampling(picture) in (1, 2)


def _is_colored(picture: Image.Image) -> bool:
    if picture.mode != "RGB":
        return False
    pixels = np.asarray(picture)
    return bool((pixels != pixels[:, :, :1]).any())


def _tally(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, and how many pixels have each."""
    if pixels.dtype == np.uint8:
        counts = np.bincount(pixels.ravel(), minlength=256)
        numbers = np.flatnonzero(counts)
        return numbers, counts[numbers]
    return np.unique(pixels, return_counts=True)


def _meaning(
    numbers: np.ndarray, counts: np.ndarray, encoding: Encoding, classes: int
) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Pixels of each class and of IGNORE, and what is strange."""
    known = (
        {pack(color): index for color, index in encoding.colors.items()}
        if encoding.colors is not None
        else dict(encoding.values or {})
    )
    table = np.array(sorted(known), dtype=np.int64)
    nearest, distance = _nearest(numbers, table, packed=encoding.colors is not None)
    indices = np.array([known[number] for number in table[nearest].tolist()], dtype=np.int64)
    off = distance > 0
    far = distance > (encoding.tolerance if encoding.colors is not None else 0)
    total = np.bincount(np.where(indices == IGNORE, classes, indices)[~far], counts[~far], classes + 1)
    rows = sorted(np.flatnonzero(off).tolist(), key=lambda row: -counts[row])[:5]
    shown = tuple((int(numbers[r]), int(counts[r]), round(float(distance[r]), 1), int(indices[r])) for r in rows)
    worst = float(distance[off].max()) if off.any() else 0.0
    strange = {"off": int(counts[off].sum()), "far": int(counts[far].sum()), "worst": worst, "nearest": shown}
    return tuple(int(count) for count in total), strange


def _nearest(numbers: np.ndarray, table: np.ndarray, *, packed: bool) -> tuple[np.ndarray, np.ndarray]:
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
