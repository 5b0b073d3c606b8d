"""COCO: one JSON with images, annotations (polygons or run lengths) and categories, or one for each part.

Lin et al. Microsoft COCO: common objects in context. ECCV 2014. https://cocodataset.org/#format-data

    root/trainval.json, root/images/0.jpg                              one file, val is carved from it
    root/annotations/instances_train2017.json, root/train2017/*.jpg    a part by the word in its name
    root/train/_annotations.coco.json, root/train/*.jpg                as Roboflow writes it

Category numbers may have gaps: classes are the categories in the order of their numbers, after the background.
Where objects overlap, the smaller one (by the area of its outline) lies on top, then the later one. A crowd
(iscrowd: 1) lies below all and counts nowhere (IGNORE), for its outline holds much that is not of its class.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.data._annotation import (
    Drawing,
    Names,
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
    size_of,
)
from segtrial.data._parallel import raise_all
from segtrial.data.polygons import Shape, unpack_runs
from segtrial.data.sample import Dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, MaskError, listing, several
from segtrial.shapes import IGNORE

LARGEST = 1_000_000_000
"""Bytes of one JSON; COCO's own largest (instances_train2017) has 470 million."""

KEYS = ('"images"', '"annotations"', '"categories"')
AGAIN = "Export it again, with polygons or masks"


@dataclass(frozen=True)
class File:
    """One JSON, its part ("" for none) and its names of categories by number."""

    path: Path
    part: str
    content: Mapping[str, Any]
    categories: Mapping[int, str]


def recognises(root: Path) -> bool:
    """Whether a JSON in `root`, or in a folder of it, has COCO's keys, and no picture is a mask."""
    return bool(_files(root)) and not has_masks(root)


def open_coco(root: Path, options: SplitOptions) -> Dataset:
    """Understand the annotations without decoding pictures. Raises DataError, MaskError or PairingError."""
    files = [_read(root, path) for path in _files(root)]
    named = [name for file in files for _, name in sorted(file.categories.items())]
    unused = _unused(files)
    names = name_classes(files[0].path, [name for name in named if name not in unused])
    pictures = Pictures(root)
    drawings = [drawing for file in files for drawing in _drawings(file, names, pictures)]
    notes = [f"COCO annotations: {listing(file.path.relative_to(root) for file in files)}"]
    if unused:
        notes.append(f"{listing(unused)} only groups the other categories and has no annotation: no class")
    crowds = sum(bool(one.get("iscrowd")) for file in files for one in file.content["annotations"])
    if crowds:
        notes.append(f"{crowds} crowds count nowhere (IGNORE) where no single object lies")
    others = sum(map(len, pictures.by_name.values())) - len(drawings)
    if others > 0:
        notes.append(f"{several(others, 'picture is', 'pictures are')} in no annotation file: left out")
    return open_drawings(root, "coco", names, drawings, options, notes)


def _files(root: Path) -> list[Path]:
    """The JSON files of COCO's form; only those named instances... if there are any (not keypoints, not stuff)."""
    found = [path for path in json_beside(root) if sum(key in ends_of(path) for key in KEYS) > 1]
    return [path for path in found if path.name.startswith("instances")] or found


def _read(root: Path, path: Path) -> File:
    content = read_json(path, LARGEST)
    categories: dict[int, str] = {}
    for one in get(path, content, "categories", list):
        if not isinstance(one, dict):
            raise DataError(path, f"a category is {kind_of(one)}", AGAIN)
        number, name = get(f"{path}, categories", one, "id", int), get(f"{path}, categories", one, "name", str)
        if number in categories or name in categories.values():
            raise DataError(path, f"category {number} ({name!r}) is there twice", "Give each one number and one name")
        categories[number] = name
    return File(path, part_in(path.relative_to(root).with_suffix("").as_posix()), content, categories)


def _unused(files: Sequence[File]) -> list[str]:
    """The category that Roboflow adds: it has no annotation, and all the others name it as their supercategory."""
    used = {
        file.categories.get(number)
        for file in files
        for one in get(file.path, file.content, "annotations", list)
        if isinstance(one, dict) and isinstance(number := one.get("category_id"), int)
    }
    above: dict[str, set[str]] = defaultdict(set)
    for file in files:
        for one in file.content["categories"]:
            above[one["name"]].add(str(one.get("supercategory", "")))
    return [
        name
        for name in above
        if name not in used and len(above) > 1 and all(over == {name} for other, over in above.items() if other != name)
    ]


