"""CVAT's XML: forms, order, masks, parts, hostile documents, and what is refused and how."""

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.errors import DataError, MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

SIZE = (12, 16)
META = (
    "<meta><task><labels><label><name>cat</name><color>#fa3253</color><attributes/></label>"
    "<label><name>ant</name></label><label><name>ignore</name></label></labels></task></meta>"
)
SQUARE = '<polygon label="cat" occluded="0" points="2.0,2.0;6.0,2.0;6.0,6.0;2.0,6.0" z_order="0"><attribute/></polygon>'


def image(name: str, *shapes: str, more: str = "") -> str:
    return f'<image id="0" name="{name}" width="16" height="12" {more}>{"".join(shapes)}</image>'


def document(*images: str) -> str:
    head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
    return f"{head}{META}{''.join(images)}</annotations>"


def folder(make, *shapes: str):
    text = document(image("a.png", *shapes), image("images/b.png", SQUARE))
    return make({"images/a.png": photo(1), "images/b.png": photo(2), "annotations.xml": text})


def targets(data) -> dict[str, np.ndarray]:
    return {item.key: data.read(item).target for items in data.parts.values() for item in items}


def test_forms_become_class_numbers_in_the_declared_order(make):
    box = '<box label="ant" xtl="8" ytl="9" xbr="16" ybr="12" z_order="0"/>'
    void = '<box label="ignore" xtl="0" ytl="11" xbr="3" ybr="12"/>'
    data = open_dataset(folder(make, SQUARE, box, void))
    assert (data.layout, data.classes.names) == ("cvat", ("background", "cat", "ant"))
    expected = np.zeros(SIZE)
    expected[2:6, 2:6], expected[9:, 8:], expected[11, :3] = 1, 2, IGNORE
    np.testing.assert_array_equal(targets(data)["images/a"], expected)


def test_an_ellipse_is_centre_and_radii(make):
    target = targets(open_dataset(folder(make, '<ellipse label="ant" cx="8" cy="6" rx="5.2" ry="3.7"/>')))["images/a"]
    rows, columns = np.mgrid[:12, :16] + 0.5
    np.testing.assert_array_equal(target == 2, ((columns - 8) / 5.2) ** 2 + ((rows - 6) / 3.7) ** 2 < 1)


def test_higher_shapes_lie_over_lower_ones_then_later_ones(make):
    small = '<box label="ant" xtl="3" ytl="3" xbr="5" ybr="5" z_order="{}"/>'
    assert (targets(open_dataset(folder(make, SQUARE, small.format(0))))["images/a"] == 2).sum() == 4
    assert (targets(open_dataset(folder(make, small.format(0), SQUARE)))["images/a"] == 2).sum() == 0
    assert (targets(open_dataset(folder(make, small.format(1), SQUARE)))["images/a"] == 2).sum() == 4
    assert (targets(open_dataset(folder(make, SQUARE, small.format(-1))))["images/a"] == 2).sum() == 0


@pytest.mark.parametrize(("left", "top", "seed"), [(0, 0, 0), (3, 2, 1), (11, 8, 2), (11, 0, 3)])
def test_a_mask_lies_in_its_box(make, left, top, seed):
    box = np.random.default_rng(seed).random((4, 5)) < 0.5
    runs, now = [0], False
    for pixel in box.ravel().tolist():
        if pixel != now:
            runs.append(0)
            now = pixel
        runs[-1] += 1
    words = ", ".join(map(str, runs))
    mask = f'<mask label="ant" rle="{words}" left="{left}" top="{top}" width="5" height="4" z_order="0"/>'
    expected = np.zeros(SIZE, dtype=bool)
    expected[top : top + 4, left : left + 5] = box
    np.testing.assert_array_equal(targets(open_dataset(folder(make, mask)))["images/a"] == 2, expected)


def test_subsets_are_parts_and_points_are_left_out(make):
    points = '<points label="cat" points="1,1"/>'
    text = document(
        image("a.png", SQUARE, more='subset="Train"'),
        image("b.png", points, more='subset="Train"'),
        image("c.png", more='subset="Validation"'),
    )
    data = open_dataset(make({f"{name}.png": photo(n) for n, name in enumerate("abc")} | {"annotations.xml": text}))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 2, "val": 1}
    assert any("1 points and lines have no area: left out" in note for note in data.notes)


def test_masks_come_before_annotations(make):
    root = folder(make)
    make({"masks/a.png": labels([0, 1]), "masks/b.png": labels([0, 1])})
    assert open_dataset(root).layout == "folder"


