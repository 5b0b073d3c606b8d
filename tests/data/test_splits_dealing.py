"""Dealing: folds partition, groups stay whole, no class goes missing, and a gap in time is a gap."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from segtrial.classes import Classes
from segtrial.data import open_dataset
from segtrial.data.dealing import deal, dealt, times_of
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions
from segtrial.errors import SplitError
from tests.data.drawn import labels, scene

SIZES = st.lists(st.integers(1, 6), min_size=6, max_size=25)
METHODS = st.sampled_from(["groups", "stratified", "time"])
WHOLE = st.sampled_from(["groups", "stratified"])


def read(item: Item) -> Sample:
    """A mask of three classes whose shares the key decides; the picture is that of the key's number."""
    number = sum(item.key.encode())
    target = np.resize(np.array([0, 0, 0, number % 3, number % 2], np.uint8), (4, 5))
    return Sample(scene(number, (4, 5)).transpose(2, 0, 1), target, item.key, item.group)


def dataset_of(items, **parts) -> Dataset:
    classes = Classes(("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
    return Dataset(None, "made", classes, {"train": tuple(items), "val": (), **parts}, read, str, ("first",))


def grouped(sizes) -> list[Item]:
    return [Item(f"g{group:02}_{n}", f"g{group:02}") for group, size in enumerate(sizes) for n in range(size)]


def clip(numbers, name="clip") -> list[Item]:
    return [Item(f"{name}_{number:05}", name) for number in numbers]


@settings(deadline=None, max_examples=40)
@given(sizes=SIZES, folds=st.integers(2, 6), method=WHOLE)
def test_each_image_is_val_in_exactly_one_fold_and_no_group_is_cut(sizes, folds, method):
    items = grouped(sizes)
    held = []
    for fold in range(folds):
        parts = dealt(dataset_of(items), SplitOptions(method=method, folds=folds, fold=fold)).parts
        assert sorted((*parts["train"], *parts["val"]), key=lambda item: item.key) == items
        assert not {item.group for item in parts["train"]} & {item.group for item in parts["val"]}
        held += parts["val"]
    assert sorted(held, key=lambda item: item.key) == items


@settings(deadline=None, max_examples=30)
@given(sizes=SIZES, folds=st.integers(2, 6))
def test_folds_differ_by_one_group_at_most(sizes, folds):
    fold_sizes = [
        len(dealt(dataset_of(grouped(sizes)), SplitOptions(folds=folds, fold=fold)).parts["val"])
        for fold in range(folds)
    ]
    assert max(fold_sizes) - min(fold_sizes) <= max(sizes)


@settings(deadline=None, max_examples=40)
@given(
    sizes=SIZES,
    data=st.data(),
    method=st.sampled_from(["groups", "stratified", "time"]),
    folds=st.sampled_from([None, 3]),
)
def test_the_order_of_the_items_does_not_matter(sizes, data, method, folds):
    items = grouped([*sizes, 7])
    options = SplitOptions(method=method, folds=folds)
    shuffled = data.draw(st.permutations(items))
    assert dealt(dataset_of(shuffled), options) == dealt(dataset_of(items), options)


@settings(deadline=None, max_examples=60)
@given(data=st.data(), groups=st.integers(3, 7), classes=st.integers(1, 4))
def test_no_class_goes_missing_where_that_can_be(data, groups, classes):
    amounts = st.sampled_from([0.0, 0.0, 1.0, 2.0, 5.0])
    masses = np.array([[data.draw(amounts) for _ in range(classes)] + [1.0] for _ in range(groups)])
    shares = np.array(data.draw(st.sampled_from([(0.2, 0.8), (0.5, 0.5)])))
    assume((masses.sum(0) > 0).all())
    spread = (masses > 0).sum(0) >= 2

    def missing(part_of) -> int:
        return sum(
            int(not masses[part_of == part][:, spread].sum(0)[c]) for part in (0, 1) for c in range(spread.sum())
        )

    fewest = min(missing(np.array(choice)) for choice in product((0, 1), repeat=groups))
    assert missing(deal(masses, shares)) == fewest


def test_two_groups_are_exchanged_where_no_single_move_helps():
    masses = np.array([[0, 1, 0, 0, 1.0], [1, 0, 1, 0, 1], [0, 1, 2, 0, 1], [1, 0, 0, 1, 1]])
    part_of = deal(masses, np.array([0.5, 0.5]))
    both = [set(part_of[masses[:, c] > 0]) for c in range(3)]
    assert both == [{0, 1}] * 3


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), folds=st.integers(2, 5))
def test_class_shares_are_nearer_than_by_chance(seed, folds):
    draw = np.random.default_rng(seed)
    masses = draw.exponential(1, (40, 4)) * (draw.uniform(size=(40, 4)) < 0.6)
    shares = np.full(folds, 1 / folds)

    def worst(part_of) -> float:
        got = np.array([masses[part_of == part].sum(0) for part in range(folds)]) / masses.sum(0)
        return float(np.abs(got - shares[:, None]).max())

    chance = [worst(draw.integers(folds, size=40)) for _ in range(20)]
    assert worst(deal(masses, shares)) < min(chance)