def _drawings(file: File, names: Names, pictures: Pictures) -> list[Drawing]:
    """One for each image of a file. Raises one error that lists what is wrong with any of them."""
    images: dict[Any, tuple[Path, tuple[int, int]]] = {}
    shapes: dict[Any, list[tuple[bool, Shape]]] = defaultdict(list)
    errors: list[DataError] = []
    listed = [("image", one) for one in get(file.path, file.content, "images", list)]
    listed += [("annotation", one) for one in get(file.path, file.content, "annotations", list)]
    for number, (kind, one) in enumerate(listed):
        place = f"{file.path}, {kind} {one.get('id', number) if isinstance(one, dict) else number}"
        try:
            if not isinstance(one, dict):
                raise DataError(place, f"it is {kind_of(one)}, not a table", AGAIN)
            if kind == "image":
                _add_image(place, file, one, images, pictures)
            else:
                _add_shape(place, file, one, names, images, shapes)
        except DataError as error:
            errors.append(error)
    raise_all(file.path, errors, len(listed))
    return [
        Drawing(path, file.path, size, tuple(_stacked(shapes[number])), file.part)
        for number, (path, size) in images.items()
    ]


def _add_image(place: str, file: File, one: Mapping[str, Any], images: dict, pictures: Pictures) -> None:
    number = get(place, one, "id", (int, str))
    if number in images:
        raise DataError(place, "another image has this id", "Give each image an id of its own")
    size = size_of(place, one, "height", "width")
    images[number] = pictures.find(place, file.path, get(place, one, "file_name", str), file.part), size


def _add_shape(place: str, file: File, one: Mapping[str, Any], names: Names, images: Mapping, shapes: dict) -> None:
    image, category = get(place, one, "image_id", (int, str)), get(place, one, "category_id", int)
    if image not in images:
        raise DataError(place, f"image_id {image!r} is the id of no image that is there", "Remove it, or add the image")
    if category not in file.categories:
        known = listing(f"{number} {name}" for number, name in sorted(file.categories.items()))
        raise DataError(place, f"category_id {category} is no category", f"Categories are: {known}")
    crowd = bool(one.get("iscrowd"))
    index = IGNORE if crowd else names.index[file.categories[category]]
    shapes[image].append((crowd, _shape(place, one.get("segmentation"), index, images[image][1])))


def _shape(place: str, outline: object, index: int, size: tuple[int, int]) -> Shape:
    if isinstance(outline, dict):
        return Shape(index, runs=_runs(place, outline, size))
    if not isinstance(outline, list) or not outline:
        found = "it has a box and no outline" if outline in (None, []) else f"segmentation is {kind_of(outline)}"
        raise MaskError(place, found, AGAIN)
    rings = []
    for ring in outline:
        if not isinstance(ring, list):
            raise MaskError(place, f"segmentation holds {kind_of(ring)}, not lists of x, y", AGAIN)
        rings.append(points_of(place, ring))
    return Shape(index, tuple(rings))


def _runs(place: str, outline: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Run lengths that add up to the picture. Raises MaskError."""
    counts = get(place, outline, "counts", (list, str))
    written = get(place, outline, "size", list)
    if written != list(size):
        raise MaskError(place, f"run lengths for {written}, but its image is {list(size)} (height, width)", AGAIN)
    try:
        runs = unpack_runs(counts) if isinstance(counts, str) else counts
    except ValueError as error:
        raise MaskError(place, f"counts: {error}", AGAIN) from error
    if any(type(run) is not int or run < 0 for run in runs) or sum(runs) != size[0] * size[1]:
        found = f"run lengths that do not add up to {size[0]}x{size[1]} pixels, or are no whole numbers from 0 on"
        raise MaskError(place, found, AGAIN)
    return np.array(runs, dtype=np.int64)


def _stacked(shapes: Sequence[tuple[bool, Shape]]) -> list[Shape]:
    """Bottom first: crowds, then from the largest to the smallest; equals stay in their order."""
    return [shape for _, shape in sorted(shapes, key=lambda one: (not one[0], -one[1].area()))]
