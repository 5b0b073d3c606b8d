"""Generated streets: exact masks, thin posts, rare classes, the same bits every time, and scenes never cut."""

import pickle
from collections import Counter

import numpy as np
import pytest

from segtrial.data.sample import Item
from segtrial.data.split import SplitOptions
from segtrial.data.street import CLASSES, MARKING, PERSON, POLE, ROAD, SIGN, SKY
from segtrial.data.toytown import VERSION, Toytown, open_toytown, parse
from segtrial.errors import RecipeError, SplitError, UnknownName

FEW = "toytown:scenes=8,frames=2"


@pytest.fixture(scope="module")
def samples():
    """Two frames of eight streets."""
    town = Toytown(scenes=8)
    return [town.read(town.item(scene, frame)) for scene in range(8) for frame in (0, 1)]


def runs(rows):
    """Lengths of the runs of True in the rows of a boolean picture."""
    edges = np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(int), axis=1)
    return np.argwhere(edges == -1)[:, 1] - np.argwhere(edges == 1)[:, 1]


def test_pictures_and_masks_are_what_they_say(samples):
    for sample in samples:
        assert sample.image.shape == (3, 128, 192)
        assert sample.image.dtype == sample.target.dtype == np.uint8
        assert sample.target.max() < len(CLASSES)
        assert len(np.unique(sample.target)) >= 8


def test_classes_are_as_unequal_as_in_a_real_street(samples):
    counts = sum(np.bincount(sample.target.ravel(), minlength=len(CLASSES)) for sample in samples)
    shares = counts / counts.sum()
    assert (shares > 0.002).all()
    assert shares[SIGN] < 0.015
    assert shares[POLE] < 0.03
    assert shares[PERSON] < 0.03
    assert shares[ROAD] > 0.2


def test_posts_are_thin_and_signs_small(samples):
    widths = np.concatenate([runs(sample.target == POLE) for sample in samples])
    assert np.median(widths) <= 2
    assert np.mean(widths <= 4) > 0.85  # the rest are the arms of lamps and the nearest posts
    signs = np.concatenate([runs(sample.target == SIGN) for sample in samples])
    assert 2 <= np.median(signs) <= 8


def test_the_mask_lies_where_the_colours_change(samples):
    """Markings are brighter than the road two pixels to their left and right."""
    steps = []
    for sample in samples:
        grey, mark = sample.image.mean(0), sample.target == MARKING
        near = np.zeros_like(mark)
        near[:, 2:] |= mark[:, :-2]
        near[:, :-2] |= mark[:, 2:]
        steps.append(grey[mark].mean() - grey[near & (sample.target == ROAD)].mean())
    assert np.median(steps) > 40


def test_colour_alone_does_not_tell_the_classes(samples):
    """Each colour answered with its commonest class: under 80 % right, and hardly a sign or a post found."""
    images = np.concatenate([sample.image.reshape(3, -1) for sample in samples], axis=1) // 32
    codes = images[0].astype(int) * 64 + images[1] * 8 + images[2]
    truth = np.concatenate([sample.target.ravel() for sample in samples])
    table = np.zeros((512, len(CLASSES)), int)
    np.add.at(table, (codes, truth), 1)
    answer = table.argmax(1)[codes]
    assert np.mean(answer == truth) < 0.8
    for rare in (SIGN, POLE, PERSON):
        assert np.mean(answer[truth == rare] == rare) < 0.25


def test_frames_of_a_street_are_more_alike_than_streets(samples):
    masks = np.stack([sample.target for sample in samples])
    same = (masks[::2] == masks[1::2]).mean()
    other = (masks[::2] == np.roll(masks[::2], 1, axis=0)).mean()
    assert other + 0.05 < same < 0.97  # they move, too


def test_a_frame_is_a_function_of_its_names():
    """In any order, and after a trip to another process."""
    town, again = Toytown(), pickle.loads(pickle.dumps(Toytown()))
    items = [town.item(scene, frame) for scene in (0, 5) for frame in (0, 1)]
    first = [town.read(item) for item in items]
    second = [again.read(item) for item in reversed(items)][::-1]
    for ours, theirs in zip(first, second, strict=True):
        assert np.array_equal(ours.image, theirs.image)
        assert np.array_equal(ours.target, theirs.target)
    pictures = {sample.image.tobytes() for sample in first}
    assert len(pictures) == len(items)
    assert Toytown(seed=1).read(items[0]).image.tobytes() not in pictures


