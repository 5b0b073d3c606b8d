"""CVAT for images 1.1: one XML of polygons, boxes, ellipses and masks for many pictures.

https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/

    root/annotations.xml, root/images/*.jpg    `subset` of an image, where given, is its part

Classes are the labels that the file declares, after the background. Shapes of a higher z_order lie over those
of a lower one, then later ones over earlier ones. Points and polylines have no area: they are left out and
counted. A document type, and with it every entity that could grow or reach for other files, is refused.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from segtrial.data._annotation import (
    Drawing,
    Pictures,
    ends_of,
    has_masks,
    name_classes,
    open_drawings,
    part_in,
    points_of,
)
from segtrial.data._parallel import all_of
from segtrial.data.polygons import Shape, ellipse, rectangle
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, MaskError, PairingError, listing

LARGEST = 500_000_000
"""Bytes of one XML."""

FLAT = frozenset({"points", "polyline"})
OTHERS = frozenset({"tag", "attribute"})
FORMS = "polygon, box, ellipse, mask"
AGAIN = 'Export it again as "CVAT for images 1.1"'


@dataclass(frozen=True)
class Entry:
    """One image of the file, as its place in messages and its element."""

    place: str
    element: ElementTree.Element


def recognises(root: Path) -> bool:
    """Whether one XML in `root` has CVAT's elements, and no picture is a mask."""
    return bool(_files(root)) and not has_masks(root)


def open_cvat(root: Path, options: SplitOptions) -> Dataset:
    """Understand the shapes without decoding pictures. Raises DataError, MaskError or PairingError."""
    files = _files(root)
    if len(files) > 1:
        raise PairingError(root, f"several annotation files: {listing(path.name for path in files)}", "Keep one")
    path = files[0]
    document = read_xml(path)
    entries = [
        Entry(f"{path}, image {image.get('name', number)}"[:200], image)
        for number, image in enumerate(document.iter("image"))
    ]
    declared = [label.text or "" for label in document.iterfind("./meta//labels/label/name")]
    used = {shape.get("label", "") for entry in entries for shape in entry.element if _has_area(shape)}
    names = name_classes(path, [*declared, *sorted(used - set(declared))])
    pictures = Pictures(root)

    def draw(entry: Entry) -> Drawing:
        part = part_in(entry.element.get("subset", ""))
        image = pictures.find(entry.place, path, entry.element.get("name", ""), part)
        size = (int(_number(entry.place, entry.element, "height")), int(_number(entry.place, entry.element, "width")))
        shown = sorted((shape for shape in entry.element if _has_area(shape)), key=lambda shape: _depth(entry, shape))
        shapes = tuple(_shape(entry.place, shape, names.index[shape.get("label", "")], size) for shape in shown)
        return Drawing(image, path, size, shapes, part)

    drawings = all_of(root, draw, entries)
    flat = sum(shape.tag in FLAT for entry in entries for shape in entry.element)
    notes = [f"CVAT annotations: {path.name}", *[f"{flat} points and lines have no area: left out"][: bool(flat)]]
    return open_drawings(root, "cvat", names, drawings, options, notes)


def read_xml(path: Path) -> ElementTree.Element:
    """The root element. Raises DataError for damage, for too many bytes, and for a document type."""
    if path.stat().st_size > LARGEST:
        raise DataError(path, f"{path.stat().st_size} bytes; at most {LARGEST} are read", "Export it in several parts")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "<!DOCTYPE" in text or "<!ENTITY" in text:  # without the first no parser knows an entity of the file
            raise DataError(path, "it declares a document type, which no annotation needs", AGAIN)
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, OSError) as error:
        raise DataError(path, f"not readable XML: {error}", AGAIN) from error


def _files(root: Path) -> list[Path]:
    ends = {path: ends_of(path) for path in sorted(root.glob("*.xml")) if path.is_file()}
    return [path for path, text in ends.items() if "<annotations" in text and "<image" in text]


def _has_area(shape: ElementTree.Element) -> bool:
    return shape.tag not in FLAT | OTHERS


def _depth(entry: Entry, shape: ElementTree.Element) -> float:
    return _number(entry.place, shape, "z_order") if "z_order" in shape.attrib else 0.0


def _number(place: str, element: ElementTree.Element, key: str) -> float:
    text = element.get(key, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= 1e7:
        raise DataError(place, f"{key} of <{element.tag}> is {text[:40]!r}, not a number of pixels", AGAIN)
    return value


def _shape(image: str, shape: ElementTree.Element, index: int, size: tuple[int, int]) -> Shape:
    place = f"{image}, {shape.tag} ({shape.get('label', '')[:40]})"
    if shape.tag == "polygon":
        return Shape(index, (_points(place, shape),))
    if shape.tag == "box":
        left, top, right, bottom = (_number(place, shape, key) for key in ("xtl", "ytl", "xbr", "ybr"))
        return Shape(index, (rectangle((left, top), (right, bottom)),))
    if shape.tag == "ellipse":
        x, y, across, down = (_number(place, shape, key) for key in ("cx", "cy", "rx", "ry"))
        return Shape(index, (ellipse((x, y), across, down),))
    if shape.tag == "mask":
        return Shape(index, runs=_runs(place, shape, size))
    raise MaskError(place, "a shape of a form that is not read", f"Read are {FORMS}: draw it as one of them")


def _points(place: str, shape: ElementTree.Element) -> np.ndarray:
    words = shape.get("points", "").replace(";", ",").split(",")
    try:
        values = [float(word) for word in words if word.strip()]
    except ValueError as error:
        raise MaskError(place, f"points: {str(error)[:80]}", AGAIN) from error
    return points_of(place, values)


def _runs(place: str, shape: ElementTree.Element, size: tuple[int, int]) -> np.ndarray:
    """CVAT's runs go along the rows of a box, the first one outside -> COCO's, down the columns of the picture."""
    left, top, width, height = (int(_number(place, shape, key)) for key in ("left", "top", "width", "height"))
    words = [word.strip() for word in shape.get("rle", "").split(",")]
    inside = 0 <= left <= left + width <= size[1] and 0 <= top <= top + height <= size[0]
    if not inside or not all(word.isdecimal() and len(word) < 12 for word in words):
        raise MaskError(place, f"a mask of {height}x{width} at row {top}, column {left} of {size[0]}x{size[1]}", AGAIN)
    runs = np.array([int(word) for word in words], dtype=np.int64)
    if runs.sum() != height * width:
        raise MaskError(place, f"run lengths add up to {runs.sum()}, not to {height}x{width}", AGAIN)
    box = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    return _column_runs(box, left, top, size)


def _column_runs(box: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    columns = np.zeros((box.shape[1], size[0]), dtype=np.int8)
    columns[:, top : top + box.shape[0]] = box.T
    changes = np.flatnonzero(np.diff(columns.ravel(), prepend=0)) + left * size[0]
    ends: Sequence[int] = [0, *changes.tolist(), size[0] * size[1]]
    return np.diff(np.array(ends, dtype=np.int64))
