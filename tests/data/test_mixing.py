"""What each mixing takes from the partner, by hand, by laws and against scikit-image's connected parts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats
from skimage.measure import label as connected_parts

from segtrial.data.augment import Augmentation
from segtrial.data.mixing import (
    LARGEST_OBJECT,
    REGIONS,
    UNITS,
    Mixing,
    blend,
    classmix_region,
    copy_paste_region,
    cutmix_region,
    mixings,
    paste,
    share_of,
)
from segtrial.errors import RecipeError
from segtrial.shapes import IGNORE
from tests.data.test_batches import Pictures, assert_same, batches_of

few = settings(max_examples=60, deadline=None)
MASKS = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])
)
ALL = Augmentation(cutmix=0.5, classmix=0.5, copy_paste=0.5)


def units_of(seed):
    return tuple(np.random.default_rng(seed).random(UNITS).tolist())


def boxed(top, bottom, left, right, size=(8, 12)):
    region = torch.zeros(size, dtype=torch.bool)
    region[top:bottom, left:right] = True
    return region


@pytest.mark.parametrize(
    ("share", "row", "column", "expected"),
    [
        (0.25, 0.5, 0.5, boxed(2, 6, 3, 9)),  # half of each side
        (0.25, 0.0, 0.0, boxed(0, 2, 0, 3)),  # centred on a corner: cut there
        (0.25, 1.0, 0.5, boxed(6, 8, 3, 9)),
        (1.0, 0.5, 0.5, boxed(0, 8, 0, 12)),
        (0.0, 0.5, 0.5, boxed(0, 0, 0, 0)),
    ],
)
def test_a_box_by_hand(share, row, column, expected):
    units = (share, row, column, *units_of(0)[3:])
    assert torch.equal(cutmix_region(torch.zeros(8, 12, dtype=torch.uint8), units), expected)


@few
@given(mask=MASKS, seed=st.integers(0, 999))
def test_classmix_takes_whole_classes_half_of_them(mask, seed):
    region = classmix_region(torch.from_numpy(mask), units_of(seed)).numpy()
    present = set(mask[mask != IGNORE].tolist())
    taken = set(mask[region].tolist())
    assert len(taken) == len(present) // 2
    assert taken <= present
    assert np.array_equal(region, np.isin(mask, list(taken)))


def test_every_class_is_as_likely_as_another():
    mask = torch.arange(4, dtype=torch.uint8).repeat(4, 1)
    taken = sum(classmix_region(mask, units_of(seed))[0].float() for seed in range(400)) / 400
    assert ((taken - 0.5).abs() < 0.1).all()  # four standard deviations


@few
@given(mask=MASKS, seed=st.integers(0, 999))
def test_copy_paste_takes_whole_objects_and_nothing_large_or_ignored(mask, seed):
    region = copy_paste_region(torch.from_numpy(mask), units_of(seed)).numpy()
    parts = connected_parts(mask.astype(int), background=IGNORE, connectivity=2)
    assert not region[mask == IGNORE].any()
    for number in range(1, parts.max() + 1):
        inside = region[parts == number]
        assert inside.all() or not inside.any()
        assert not inside.any() or inside.size <= LARGEST_OBJECT * mask.size


def test_each_object_is_taken_in_half_of_the_draws():
    mask = torch.zeros(12, 12, dtype=torch.uint8)
    mask[1:4, 1:4], mask[6:9, 1:4], mask[2:5, 7:10] = 1, 1, 2
    taken = sum(copy_paste_region(mask, units_of(seed)).float() for seed in range(400)) / 400
    assert ((taken[mask > 0] - 0.5).abs() < 0.1).all()
    assert not taken[mask == 0].any()  # the largest part is what the objects stand on
    together = {tuple(copy_paste_region(mask, units_of(seed))[[1, 6, 2], [1, 1, 7]].tolist()) for seed in range(100)}
    assert len(together) == 8  # objects are drawn apart, those of one class too


@few
@given(mask=MASKS, seed=st.integers(0, 999), name=st.sampled_from(sorted(REGIONS)))
def test_pixels_are_the_partners_where_the_region_says_so(mask, seed, name):
    other = torch.from_numpy(mask)
    region = REGIONS[name](other, units_of(seed))
    zeros = torch.zeros(3, *mask.shape, dtype=torch.uint8)
    image, target = paste(zeros, torch.full_like(other, 7), zeros + 9, other, region)
    assert torch.equal(image == 9, region.expand(3, -1, -1))
    assert torch.equal(target, torch.from_numpy(np.where(region.numpy(), mask, 7)))
    assert image.dtype == target.dtype == torch.uint8


def test_a_mixing_is_drawn_alike_whatever_else_is_on():
    for key in (f"sample {number}" for number in range(30)):
        together = {mixing.name: mixing for mixing in mixings(ALL, 3, 1, key)}
        for name in REGIONS:
            alone = mixings(Augmentation(**{name: 0.5}), 3, 1, key)
            assert alone == ([together[name]] if name in together else [])
            assert alone == [] or alone == mixings(Augmentation(**{name: 1.0}), 3, 1, key)
    assert mixings(Augmentation(), 3, 1, "any") == []


def test_seeds_epochs_and_keys_are_drawn_apart():
    always = Augmentation(cutmix=1, classmix=1, copy_paste=1)
    draws = [mixings(always, *place) for place in ((0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b"))]
    assert len({mixing.units for drawn in draws for mixing in drawn}) == 12
    assert [[mixing.name for mixing in drawn] for drawn in draws] == [list(REGIONS)] * 4


@few
@given(unit=st.floats(0, 1, exclude_max=True), samples=st.integers(2, 50), data=st.data())
def test_a_partner_is_another_sample(unit, samples, data):
    index = data.draw(st.integers(0, samples - 1))
    partner = Mixing("cutmix", unit, units_of(0)).partner_of(index, samples)
    assert 0 <= partner < samples
    assert partner != index


def test_every_other_sample_is_as_likely_and_a_single_one_is_its_own():
    partners = [Mixing("cutmix", (place + 0.5) / 8, units_of(0)).partner_of(2, 5) for place in range(8)]
    assert sorted(partners) == [0, 0, 1, 1, 3, 3, 4, 4]
    assert Mixing("cutmix", 0.9, units_of(0)).partner_of(0, 1) == 0


@pytest.mark.parametrize("name", sorted(REGIONS))
def test_a_probability_out_of_its_range_is_named(name):
    with pytest.raises(RecipeError, match=rf"augmentation\.{name}: 1.5\. Give a number from 0 to 1"):
        Augmentation(**{name: 1.5})


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_beta_distribution_folded_at_a_half(alpha):
    shares = np.array([share_of(alpha, seed, step) for seed in range(4) for step in range(500)])
    assert len(set(shares)) > 1900
    assert ((shares >= 0.5) & (shares <= 1)).all()
    folded = stats.beta(alpha, alpha)
    distance, _ = stats.kstest(shares, lambda share: folded.cdf(share) - folded.cdf(1 - share))
    assert distance < 1.95 / len(shares) ** 0.5  # one in a thousand draws is farther
    assert share_of(0, 1, 2) == 1


def test_a_blend_by_hand():
    bytes_of = torch.tensor([0, 255, 7], dtype=torch.uint8).expand(1, 1, 1, 3)
    others = torch.tensor([255, 255, 8], dtype=torch.uint8).expand(1, 1, 1, 3)
    assert blend(bytes_of, others, 0.75).flatten().tolist() == [64, 255, 7]  # 63.75 and 7.25, rounded
    halves = blend(torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2), 0.75)
    torch.testing.assert_close(halves, torch.full((1, 1, 1, 2), 0.25))


@pytest.mark.parametrize("floats", [False, True], ids=["uint8", "float"])
@pytest.mark.parametrize("world", [1, 2])
def test_mixup_blends_each_image_with_the_next_one_of_the_whole_batch(world, floats):
    wish, store = Augmentation(rotate=10, cutmix=0.5, mixup=1.0), Pictures(11, floats=floats)
    mixed, plain = batches_of(store, augmentation=wish), batches_of(store, augmentation=replace(wish, mixup=0.0))
    for step in range(mixed.steps):
        batch, whole = [mixed.batch(step, rank, world) for rank in range(world)], plain.batch(step)
        share = share_of(1.0, 0, step)
        assert {part.share for part in batch} == {share}
        expected = share * whole.images.double() + (1 - share) * whole.images.roll(-1, 0).double()
        made = torch.cat([part.images for part in batch])
        assert ((made - expected).abs() <= (1e-6 if floats else 0.5 + 1e-4)).all()
        assert torch.equal(torch.cat([part.targets for part in batch]), whole.targets)
        assert torch.equal(torch.cat([part.partners for part in batch]), whole.targets.roll(-1, 0))
        assert all(part.images.is_contiguous(memory_format=torch.channels_last) for part in batch)
    assert (whole.partners, whole.share) == (None, 1)


def test_mixup_is_the_same_whoever_makes_the_batch():
    wish = Augmentation(mixup=0.4)
    resident = batches_of(augmentation=wish, device=torch.device("cpu"))
    assert resident.resident
    straight = [batches_of(augmentation=wish).batch(step) for step in range(8)]
    for step in (5, 2, 7, 0):
        again = resident.batch(step)
        assert_same(again, straight[step])
        assert torch.equal(again.partners, straight[step].partners)
