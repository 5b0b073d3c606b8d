"""VIA, the VGG image annotator, version 2: one JSON of regions for many pictures, perhaps one for each part.

Dutta, Zisserman. The VIA annotation software for images, audio and video. ACM Multimedia 2019.

    root/via_project.json, root/*.jpg             a project, or "annotations (as json)"
    root/train/via_region_data.json, root/val/... a part by the folder

A class is the value of one region attribute: the only one, or the one called class, label, category, type or name.
Regions without attributes are all of one class, object. Later regions lie over earlier ones. Points and
polylines have no area: they are left out and counted. The JSON gives no sizes, so a changed picture is not noticed.
"""

import math
from collections.abc import Mapping, Sequence
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
    json_beside,
    kind_of,
    name_classes,
    open_drawings,
    part_in,
    points_of,
    read_json,
)
from segtrial.data._parallel import all_of
from segtrial.data._walk import hidden_files
from segtrial.data.pictures import read_header
from segtrial.data.polygons import Shape, ellipse, rectangle
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, MaskError, listing

LARGEST = 500_000_000
"""Bytes of one JSON."""

USUAL = ("class", "label", "category", "type", "name")
FLAT = frozenset({"point", "polyline"})
ONLY_CLASS = "object"
AGAIN = "Export it again from VIA"


@dataclass(frozen=True)
class Region:
    """One region: where it stands in its file, its attributes, and its ring (None if it has no area)."""

    place: str
    attributes: Mapping[str, Any]
    ring: np.ndarray | None


@dataclass(frozen=True)
class Entry:
    """One picture of one JSON."""

    place: str
    source: Path
    name: str
    regions: tuple[Region, ...]


def recognises(root: Path) -> bool:
    """Whether a JSON in `root`, or in a folder of it, has VIA's keys, and no picture is a mask."""
    return bool(_files(root)) and not has_masks(root)


def open_via(root: Path, options: SplitOptions) -> Dataset:
    """Understand the regions without decoding pictures. Raises DataError, MaskError or PairingError."""
    files = _files(root)
    entries = [entry for file in all_of(root, _read, files) for entry in file]
    regions = [region for entry in entries for region in entry.regions]
    attribute = _attribute(root, regions)
    shown = [region for region in regions if region.ring is not None]
    names = name_classes(files[0], sorted({_label(region, attribute) for region in shown}))
    pictures, hidden = Pictures(root), hidden_files()

    def draw(entry: Entry) -> Drawing | None:
        part = part_in(entry.source.relative_to(root).with_suffix("").as_posix())
        image = pictures.find(entry.place, entry.source, entry.name, part)
        if str(image) in hidden:
            return None
        drawn = [(region, region.ring) for region in entry.regions if region.ring is not None]
        shapes = tuple(Shape(names.index[_label(region, attribute)], (ring,)) for region, ring in drawn)
        return Drawing(image, entry.source, read_header(image).size, shapes, part)

    drawings = [drawing for drawing in all_of(root, draw, entries) if drawing is not None]
    by = f"classes are the values of {attribute!r}" if attribute else f"no region attributes: one class, {ONLY_CLASS}"
    notes = [f"VIA regions: {listing(file.relative_to(root) for file in files)}; {by}"]
    if len(shown) < len(regions):
        notes.append(f"{len(regions) - len(shown)} points and lines have no area: left out")
    return open_drawings(root, "via", names, drawings, options, notes)


def _files(root: Path) -> list[Path]:
    ends = {path: ends_of(path) for path in json_beside(root)}
    return [
        path
        for path, text in ends.items()
        if '"_via_img_metadata"' in text or ('"filename"' in text and '"regions"' in text)
    ]


def _read(path: Path) -> list[Entry]:
    content = read_json(path, LARGEST)
    table = get(path, content, "_via_img_metadata", dict, content)
    entries = []
    for key, one in table.items():
        place = f"{path}, {key[:80]}"
        if not isinstance(one, dict):
            raise DataError(place, f"it is {kind_of(one)}, not a table", AGAIN)
        regions = get(place, one, "regions", (list, dict))
        listed = list(regions.values()) if isinstance(regions, dict) else regions  # VIA 1 numbers them
        read = tuple(_region(f"{place}, region {number}", region) for number, region in enumerate(listed))
        entries.append(Entry(place, path, get(place, one, "filename", str), read))
    return entries


def _region(place: str, region: object) -> Region:
    if not isinstance(region, dict):
        raise DataError(place, f"it is {kind_of(region)}, not a table", AGAIN)
    form = get(place, region, "shape_attributes", dict)
    attributes = get(place, region, "region_attributes", dict, {})
    kind = get(place, form, "name", str)
    return Region(place, attributes, None if kind in FLAT else _ring(place, kind, form))


def _ring(place: str, kind: str, form: Mapping[str, Any]) -> np.ndarray:
    if kind in ("polygon", "polyline"):
        xs, ys = get(place, form, "all_points_x", list), get(place, form, "all_points_y", list)
        if len(xs) != len(ys):
            raise MaskError(place, f"{len(xs)} x and {len(ys)} y", AGAIN)
        return points_of(place, [value for point in zip(xs, ys, strict=True) for value in point])
    keys = {
        "rect": ("x", "y", "width", "height"),
        "circle": ("cx", "cy", "r", "r"),
        "ellipse": ("cx", "cy", "rx", "ry"),
    }
    if kind not in keys:
        raise MaskError(place, f"a region of the form {kind[:40]!r}", f"Draw it as a polygon, or: {', '.join(keys)}")
    numbers = [get(place, form, key, (int, float)) for key in keys[kind]]
    theta = get(place, form, "theta", (int, float), 0)  # radians from x towards y, about the centre
    checked = points_of(place, [*numbers, theta, 0]).ravel().tolist()
    x, y, width, height, theta = checked[:5]  # or the radii
    if kind == "rect":
        return rectangle((x, y), (x + width, y + height))
    return _turned(ellipse((x, y), width, height), (x, y), theta)


def _turned(ring: np.ndarray, center: tuple[float, float], theta: float) -> np.ndarray:
    turn = np.array([[math.cos(theta), math.sin(theta)], [-math.sin(theta), math.cos(theta)]])
    return (ring - center) @ turn + center


def _attribute(root: Path, regions: Sequence[Region]) -> str:
    """The attribute whose values are the classes, "" if no region has any."""
    known = sorted({name for region in regions for name in region.attributes})
    usual = [name for word in USUAL for name in known if name.lower() == word]
    if not known or len(known) == 1:
        return known[0] if known else ""
    if not usual:
        raise DataError(root, f"regions have several attributes: {listing(known)}", "Rename the one that counts: class")
    return usual[0]


def _label(region: Region, attribute: str) -> str:
    """The region's class. Raises DataError if it has none, or several (a checkbox)."""
    if not attribute:
        return ONLY_CLASS
    value = region.attributes.get(attribute)
    ticked = [name for name, on in value.items() if on] if isinstance(value, dict) else [value]
    if len(ticked) != 1 or not isinstance(ticked[0], str) or not ticked[0].strip():
        raise DataError(region.place, f"{attribute} is {str(value)[:60]!r}", "Give each region one class")
    return ticked[0].strip()
