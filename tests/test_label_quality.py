"""Label quality: numbers worked out by hand, loops over pixels written down a second time, and what must stay true."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segtrial.label_quality import (
    confidence_sums,
    disagreement,
    joint,
    largest_region,
    looks_like,
    self_confidence,
    soft_minimum,
    thresholds,
    upper_fence,
)
from segtrial.shapes import IGNORE

WRITTEN = np.array([[0, 0, 1], [1, IGNORE, 2]], np.uint8)
P = np.array(
    [
        [[0.9, 0.2, 0.1], [0.7, 0.1, 0.0]],
        [[0.1, 0.8, 0.6], [0.2, 0.8, 0.5]],
        [[0.0, 0.0, 0.3], [0.1, 0.1, 0.5]],
    ],
    np.float32,
)


@st.composite
def pictures(draw):
    """Probabilities `k h w` and a mask of the same classes, some pixels ignored."""
    k, h, w = draw(st.integers(1, 4)), draw(st.integers(1, 5)), draw(st.integers(1, 6))
    scores = draw(arrays(np.float32, (k, h, w), elements=st.integers(-6, 6).map(float)))
    exponents = np.exp(scores)
    written = draw(arrays(np.uint8, (h, w), elements=st.sampled_from([*range(k), IGNORE])))
    return (exponents / exponents.sum(0)).astype(np.float32), written


def counted(written):
    return [(int(row), int(column)) for row, column in zip(*np.nonzero(written != IGNORE), strict=True)]


def test_self_confidence_by_hand():
    np.testing.assert_allclose(self_confidence(P, WRITTEN), np.array([[0.9, 0.2, 0.6], [0.2, np.nan, 0.5]], np.float32))


def test_soft_minimum_by_hand():
    # weights exp(-0 / .1) = 1 and exp(-1 / .1) = e^-10, of qualities 0 and 1
    assert soft_minimum(np.array([0.0, 1.0])) == pytest.approx(math.exp(-10) / (1 + math.exp(-10)))
    assert soft_minimum(np.array([0.2, 0.4]), temperature=0.2) == pytest.approx((0.2 + 0.4 / math.e) / (1 + 1 / math.e))
    assert soft_minimum(np.full(7, 0.3)) == pytest.approx(0.3)
    assert math.isnan(soft_minimum(np.array([np.nan])))


def test_thresholds_by_hand():
    sums = confidence_sums(P, WRITTEN)
    np.testing.assert_allclose(sums, [[2, 2, 1], [1.1, 0.8, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(thresholds(sums), [0.55, 0.4, 0.5], rtol=1e-6)


def test_what_labels_look_like_by_hand():
    likely = looks_like(P, np.array([0.55, 0.4, 0.5], np.float32))
    # the last pixel reaches the threshold of 1 and of 2 with the same probability: the first of equals
    np.testing.assert_array_equal(likely, [[0, 1, 1], [0, 1, 1]])
    counts = joint(WRITTEN, likely, 3)
    np.testing.assert_array_equal(counts, [[1, 1, 0], [1, 1, 0], [0, 1, 0]])
    assert disagreement(counts, WRITTEN) == pytest.approx(3 / 5)


def test_an_unsure_model_disagrees_with_nobody():
    likely = looks_like(P, np.array([0.95, 0.95, 0.95], np.float32))
    assert (likely == IGNORE).all()
    assert disagreement(joint(WRITTEN, likely, 3), WRITTEN) == 0
    assert largest_region(WRITTEN, likely, joint(WRITTEN, likely, 3)) is None


def test_nothing_looks_like_a_class_that_nobody_wrote():
    sums = confidence_sums(P, np.where(WRITTEN == 1, IGNORE, WRITTEN).astype(np.uint8))
    limits = thresholds(sums)
    assert limits[1] == np.inf
    assert 1 not in looks_like(P, limits)


def test_equal_probabilities_reach_their_own_mean():
    """A mean of many equal numbers may end a rounding above them."""
    even = np.full((2, 100, 100), 0.5, np.float32)
    even[0], even[1] = np.float32(0.3), np.float32(0.7)
    written = np.ones((100, 100), np.uint8)
    assert (looks_like(even, thresholds(confidence_sums(even, written))) == 1).all()


def test_the_largest_region_by_hand():
    written = np.zeros((6, 8), np.uint8)
    likely = written.copy()
    likely[1:3, 1:5] = 1  # 8 pixels
    likely[4:6, 0:2] = 1  # 4 pixels of the same pair, apart
    likely[3, 5] = 1  # touches the first over a corner only
    likely[4:6, 4:7] = 2  # 6 pixels
    region = largest_region(written, likely, joint(written, likely, 3))
    assert region is not None
    assert (region.written, region.likely, region.pixels, region.box) == (0, 1, 8, (1, 1, 3, 5))
    written[1:3, 1:5] = IGNORE
    region = largest_region(written, likely, joint(written, likely, 3))
    assert region is not None
    assert (region.likely, region.pixels, region.box) == (2, 6, (4, 4, 6, 7))


def test_the_fence_by_hand():
    # quartiles of 1..5 are 2 and 4
    assert upper_fence([5.0, 1.0, 2.0, 4.0, 3.0]) == pytest.approx(4 + 1.5 * 2)


@given(pictures())
def test_every_number_is_what_a_loop_over_the_pixels_says(picture):
    p, written = picture
    k, places = len(p), counted(written)
    own = [float(p[written[at], at[0], at[1]]) for at in places]
    sums = confidence_sums(p, written)
    for c in range(k):
        mine = [value for value, at in zip(own, places, strict=True) if written[at] == c]
        assert sums[0, c] == len(mine)
        assert sums[1, c] == pytest.approx(sum(mine), abs=1e-6)
    limits = thresholds(sums)
    likely = looks_like(p, limits)
    table = np.zeros((k, k), np.int64)
    for row, column in np.ndindex(*written.shape):
        reached = [c for c in range(k) if p[c, row, column] >= limits[c]]
        wanted = max(reached, key=lambda c: (p[c, row, column], -c)) if reached else IGNORE
        assert likely[row, column] == wanted
        if wanted != IGNORE and written[row, column] != IGNORE:
            table[written[row, column], wanted] += 1
    np.testing.assert_array_equal(joint(written, likely, k), table)
    quality = soft_minimum(self_confidence(p, written))
    if places:
        weights = [math.exp(-value / 0.1) for value in own]
        assert quality == pytest.approx(sum(w * v for w, v in zip(weights, own, strict=True)) / sum(weights), rel=1e-5)
        assert min(own) - 1e-6 <= quality <= sum(own) / len(own) + 1e-6
    else:
        assert math.isnan(quality)
        assert math.isnan(disagreement(table, written))


@given(pictures(), st.integers(0, 2**32 - 1))
def test_ignored_pixels_change_nothing(picture, seed):
    """Whatever the model says where IGNORE is written."""
    p, written = picture
    other = np.where(written == IGNORE, np.random.default_rng(seed).random(p.shape, np.float32), p)
    limits = thresholds(confidence_sums(p, written))
    np.testing.assert_array_equal(limits, thresholds(confidence_sums(other, written)))
    np.testing.assert_array_equal(self_confidence(p, written), self_confidence(other, written))
    one, two = (joint(written, looks_like(each, limits), len(p)) for each in (p, other))
    np.testing.assert_array_equal(one, two)
    assert largest_region(written, looks_like(p, limits), one) == largest_region(
        written, looks_like(other, limits), two
    )


@given(pictures())
def test_the_largest_region_is_what_a_flood_finds(picture):
    p, written = picture
    likely = p.argmax(0).astype(np.uint8)
    left = {at for at in counted(written) if likely[at] != written[at]}
    largest = 0
    while left:
        flood = [left.pop()]
        pair = (written[flood[0]], likely[flood[0]])
        for row, column in flood:
            for at in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                if at in left and (written[at], likely[at]) == pair:
                    left.remove(at)
                    flood.append(at)
        largest = max(largest, len(flood))
    region = largest_region(written, likely, joint(written, likely, len(p)))
    assert (region.pixels if region else 0) == largest
    if region:
        top, first, bottom, last = region.box
        inside = (written[top:bottom, first:last] == region.written) & (likely[top:bottom, first:last] == region.likely)
        assert inside.sum() >= region.pixels
        assert inside.any(axis=1).all()
        assert inside.any(axis=0).all()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.randoms())
def test_the_soft_minimum_is_of_the_set_and_rises_with_temperature(values, random):
    shuffled = values.copy()
    random.shuffle(shuffled)
    low, high = (soft_minimum(np.array(values), temperature) for temperature in (0.02, 0.5))
    assert soft_minimum(np.array(shuffled), 0.5) == pytest.approx(high)
    assert low <= high + 1e-12
