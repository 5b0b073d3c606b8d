"""Cityscapes: parts, cities, both kinds of masks, and the empty test part."""

from collections import Counter

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.data.cityscapes import CLASSES
from segtrial.data.split import SplitOptions
from segtrial.errors import MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

FRAMES = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "bremen_000000_000019"),
    "val": ("ulm_000000_000019",),
}
IDS = [0, 1, 3, 7, 8, 26, 33]
MEANT = [IGNORE, IGNORE, IGNORE, 0, 1, 13, 18]


def streets(kind: str = "labelIds", values: list[int] = IDS, frames=FRAMES) -> dict[str, np.ndarray]:
    files = {}
    for part, names in frames.items():
        for seed, name in enumerate(names):
            city = name.split("_")[0]
            files[f"leftImg8bit/{part}/{city}/{name}_leftImg8bit.png"] = photo(seed)
            files[f"gtFine/{part}/{city}/{name}_gtFine_{kind}.png"] = labels(values)
    return files


def also(kind: str) -> dict[str, np.ndarray]:
    return {name: mask for name, mask in streets(kind).items() if name.startswith("gtFine")}


def test_groups_are_cities_and_19_labels_count(make):
    data = open_dataset(make(streets() | also("instanceIds") | also("color")))
    assert (data.layout, len(data.classes)) == ("cityscapes", 19)
    assert Counter(item.group for item in data.parts["train"]) == {"aachen": 2, "bremen": 1}
    assert [item.key for item in data.parts["val"]] == ["leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit"]
    np.testing.assert_array_equal(data.read(data.parts["val"][0]).target, labels(MEANT))


def test_train_ids_give_the_same_classes(make):
    data = open_dataset(make(streets("labelTrainIds", [255, 255, 255, 0, 1, 13, 18])))
    assert data.layout == "cityscapes"
    np.testing.assert_array_equal(data.read(data.parts["val"][0]).target, labels(MEANT))
    assert [CLASSES.names[index] for index in (0, 1, 13, 18)] == ["road", "sidewalk", "car", "bicycle"]


def test_a_city_can_be_held_out(make):
    data = open_dataset(make(streets()), SplitOptions(val_groups=("bremen",)))
    assert {part: {item.group for item in items} for part, items in data.parts.items()} == {
        "train": {"aachen"},
        "val": {"bremen"},
    }


@pytest.mark.parametrize("values", [[0, 1, 3], None])
def test_a_test_part_without_classes_is_left_out(make, values):
    test = streets(values=values or [0], frames={"test": ("berlin_000000_000019",)})
    if values is None:
        test = {name: content for name, content in test.items() if name.startswith("left")}
    data = open_dataset(make(streets() | test))
    assert sorted(data.parts) == ["train", "val"]
    assert any("the test part has no masks with classes: its 1 pictures are left out" in note for note in data.notes)


def test_a_test_part_with_classes_is_read(make):
    assert len(open_dataset(make(streets() | streets(frames={"test": ("berlin_0_1",)}))).parts["test"]) == 1


def test_a_missing_mask_is_named(make):
    files = streets()
    del files["gtFine/train/bremen/bremen_000000_000019_gtFine_labelIds.png"]
    message = r"1 image without a mask: leftImg8bit/train/bremen/.*Add NAME_gtFine_labelIds\.png at the same place"
    with pytest.raises(PairingError, match=message):
        open_dataset(make(files))


def test_a_number_that_is_no_label_names_the_file(make):
    root = make(streets() | {"gtFine/val/ulm/ulm_000000_000019_gtFine_labelIds.png": labels([7, 34])})
    data = open_dataset(root)
    with pytest.raises(MaskError, match=r"ulm_000000_000019_gtFine_labelIds\.png: values that stand for no class: 34"):
        data.read(data.parts["val"][0])


def test_without_parts_it_is_a_folder_as_any_other(make):
    files = {f"leftImg8bit/x/{name}_leftImg8bit.png": photo(1) for name in "ab"}
    files |= {f"gtFine/x/{name}_gtFine_labelIds.png": labels([0, 1]) for name in "ab"}
    assert open_dataset(make(files)).layout == "folder"
