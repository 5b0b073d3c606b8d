"""Pascal VOC: lists, palettes, classes and void, and what is refused and how."""

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.voc import CLASSES, color_of
from segtrial.errors import DataError, MaskError, PairingError, SplitError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

NAMES = ["2007_000032", "2007_000039", "2008_000123"]
VALUES = [0, 7, 20, 255]


def palette_mask(values: list[int] = VALUES) -> Image.Image:
    mask = Image.fromarray(labels(values)).convert("P")
    mask.putpalette([channel for index in range(256) for channel in color_of(index)])
    return mask


def voc(make, names=NAMES, mask=palette_mask, lists=None, below=""):
    files = {f"{below}JPEGImages/{name}.jpg": photo(n) for n, name in enumerate(names)}
    files |= {f"{below}JPEGImages/2009_00000{n}.jpg": photo(n) for n in range(4)}  # without masks, as most are
    files |= {f"{below}SegmentationClass/{name}.png": mask() for name in names}
    lists = lists or {"train": "\n".join(names[:2]) + "\n", "val": names[2], "trainval": "\n".join(names)}
    return make(files | {f"{below}ImageSets/Segmentation/{part}.txt": text for part, text in lists.items()})


@pytest.mark.parametrize("below", ["", "VOC2012/", "VOCdevkit/VOC2012/"])
def test_lists_are_parts_and_255_is_void(make, below):
    data = open_dataset(voc(make, below=below))
    assert (data.layout, len(data.classes), data.classes.names[15]) == ("voc", 21, "person")
    stems = {part: [item.image.stem for item in items] for part, items in data.parts.items()}
    assert stems == {"train": NAMES[:2], "val": NAMES[2:]}
    target = data.read(data.parts["val"][0]).target
    np.testing.assert_array_equal(target, labels([0, 7, 20, IGNORE]))
    for note in ("4 pictures are in no list that is read: left out", "train.txt (2), val.txt (1)", "255 (outlines)"):
        assert any(note in said for said in data.notes), note


def test_colours_are_those_of_the_challenge():
    # from the development kit's table
    known = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    assert {index: CLASSES.colors[index] for index in known} == known
    assert color_of(255) == (224, 224, 192)


def test_masks_saved_as_colours_give_the_same_numbers(make):
    data = open_dataset(voc(make, mask=lambda: palette_mask().convert("RGB")))
    np.testing.assert_array_equal(data.read(data.parts["train"][0]).target, labels(VALUES))


def test_one_list_is_split(make):
    names = [f"2007_00{n:04}" for n in range(10)]
    data = open_dataset(voc(make, names, lists={"trainval": "\n".join(names)}))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 8, "val": 2}


def test_a_test_part_without_masks_is_left_out(make):
    lists = {"train": "\n".join(NAMES[:2]), "val": NAMES[2], "test": "2009_000000\n2009_000001"}
    data = open_dataset(voc(make, lists=lists))
    assert sorted(data.parts) == ["train", "val"]
    assert any("the test part has no masks: its 2 pictures are left out" in note for note in data.notes)


def test_other_sets_have_their_own_classes(make):
    table = "# label:color_rgb:parts:actions\nbackground:0,0,0::\nnut:250,50,83::\nvoid:1,2,3::\n"
    painted = np.zeros((12, 16, 3), np.uint8)
    painted[:4], painted[4:6] = (250, 50, 83), (1, 2, 3)
    names = ["x", "y"]
    root = voc(make, names, mask=lambda: Image.fromarray(painted), lists={"default": "x\ny\n"})
    make({"labelmap.txt": table})
    data = open_dataset(root)
    assert data.classes.names == ("background", "nut")
    target = data.read(data.parts["train"][0]).target
    assert (target[0, 0], target[5, 0], target[9, 0]) == (1, IGNORE, 0)


def test_other_sets_without_a_table_are_numbered(make):
    data = open_dataset(voc(make, ["x", "y", "z"], lambda: palette_mask([0, 1, 2, 255])))
    assert data.classes.names == ("class_0", "class_1", "class_2")


def test_a_value_that_is_no_class_names_the_file(make):
    data = open_dataset(voc(make, mask=lambda: palette_mask([0, 21])))
    with pytest.raises(MaskError, match=r"SegmentationClass/2007_000032\.png: values that stand for no class: 21"):
        data.read(data.parts["train"][0])


def test_without_lists_it_is_a_folder_as_any_other(make):
    files = {f"JPEGImages/{name}.jpg": photo(n) for n, name in enumerate("ab")}
    assert open_dataset(make(files | {f"SegmentationClass/{n}.png": labels([0, 1]) for n in "ab"})).layout == "folder"


LISTS = {
    "no file": (
        {"train": "2007_000032\nabsent", "val": "2007_000039"},
        PairingError,
        r"Segmentation: 1 names of the train list have no file in JPEGImages: absent\. Add the files, or take",
    ),
    "no mask": (
        {"train": "2007_000032\n2009_000001", "val": "2007_000039"},
        PairingError,
        r"1 names of the train list have no file in SegmentationClass: 2009_000001",
    ),
    "in both": (
        {"train": "2007_000032\n2007_000039", "val": "2007_000039"},
        SplitError,
        r"1 names are in two lists: 2007_000039 \(train\.txt and val\.txt\)\. Keep each in one",
    ),
    "empty": ({"train": "\n", "val": "2007_000039"}, DataError, r"train\.txt: no name in it\. Write one name a line"),
    "several": ({"one": "2007_000032", "two": "2007_000039"}, SplitError, r"no train\.txt, and one\.txt, two\.txt"),
}


@pytest.mark.parametrize("case", LISTS, ids=str)
def test_a_wrong_list_is_named(make, case):
    lists, kind, message = LISTS[case]
    root = voc(make, lists=lists)
    with pytest.raises(kind, match=message):
        open_dataset(root)


def test_a_list_that_is_no_text_is_named(make):
    root = voc(make)
    (root / "ImageSets/Segmentation/train.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"train\.txt: not UTF-8 text"):
        open_dataset(root)


@pytest.mark.parametrize("line", ["nut;1,2,3", "nut:1,2,256::", "nut:1,2::"])
def test_a_wrong_labelmap_names_the_line(make, line):
    root = voc(make)
    make({"labelmap.txt": f"# comment\nbackground:0,0,0::\n{line}\n"})
    with pytest.raises(DataError, match=r"labelmap\.txt:3: cannot read 'nut.*Write \"name:red,green,blue::\""):
        open_dataset(root)