@settings(deadline=None, max_examples=40)
@given(
    numbers=st.sets(st.integers(0, 400), min_size=12, max_size=60),
    gap=st.one_of(st.floats(0, 0.15), st.integers(1, 30)),
    folds=st.sampled_from([None, 3, 5]),
)
def test_no_frame_of_train_is_nearer_to_val_than_the_gap(numbers, gap, folds):
    frames = clip(sorted(numbers))
    apart = gap if gap >= 1 else gap * (max(numbers) - min(numbers))
    held: list[Item] = []
    for fold in range(folds or 1):
        options = SplitOptions(method="time", folds=folds, fold=fold, gap=gap)
        try:
            parts = dealt(dataset_of(frames), options).parts
        except SplitError:
            assume(False)
            raise
        train, val = (times_of(parts[name]) for name in ("train", "val"))
        assert np.abs(train[:, None] - val[None]).min() > apart
        dropped = set(times_of(frames)) - set(train) - set(val)
        assert all(np.abs(val - number).min() <= apart for number in dropped)  # and no more than that is dropped
        held += parts["val"]
    if folds:
        assert sorted(held, key=lambda item: item.key) == frames


def test_time_cuts_every_clip_and_leaves_single_pictures_to_train():
    items = [*clip(range(20), "a"), *clip(range(10), "b"), Item("alone", "alone")]
    made = dealt(dataset_of(items), SplitOptions(method="time", gap=2))
    assert [item.key for item in made.parts["val"]] == [
        *(f"a_{n:05}" for n in range(16, 20)),
        *(f"b_{n:05}" for n in range(8, 10)),
    ]
    assert Item("alone", "alone") in made.parts["train"]
    assert "2 clips are val (6 images), 4 within 2 frames of them are dropped, 21 are train" in made.notes[-1]


def test_a_test_part_and_the_notes_stay():
    test = (Item("t", "t"),)
    made = dealt(dataset_of(grouped([1] * 10), test=test), SplitOptions(method="groups"))
    assert made.parts["test"] == test
    assert made.notes[0] == "first"
    assert made.notes[1].startswith("whole groups: 2 of 10 images are val")


def film(seed: int, frames: int) -> list[np.ndarray]:
    wide = scene(seed, (64, 96 + frames))
    return [wide[:, n : n + 96] for n in range(frames)]


@pytest.fixture
def films(make):
    files = {}
    for name, seed in (("north", 1), ("south", 2)):
        files |= {f"images/{name}_{n:04}.png": frame for n, frame in enumerate(film(seed, 15))}
        files |= {f"masks/{name}_{n:04}.png": labels([0, 1], (64, 96)) for n in range(15)}
    return make(files)


def test_a_random_split_of_clips_is_refused_with_its_number(films):
    found = "6 of 6 val images have a near neighbour in train, and 6 are of groups that train has too"
    with pytest.raises(SplitError, match=rf"split\.method=random cuts groups: {found}.*split\.force=true"):
        open_dataset(films, SplitOptions(method="random"))


def test_forced_it_carries_the_warning(films):
    data = open_dataset(films, SplitOptions(method="random", force=True))
    assert {name: len(items) for name, items in data.parts.items()} == {"train": 24, "val": 6}
    assert data.notes[-1].startswith("WARNING: random split: 6 of 30 images")
    assert "6 of 6 val images have a near neighbour in train" in data.notes[-1]


def test_single_pictures_may_be_split_at_random():
    items = [Item(str(n), str(n)) for n in range(20)]
    held = [dealt(dataset_of(items), SplitOptions(method="random", folds=4, fold=f)).parts["val"] for f in range(4)]
    assert sorted(item.key for fold in held for item in fold) == sorted(item.key for item in items)
    assert {len(fold) for fold in held} == {5}


def test_a_method_deals_what_the_layout_had_split(make):
    files = {f"{part}/images/{part}{n}.png": scene(n, (12, 16)) for part in ("train", "val") for n in range(6)}
    masks = {name.replace("/images/", "/masks/"): labels([0, 1]) for name in files}
    data = open_dataset(make({**files, **masks}), SplitOptions(folds=3, fold=1))
    assert {len(data.parts["train"]), len(data.parts["val"])} == {8, 4}
    assert data.notes[-1] == "fold 1 of 3 by 12 images: 4 of 12 images are val"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (SplitOptions(val_groups=("a",), method="groups"), "val_groups and a method or folds are given together"),
        (SplitOptions(fold=1), "fold 1 of no folds"),
        (SplitOptions(folds=3, fold=3), "fold 3 of 3. Count folds from 0 to 2"),
        (SplitOptions(method="groups", gap=2), "gap 2. .*split.method=time"),
        (SplitOptions(folds=40), "2 groups cannot be dealt to 40 parts"),
        (SplitOptions(method="time", gap=100), "leaves 0 images to train"),
    ],
)
def test_splits_that_cannot_be_made(films, options, message):
    with pytest.raises(SplitError, match=message):
        open_dataset(films, options)


def test_single_pictures_cannot_be_cut_in_time():
    with pytest.raises(SplitError, match="no group has enough images to be cut in time"):
        dealt(dataset_of(grouped([1] * 5)), SplitOptions(method="time"))


def test_what_is_not_asked_for_changes_nothing():
    data = replace(dataset_of(grouped([1] * 5)), parts={"train": (), "test": (Item("t", "t"),)})
    assert dealt(data, SplitOptions(method="groups")) is data
    assert dealt(dataset_of(grouped([2])), SplitOptions()).notes == ("first",)
