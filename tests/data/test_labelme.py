"""Labelme annotations: forms, labels, order, where pictures lie, and what is refused and how."""

import json

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.errors import DataError, MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

SIZE = (12, 16)


def shape(label: str, points: object, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def written(image: str, *shapes: object, **more: object) -> str:
    table = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": "QUJD" * 9}
    return json.dumps(table | {"imageHeight": 12, "imageWidth": 16} | more)


SQUARE = shape("cat", [[2, 2], [6, 2], [6, 6], [2, 6]])


def pair(make, *shapes: object, **more: object):
    files = {"a.png": photo(1), "b.png": photo(2), "a.json": written("a.png", *shapes, **more)}
    return make(files | {"b.json": written("b.png", SQUARE)})


def targets(data) -> dict[str, np.ndarray]:
    return {item.key: data.read(item).target for items in data.parts.values() for item in items}


def test_forms_become_class_numbers_in_alphabetical_order(make):
    rectangle = shape("ant", [[16, 12], [8, 9]], "rectangle")
    data = open_dataset(pair(make, SQUARE, rectangle))
    assert (data.layout, data.classes.names) == ("labelme", ("background", "ant", "cat"))
    expected = np.zeros(SIZE)
    expected[2:6, 2:6] = 2
    expected[9:, 8:] = 1
    np.testing.assert_array_equal(targets(data)["a"], expected)
    assert any("pixels under no shape are class 0, background" in note for note in data.notes)


def test_a_circle_is_its_centre_and_a_point_on_it(make):
    target = targets(open_dataset(pair(make, shape("cat", [[8, 6], [8, 10.2]], "circle"))))["a"]
    rows, columns = np.mgrid[:12, :16] + 0.5
    np.testing.assert_array_equal(target > 0, (columns - 8) ** 2 + (rows - 6) ** 2 < 4.2**2)


def test_later_shapes_lie_over_earlier_ones(make):
    small = shape("ant", [[3, 3], [5, 3], [5, 5], [3, 5]])
    assert (targets(open_dataset(pair(make, SQUARE, small)))["a"] == 1).sum() == 4
    assert (targets(open_dataset(pair(make, small, SQUARE)))["a"] == 1).sum() == 0


def test_labels_of_labelme_itself(make):
    ground, ignored = shape("_background_", [[2, 2], [4, 2], [4, 6]]), shape("__ignore__", [[9, 0], [16, 0], [16, 9]])
    data = open_dataset(pair(make, SQUARE, ground, ignored))
    assert data.classes.names == ("background", "cat")
    target = targets(data)["a"]
    assert (target[2, 3], target[5, 2], target[0, 15], target[0, 0]) == (0, 1, IGNORE, 0)


def test_what_is_left_out_is_said(make):
    root = pair(make, SQUARE, shape("cat", [[1, 1]], "point"), shape("way", [[1, 1], [2, 2]], "linestrip"))
    make({"c.png": photo(3), "classes.json": '{"cat": 1}'})
    data = open_dataset(root)
    assert data.classes.names == ("background", "cat")
    assert sorted(targets(data)) == ["a", "b"]
    for note in ("2 points and lines have no area: left out", "1 pictures have no JSON: left out", "1 JSON files are"):
        assert any(note in said for said in data.notes), note


def test_old_files_without_a_form_hold_polygons(make):
    old = {key: value for key, value in SQUARE.items() if key != "shape_type"}
    assert (targets(open_dataset(pair(make, old)))["a"] == 1).sum() == 16


def test_json_in_a_folder_of_its_own_and_parts(make):
    files = {f"{part}/images/{name}.png": photo(n) for n, part in enumerate(("train", "val")) for name in "ab"}
    files |= {
        f"{part}/json/{name}.json": written(f"..\\images\\{name}.png", SQUARE)
        for part in ("train", "val")
        for name in "ab"
    }
    # both parts have pictures of one name: the part's folder is no part of imagePath, so they cannot be told apart
    with pytest.raises(PairingError, match=r"several pictures are called .*images.*a\.png'"):
        open_dataset(make(files))


def test_parts_by_folders(make):
    files = {}
    for n, (part, name) in enumerate((("train", "a"), ("train", "b"), ("val", "a"))):
        files |= {f"{part}/{name}.png": photo(n), f"{part}/{name}.json": written(f"{name}.png", SQUARE)}
    data = open_dataset(make(files))
    keys = {part: [item.key for item in items] for part, items in data.parts.items()}
    assert keys == {"train": ["train/a", "train/b"], "val": ["val/a"]}


def test_masks_come_before_annotations(make):
    root = pair(make, SQUARE)
    make({"a_mask.png": labels([0, 1]), "b_mask.png": labels([0, 1])})
    assert open_dataset(root).layout == "folder"


CASES = {
    "two points": (
        shape("cat", [[1, 2], [3, 4]]),
        MaskError,
        r"a\.json, shape 0 \(cat\): a polygon of 4 numbers \(2 p",
    ),
    "three numbers": (shape("cat", [[1, 2, 3]] * 4), MaskError, r"shape 0 \(cat\): a point is not a list of x and y"),
    "numbers alone": (shape("cat", [1, 2, 3, 4, 5, 6]), MaskError, r"a point is not a list of x and y"),
    "text": (shape("cat", [["1", 2]] * 3), MaskError, r"shape 0 \(cat\): a coordinate is text"),
    "far": (shape("cat", [[1e9, 2]] * 3), MaskError, r"a coordinate is 1000000000\.0\. Coordinates are pixels, up to"),
    "no points": ({"label": "cat"}, DataError, r"shape 0 \(cat\): points is missing, not a list"),
    "no label": ({"points": []}, DataError, r"a\.json, shape 0: label is missing, not text"),
    "not a table": ("cat", DataError, r"a\.json, shape 0: it is text, not a table"),
    "long circle": (shape("cat", [[1, 2]] * 3, "circle"), MaskError, r"a circle of 3 points\. Draw it as a polygon"),
    "short rectangle": (shape("cat", [[1, 2]], "rectangle"), MaskError, r"a polygon of 2 numbers \(1 points\)"),
    "mask": (
        shape("cat", [[1, 2], [3, 4]], "mask"),
        MaskError,
        r"a mask of 2 points.*read are polygon, rectangle, cir",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_file_finding_and_fix(make, case):
    one, kind, message = CASES[case]
    root = pair(make, one)
    with pytest.raises(kind, match=f"(?s){message}"):
        open_dataset(root)


FILES = {
    "damaged": (lambda text: text[:-5], DataError, r"a\.json: not readable JSON"),
    "NaN": (
        lambda text: text.replace("[2, 2]", "[NaN, 2]"),
        DataError,
        r"a\.json: not readable JSON: NaN is no number",
    ),
    "no size": (lambda text: text.replace("imageHeight", "rows"), DataError, r"a\.json: imageHeight is missing"),
    "absent": (
        lambda text: text.replace("a.png", "x.png"),
        PairingError,
        r"a\.json: there is no picture 'x\.png' below",
    ),
    "nameless": (lambda text: text.replace("a.png", "/"), PairingError, r"a\.json: there is no picture '/' below"),
    "a way out": (lambda text: text.replace("a.png", "../../a.txt"), PairingError, r"there is no picture '\.\./\.\./a"),
    "twice": (
        lambda text: text.replace("a.png", "b.png"),
        PairingError,
        r"b\.png is described twice.*a\.json, .*b\.json",
    ),
}


@pytest.mark.parametrize("case", FILES, ids=str)
def test_a_broken_file_is_named(make, case):
    change, kind, message = FILES[case]
    root = pair(make, SQUARE)
    (root / "a.json").write_text(change((root / "a.json").read_text()))
    with pytest.raises(kind, match=f"(?s){message}"):
        open_dataset(root)


def test_a_picture_of_another_size_names_both(make):
    data = open_dataset(pair(make, SQUARE, imageHeight=24, imageWidth=32))
    with pytest.raises(MaskError, match=r"a\.png: a\.json says 24x32, but the picture is 12x16"):
        targets(data)
