"""CamVid: its layout in small, and the real one where it is at hand."""

from collections import Counter

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import MaskError, SplitError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

TRAIN = ["0001TP_006690", "0006R0_f00930", "0006R0_f00960", "0016E5_00390"]
VAL = ["0016E5_07959", "0016E5_07961"]


@pytest.fixture
def small(make):
    files = {f"train/{name}.webp": photo(n) for n, name in enumerate(TRAIN)}
    files |= {f"val/{name}.webp": photo(n) for n, name in enumerate(VAL)}
    files |= {f"trainannot/{name}.png": labels([*range(12)]) for name in TRAIN}
    return make(files | {f"valannot/{name}.png": labels([0, 11]) for name in VAL})


def test_groups_are_sequences_and_11_is_void(small):
    data = open_dataset(small)
    assert (data.layout, len(data.classes)) == ("camvid", 11)
    assert Counter(item.group for item in data.parts["train"]) == {"0001TP": 1, "0006R0": 2, "0016E5": 1}
    target = data.read(data.parts["train"][0]).target
    np.testing.assert_array_equal(np.unique(target), [*range(11), IGNORE])


def test_the_leak_of_the_official_val_is_said(small):
    assert any("read too high" in note and "val_groups=[0006R0]" in note for note in open_dataset(small).notes)


def test_a_sequence_can_be_held_out_instead(small):
    data = open_dataset(small, SplitOptions(val_groups=("0006R0",)))
    assert [item.key for item in data.parts["val"]] == ["train/0006R0_f00930", "train/0006R0_f00960"]
    assert {item.group for item in data.parts["train"]} == {"0001TP", "0016E5"}
    assert not any("too high" in note for note in data.notes)


def test_an_unknown_sequence_lists_the_known_ones(small):
    with pytest.raises(SplitError, match=r"val_groups 0006RO: .* There are: 0001TP \(1\), 0006R0 \(2\), 0016E5 \(1\)"):
        open_dataset(small, SplitOptions(val_groups=("0006RO",)))


def test_a_value_out_of_range_names_the_file(small, make):
    make({"trainannot/0006R0_f00960.png": labels([0, 12])})
    data = open_dataset(small)
    with pytest.raises(
        MaskError, match=r"0006R0_f00960\.png: values that stand for no class: 12 \(96 pixels\); known are 0"
    ):
        data.read(data.parts["train"][2])


def test_real_counts(real):
    data = open_dataset(real("camvid"))
    assert {name: len(items) for name, items in data.parts.items()} == {"train": 367, "val": 101}
    assert Counter(item.group for item in data.parts["train"]) == {"0001TP": 62, "0006R0": 101, "0016E5": 204}
    sample = data.read(data.parts["val"][0])
    assert sample.image.shape == (3, 360, 480)
    held_out = open_dataset(real("camvid"), SplitOptions(val_groups=("0006R0",)))
    assert {name: len(items) for name, items in held_out.parts.items()} == {"train": 266, "val": 101}
