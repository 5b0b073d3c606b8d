"""An .npz file, or a folder of them -> Dataset for classification: pictures and labels by number.

    root/train.npz, val.npz, test.npz    the part by the word in the file's name; or one file, from which val is carved
      images (or x, data)   uint8, n h w, n h w c or n c h w         labels (or y)   whole numbers, n
      or jpeg               the bytes of all encoded pictures, uint8
         offsets            n + 1 places in jpeg, from 0 to its end
      class_names           perhaps: the names of the classes 0, 1, ...
    mnist.npz               x_train, y_train, x_test, y_test: a part in the array's name does as well

Opening reads labels and headers. Pictures are mapped from the file, or inflated if it is compressed.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Int64, UInt8

from segtrial.classes import Classes
from segtrial.data import _npz
from segtrial.data._walk import PART_WORDS, part_of
from segtrial.data.class_folders import absent
from segtrial.data.pictures import GREY_MODES, decode_image, opened_file
from segtrial.data.reading import stamp
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split
from segtrial.errors import DataError, DataNotFound, listing
from segtrial.shapes import MOST_CLASSES

ROLES = {
    **dict.fromkeys(("images", "x", "data"), "images"),
    **dict.fromkeys(("labels", "y"), "labels"),
    **{name: name for name in ("jpeg", "offsets", "class_names")},
}
"""What an array is by its name in small letters, without the word for its part."""

NEEDED = "Give images (uint8), or jpeg and offsets, and labels beside them; or x and y (x_train, y_train, ...)"

LOOKED_AT = 64
"""Encoded pictures, evenly spread, whose headers say whether all are grey."""


@dataclass(frozen=True)
class Source:
    """Where the samples of one part lie: a file, and the name of its array for each role ("" for none)."""

    file: Path
    labels: str = ""
    images: str = ""
    jpeg: str = ""
    offsets: str = ""
    class_names: str = ""

    def place(self, name: str) -> str:
        """What errors call the array `name`."""
        return f"{self.file}: {name}"

    def header(self, name: str) -> _npz.Header:
        """The checked header of the array `name`."""
        return _npz.read_header(self.file, name)

    def read(self, name: str) -> np.ndarray:
        """The array `name`."""
        return _npz.read_array(self.file, name)


@dataclass(frozen=True)
class Pictures:
    """The arrays of one part: `pixels` as n h w c, or `offsets` into the bytes of encoded pictures."""

    labels: np.ndarray
    pixels: np.ndarray
    offsets: np.ndarray | None = None

    def encoded(self, number: int) -> bytes:
        """The bytes of one encoded picture."""
        assert self.offsets is not None
        return self.pixels[self.offsets[number] : self.offsets[number + 1]].tobytes()


@dataclass(frozen=True)
class Reader:
    """Reads one item ("train/00012") by its number. Arrays are opened once in every process, and never pickled."""

    sources: Mapping[str, Source]
    channels: int
    classes: int

    def __call__(self, item: Item) -> Sample:
        """The picture and a plane of its class. Raises ImageError or DataError, naming the file and the number."""
        part, number = _part_and_number(item)
        source = self.sources[part]
        pictures = _open(source, self.classes)
        image = _image(source, pictures, number, self.channels)
        plane = np.full(image.shape[1:], pictures.labels[number], np.uint8)
        return Sample(image, plane, item.key, item.group)

    def encoded(self, item: Item) -> bytes | None:
        """The bytes of an encoded picture, None where pixels are what is stored."""
        part, number = _part_and_number(item)
        pictures = _open(self.sources[part], self.classes)
        return None if pictures.offsets is None else pictures.encoded(number)

    def fingerprint(self, item: Item) -> str:
        """Changes with the file. Raises DataNotFound if that is gone."""
        part, number = _part_and_number(item)
        return f"{self.channels} {stamp(self.sources[part].file)} {number}"


def holds_arrays(root: Path) -> bool:
    """Whether .npz files are what a folder holds: one is a part's by its name, or no folder lies beside them."""
    files = _files(root)
    return any(part_of(path.stem) for path in files) or bool(files and not any(one.is_dir() for one in root.iterdir()))


