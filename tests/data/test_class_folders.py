"""Folders of classes: which class a picture has, which parts there are, and what is refused and how."""

import os
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.datasets import ImageFolder

from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, ImageError, PairingError
from tests.data.drawn import photo

LAYOUTS = {  # of each picture: its file, its part ("" if there are none), its class
    "plain": [("{}/{}.png", "")],
    "nested": [("{}/a/b/{}.png", "")],
    "parts": [("train/{}/{}.png", "train"), ("val/{}/{}.png", "val"), ("test/{}/{}.png", "test")],
    "long names": [("Training/{}/{}.png", "train"), ("Validation/{}/{}.png", "val")],
    "twice": [("seg_train/seg_train/{}/{}.png", "train"), ("seg_test/seg_test/{}/{}.png", "test")],
    "two folders of one part": [("train/{}/{}.png", "train"), ("val/{}/{}.png", "val"), ("valid/{}/{}.png", "val")],
}
CLASSES = ["10", "2", "Zebra", "a cat", "tür"]  # in the order of their characters


def fill(layout, classes=CLASSES, each=2):
    cases = [(pattern, name, n) for pattern, _ in LAYOUTS[layout] for name in classes for n in range(each)]
    return {pattern.format(name, n): photo(seed) for seed, (pattern, name, n) in enumerate(cases)}


def classes_of(root, **options):
    return open_dataset(root, content="classes", **options)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_the_plane_is_the_number_of_the_folder(make, layout):
    files = fill(layout)
    data = classes_of(make(files))
    assert data.classes.names == tuple(CLASSES)
    items = [item for members in data.parts.values() for item in members]
    assert len(items) == len(files)
    for item in items:
        place = item.image.relative_to(data.root).as_posix()
        name = next(name for name in place.split("/") if name in CLASSES)
        sample = data.read(item)
        np.testing.assert_array_equal(sample.image, files[place].transpose(2, 0, 1))
        np.testing.assert_array_equal(sample.target, np.full((12, 16), CLASSES.index(name)))
        assert sample.group == sample.key == place.removesuffix(".png")


@pytest.mark.parametrize("layout", ["parts", "long names", "twice", "two folders of one part"])
def test_parts_are_those_of_the_folders(make, layout):
    data = classes_of(make(fill(layout)))
    wanted = {part: sum(10 for _, one in LAYOUTS[layout] if one == part) for _, part in LAYOUTS[layout]}
    if "val" not in wanted:
        wanted |= {"train": 8, "val": 2}  # a fifth of train; test stays as it is
    assert {part: len(items) for part, items in data.parts.items()} == wanted


NAMES = st.text("abAB01 _-é", min_size=1, max_size=6).map(str.strip).filter(bool)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(NAMES, st.integers(1, 3), min_size=2, max_size=5))
def test_classes_are_numbered_as_torchvision_does(tmp_path_factory, counts):
    root = tmp_path_factory.mktemp("set")
    for name, count in counts.items():
        (root / name / "below").mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (4, 4)).save(root / name / "below" / f"{number}.png")
    theirs = ImageFolder(root)
    ours = classes_of(root)
    items = {str(item.image): item for members in ours.parts.values() for item in members}
    assert list(ours.classes.names) == theirs.classes
    assert {path: int(ours.read(item).target.max()) for path, item in items.items()} == dict(theirs.samples)


def test_a_class_that_val_lacks_keeps_its_number(make):
    files = {f"train/{name}/1.png": photo(n) for n, name in enumerate("abc")}
    root = make(files | {"val/b/1.png": photo(9), "val/c/notes.txt": "none yet"})
    data = classes_of(root)
    assert data.read(data.parts["val"][0]).target.max() == 1
    assert any(note == "val has no picture of a, c" for note in data.notes)


def test_a_class_whose_pictures_all_go_to_val_is_told(make):
    root = make({f"a/{n}.png": photo(n) for n in range(4)} | {"b/0.png": photo(9)})
    data = classes_of(root, options=SplitOptions(val_groups=("b/0",)))
    assert any(note == "train has no picture of b: no network can learn it" for note in data.notes)


def test_train_may_be_the_name_of_a_class(make):
    data = classes_of(make({f"{name}/{n}.png": photo(n) for name in ("bus", "car", "train") for n in range(3)}))
    assert data.classes.names == ("bus", "car", "train")
    more = {f"train/{year}/1.png": photo(int(year)) for year in ("1999", "2000")}
    assert classes_of(make(more)).classes.names == ("bus", "car", "train")
    tubes = make({f"../tubes/{name}/{n}.png": photo(n) for name in ("test tube", "training tube") for n in range(3)})
    assert classes_of(tubes.parent / "tubes").classes.names == ("test tube", "training tube")


