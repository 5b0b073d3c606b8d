"""Whatever mask files people have, the same scene gives the same plane: formats, conventions, tables, folders."""

import json

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.errors import DataError, MaskError
from tests.data.drawn import labels, photo

COLORS = [(10, 20, 30), (200, 100, 0), (0, 0, 255)]
NAMES = ("sky", "road", "car")
SCENE = labels([0, 1, 2, 1])
BINARY = labels([0, 1, 1])
FILES = ("a", "b", "c", "d")


def pictures(mask, ending: str = "png"):
    return {f"images/{name}.png": photo(n) for n, name in enumerate(FILES)} | {
        f"masks/{name}.{ending}": mask for name in FILES
    }


def target(data) -> np.ndarray:
    return data.read(data.parts["train"][0]).target


TABLES = {
    "name to colour": dict(zip(NAMES, map(list, COLORS), strict=True)),
    "name to hexadecimal": dict(zip(NAMES, ("#0a141e", "C86400", "#0000ff"), strict=True)),
    "a list": [{"name": name, "color": list(color)} for name, color in zip(NAMES, COLORS, strict=True)],
    "wrapped": {"classes": [{"name": name, "colour": list(color)} for name, color in zip(NAMES, COLORS, strict=True)]},
}


@pytest.mark.parametrize("ending", ["json", "yaml"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_of_colours(make, table, ending):
    painted = np.array(COLORS, np.uint8)[SCENE]
    data = open_dataset(make(pictures(painted) | {f"label_colors.{ending}": json.dumps(table)}))  # JSON is YAML as well
    assert data.classes.names == NAMES
    assert data.classes.colors == tuple(COLORS)
    np.testing.assert_array_equal(target(data), SCENE)


VALUES = {
    "value to name": ({"3": "road", "7": "car", "1": "sky"}, ("road", "car", "sky")),
    "name to value": ({"sky": 1, "road": 3, "car": 7}, NAMES),
    "ids": ([{"id": 3, "name": "road"}, {"id": 1, "name": "sky"}, {"id": 7, "name": "car"}], ("road", "sky", "car")),
}


@pytest.mark.parametrize(("table", "names"), VALUES.values(), ids=VALUES)
def test_tables_of_values(make, table, names):
    data = open_dataset(make(pictures(np.array([1, 3, 7], np.uint8)[SCENE]) | {"sub/classes.json": json.dumps(table)}))
    assert data.classes.names == names
    np.testing.assert_array_equal(np.array(data.classes.names)[target(data)], np.array(NAMES)[SCENE])


def test_a_list_of_names(make):
    data = open_dataset(make(pictures(SCENE) | {"classes.yml": "- sky\n- road\n- car\n"}))
    assert data.classes.names == NAMES
    np.testing.assert_array_equal(target(data), SCENE)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.json", "{", r"classes\.json: not readable: "),
        ("classes.yaml", "a: &x 1\nb: *x", r"classes\.yaml: not plain YAML \(alias"),
        ("classes.json", "3", "no table and no list"),
        ("classes.json", "[]", "nothing in it"),
        ("classes.json", '{"sky": [1, 2]}', r"sky: \[1, 2\] is no colour and no value"),
        ("classes.json", '{"sky": [1, 2, 256]}', r"sky: \[1, 2, 256\] is no colour"),
        ("classes.json", '{"sky": true}', "True is no colour and no value"),
        ("classes.json", '{"sky": [0, 0, 0], "road": [0, 0, 0]}', r"repeated colours \(0, 0, 0\)"),
        ("classes.json", '{"sky": 1, "road": [0, 0, 0]}', "1 of 2 classes have a colour"),
        ("classes.json", '["sky", "sky"]', "repeated names sky"),
        ("classes.json", '[{"title": "sky"}]', "'None' is no class's name"),
    ],
)
def test_wrong_tables_are_named_with_their_form(make, name, text, message):
    with pytest.raises(DataError, match=message):
        open_dataset(make(pictures(SCENE) | {name: text}))


CONVENTIONS = {
    "0 and 1": BINARY,
    "0 and 255": BINARY * 255,
    "one bit": Image.fromarray(BINARY * 255).convert("1"),
    "grey in three channels": np.repeat((BINARY * 255)[:, :, None], 3, axis=2),
}


@pytest.mark.parametrize("ending", ["png", "tif", "gif", "bmp"])
@pytest.mark.parametrize("mask", CONVENTIONS.values(), ids=CONVENTIONS)
def test_binary_masks_of_any_convention_and_format(make, mask, ending):
    data = open_dataset(make(pictures(mask, ending)))
    np.testing.assert_array_equal(target(data), BINARY)


@pytest.mark.parametrize(("mask", "value"), [(1 - BINARY, 1), (255 - BINARY * 255, 255)])
@pytest.mark.parametrize("ending", ["png", "tif", "gif"])
def test_inverted_masks_are_declared(make, mask, value, ending):
    said = f"classes: [{{name: ground, ids: [{value}]}}, {{name: thing, ids: [0]}}]\n"
    data = open_dataset(make(pictures(mask, ending) | {"data.yaml": said}))
    assert data.classes.names == ("ground", "thing")
    np.testing.assert_array_equal(target(data), BINARY)


@pytest.mark.parametrize("ending", ["tif", "gif"])
def test_class_numbers_in_tiff_and_gif(make, ending):
    np.testing.assert_array_equal(target(open_dataset(make(pictures(SCENE, ending)))), SCENE)


def test_a_palette_in_a_tiff_numbers_the_classes(make):
    picture = Image.fromarray(SCENE)
    picture.putpalette([value for color in COLORS for value in color])
    np.testing.assert_array_equal(target(open_dataset(make(pictures(picture, "tif")))), SCENE)


def test_a_palette_in_a_gif_says_colours_and_needs_their_table(make):
    backwards = [2, 1, 0]  # as another program may number the same colours
    pair = []
    for order in ([0, 1, 2], backwards):
        picture = Image.fromarray(np.argsort(order).astype(np.uint8)[SCENE])
        picture.putpalette([value for index in order for value in COLORS[index]])
        pair.append(picture)
    files = pictures(pair[0], "gif") | {"masks/c.gif": pair[1]}
    with pytest.raises(MaskError, match="masks hold RGB colours and there is no table"):
        open_dataset(make(files))
    data = open_dataset(make(files | {"label_colors.json": json.dumps(TABLES["name to colour"])}))
    for item in (item for items in data.parts.values() for item in items):
        np.testing.assert_array_equal(data.read(item).target, SCENE)


def test_sixteen_bit_tiff_masks(make):
    deep = np.array([0, 300, 65535], np.uint16)[SCENE]
    said = "classes: [{name: sky, ids: [0]}, {name: road, ids: [300]}, {name: car, ids: [65535]}]\n"
    np.testing.assert_array_equal(target(open_dataset(make(pictures(deep, "tif") | {"data.yaml": said}))), SCENE)


@pytest.mark.parametrize("ending", ["tif", "gif"])
def test_several_frames_are_refused(make, ending):
    root = make(pictures(BINARY, ending))
    frames = [Image.fromarray(BINARY * value) for value in (255, 128)]
    frames[0].save(root / "masks" / f"b.{ending}", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match=rf"b\.{ending}: it holds 2 frames"):
        open_dataset(root)


def test_names_that_repeat_in_deep_folders_are_kept_apart(make):
    files = {}
    for n, place in enumerate(("2024/may/x", "2024/june/x", "2025/may/x", "2025/may/y")):
        files[f"images/{place}/1.png"] = photo(n)
        files[f"masks/{place}/1.png"] = labels([0, 1] if n % 2 else [1, 0])
    data = open_dataset(make(files))
    items = [item for items in data.parts.values() for item in items]
    assert len({item.key for item in items}) == 4
    for item in items:
        assert str(item.target) == str(item.image).replace("/images/", "/masks/")


@pytest.mark.parametrize("written", ["{}", "images/{}", "{}.png", "images/{}.png", "{} 1", "\ufeff{}\r"])
def test_lists_say_which_picture_is_in_which_part(make, written):
    lists = {f"{part}.txt": "\n".join(written.format(name) for name in names) for part, names in
             (("train", "abc"), ("val", "d"))}  # fmt: skip
    if written.startswith("\ufeff"):
        lists = {name: "\ufeff" + text.replace("\ufeff", "") for name, text in lists.items()}
    data = open_dataset(make(pictures(SCENE) | lists | {"data.yaml": "splits: {train: train.txt, val: val.txt}\n"}))
    found = {part: "".join(item.key[-1] for item in items) for part, items in data.parts.items()}
    assert found == {"train": "abc", "val": "d"}