CASES = {
    "two points": (
        '<polygon label="cat" points="1,2;3,4"/>',
        MaskError,
        r"polygon \(cat\): a polygon of 4 numbers",
    ),
    "text": ('<polygon label="cat" points="1,2;3,x;5,6"/>', MaskError, r"polygon \(cat\): points: could not convert"),
    "NaN": ('<polygon label="cat" points="1,2;3,nan;5,6"/>', MaskError, r"polygon \(cat\): a coordinate is nan"),
    "half a box": ('<box label="cat" xtl="1"/>', DataError, r"box \(cat\): ytl of <box> is '', not a number of pixels"),
    "far": ('<box label="cat" xtl="1e9" ytl="1" xbr="2" ybr="2"/>', DataError, r"xtl of <box> is '1e9', not a number"),
    "cuboid": (
        '<cuboid label="cat" xtl1="1"/>',
        MaskError,
        r"cuboid \(cat\): a shape of a form that is not read\. Read",
    ),
    "mask outside": (
        '<mask label="cat" rle="0,20" left="12" top="0" width="5" height="4"/>',
        MaskError,
        r"mask \(cat\): a mask of 4x5 at row 0, column 12 of 12x16",
    ),
    "mask too short": (
        '<mask label="cat" rle="0,19" left="0" top="0" width="5" height="4"/>',
        MaskError,
        r"run lengths add up to 19, not to 4x5",
    ),
    "mask of words": (
        '<mask label="cat" rle="-1,x" left="0" top="0" width="5" height="4"/>',
        MaskError,
        "a mask of 4x5",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_file_finding_and_fix(make, case):
    one, kind, message = CASES[case]
    root = folder(make, one)
    with pytest.raises(kind, match=rf"(?s)annotations\.xml, image a\.png.*{message}"):
        open_dataset(root)


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE annotations [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotations><image>&b;</image></annotations>"
)
REACHING = (
    '<!DOCTYPE annotations [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations><image>&a;</image></annotations>'
)
FILES = {
    "entities": (LAUGHS, r"annotations\.xml: it declares a document type, which no annotation needs\. Export it again"),
    "another file": (REACHING, r"annotations\.xml: it declares a document type"),
    "damaged": (document(image("a.png", SQUARE))[:-9], r"annotations\.xml: not readable XML: "),
    "deep": ("<annotations><image>" + "<a>" * 100_000, r"annotations\.xml: not readable XML: "),
    "no UTF-8": (b"<annotations><image name='\xff'/></annotations>", r"annotations\.xml: not readable XML: .*utf-8"),
    "no size": ('<annotations><image name="a.png"/></annotations>', r"names no class besides the background"),
}


@pytest.mark.parametrize("case", FILES, ids=str)
def test_a_hostile_document_is_refused(make, case):
    text, message = FILES[case]
    with pytest.raises(DataError, match=message):
        open_dataset(make({"a.png": photo(1), "annotations.xml": text}))


def test_a_picture_without_a_size_and_an_absent_one_are_named(make):
    text = document(image("a.png", SQUARE)).replace('height="12"', "")
    with pytest.raises(DataError, match=r"annotations\.xml, image a\.png: height of <image> is '', not a number"):
        open_dataset(make({"a.png": photo(1), "annotations.xml": text}))
    with pytest.raises(PairingError, match=r"image x\.png: there is no picture 'x\.png' below"):
        open_dataset(make({"annotations.xml": document(image("x.png", SQUARE))}))


def test_a_picture_of_another_size_names_both(make):
    root = folder(make, SQUARE)
    make({"images/a.png": photo(1, (24, 32))})
    with pytest.raises(MaskError, match=r"a\.png: annotations\.xml says 12x16, but the picture is 24x32"):
        targets(open_dataset(root))


def test_two_files_are_refused(make):
    root = folder(make, SQUARE)
    make({"more.xml": document(image("a.png"))})
    with pytest.raises(PairingError, match=r"several annotation files: annotations\.xml, more\.xml\. Keep one"):
        open_dataset(root)


def test_a_file_that_is_too_large_is_not_read(make, monkeypatch):
    monkeypatch.setattr("segtrial.data.cvat.LARGEST", 100)
    with pytest.raises(DataError, match=r"annotations\.xml: \d+ bytes; at most 100 are read"):
        open_dataset(folder(make, SQUARE))