def open_arrays(place: Path, options: SplitOptions) -> Dataset:
    """Understand one .npz file, or those in a folder, without decoding pictures.

    Raises DataNotFound, DataError, ImageError or SplitError, each naming the array and the fix.
    """
    sources = _sources(place)
    names = _names(sources)
    labels = {part: _labels(source, len(names)) for part, source in sources.items()}
    channels = max(_channels(source, len(names)) for source in sources.values())
    reader = Reader(sources, channels, len(names))
    given = {part: _items(part, len(numbers)) for part, numbers in labels.items()}
    parts, made = split(given, options, str(place))
    seen = {part: {int(labels[of][n]) for of, n in map(_part_and_number, items)} for part, items in parts.items()}
    where = listing(f"{part} ({len(labels[part])}) from {source.file.name}" for part, source in sources.items())
    notes = (f"{len(names)} classes by labels, {listing(names, most=12)}, in {where}", *made, *absent(names, seen))
    return Dataset(place, "npz", Classes.named(names), parts, reader, reader.fingerprint, notes)


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*.npz") if path.is_file() and not path.name.startswith("."))


def _items(part: str, count: int) -> list[Item]:
    width = max(5, len(str(count - 1)))
    keys = [f"{part}/{number:0{width}}" for number in range(count)]
    return [Item(key, key) for key in keys]


def _part_and_number(item: Item) -> tuple[str, int]:
    part, _, number = item.key.partition("/")
    return part, int(number)


def _sources(place: Path) -> dict[str, Source]:
    """The arrays by part. Raises DataError if something is there twice or not at all."""
    found: dict[str, tuple[Path, dict[str, str]]] = {}
    for file in [place] if place.is_file() else _files(place):
        for name in _npz.array_names(file):
            role = ROLES.get("_".join(word for word in name.lower().split("_") if word not in PART_WORDS))
            if role is None:
                continue
            part = part_of(name) or part_of(file.stem) or "train"
            first, arrays = found.setdefault(part, (file, {}))
            if first != file or role in arrays:
                both = listing(dict.fromkeys((f"{first.name}: {arrays.get(role, '')}", f"{file.name}: {name}")))
                fix = "Keep one, or say their parts (train, val, test) in their names"
                raise DataError(place, f"{role} of {part} twice: {both}", fix)
            arrays[role] = name
    if not found:
        raise DataNotFound(place, "no array of pictures or labels", NEEDED)
    return {part: _source(*found[part]) for part in ("train", "val", "test") if part in found}


def _source(file: Path, arrays: Mapping[str, str]) -> Source:
    encoded = "jpeg" in arrays and "offsets" in arrays
    if "labels" not in arrays or ("images" in arrays) == encoded:
        raise DataError(file, f"there are {listing(_npz.array_names(file))}", NEEDED)
    return Source(file, **arrays)


def _names(sources: Mapping[str, Source]) -> tuple[str, ...]:
    """The names of the classes: those that the files give, all the same, else class_0, class_1, ..."""
    given = [source for source in sources.values() if source.class_names]
    tables = {tuple(map(_text, source.read(source.class_names).ravel().tolist())) for source in given}
    if len(tables) > 1:
        place = listing(source.file for source in given)
        raise DataError(place, "their class_names are not the same", "Number the classes alike in all files")
    if tables:
        return tables.pop()
    learned = sources.get("train") or next(iter(sources.values()))
    return Classes.numbered(int(_labels(learned, MOST_CLASSES).max()) + 1).names


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _labels(source: Source, classes: int) -> Int64[np.ndarray, " n"]:
    """The labels. Raises DataError unless there is one whole number in 0 to classes - 1 for each picture."""
    place, header, pictures = source.place(source.labels), source.header(source.labels), _count(source)
    if header.dtype.kind not in "iu" or not header.shape or any(side != 1 for side in header.shape[1:]):
        found = f"shape {header.shape} of {header.dtype}"
        raise DataError(place, found, "Give one whole number for each picture (argmax makes it of one-hot rows)")
    if header.shape[0] != pictures or pictures == 0:
        raise DataError(place, f"{header.shape[0]} labels for {pictures} pictures", "Give one label for each picture")
    labels = source.read(source.labels).reshape(-1)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        found = f"picture {wrong[0]} has the label {labels[wrong[0]]}, and classes are 0 to {classes - 1}"
        raise DataError(place, found, "Number the classes from 0, and give class_names for all of them")
    return labels.astype(np.int64)


