"""Splits: nothing is lost, no group is cut, and only evidence makes a group."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.data import open_dataset
from segtrial.data.sample import Item
from segtrial.data.split import SplitOptions, carve, split
from segtrial.errors import SplitError
from tests.data.drawn import labels, photo

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=30)


def items_of(sizes: list[int]) -> list[Item]:
    return [Item(f"g{g:02}/{n}", f"g{g:02}") for g, size in enumerate(sizes) for n in range(size)]


@settings(deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 9), share=st.floats(0.05, 0.9))
def test_groups_stay_whole_and_nothing_is_lost(sizes, seed, share):
    items = items_of(sizes)
    parts, notes = split({"": items}, SplitOptions(val_share=share, seed=seed), "here")
    train, val = parts["train"], parts["val"]
    assert sorted((*train, *val), key=lambda item: item.key) == items
    assert train
    assert val
    assert not {item.group for item in train} & {item.group for item in val}
    assert "no val part" in notes[0]


@settings(deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 9), data=st.data())
def test_the_order_of_the_items_does_not_matter(sizes, seed, data):
    items = items_of(sizes)
    shuffled = data.draw(st.permutations(items))
    options = SplitOptions(seed=seed)
    assert split({"train": items}, options, "here") == split({"": shuffled}, options, "here")


def test_the_share_is_kept_for_single_pictures():
    train, val, _ = carve([Item(str(n), str(n)) for n in range(100)], SplitOptions(val_share=0.25), "here")
    assert (len(train), len(val)) == (75, 25)


def test_another_seed_is_another_val():
    items = [Item(str(n), str(n)) for n in range(100)]
    assert carve(items, SplitOptions(seed=1), "here")[1] != carve(items, SplitOptions(seed=2), "here")[1]


def test_one_clip_is_cut_in_time_with_a_gap():
    frames = [Item(f"clip_{n:03}", "clip") for n in range(50)]
    train, val, notes = carve(frames, SplitOptions(val_share=0.2), "here")
    assert (train, val) == (frames[:35], frames[40:])  # 50 - 10 of val - 5 of gap
    assert "last 10 frames are val, 5 frames before them are dropped" in notes[0]


def test_frames_are_ordered_by_number_not_by_name():
    frames = [Item(f"clip_{n}", "clip") for n in range(1, 13)]  # clip_10 sorts before clip_2
    _, val, _ = carve(sorted(frames, key=lambda item: item.key), SplitOptions(val_share=0.25), "here")
    assert [item.key for item in val] == ["clip_10", "clip_11", "clip_12"]


def test_a_test_part_is_never_touched():
    test = items_of([3])
    parts, _ = split({"train": [Item(str(n), str(n)) for n in range(10)], "test": test}, SplitOptions(), "here")
    assert parts["test"] == tuple(test)
    assert len(parts["train"]) + len(parts["val"]) == 10


def test_a_group_on_both_sides_is_said():
    parts = {"train": [Item("a", "film"), Item("b", "other")], "val": [Item("c", "film")]}
    _, notes = split(parts, SplitOptions(), "here")
    assert "val has groups that train has too (film): its scores read too high" in notes[0]


@pytest.mark.parametrize(
    ("parts", "options", "message"),
    [
        ({"": [Item("a", "a")]}, SplitOptions(), "1 image, too few for a train and a val part"),
        ({"": items_of([1, 1])}, SplitOptions(val_groups=("g00", "g01")), "names every group, so train would be empty"),
        ({"": items_of([1, 1])}, SplitOptions(val_share=1.0), r"val_share 1\.0\. Give a share between 0 and 1"),
    ],
)
def test_splits_that_cannot_be_made(parts, options, message):
    with pytest.raises(SplitError, match=message):
        split(parts, options, "here")


def film(seed: int, frames: int) -> list[np.ndarray]:
    """Frames that slide over one random scene, one pixel a frame."""
    scene = np.kron(photo(seed, (8, 32)), np.ones((8, 8, 1), np.uint8))
    return [scene[:64, n : n + 96] for n in range(frames)]


def test_clips_are_found_by_their_looks(make):
    files = {}
    for name, seed in (("north", 1), ("south", 2), ("west", 3)):
        files |= {f"images/{name}_{n:04}.png": frame for n, frame in enumerate(film(seed, 12))}
        files |= {f"masks/{name}_{n:04}.png": labels([0, 1], (64, 96)) for n in range(12)}
    data = open_dataset(make(files))
    groups = {name: {item.group for item in items} for name, items in data.parts.items()}
    assert groups["train"] | groups["val"] == {"north", "south", "west"}
    assert not groups["train"] & groups["val"]
    assert any("neighbouring frames look alike: 3 clips" in note for note in data.notes)


def test_numbered_photographs_are_no_clip(make):
    files = {f"images/photo_{n:04}.png": photo(n, (32, 32)) for n in range(24)}
    data = open_dataset(make(files | {f"masks/photo_{n:04}.png": labels([0, 1], (32, 32)) for n in range(24)}))
    assert all(item.group == item.key for item in (*data.parts["train"], *data.parts["val"]))


def test_parts_without_a_train_are_for_evaluation_and_stay():
    parts, notes = split({"test": [Item("b", "b"), Item("a", "a")]}, SplitOptions(), "here")
    assert {name: [item.key for item in items] for name, items in parts.items()} == {"test": ["a", "b"]}
    assert notes == ("no train part, only test",)
