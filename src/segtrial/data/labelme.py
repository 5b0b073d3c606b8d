"""Labelme: one JSON for each picture, with polygons, rectangles and circles.

Wada. Labelme: image polygonal annotation with Python. https://github.com/wkentaro/labelme

    root/a.jpg, root/a.json    side by side, or anywhere below; `imagePath` in the JSON names the picture

Classes are the labels in alphabetical order, after the background; "_background_" is the background and
"__ignore__" counts nowhere. Later shapes lie over earlier ones, as in Labelme. Points and lines have no area: they
are left out and counted. A picture without a JSON is not labelled: it is left out, not background.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.data._annotation import (
    Drawing,
    Pictures,
    ends_of,
    get,
    has_masks,
    kind_of,
    name_classes,
    open_drawings,
    part_in,
    points_of,
    read_json,
    size_of,
)
from segtrial.data._parallel import all_of
from segtrial.data._walk import walk
from segtrial.data.polygons import Shape, ellipse, rectangle
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, MaskError

LARGEST = 200_000_000
"""Bytes of one JSON: it may hold the picture itself (imageData), which is not read."""

LOOKED_AT = 3
"""JSON files that are looked into to recognise the layout."""

FLAT = frozenset({"point", "points", "line", "linestrip"})
FORMS = "polygon, rectangle, circle"


@dataclass(frozen=True)
class File:
    """One JSON: its table, and the labels of the shapes that have an area, each with its ring."""

    path: Path
    content: Mapping[str, Any]
    size: tuple[int, int]
    rings: tuple[tuple[str, np.ndarray], ...]
    flat: int


def recognises(root: Path) -> bool:
    """Whether the first JSON files below `root` have Labelme's keys, and no picture is a mask."""
    ends = [ends_of(path) for path in sorted(walk(root).json)[:LOOKED_AT]]
    known = ['"shapes"' in text and ('"imagePath"' in text or '"imageHeight"' in text) for text in ends]
    return any(known) and not has_masks(root)


def open_labelme(root: Path, options: SplitOptions) -> Dataset:
    """Understand the annotations without decoding pictures. Raises DataError, MaskError or PairingError."""
    paths = sorted(walk(root).json)
    read = all_of(root, _read, paths)
    files = [file for file in read if file is not None]
    names = name_classes(root, sorted({label for file in files for label, _ in file.rings}))
    pictures = Pictures(root)
    drawings = all_of(root, lambda file: _drawing(root, file, names.index, pictures), files)
    notes = [f"Labelme annotations: {len(files)} JSON files"]
    others = Counter(
        {
            "JSON files are not Labelme's": len(paths) - len(files),
            "points and lines have no area": sum(file.flat for file in files),
            "pictures have no JSON": sum(map(len, pictures.by_name.values())) - len(drawings),
        }
    )
    notes += [f"{count} {what}: left out" for what, count in others.items() if count > 0]
    return open_drawings(root, "labelme", names, drawings, options, notes)


def _read(path: Path) -> File | None:
    """The file, or None if it is no annotation. Raises DataError or MaskError naming the file and the shape."""
    content = read_json(path, LARGEST)
    if "shapes" not in content:
        return None
    size = size_of(path, content, "imageHeight", "imageWidth")
    rings, flat = [], 0
    for number, shape in enumerate(get(path, content, "shapes", list)):
        place = f"{path}, shape {number}"
        if not isinstance(shape, dict):
            raise DataError(place, f"it is {kind_of(shape)}, not a table", "Save it again in Labelme")
        label = get(place, shape, "label", str)
        kind = get(place, shape, "shape_type", str, "polygon")
        if kind in FLAT:
            flat += 1
        else:
            rings.append((label, _ring(f"{place} ({label[:40]})", kind, shape)))
    return File(path, content, size, tuple(rings), flat)


def _ring(place: str, kind: str, shape: Mapping[str, Any]) -> np.ndarray:
    points = get(place, shape, "points", list)
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise MaskError(place, "a point is not a list of x and y", "Save it again in Labelme")
    values = [value for point in points for value in point]
    if kind == "polygon":
        return points_of(place, values)
    corners = points_of(place, values, fewest=2) if kind in ("rectangle", "circle") else None
    if corners is None or len(corners) != 2:
        found = f"a {kind[:40]} of {len(points)} points"
        raise MaskError(place, found, f"Draw it as a polygon; read are {FORMS} (the last two have 2 points)")
    if kind == "rectangle":
        return rectangle(corners[0], corners[1])
    radius = float(np.hypot(*(corners[1] - corners[0])))  # the centre, then a point on the circle
    return ellipse(corners[0], radius, radius)


def _drawing(root: Path, file: File, index: Mapping[str, int], pictures: Pictures) -> Drawing:
    image = pictures.find(file.path, file.path, get(file.path, file.content, "imagePath", str))
    shapes = tuple(Shape(index[label], (ring,)) for label, ring in file.rings)
    return Drawing(image, file.path, file.size, shapes, part_in(image.parent.relative_to(root).as_posix()))