def _count(source: Source) -> int:
    """Pictures of a part, by its headers. Raises DataError for arrays of another form."""
    if source.images:
        return _shape(source)[0]
    encoded, offsets = source.header(source.jpeg), source.header(source.offsets)
    if encoded.dtype != np.uint8 or len(encoded.shape) != 1:
        found = f"shape {encoded.shape} of {encoded.dtype}"
        raise DataError(source.place(source.jpeg), found, "Give the bytes of all pictures in one row of uint8")
    if offsets.dtype.kind not in "iu" or len(offsets.shape) != 1 or offsets.shape[0] < 1:
        found = f"shape {offsets.shape} of {offsets.dtype}"
        raise DataError(source.place(source.offsets), found, "Give n + 1 whole numbers for n pictures")
    return offsets.shape[0] - 1


def _shape(source: Source) -> tuple[int, ...]:
    """The shape of the images as n h w, n h w c or n c h w. Raises DataError if it is another."""
    header = source.header(source.images)
    shape, axis = header.shape, _channel_axis(header.shape)
    if header.dtype != np.uint8 or len(shape) not in (3, 4) or 0 in shape[1:] or (axis and shape[axis] not in (1, 3)):
        found = f"shape {shape} of {header.dtype}"
        fix = "Give uint8 from 0 to 255 as n h w, n h w c or n c h w, with 1 or 3 channels"
        raise DataError(source.place(source.images), found, fix)
    return shape


def _channel_axis(shape: tuple[int, ...]) -> int:
    """3 for n h w c, 1 for n c h w, 0 where there are no channels."""
    return 0 if len(shape) != 4 else 3 if shape[3] in (1, 3) else 1


def _channels(source: Source, classes: int) -> int:
    """1 for grey pictures, 3 for colour."""
    if source.images:
        shape = _shape(source)
        axis = _channel_axis(shape)
        return shape[axis] if axis else 1
    pictures = _open(source, classes)
    spread = np.linspace(0, len(pictures.labels) - 1, LOOKED_AT).astype(int)
    return max(_encoded_channels(source, pictures, number) for number in sorted(set(spread.tolist())))


def _encoded_channels(source: Source, pictures: Pictures, number: int) -> int:
    with opened_file(_named(source, number), io.BytesIO(pictures.encoded(number))) as picture:
        return 1 if picture.mode in GREY_MODES else 3


def _image(source: Source, pictures: Pictures, number: int, channels: int) -> UInt8[np.ndarray, "c h w"]:
    if pictures.offsets is not None:
        return decode_image(_named(source, number), pictures.encoded(number), channels)
    image = pictures.pixels[number].transpose(2, 0, 1)  # c h w
    return np.repeat(image, channels // len(image), axis=0)


def _named(source: Source, number: int) -> str:
    return f"{source.file}: picture {number}"


_opening = Lock()  # several threads decode at once, and the first opens the arrays for all


def _open(source: Source, classes: int) -> Pictures:
    """The arrays of a part, from those that this process has open."""
    with _opening:
        return _opened(source, classes, stamp(source.file))


@lru_cache(maxsize=3)  # train, val and test; a changed stamp opens the file anew
def _opened(source: Source, classes: int, stamp: str) -> Pictures:
    labels = _labels(source, classes)
    if source.images:
        images = source.read(source.images)
        axis = _channel_axis(_shape(source))
        return Pictures(labels, np.moveaxis(images, axis, 3) if axis else images[..., None])
    encoded, offsets = source.read(source.jpeg), source.read(source.offsets).astype(np.int64)
    _check_offsets(source, offsets, len(encoded))
    return Pictures(labels, encoded, offsets)


def _check_offsets(source: Source, offsets: Int64[np.ndarray, " m"], end: int) -> None:
    place, fix = source.place(source.offsets), "Give the place of each picture in turn, and the end of the last"
    if offsets[0] != 0 or offsets[-1] != end:
        raise DataError(place, f"from {offsets[0]} to {offsets[-1]}, and the bytes are 0 to {end}", fix)
    falling = np.flatnonzero(np.diff(offsets) <= 0)
    if len(falling):
        number = falling[0]
        raise DataError(place, f"picture {number} is from {offsets[number]} to {offsets[number + 1]}", fix)
