"""Folders of every layout: what pairs with what, which classes there are, and what the user is told."""

import os
import pickle

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.tables import read_table
from segtrial.errors import DataError, DataNotFound, MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

TWO = (photo(1), labels([0, 1, 2]))
LAYOUTS = {
    "two folders": ("images/{}.jpg", "masks/{}.png"),
    "labels": ("img/{}.webp", "labels/{}.png"),
    "suffix": ("images/{}.jpg", "labels/{}_L.png"),
    "annotations": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    "trimaps": ("images/{}.jpg", "annotations/trimaps/{}.png"),
    "unnamed images": ("pictures of me/{}.jpg", "Ground Truth/{}_gt.png"),
    "flat": ("{}.jpg", "{}_mask.png"),
    "flat, both endings": ("{}_sat.jpg", "{}_mask.png"),
    "folders, both endings": ("images/{}_sat.jpg", "masks/{}_seg.png"),
    "upper case": ("images/{}.JPG", "masks/{}.PNG"),
    "cityscapes": ("leftImg8bit/x/{}_leftImg8bit.png", "gtFine/x/{}_gtFine_labelIds.png"),
}
PARTED = {
    "camvid": ("train/{}.png", "trainannot/{}.png", "val/{}.png", "valannot/{}.png"),
    "fasseg": ("Train_RGB/{}.png", "Train_Labels/{}.png", "Val_RGB/{}.png", "Val_Labels/{}.png"),
    "part first": ("train/images/{}.png", "train/masks/{}.png", "valid/images/{}.png", "valid/masks/{}.png"),
    "part last": ("images/training/{}.png", "gt/training/{}.png", "images/validation/{}.png", "gt/validation/{}.png"),
    "flat in parts": ("train/{}.jpg", "train/{}_mask.png", "val/{}.jpg", "val/{}_mask.png"),
}


def fill(names, patterns):
    image, mask = patterns
    return {image.format(n): photo(i) for i, n in enumerate(names)} | {mask.format(n): TWO[1] for n in names}


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_layouts_without_parts(make, layout):
    names = ["rose", "tulip 2", "ünï_côde", "a_b-c.d", "lily"]
    data = open_dataset(make(fill(names, LAYOUTS[layout])))
    items = [*data.parts["train"], *data.parts["val"]]
    assert len(items) == 5
    assert data.classes.names == ("class_0", "class_1", "class_2")
    for item in items:
        assert data.read(item).target.max() == 2
        stem = item.image.stem
        core = next(name for name in names if stem.startswith(name))
        assert item.target.stem.startswith(core)
        assert item.key == item.image.relative_to(data.root).with_suffix("").as_posix() if "." not in stem else True


@pytest.mark.parametrize("layout", PARTED, ids=str)
def test_layouts_with_parts(make, layout):
    train, val = PARTED[layout][:2], PARTED[layout][2:]
    # both parts use the same names: a pair must not reach over
    folder = make(fill(["p", "q", "r"], train) | fill(["p", "q"], val))
    data = open_dataset(folder)
    assert {name: len(items) for name, items in data.parts.items()} == {"train": 3, "val": 2}
    for item in (*data.parts["train"], *data.parts["val"]):
        assert item.image.relative_to(folder).parts[0][:2] == item.target.relative_to(folder).parts[0][:2] or (
            item.image.parent.name[:2] == item.target.parent.name[:2]
        )


def test_an_image_and_its_mask_are_read_as_written(make):
    mask = labels([0, 1, 2, 255])
    data = open_dataset(
        make({"images/a.png": photo(1), "masks/a.png": mask, "images/b.png": photo(2), "masks/b.png": mask})
    )
    sample = data.read(data.parts["train"][0])
    seed = {"images/a": 1, "images/b": 2}[sample.key]
    np.testing.assert_array_equal(sample.image, photo(seed).transpose(2, 0, 1))
    np.testing.assert_array_equal(sample.target, mask)
    assert any("value 255 (25.0 % of the pixels) counts nowhere" in note for note in data.notes)


def test_readers_can_be_sent_to_another_process(make):
    data = open_dataset(make(fill(["a", "b"], LAYOUTS["flat"])))
    item = data.parts["train"][0]
    again = pickle.loads(pickle.dumps((data.read, data.fingerprint)))
    np.testing.assert_array_equal(again[0](item).image, data.read(item).image)
    assert again[1](item) == data.fingerprint(item)


def test_junk_is_ignored_and_counted(make):
    junk = {"images/.DS_Store": "x", "masks/._a.png": "x", "Thumbs.db": "x", "__MACOSX/images/a.png": "x"}
    data = open_dataset(make(fill(["a", "b"], LAYOUTS["two folders"]) | junk))
    assert any(note.startswith("4 hidden or junk files") for note in data.notes)


def test_linked_folders_are_followed_once(make):
    root = make(fill(["a", "b"], LAYOUTS["two folders"]))
    os.rename(root / "images", root.parent / "elsewhere")
    (root / "images").symlink_to(root.parent / "elsewhere")
    (root.parent / "elsewhere" / "loop").symlink_to(root)
    assert len(open_dataset(root).parts["train"]) == 1


def test_grey_beside_colour_is_read_as_rgb(make):
    files = fill(["a", "b", "c"], ("images/{}.png", "masks/{}.png")) | {"images/a.png": photo(5, channels=1)}
    data = open_dataset(make(files))
    assert {data.read(item).image.shape[0] for item in data.parts["train"]} == {3}
    assert any("1 of 3 images are grey" in note for note in data.notes)


