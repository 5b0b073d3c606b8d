"""The batches of a run are one fixed sequence, whoever asks for them, in whatever order, on however many workers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.data.augment import Augmentation
from segtrial.data.batches import Batches, Phase
from segtrial.data.sample import Sample
from segtrial.errors import ImageError, RecipeError

EVERYTHING = Augmentation(flip_vertical=0.5, rotate=15, shift=0.1, cutmix=0.5, classmix=0.5, copy_paste=0.5)
PHASES = (Phase(3, 4, (12, 16), (0.5, 0.8)), Phase(2, 5, (20, 24), (0.7, 1.2)), Phase(3, 2, (32, 40), (1, 1)))
few = settings(max_examples=60, deadline=None)


@dataclass(frozen=True)
class Pictures:
    """Generated samples, read-only as a memory map's are; sample `broken` cannot be read."""

    count: int
    floats: bool = False
    mixed: bool = False
    broken: int = -1

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        key = f"scene/{index:03}"
        if index == self.broken:
            raise ImageError(key, "cut short", "Mend it")
        numbers = np.random.default_rng(index)
        height = 30 + (index % 3 if self.mixed else 0)
        image = numbers.integers(0, 256, (3, height, 40), dtype=np.uint8)
        image = (image / np.float32(255)).astype(np.float32) if self.floats else image
        target = numbers.integers(0, 5, (height, 40), dtype=np.uint8)
        image.flags.writeable = target.flags.writeable = False
        return Sample(image, target, key, "scene")


def batches_of(store=None, phases=PHASES, augmentation=EVERYTHING, seed=0, **more):
    return Batches(store or Pictures(11), phases, augmentation, seed=seed, mirrored=(0, 2, 1, 3, 4), **more)


def assert_same(ours, theirs):
    assert ours.keys == theirs.keys
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(ours.targets, theirs.targets)


def phases_from(plan):
    return tuple(Phase(steps, batch, (8, 8), (1, 1)) for steps, batch in plan)


PLANS = st.lists(st.tuples(st.integers(0, 6), st.integers(1, 9)), min_size=1, max_size=4)


