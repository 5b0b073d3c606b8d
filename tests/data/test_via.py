"""VIA regions: forms, attributes, parts, and what is refused and how."""

import json

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.errors import DataError, MaskError, PairingError
from tests.data.drawn import labels, photo

SIZE = (12, 16)
SQUARE = {"name": "polygon", "all_points_x": [2, 6, 6, 2], "all_points_y": [2, 2, 6, 6]}


def region(form: object, **attributes: object) -> dict:
    return {"shape_attributes": form, "region_attributes": attributes}


def written(regions: dict[str, object], project: bool = True) -> str:
    table = {
        f"{name}{n}": {"filename": name, "size": n, "regions": one, "file_attributes": {}}
        for n, (name, one) in enumerate(regions.items())
    }
    return json.dumps({"_via_settings": {}, "_via_img_metadata": table} if project else table)


def folder(make, *regions: object, project: bool = True):
    second = [region(SQUARE, **{"class": "cat"})]
    text = written({"a.png": list(regions), "b.png": second}, project)
    return make({"a.png": photo(1), "b.png": photo(2), "via.json": text})


def targets(data) -> dict[str, np.ndarray]:
    return {item.key: data.read(item).target for items in data.parts.values() for item in items}


@pytest.mark.parametrize("project", [True, False])
def test_forms_become_class_numbers(make, project):
    box = region({"name": "rect", "x": 8, "y": 9, "width": 8, "height": 3}, **{"class": "ant"})
    data = open_dataset(folder(make, region(SQUARE, **{"class": "cat"}), box, project=project))
    assert (data.layout, data.classes.names) == ("via", ("background", "ant", "cat"))
    expected = np.zeros(SIZE)
    expected[2:6, 2:6], expected[9:, 8:] = 2, 1
    np.testing.assert_array_equal(targets(data)["a"], expected)


def test_circles_and_turned_ellipses(make):
    round_ = region({"name": "circle", "cx": 8, "cy": 6, "r": 4.2}, **{"class": "cat"})
    rows, columns = np.mgrid[:12, :16] + 0.5
    expected = (columns - 8) ** 2 + (rows - 6) ** 2 < 4.2**2
    np.testing.assert_array_equal(targets(open_dataset(folder(make, round_)))["a"] > 0, expected)
    form = {"name": "ellipse", "cx": 8, "cy": 6, "rx": 5.2, "ry": 1.7}
    for theta in (0.0, np.pi / 2, 0.6):
        target = targets(open_dataset(folder(make, region(form | {"theta": theta}, **{"class": "cat"}))))["a"]
        along = (columns - 8) * np.cos(theta) + (rows - 6) * np.sin(theta)
        across = (rows - 6) * np.cos(theta) - (columns - 8) * np.sin(theta)
        np.testing.assert_array_equal(target > 0, (along / 5.2) ** 2 + (across / 1.7) ** 2 < 1)


def test_parts_by_folders_numbered_regions_and_no_attributes(make):
    files = {}
    for seed, (part, name) in enumerate((("train", "a"), ("train", "b"), ("val", "a"))):
        files[f"{part}/{name}.png"] = photo(seed)
    one = {"0": {"shape_attributes": SQUARE, "region_attributes": {}}}  # as VIA 1 writes it
    files["train/via_region_data.json"] = written({"a.png": one, "b.png": one}, project=False)
    files["val/via_region_data.json"] = written({"a.png": one}, project=False)
    data = open_dataset(make(files))
    assert data.classes.names == ("background", "object")
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 2, "val": 1}
    assert (targets(data)["val/a"] == 1).sum() == 16


def test_one_of_several_attributes_is_the_class(make):
    two = region(SQUARE, **{"class": "cat", "age": "9"})
    assert open_dataset(folder(make, two)).classes.names == ("background", "cat")
    ticked = region(SQUARE, **{"class": {"dog": True, "cat": False}})
    assert open_dataset(folder(make, ticked)).classes.names == ("background", "cat", "dog")


def test_points_are_left_out_and_counted(make):
    data = open_dataset(folder(make, region({"name": "point", "cx": 1, "cy": 1}, **{"class": "dot"})))
    assert data.classes.names == ("background", "cat")
    assert any("1 points and lines have no area: left out" in note for note in data.notes)


def test_masks_come_before_annotations(make):
    root = folder(make)
    make({"a_mask.png": labels([0, 1]), "b_mask.png": labels([0, 1])})
    assert open_dataset(root).layout == "folder"


CAT = {"class": "cat"}
CASES = {
    "two points": (
        region({"name": "polygon", "all_points_x": [1, 2], "all_points_y": [1, 2]}, **CAT),
        MaskError,
        r"via\.json, a\.png0, region 0: a polygon of 4 numbers \(2 points\)",
    ),
    "lone x": (
        region({"name": "polygon", "all_points_x": [1, 2, 3], "all_points_y": [1]}, **CAT),
        MaskError,
        "3 x and 1",
    ),
    "text": (region(SQUARE | {"all_points_x": ["1"] * 4}, **CAT), MaskError, r"region 0: a coordinate is text"),
    "no radius": (
        region({"name": "circle", "cx": 1, "cy": 1}, **CAT),
        DataError,
        r"region 0: r is missing, not a whole",
    ),
    "turned too far": (
        region({"name": "ellipse", "cx": 1, "cy": 1, "rx": 2, "ry": 3, "theta": 10**400}, **CAT),
        MaskError,
        r"region 0: a coordinate is 1000",
    ),
    "unknown": (region({"name": "cloud"}, **CAT), MaskError, r"a region of the form 'cloud'\. Draw it as a polygon"),
    "no form": ({"region_attributes": {}}, DataError, r"region 0: shape_attributes is missing, not a table"),
    "not a table": ("cat", DataError, r"region 0: it is text, not a table"),
    "no class": (region(SQUARE, **{"class": ""}), DataError, r"region 0: class is ''\. Give each region one class"),
    "two classes": (
        region(SQUARE, **{"class": {"cat": True, "dog": True}}),
        DataError,
        r"region 0: class is .*Give each region one class",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_file_finding_and_fix(make, case):
    one, kind, message = CASES[case]
    root = folder(make, one)
    with pytest.raises(kind, match=f"(?s){message}"):
        open_dataset(root)


def test_attributes_that_could_all_be_the_class_are_listed(make):
    text = written({"a.png": [region(SQUARE, hue="red", kind="cat")]})
    with pytest.raises(DataError, match=r"several attributes: hue, kind\. Rename the one that counts: class"):
        open_dataset(make({"a.png": photo(1), "via.json": text}))


def test_an_absent_picture_is_named(make):
    root = folder(make)
    (root / "via.json").write_text((root / "via.json").read_text().replace('"a.png"', '"c.png"'))
    with pytest.raises(PairingError, match=r"via\.json, a\.png0: there is no picture 'c\.png' below"):
        open_dataset(root)