def test_grey_images_have_one_channel(make):
    files = {f"images/{n}.png": photo(n, channels=1) for n in range(3)} | {f"masks/{n}.png": TWO[1] for n in range(3)}
    data = open_dataset(make(files))
    np.testing.assert_array_equal(
        data.read(data.parts["val"][0]).image[0], photo(int(data.parts["val"][0].key[-1]), channels=1)
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("label_colors.txt", "255 0 0\tsky\n0 255 0\t\tthe road\n\n0 0 0\tVoid\n"),
        ("class_dict.csv", "name,r,g,b\nsky,255,0,0\nthe road, 0,255,0\r\nVoid,0,0,0"),
    ],
)
def test_tables_of_colours(make, name, text):
    painted = np.zeros((2, 3, 3), np.uint8)
    painted[0, 0] = (255, 0, 0)
    painted[0, 1] = (0, 255, 0)
    files = {f"images/{n}.png": photo(n, (2, 3)) for n in b"ab"} | {f"masks/{n}.png": painted for n in b"ab"}
    data = open_dataset(make(files | {name: "\ufeff" + text}))
    assert data.classes.names == ("sky", "the road")
    assert data.classes.colors == ((255, 0, 0), (0, 255, 0))
    target = data.read(data.parts["train"][0]).target
    np.testing.assert_array_equal(target, [[0, 1, IGNORE], [IGNORE] * 3])
    assert any("Void count nowhere" in note for note in data.notes)


def test_names_without_colours_and_a_flip_that_swaps(make):
    data = open_dataset(make(fill(["a", "b"], LAYOUTS["two folders"]) | {"classes.txt": "face\nleft_eye\nright_eye\n"}))
    assert data.classes.names == ("face", "left_eye", "right_eye")
    assert data.classes.mirrored() == (0, 2, 1)
    assert any("left_eye/right_eye" in note for note in data.notes)


def test_a_table_that_says_nothing_is_an_error(make):
    root = make({"class_dict.csv": "name,r,g,b\nsky,1,2\n", "label_colors.txt": "1 2 3 sky\nroad 4 5 6\n"})
    with pytest.raises(DataError, match=r"class_dict\.csv:2: cannot read 'sky,1,2'\. Write \"name,r,g,b\""):
        read_table(root / "class_dict.csv")
    with pytest.raises(DataError, match=r"label_colors\.txt:2: cannot read 'road 4 5 6'"):
        read_table(root / "label_colors.txt")


def test_several_annotators_are_not_chosen_among(make):
    files = fill(["01L", "01R", "02L"], ("{}.jpg", "{}_1st.png")) | {
        f"{n}_2nd.png": TWO[1] for n in ("01L", "01R", "02L")
    }
    root = make(files)
    with pytest.raises(PairingError, match=r"suffixes _1st, _2nd\. Choose one in .*data\.yaml: \"mask_suffix: _1st\""):
        open_dataset(root)
    (root / "data.yaml").write_text("mask_suffix: _2nd\n")
    data = open_dataset(root)
    assert all(item.target.name.endswith("_2nd.png") for item in data.parts["train"])
    assert {item.group for item in (*data.parts["train"], *data.parts["val"])} == {"01", "02"}


def test_sources_that_are_not_there(tmp_path, make):
    make({"a.txt": "x"})
    with pytest.raises(DataNotFound, match=r"sett: there is no such file or folder\. Did you mean 'set'\?"):
        open_dataset(tmp_path / "sett")
    with pytest.raises(DataNotFound, match=r"a\.txt: not a folder"):
        open_dataset(tmp_path / "set" / "a.txt")
    with pytest.raises(
        DataNotFound, match=r"set: no picture below it \(1 \.txt\)\. Understood are: images/ and masks/"
    ):
        open_dataset(tmp_path / "set")


def test_real_colours_of_camseq(real):
    data = open_dataset(real("camseq01"))
    assert len(data.classes) == 31  # 32 and Void
    assert [len(data.parts[name]) for name in ("train", "val")] == [70, 20]
    assert max(item.key for item in data.parts["train"]) < min(item.key for item in data.parts["val"])


def test_real_faces_need_a_description(real):
    with pytest.raises(MaskError, match=r"no table of class colours.*\[255, 255, 0\] 4\d\.\d %.*data\.yaml"):
        open_dataset(real("fasseg_v2"))


def test_real_palettes(real):
    data = open_dataset(real("celebamask19_256"))
    assert len(data.classes) == 19
    assert sum(len(items) for items in data.parts.values()) == 1000


def test_annotations_of_an_unknown_tool_are_named(make):
    root = make({"a.png": photo(1), "notes.json": '{"objects": [{"segmentation": [[1, 2, 3]]}]}'})
    with pytest.raises(PairingError, match=r"notes\.json: 1 image and no masks.*Read are COCO, Labelme, VIA and CVAT"):
        open_dataset(root)


def test_pictures_come_back_through_every_lossless_format(make):
    pixels = photo(3)
    files = {f"images/{kind}.{kind}": pixels for kind in ("png", "bmp", "tif")} | {
        f"masks/{kind}.png": TWO[1] for kind in ("png", "bmp", "tif", "webp")
    }
    root = make(files)
    Image.fromarray(pixels).save(root / "images/webp.webp", lossless=True)
    data = open_dataset(root)
    for item in (*data.parts["train"], *data.parts["val"]):
        np.testing.assert_array_equal(data.read(item).image, pixels.transpose(2, 0, 1))
