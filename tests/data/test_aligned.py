"""Image and mask through every change of place: a pixel keeps its label, and no label is new."""

import dataclasses

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.data import albumentations_pipeline
from segtrial.data.augment import Augmentation, Draw, apply
from segtrial.data.batches import Batches, Phase
from segtrial.data.sample import Sample
from segtrial.shapes import IGNORE
from tests.data.test_albumentations import RESIZING, step_of

few = settings(max_examples=60, deadline=None)
UNIT = st.floats(0, 1)
SAME = tuple(range(256))
HEIGHT, WIDTH = 37, 52


def coordinates(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Row and column of every pixel, 2 h w."""
    return np.indices((height, width)).astype(np.uint8)


def moved(drawn: Draw, size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column as an image and as two masks, at scale 1: each 2 H W."""
    code = torch.from_numpy(coordinates())
    made = [apply(code, mask, drawn, scale=(1, 1), size=size, mirrored=SAME) for mask in code]
    return made[0][0], torch.stack([labels for _, labels in made])


@few
@given(
    turns=st.integers(0, 3),
    flips=st.tuples(st.booleans(), st.booleans()),
    place=st.tuples(UNIT, UNIT),
    shift=st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5)),
    height=st.integers(1, 60),
    longer=st.integers(-10, 10),
)
def test_whole_pixels_stay_where_their_labels_are(turns, flips, place, shift, height, longer):
    """Flips, crops and quarter turns, to the last pixel; what lies beyond the image is ignored, and only that.

    Turned onto its side, a crop of odd and even sides has pixels between those of the image: it is left out.
    """
    size = (height, max(2 - height % 2, height + 2 * longer) if turns % 2 else max(1, height + longer))
    drawn = Draw(place=place, shift=shift, angle=90.0 * turns, flip_vertical=flips[0], flip_horizontal=flips[1])
    image, labels = moved(drawn, size)
    counted = labels[0] != IGNORE
    assert torch.equal(counted, labels[1] != IGNORE)
    assert torch.equal(image[:, counted], labels[:, counted])
    # what is shown is the code itself, turned and flipped: neighbours of a row of the crop are neighbours of the image
    steps = torch.diff(labels.int(), dim=2)[:, counted[:, 1:] & counted[:, :-1]]
    assert (steps.abs().sum(dim=0) == 1).all()


@few
@given(place=st.tuples(UNIT, UNIT), flips=st.tuples(st.booleans(), st.booleans()), turns=st.integers(0, 3))
def test_a_crop_is_that_of_numpy(place, flips, turns):
    """A square crop within the image: cut, turned and flipped by numpy."""
    side = 24
    drawn = Draw(place=place, angle=90.0 * turns, flip_vertical=flips[0], flip_horizontal=flips[1])
    image, labels = moved(drawn, (side, side))
    top, left = (
        int(np.floor(unit * (length - side) + 0.5)) for unit, length in zip(place, (HEIGHT, WIDTH), strict=True)
    )
    expected = np.rot90(coordinates()[:, top : top + side, left : left + side], turns, (1, 2))
    expected = np.flip(expected, [axis for axis, flip in ((1, flips[0]), (2, flips[1])) if flip])
    np.testing.assert_array_equal(image, expected)
    np.testing.assert_array_equal(labels, expected)


NAMES = sorted(set(albumentations_pipeline.names()) - RESIZING - {"ToRGB"})
STEP = st.sampled_from(NAMES).map(lambda name: step_of(name, p=1))
GROUP = st.lists(STEP, min_size=2, max_size=3).map(lambda steps: {"OneOf": steps, "p": 1})


@settings(max_examples=40, deadline=None)
@given(steps=st.lists(STEP | GROUP, min_size=1, max_size=3), seed=st.integers(0, 99))
def test_no_step_of_a_pipeline_invents_a_label(steps, seed):
    """Two of five classes, far apart: a label between them would be a mean."""
    numbers = np.random.default_rng(seed)
    mask = numbers.choice(np.array([0, 4, IGNORE], np.uint8), (8, 8)).repeat(4, 0).repeat(4, 1)
    image = numbers.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    words = {"classes": 5, "seed": seed, "epoch": 0, "key": "a"}
    _, labels = albumentations_pipeline.apply(steps, torch.from_numpy(image), torch.from_numpy(mask), **words)
    assert set(labels.unique().tolist()) <= {0, 4, IGNORE}


@dataclasses.dataclass(frozen=True)
class Coded:
    """Samples whose image says what the mask says: a number for each pixel, another range for each sample."""

    count: int = 6

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        code = (40 * index + coordinates(30, 40).sum(axis=0) // 2).astype(np.uint8)
        return Sample(np.stack([code] * 3), code, f"scene/{index}", "scene")


@settings(max_examples=25, deadline=None)
@given(
    chances=st.tuples(UNIT, UNIT, UNIT),
    seed=st.integers(0, 999),
    shift=UNIT,
    flip=UNIT,
)
def test_mixed_batches_keep_every_pixel_with_its_label(chances, seed, shift, flip):
    moves = {"flip_vertical": flip, "flip_horizontal": flip, "shift": shift}
    mixes = dict(zip(("cutmix", "classmix", "copy_paste"), chances, strict=True))
    wish = dataclasses.replace(Augmentation.none(), **moves, **mixes)
    batches = Batches(Coded(), [Phase(2, 3, (16, 24), (1, 1))], wish, seed=seed, mirrored=SAME)
    for step in range(2):
        batch = batches.batch(step)
        counted = batch.targets != IGNORE
        for channel in range(3):
            assert torch.equal(batch.images[:, channel][counted], batch.targets[counted])


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Samples of three classes, a class a pixel."""

    count: int = 5

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        numbers = np.random.default_rng(index)
        image = numbers.integers(0, 256, (3, 30, 40), dtype=np.uint8)
        return Sample(image, numbers.choice(np.array([1, 3, 9], np.uint8), (30, 40)), f"scene/{index}", "scene")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), rotate=st.sampled_from([0, 180]), low=st.floats(0.3, 1.5))
def test_no_batch_has_a_label_that_the_data_have_not(seed, rotate, low):
    """Scaled, turned, mixed, and with two classes exchanged by a mirror."""
    wish = Augmentation(rotate=rotate, shift=0.3, cutmix=0.5, classmix=0.5, copy_paste=0.5)
    mirrored = (0, 3, 2, 1, *range(4, 10))
    batches = Batches(Labelled(), [Phase(2, 4, (16, 24), (low, 2 * low))], wish, seed=seed, mirrored=mirrored)
    for step in range(2):
        assert set(batches.batch(step).targets.unique().tolist()) <= {1, 3, 9, IGNORE}
