"""A class table is checked when it is made, and comes back from JSON as it went."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from segtrial.classes import VOID_COLOR, Classes
from segtrial.errors import DataError
from segtrial.shapes import IGNORE, MOST_CLASSES

FACE = Classes(("skin", "left eye", "right eye", "nose"), ((9, 9, 9), (1, 0, 0), (0, 1, 0), (0, 0, 1)), ((1, 2),))


def test_json_and_back():
    assert Classes.from_json(json.loads(json.dumps(FACE.to_json()))) == FACE
    assert Classes.from_json({"names": ["a"], "colors": [[1, 2, 3]]}) == Classes(("a",), ((1, 2, 3),))


def test_a_flip_exchanges_the_pairs_and_two_flips_nothing():
    assert FACE.mirrored() == (0, 2, 1, 3)
    assert [FACE.mirrored()[index] for index in FACE.mirrored()] == [0, 1, 2, 3]
    assert Classes.numbered(3).mirrored() == (0, 1, 2)


def test_the_palette_is_what_a_png_shows():
    labels = np.array([[0, 3, IGNORE]], np.uint8)
    picture = Image.fromarray(labels)
    picture.putpalette(FACE.palette())
    held = io.BytesIO()
    picture.save(held, "PNG")
    shown = np.asarray(Image.open(held).convert("RGB"))
    assert shown[0].tolist() == [[9, 9, 9], [0, 0, 1], list(VOID_COLOR)]


@pytest.mark.parametrize("count", [1, 2, 11, 32, MOST_CLASSES])
def test_numbered_classes_have_names_and_colours_of_their_own(count):
    table = Classes.numbered(count)
    assert len(table) == len(set(table.names)) == count
    assert all(0 <= channel <= 255 for color in table.colors for channel in color)
    assert len(table.palette()) == 768
    if count <= 32:
        assert len(set(table.colors)) == count
        assert VOID_COLOR not in table.colors


def test_neighbouring_colours_are_far_apart():
    colors = np.array(Classes.numbered(20).colors, float)
    assert np.linalg.norm(np.diff(colors, axis=0), axis=1).min() > 60  # of 442


def test_background_is_dark_only_where_it_is_called_so():
    assert max(Classes.named(["background", "cat"]).colors[0]) < 64
    assert max(Classes.named(["cat", "background"]).colors[0]) > 128


@pytest.mark.parametrize(
    ("names", "colors", "swaps", "message"),
    [
        ((), (), (), "0 classes. Declare 1 to 255"),
        (tuple(map(str, range(256))), ((0, 0, 0),) * 256, (), "256 classes"),
        (("a", "b"), ((0, 0, 0),), (), "2 names but 1 colours. Give each class one colour"),
        (("a", "b", "a"), ((0, 0, 0),) * 3, (), r"repeated names \['a'\]. Give each class a name of its own"),
        (("a", "b"), ((0, 0, 0),) * 2, ((0, 2),), r"swaps \(\(0, 2\),\). Use indices 0 to 1"),
    ],
)
def test_a_table_that_cannot_be_is_refused(names, colors, swaps, message):
    with pytest.raises(DataError, match=f"class table: {message}"):
        Classes(names, colors, swaps)


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"names": ["a"]},
        {"names": ["a"], "colors": [[1, 2]]},
        {"names": ["a"], "colors": ["red"]},
        {"names": ["a"], "colors": [[1, 2, 3]], "swaps": [0]},
    ],
    ids=str,
)
def test_json_of_another_form_is_refused(table):
    with pytest.raises(DataError, match=r"class table: .*\. It needs names and colors \(\[r, g, b\] each\)"):
        Classes.from_json(table)