def test_the_picture_s_size_does_not_change_what_it_shows():
    item = Item("scene0003/frame01", "scene0003")
    small, large = Toytown(size=(64, 96)).read(item).target, Toytown(size=(192, 288)).read(item).target
    assert (large[1::3, 1::3] == small).mean() > 0.93  # thin posts are kept a pixel wide at any size


@pytest.mark.parametrize("size", ["32x32", "50x97", "200x60"])
def test_any_size_can_be_had(size):
    dataset = open_toytown(f"toytown:scenes=2,frames=1,size={size}", SplitOptions())
    sample = dataset.read(dataset.parts["val"][0])
    assert "x".join(str(side) for side in sample.target.shape) == size
    assert sample.image.shape[1:] == sample.target.shape
    assert SKY in sample.target


def test_by_default_eight_of_thirty_two_streets_are_val():
    dataset = open_toytown("toytown", SplitOptions())
    groups = {part: Counter(item.group for item in items) for part, items in dataset.parts.items()}
    assert (len(groups["train"]), len(groups["val"])) == (24, 8)
    assert not groups["train"].keys() & groups["val"].keys()
    assert set(groups["train"].values()) == set(groups["val"].values()) == {6}
    assert [item.key for item in dataset.parts["train"]] == sorted(item.key for item in dataset.parts["train"])
    assert (dataset.layout, dataset.classes, dataset.root) == ("toytown", CLASSES, None)
    assert "32 streets, 6 frames of 128x192" in dataset.notes[0]


@pytest.mark.parametrize("part", ["train", "val"])
def test_every_part_has_every_class(part):
    dataset = open_toytown("toytown:scenes=8,frames=1", SplitOptions())
    seen = {index for item in dataset.parts[part] for index in np.unique(dataset.read(item).target).tolist()}
    assert seen == set(range(len(CLASSES)))


def test_named_streets_become_val():
    dataset = open_toytown(FEW, SplitOptions(val_groups=("scene0001", "scene0004")))
    assert {item.group for item in dataset.parts["val"]} == {"scene0001", "scene0004"}
    assert len(dataset.parts["train"]) == 12
    with pytest.raises(SplitError, match="scene0009"):
        open_toytown(FEW, SplitOptions(val_groups=("scene0009",)))


def test_a_fingerprint_changes_with_whatever_changes_pictures():
    item = Item("scene0000/frame00", "scene0000")
    towns = [Toytown(), Toytown(seed=1), Toytown(size=(64, 96)), Toytown(frames=7)]
    prints = {town.fingerprint(item) for town in towns} | {Toytown().fingerprint(Item("scene0000/frame01", "s"))}
    assert len(prints) == 5
    assert f" {VERSION} " in Toytown().fingerprint(item)
    assert Toytown(scenes=8).fingerprint(item) == Toytown().fingerprint(item)


def test_options_are_read():
    assert parse("toytown") == Toytown()
    assert parse("toytown:scenes=24,frames=5,size=96x160,seed=3") == Toytown(24, 5, (96, 160), 3)


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("toytown:scene=3", UnknownName, "option 'scene'.*Did you mean 'scenes'.*frames, scenes, seed, size"),
        ("toytown:scenes=three", RecipeError, "toytown:scenes: 'three'. Give a whole number"),
        ("toytown:scenes=1", RecipeError, "toytown:scenes: 1. Give 2 to 9999"),
        ("toytown:frames=0", RecipeError, "toytown:frames: 0. Give 1 to 99"),
        ("toytown:size=128", RecipeError, "toytown:size: '128'. Give HEIGHTxWIDTH"),
        ("toytown:size=16x2000", RecipeError, "toytown:size: 16. Give 32 to 1024"),
        ("toytown:size=64x2000", RecipeError, "toytown:size: 2000. Give 32 to 1024"),
        ("toytown:seed=-1", RecipeError, "toytown:seed: '-1'"),
    ],
)
def test_options_that_cannot_be_are_named(source, error, message):
    with pytest.raises(error, match=message):
        parse(source)
