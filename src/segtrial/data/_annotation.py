"""Shapes that a tool wrote for each picture -> Dataset: they are painted into masks when they are read.

Shared by the layouts whose labels are outlines (coco.py, labelme.py, via.py, cvat.py): hostile JSON, names to class
numbers, names to pictures, and the reader.
"""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from segtrial.classes import Classes
from segtrial.data._walk import PART_WORDS, File, hidden_files, hiding, walk
from segtrial.data.pairing import find_pairs
from segtrial.data.pictures import EXTENSIONS, Header, read_header, read_image
from segtrial.data.polygons import BACKGROUND, Ring, Shape, paint
from segtrial.data.reading import Fingerprint, channels_of
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split, with_groups
from segtrial.data.tables import VOID_NAMES, with_swaps
from segtrial.errors import DataError, MaskError, PairingError, listing, nearest, several
from segtrial.files import sha256
from segtrial.shapes import IGNORE

FARTHEST = 1e7
"""Pixels from the corner; no picture that can be decoded is as wide."""

MOST_CORNERS = 100_000
"""Corners of one polygon."""

MOST_FILES = 64
"""Files of annotations, each for many pictures, in one data set."""

PEEKED = 65_536
"""Bytes at the start and at the end of a JSON file that tell which tool wrote it."""


@dataclass(frozen=True, eq=False)
class Drawing:
    """One picture, the file that describes it, its size (h, w) by that file, and its shapes, bottom first."""

    image: Path
    source: Path
    size: tuple[int, int]
    shapes: tuple[Shape, ...]
    part: str = ""


@dataclass(frozen=True)
class Painter:
    """Decodes one item: the picture, and its shapes as a mask of the picture's size."""

    drawings: Mapping[str, Drawing]
    channels: int

    def __call__(self, item: Item) -> Sample:
        """The checked sample. Raises ImageError, or MaskError if the sizes differ."""
        drawing = self.drawings[item.key]
        image = read_image(drawing.image, self.channels)
        _check_size(drawing, read_header(drawing.image))
        return Sample(image, paint(drawing.shapes, drawing.size), item.key, item.group)


@dataclass(frozen=True)
class Names:
    """Class names as a file gives them -> class numbers: 0 is what lies under no shape."""

    classes: Classes
    index: Mapping[str, int]
    notes: tuple[str, ...] = ()