@few
@given(plan=PLANS, samples=st.integers(1, 13), seed=st.integers(0, 2**31))
def test_every_sample_comes_once_in_every_epoch(plan, samples, seed):
    batches = batches_of(Pictures(samples), phases_from(plan), seed=seed)
    stream = [place for step in range(batches.steps) for place in batches.keys(step)]
    assert len(stream) == sum(steps * batch for steps, batch in plan)
    for epoch in range(len(stream) // samples):
        part = stream[epoch * samples : (epoch + 1) * samples]
        assert {place[0] for place in part} == {epoch}
        assert sorted(index for _, index in part) == list(range(samples))
    rest = stream[len(stream) // samples * samples :]
    assert len(set(rest)) == len(rest)


@few
@given(plan=PLANS, world=st.integers(1, 4))
def test_phases_take_over_in_turn(plan, world):
    batches = batches_of(phases=phases_from(plan))
    lengths = [batch for steps, batch in plan for _ in range(steps)]
    assert [len(batches.keys(step)) for step in range(batches.steps)] == lengths
    assert [batches.phase(step).batch for step in range(batches.steps)] == lengths


def test_epochs_and_seeds_are_shuffled_differently():
    def order(seed, epoch):
        return tuple(
            index for _, index in batches_of(Pictures(50), [Phase(4, 50, (8, 8), (1, 1))], seed=seed).keys(epoch)
        )

    assert len({order(0, 0), order(0, 1), order(1, 0), order(1, 1), tuple(range(50))}) == 5


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_in_order_make_the_whole_batch(world):
    phases = [Phase(2, batch, (12, 16), (0.5, 0.8)) for batch in (4, 5, 6, 7, 9)]
    batches = batches_of(phases=phases)
    for step in range(batches.steps):
        whole = batches.batch(step)
        ranks = [batches.batch(step, rank, world) for rank in range(world)]
        assert torch.equal(torch.cat([rank.images for rank in ranks]), whole.images)
        assert torch.equal(torch.cat([rank.targets for rank in ranks]), whole.targets)
        assert tuple(key for rank in ranks for key in rank.keys) == whole.keys
        assert max(len(rank.keys) for rank in ranks) - min(len(rank.keys) for rank in ranks) <= 1


def test_any_step_can_be_asked_for_at_any_time():
    straight = [batches_of().batch(step) for step in range(8)]
    batches = batches_of()
    for step in (7, 2, 5, 0, 1, 6, 4, 3):
        assert_same(batches.batch(step), straight[step])
    for resumed, expected in zip(batches_of().loader(5, 8), straight[5:], strict=True):
        assert_same(resumed, expected)


def test_two_networks_with_one_seed_see_the_same_crops():
    """The second one draws from every global generator, as a network with dropout does, and starts in the middle."""
    first, second = batches_of(seed=7), batches_of(seed=7)
    for step in (*range(4, 8), *range(4)):
        torch.rand(step + 1)
        np.random.random(3)
        assert_same(first.batch(7 - step), second.batch(7 - step))
    assert not torch.equal(first.batch(0).images, batches_of(seed=8).batch(0).images)


def test_a_sample_is_drawn_alike_whatever_the_size_of_batches():
    """Two variants of different batch sizes: the same sample in the same epoch is the same crop."""
    samples = 12
    made = []
    for batch in (2, 3, 12):
        batches = batches_of(Pictures(samples), [Phase(2 * samples // batch, batch, (12, 16), (0.5, 0.8))])
        crops = {}
        for step in range(batches.steps):
            images = batches.batch(step).images
            crops |= dict(zip(batches.keys(step), images, strict=True))
        made.append(crops)
    assert len(made[0]) == 2 * samples
    for crops in made[1:]:
        assert all(torch.equal(crops[place], made[0][place]) for place in made[0])


def test_samples_and_epochs_are_cropped_differently():
    store, phase = Pictures(1), Phase(6, 1, (12, 16), (0.5, 0.8))
    crops = [batch.images for batch in batches_of(store, [phase]).loader(0, 6)]
    assert all(not torch.equal(a, b) for i, a in enumerate(crops) for b in crops[:i])


@pytest.mark.parametrize("floats", [False, True], ids=["uint8", "float"])
@pytest.mark.parametrize("mixed", [False, True], ids=["one size", "sizes"])
def test_resident_samples_give_the_same_bits(floats, mixed):
    store = Pictures(7, floats=floats, mixed=mixed)
    host, resident = batches_of(store), batches_of(store, device=torch.device("cpu"))
    assert resident.resident is not mixed
    for ours, theirs in zip(resident.loader(0, 8), host.loader(0, 8), strict=True):
        assert_same(ours, theirs)
        assert ours.images.is_contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class Flat:
    """Samples of one colour each, whose classes fit it: a pixel tells whose it is, and so does its class."""

    count: int

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        target = np.full((30, 40), index % 10, dtype=np.uint8)
        target[13:16] = 11 + index % 10  # a second class, which a crop shows as less than a quarter of it
        image = np.full((3, 30, 40), index, dtype=np.uint8)
        return Sample(image, target, f"scene/{index:03}", "scene")


@pytest.mark.parametrize("name", ["cutmix", "classmix", "copy_paste"])
def test_a_mixed_crop_takes_image_and_mask_from_one_other_sample(name):
    plain = Augmentation.none()
    phases, samples = [Phase(5, 12, (12, 16), (0.5, 0.8))], 30
    always = batches_of(Flat(samples), phases, replace(plain, **{name: 1.0}))
    often = batches_of(Flat(samples), phases, replace(plain, **{name: 0.5}))
    never = batches_of(Flat(samples), phases, plain)
    mixed, partners = 0, set()
    for step in range(5):
        batch, some, none = always.batch(step), often.batch(step), never.batch(step)
        for row, (_, index) in enumerate(always.keys(step)):
            image, target = batch.images[row, 0], batch.targets[row]
            assert torch.equal(target % 11 % 10, image % 10)
            others = set(image.unique().tolist()) - {index}
            assert len(others) <= 1
            partners |= others
            mixed += bool(others)
            assert torch.equal(target[image == index], none.targets[row][image == index])
            # a smaller probability mixes fewer samples, and those in the same way
            assert any(torch.equal(some.images[row], other.images[row]) for other in (batch, none))
    assert mixed > 20
    assert len(partners) > 12  # 60 draws of 29 others


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")  # where there is one core
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_any_number_of_workers_gives_the_same_bits(workers):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    made = list(batches_of().loader(1, 8, workers=workers, rank=1, world=2))
    assert torch.equal(torch.random.get_rng_state(), before)  # nothing taken from the network's generator
    assert len(made) == 7
    for step, batch in enumerate(made, start=1):
        assert_same(batch, batches_of().batch(step, rank=1, world=2))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_cannot_be_read_is_named(workers):
    with pytest.raises(ImageError, match=r"scene/004: cut short\. Mend it"):
        list(batches_of(Pictures(11, broken=4)).loader(0, 8, workers=workers))


def test_more_ranks_than_samples_in_a_batch_are_refused():
    with pytest.raises(RecipeError, match="batch: 2 samples for 3 ranks"):
        batches_of().batch(7, 0, 3)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ((1, 0, (8, 8), (1, 1)), "phase: 1 steps, batch 0"),
        ((1, 1, (0, 8), (1, 1)), r"size \(0, 8\)"),
        ((-1, 1, (8, 8), (1, 1)), "phase: -1 steps"),
        ((1, 1, (8, 8), (1, 0.5)), r"phase.scale: \(1, 0.5\)"),
        ((1, 1, (8, 8), (0, 0.5)), r"phase.scale: \(0, 0.5\)"),
        ((1, 1, (8, 8), (1, float("inf"))), "phase.scale"),
    ],
    ids=str,
)
def test_impossible_phases_are_refused(phase, message):
    with pytest.raises(RecipeError, match=message):
        Phase(*phase)