def test_a_test_part_without_classes_is_left_out(make):
    train = {f"train/{name}/{n}.png": photo(n) for name in "ab" for n in range(5)}
    data = classes_of(make(train | {f"test/{n}.png": photo(n) for n in range(3)}))
    assert sorted(data.parts) == ["train", "val"]
    assert any("test/ has no class folders: its 3 pictures are left out" in note for note in data.notes)


def test_a_part_alone_is_what_there_is(make):
    data = classes_of(make({f"test/{name}/{n}.png": photo(n) for name in "ab" for n in range(2)}))
    assert {part: len(items) for part, items in data.parts.items()} == {"test": 4}


TWO = {"cat/1.png": photo(1), "dog/1.png": photo(2)}
TRAIN = {f"train/{name}": pixels for name, pixels in TWO.items()}
ONE = photo(3)
REFUSED = {
    "one class": (
        {"cat/1.png": ONE, "cat/2.png": ONE},
        DataError,
        r"only: cat\. Give .* or is .*set/cat the folder",
    ),
    "one class in train": ({"train/cat/1.png": ONE}, DataError, r"one class only: cat\. Give the folder that holds"),
    "no class": ({"1.png": ONE, "2.png": ONE}, DataError, r"set: 2 pictures and no class folders\. Understood are"),
    "no class in parts": ({"train/1.png": ONE, "val/1.png": ONE}, DataError, r"set/train: 1 pictures and no class"),
    "beside": (TWO | {"3.png": ONE}, DataError, r"set: 1 pictures lie beside the class folders: 3\.png\. Move"),
    "beside in val": (
        TRAIN | {"val/cat/1.png": ONE, "val/x.png": ONE},
        DataError,
        r"set/val: 1 pictures lie .*x\.png",
    ),
    "beside parts": (TRAIN | {"pred/1.png": ONE}, DataError, r"pred/ beside the part train/, and of no part\. Move it"),
    "empty": (TWO | {"eel/notes.txt": "", ".git/x": ""}, DataError, r"set: no picture in eel/, which lies among the"),
    "only in val": (TRAIN | {"val/eel/1.png": ONE}, DataError, r"set/val: classes that train has not: eel\. Add"),
    "nothing": ({"notes.txt": "x"}, DataNotFound, r"set: no picture below it \(1 \.txt\)\. Understood are"),
    "one name": (TWO | {"cat/1.jpg": ONE}, PairingError, r"share one name: cat/1\.jpg, cat/1\.png\. Keep one"),
    "no picture": (TWO | {"cat/2.png": "text"}, ImageError, r"cat/2\.png: not a picture"),
    "too many": ({f"{n}/1.png": ONE[:1, :1] for n in range(256)}, DataError, r"256 classes\. Declare 1 to 255"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_is_no_folder_of_classes_says_so(make, case):
    files, kind, message = REFUSED[case]
    root = make(files)
    with pytest.raises(kind, match=message):
        classes_of(root)


def test_other_sources_say_what_is_wanted(make):
    with pytest.raises(DataError, match=r"toytown:scenes=4: its pictures belong to no class"):
        classes_of("toytown:scenes=4")
    with pytest.raises(DataNotFound, match=r"a\.txt: not a folder and not an \.npz file"):
        classes_of(make({"a.txt": "x"}) / "a.txt")
    with pytest.raises(DataNotFound, match=r"sett: there is no such file or folder\. Did you mean 'set'"):
        classes_of(make({"a.txt": "x"}).parent / "sett")


def test_grey_pictures_have_one_channel_unless_some_have_three(make):
    grey = {f"{name}/{n}.png": photo(n, channels=1) for name in "ab" for n in range(3)}
    data = classes_of(make(grey))
    assert {data.read(item).image.shape for item in data.parts["train"]} == {(1, 12, 16)}
    data = classes_of(make({"a/9.png": photo(9)}))
    assert {data.read(item).image.shape for item in data.parts["train"]} == {(3, 12, 16)}
    assert any("6 of 7 images are grey" in note for note in data.notes)


def test_it_is_cached_checked_and_read_again_when_a_file_changes(make, cache):
    root = make(fill("parts"))
    data = classes_of(root)
    again = pickle.loads(pickle.dumps((data.read, data.fingerprint)))
    item = data.parts["val"][3]
    np.testing.assert_array_equal(again[0](item).image, data.read(item).image)
    store = open_store(data, "val", cache=cache)
    assert [int(sample.target.min()) for sample in store] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    before = data.fingerprint(item)
    assert again[1](item) == before
    os.utime(item.image, ns=(1, 1))
    assert data.fingerprint(item) != before
    item.image.write_bytes(item.image.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"1\.png: truncated or damaged"):
        open_store(data, "val", cache=cache)


def test_real_scenes(real):
    data = classes_of(real("scenes64"))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 1800, "val": 300}
    assert data.classes.names == ("buildings", "forests", "glacier", "mountains", "sea", "street")
    sample = data.read(data.parts["val"][-1])
    assert (sample.image.shape, sample.target.min(), sample.target.max()) == ((3, 64, 64), 5, 5)
