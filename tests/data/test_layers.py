"""A mask file for each class or object: painted into one plane, against the same painted by hand."""

from pathlib import Path

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.errors import DataError, MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

NAMES = ("one", "two", "three", "four")
PHOTOS = {f"images/{name}.png": photo(n) for n, name in enumerate(NAMES)}
SIZE = (12, 16)


def box(top: int, left: int, bottom: int, right: int, value: int = 255) -> np.ndarray:
    mask = np.zeros(SIZE, np.uint8)
    mask[top:bottom, left:right] = value
    return mask


LARGE, SMALL, OTHER = (0, 0, 10, 10), (4, 4, 8, 14), (10, 0, 12, 4)
EXPECTED = np.zeros(SIZE, np.uint8)
EXPECTED[0:10, 0:10] = 1  # cat
EXPECTED[4:8, 4:14] = 2  # dog: smaller, so it lies on top
BY_FOLDER = {f"masks/cat/{name}.png": box(*LARGE) for name in NAMES} | {
    f"masks/dog/{name}.png": box(*SMALL, 1) for name in NAMES
}
BY_NAME = {f"masks/{name}_cat.png": box(*LARGE) for name in NAMES} | {
    f"masks/{name}_dog.png": box(*SMALL) for name in NAMES
}
DECLARED = {"data.yaml": "images: images\nmasks: masks\nmask_files: class\n"}


def targets(data) -> dict[str, np.ndarray]:
    return {item.key: data.read(item).target for items in data.parts.values() for item in items}


@pytest.mark.parametrize(
    "files", [BY_FOLDER, BY_FOLDER | DECLARED, BY_NAME | DECLARED], ids=["folders", "both", "names"]
)
def test_a_file_for_each_class_becomes_one_plane(make, files):
    data = open_dataset(make(PHOTOS | files))
    assert data.classes.names == ("background", "cat", "dog")
    found = targets(data)
    assert sorted(found) == sorted(f"images/{name}" for name in NAMES)
    for target in found.values():
        np.testing.assert_array_equal(target, EXPECTED)
    assert any("the smaller on top" in note for note in data.notes)


@pytest.mark.parametrize("pattern", ["masks/{c}/{n}_{i}.png", "masks/{n}_{c}_{i}.png"])
def test_a_file_for_each_object_becomes_one_plane(make, pattern):
    files = {}
    for name in NAMES:
        for number, place in enumerate((LARGE, OTHER)):
            files[pattern.format(n=name, c="cat", i=number)] = box(*place)
        files[pattern.format(n=name, c="dog", i=0)] = box(*SMALL)
    data = open_dataset(make(PHOTOS | files | DECLARED))
    expected = EXPECTED.copy()
    expected[10:12, 0:4] = 1
    for target in targets(data).values():
        np.testing.assert_array_equal(target, expected)


def test_parts_groups_and_lists_are_those_of_other_folders(make):
    files = DECLARED | {"data.yaml": DECLARED["data.yaml"] + "splits: {train: [one, two], val: [three]}\n"}
    data = open_dataset(make(PHOTOS | BY_NAME | files))
    assert {part: [item.key for item in items] for part, items in data.parts.items()} == {
        "train": ["images/one", "images/two"],
        "val": ["images/three"],
    }


def test_parts_are_those_of_the_folders(make):
    parted = {f"{part}/{name}": pixels for part in ("train", "val") for name, pixels in (PHOTOS | BY_FOLDER).items()}
    data = open_dataset(make(parted))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 4, "val": 4}


def test_names_like_ignore_count_nowhere_and_pictures_without_files_are_left_out(make):
    files = {name.replace("cat", "ignore"): pixels for name, pixels in BY_FOLDER.items() if "four" not in name}
    data = open_dataset(make(PHOTOS | files))
    assert data.classes.names == ("background", "dog")
    expected = np.where(EXPECTED == 1, IGNORE, EXPECTED // 2)
    for target in targets(data).values():
        np.testing.assert_array_equal(target, expected)
    assert any(note.startswith("1 picture has no mask file: left out (four.png)") for note in data.notes)


def test_two_annotators_are_still_asked_about(make):
    with pytest.raises(PairingError, match="several masks each"):
        open_dataset(
            make(PHOTOS | {name.replace("cat", "1st").replace("dog", "2nd"): one for name, one in BY_NAME.items()})
        )


def test_batches_in_folders_are_no_classes(make):
    files = {f"masks/batch_{n % 2}/{name}.png": box(*LARGE) for n, name in enumerate(NAMES)}
    assert open_dataset(make(PHOTOS | files)).classes.names == ("background", "foreground")


def test_a_changed_file_changes_the_fingerprint(make):
    data = open_dataset(make(PHOTOS | BY_FOLDER))
    item = data.parts["train"][0]
    before = data.fingerprint(item)
    assert data.fingerprint(item) == before
    path = Path(str(item.image).replace("/images/", "/masks/dog/"))
    path.write_bytes(path.read_bytes() + b"\0")
    assert data.fingerprint(item) != before


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        ({"masks/cat/one.png": labels([0, 1, 2])}, MaskError, r"one\.png: .*values 0, 1, 2"),
        ({"masks/cat/one.png": box(*LARGE)[:6]}, MaskError, r"one\.png: the mask is 6x16 but its image is 12x16"),
        ({"masks/cat/five.png": box(*LARGE)} | DECLARED, PairingError, r"1 mask names no picture .*five\.png"),
        ({"data.yaml": "mask_files: class\n"}, DataError, "mask_files without images and masks"),
        ({"data.yaml": DECLARED["data.yaml"] + "drops: [cat]\n"}, DataError, "mask_files with drops"),
        ({"data.yaml": "mask_files: instance\n"}, DataError, "mask_files: .*class"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_the_fix(make, files, error, message):
    with pytest.raises(error, match=message):
        targets(open_dataset(make(PHOTOS | BY_FOLDER | files)))