@dataclass
class Pictures:
    """The pictures below a folder, to be found by the names that annotation files give them."""

    root: Path
    by_name: dict[str, list[File]] = field(default_factory=lambda: defaultdict(list))
    by_stem: dict[str, list[File]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        with hiding(frozenset()):  # what is passed over is described all the same
            files = walk(self.root).pictures
        for file in files:
            self.by_name[unicodedata.normalize("NFC", file.path.name)].append(file)
            self.by_stem[file.stem].append(file)

    def find(self, place: str | Path, source: Path, name: str, part: str = "") -> Path:
        """The one picture called `name` (with or without folders, / or \\). Raises PairingError for none or several.

        Only pictures below the root are ever found: no name leads out of it. Of several, those whose last
        folders are those of `name` come first, then those beside the file `source`, then those of its part. Where
        none has that name, one of another format will do (a.webp for a.jpg).
        """
        words = [word for word in unicodedata.normalize("NFC", name).replace("\\", "/").split("/") if word]
        found = self.by_name.get(words[-1], []) if words else []
        if not found and words and Path(words[-1]).suffix.lower() in EXTENSIONS:
            found = self.by_stem.get(Path(words[-1]).stem, [])
        if not found:
            hint = nearest(words[-1], sorted(self.by_name)) if words else ""
            raise PairingError(place, f"there is no picture {name[:80]!r} below {self.root}", f"{hint}Put it there")
        common = {file.path: _tail(file.path.parent.parts, words[:-1]) for file in found}
        found = [file for file in found if common[file.path] == max(common.values())]
        for closer in (
            [file for file in found if file.path.parent == source.parent],
            [file for file in found if part and file.part == part],
        ):
            found = closer if closer else found
        if len(found) > 1:
            places = listing(file.path.relative_to(self.root) for file in found)
            raise PairingError(place, f"several pictures are called {name[:80]!r}: {places}", "Keep one")
        return found[0].path


def has_masks(root: Path) -> bool:
    """Whether pictures below `root` are masks by their place, or pair with one by their names."""
    if any(file.role == "mask" for file in walk(root).pictures):
        return True
    try:
        find_pairs(root)
    except DataError:
        return False
    return True


def part_in(path: str) -> str:
    """The part that a word of a path names: "annotations/instances_val2017" -> "val"; "" if none."""
    words = re.findall(r"[a-z]+", path.lower())
    return next((PART_WORDS[word] for word in words if word in PART_WORDS), "")


def json_beside(root: Path) -> list[Path]:
    """The JSON files in `root` and in its folders; none if there are many, for then each is of one picture."""
    places = islice(chain(root.glob("*.json"), root.glob("*/*.json")), MOST_FILES + 1)
    found = [path for path in places if path.is_file()]
    return sorted(found, key=lambda path: (path.parent != root, path)) if len(found) <= MOST_FILES else []


def ends_of(path: Path) -> str:
    """The first and the last PEEKED bytes of a file as text, "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.read(PEEKED)
            file.seek(max(PEEKED, path.stat().st_size - PEEKED))
            return (start + file.read(PEEKED)).decode("utf-8", errors="replace")
    except OSError:
        return ""


def read_json(path: Path, largest: int) -> dict[str, Any]:
    """The table in a JSON file. Raises DataError for other JSON, and for NaN, depth, size and damage."""
    if path.stat().st_size > largest:
        raise DataError(
            path, f"{path.stat().st_size} bytes; at most {largest} are read", "Write one file for each part"
        )

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number")

    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), parse_constant=refuse)
    except (ValueError, RecursionError, OSError) as error:
        found = f"not readable JSON: {' '.join(str(error).split())[:200]}"
        raise DataError(path, found, "Export it again from the annotation tool") from error
    if not isinstance(content, dict):
        raise DataError(path, f"JSON, but {kind_of(content)}, not a table", "Export it again from the tool")
    return content


def get(place: str | Path, table: Mapping[str, Any], key: str, kind: type | tuple[type, ...], *default: Any) -> Any:
    """`table[key]` if it is of that kind (a bool is no number). Raises DataError naming the key."""
    if key not in table and default:
        return default[0]
    value = table.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        found = f"{key} is {kind_of(value)}" if key in table else f"{key} is missing"
        kinds = " or ".join(KINDS[one] for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise DataError(place, f"{found}, not {kinds}", "Export it again from the annotation tool")
    return value


KINDS = {dict: "a table", list: "a list", str: "text", int: "a whole number", float: "a number"}


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return "nothing (null)" if value is None else KINDS.get(type(value), type(value).__name__)


def size_of(place: str | Path, table: Mapping[str, Any], height: str, width: str) -> tuple[int, int]:
    """(h, w) under these two keys. Raises DataError if they are no sizes."""
    size = get(place, table, height, int), get(place, table, width, int)
    if not all(1 <= side <= FARTHEST for side in size):
        raise DataError(place, f"a picture of {size[0]}x{size[1]} (height x width)", "Correct the size")
    return size


def points_of(place: str | Path, values: Sequence[Any], fewest: int = 3) -> Ring:
    """x, y, x, y, ... -> points `n 2`. Raises MaskError for fewer points, for text, NaN and absurd places."""
    if len(values) % 2 or len(values) < 2 * fewest:
        found = f"a polygon of {len(values)} numbers ({len(values) // 2} points)"
        raise MaskError(place, found, f"Remove it, or draw it again: x and y of {fewest} points or more")
    if len(values) > 2 * MOST_CORNERS:
        raise MaskError(place, f"a polygon of {len(values) // 2} points", f"Simplify it to {MOST_CORNERS}")
    for value in values:
        if type(value) not in (int, float):
            raise MaskError(place, f"a coordinate is {kind_of(value)}", "Coordinates are numbers")
        if not abs(value) <= FARTHEST:  # also for NaN
            raise MaskError(place, f"a coordinate is {value}"[:120], f"Coordinates are pixels, up to {FARTHEST:.0f}")
    return np.array(values, dtype=np.float64).reshape(-1, 2)


def name_classes(source: Path, names: Iterable[str]) -> Names:
    """Class 0 is "background", the others come in the order given; names such as void or ignore become IGNORE."""
    listed = list(dict.fromkeys(names))
    plain = {name: name.lower().strip("_ ") for name in listed}
    grounds = [name for name in listed if plain[name] == "background"]
    void = [name for name in listed if plain[name] in VOID_NAMES]
    left = [name for name in listed if name not in (*grounds, *void)]
    if not left:
        raise DataError(source, "it names no class besides the background", "Label one class or more")
    index = {name: number for number, name in enumerate(left, start=1)}
    index |= dict.fromkeys(grounds, BACKGROUND) | dict.fromkeys(void, IGNORE)
    classes, swapped = with_swaps(Classes.named(("background", *left)))
    notes = [f"{len(left)} classes from {source.name}; pixels under no shape are class 0, background", *swapped]
    if void:
        notes.append(f"pixels of {listing(void)} count nowhere (IGNORE), because of the name")
    return Names(classes, index, tuple(notes))


def open_drawings(
    root: Path, layout: str, names: Names, drawings: Sequence[Drawing], options: SplitOptions, notes: Sequence[str]
) -> Dataset:
    """Items, groups and parts. Raises PairingError for a picture that is described twice."""
    hidden = hidden_files()
    drawings = [drawing for drawing in drawings if str(drawing.image) not in hidden]
    keyed = _keyed(root, drawings)
    items = [Item(key, key, drawing.image, drawing.source) for key, drawing in sorted(keyed.items())]
    channels, mixed = channels_of(root, items)
    items, grouped = with_groups(items, str(root))
    parts: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        parts[keyed[item.key].part].append(item)
    made_parts, made = split(parts, options, str(root))
    said = (*names.notes, *notes, *_counted(drawings), *mixed, *grouped, *made)
    rule = sha256(f"{channels} {layout} {names.classes.names} {sorted(names.index.items())}".encode())[:16]
    return Dataset(root, layout, names.classes, made_parts, Painter(keyed, channels), Fingerprint(rule), said)


def _keyed(root: Path, drawings: Sequence[Drawing]) -> dict[str, Drawing]:
    keyed: dict[str, Drawing] = {}
    for drawing in drawings:
        key = unicodedata.normalize("NFC", drawing.image.relative_to(root).with_suffix("").as_posix())
        other = keyed.setdefault(key, drawing)
        if other is not drawing:
            both = listing(dict.fromkeys((other.source, drawing.source)))
            found = f"{drawing.image.relative_to(root)} is described twice, or shares its name (in {both})"
            raise PairingError(root, found, "Remove one, so that each picture has one description")
    if not keyed:
        raise PairingError(root, "no picture is described", "Label pictures, or give masks")
    return keyed


def _counted(drawings: Sequence[Drawing]) -> list[str]:
    """Notes on shapes that leave their picture, and on pictures without any."""
    shapes = Counter(
        "outside" if shape.leaves(drawing.size) else "inside" for drawing in drawings for shape in drawing.shapes
    )
    notes = [f"{several(shapes.total(), 'shape')} on {several(len(drawings), 'picture')}"]
    if shapes["outside"]:
        reach = several(shapes["outside"], "shape reaches out of its picture", "shapes reach out of their picture")
        notes.append(f"{reach}: clipped")
    empty = [drawing.image.name for drawing in drawings if not drawing.shapes]
    if empty:
        have = several(len(empty), "picture has", "pictures have")
        notes.append(f"{have} no shape, so all of each is background: {listing(empty, most=4)}")
    return notes


def _check_size(drawing: Drawing, header: Header) -> None:
    if drawing.size == header.size:
        return
    hint = ""
    if drawing.size == header.size[::-1]:
        hint = " (turned by its EXIF orientation)" if header.turned else " (height and width are exchanged)"
    written, real = (f"{height}x{width}" for height, width in (drawing.size, header.size))
    found = f"{drawing.source.name} says {written}, but the picture is {real} (height x width){hint}"
    raise MaskError(drawing.image, found, f"Use the picture that was labelled, or correct {drawing.source}")


def _tail(folders: Sequence[str], wanted: Sequence[str]) -> int:
    """How many of the last words agree."""
    count = 0
    for folder, word in zip(reversed(folders), reversed(wanted), strict=False):
        if folder != word:
            break
        count += 1
    return count
