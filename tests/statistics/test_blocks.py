"""Intervals against scipy, exact enumeration, and what they must not do."""

import re
from itertools import product

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import Interval, NoInterval, block_interval


def column(values) -> np.ndarray:
    """Rows whose sum is a mean in waiting: (value, 1) of each image."""
    return np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def own_blocks(count: int) -> list[str]:
    return [f"photo{index}" for index in range(count)]


def interval(rows, groups, score=mean, **options) -> Interval:
    found = block_interval(rows, groups, score, **options)
    assert isinstance(found, Interval)
    return found


def test_a_plain_mean_has_the_interval_of_scipy():
    values = np.random.default_rng(0).gamma(2, size=40)
    ours = interval(column(values), own_blocks(40), draws=40_000)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.02 * np.ptp(values))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_few_blocks_have_the_quantiles_of_all_their_resamples(level):
    values = np.array([0.1, 0.25, 0.7, 0.8, 1.5])
    means = [np.mean(drawn) for drawn in product(values, repeat=5)]  # all 3125
    ours = interval(column(values), own_blocks(5), level=level, draws=50_000)
    expected = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    np.testing.assert_allclose([ours.low, ours.high], expected, atol=0.02)
    assert ours.level == level


def test_a_ratio_is_computed_anew_from_each_draws_sums():
    # (hits, pixels): the two big blocks decide the ratio of sums, not the mean of the ratios
    rows = np.array([[1, 1], [1, 1], [1, 1], [0, 1000], [0, 1000], [1, 1]])
    found = interval(rows, own_blocks(6))
    assert found.low < 4 / 2004 < found.high
    ratios = [sum(rows[i, 0] for i in draw) / sum(rows[i, 1] for i in draw) for draw in product(range(6), repeat=6)]
    np.testing.assert_allclose([found.low, found.high], np.quantile(ratios, [0.025, 0.975]), atol=1e-3)


def test_the_same_call_gives_the_same_interval():
    rows, groups = column(np.random.default_rng(0).random(30)), own_blocks(30)
    assert block_interval(rows, groups, mean) == block_interval(rows, groups, mean)
    assert block_interval(rows, groups, mean) != block_interval(rows, groups, mean, seed=1)


def test_the_order_of_images_changes_nothing():
    rng = np.random.default_rng(0)
    rows, groups, order = rng.integers(100, size=(30, 2)), [f"clip{i % 7}" for i in range(30)], rng.permutation(30)
    assert block_interval(rows[order], [groups[i] for i in order], mean) == block_interval(rows, groups, mean)


def test_pieces_of_draws_are_the_draws():
    # 3000 blocks x 2000 draws do not fit one piece; the mean of many has the normal interval
    values = np.random.default_rng(0).normal(size=3000)
    found = interval(column(values), own_blocks(3000))
    expected = values.mean() + np.array([-1.96, 1.96]) * values.std() / 3000**0.5
    np.testing.assert_allclose([found.low, found.high], expected, atol=0.1 / 3000**0.5)


def test_copies_of_images_inside_their_blocks_do_not_narrow():
    rng = np.random.default_rng(0)
    rows, groups = column(rng.random(24)), [f"clip{i % 8}" for i in range(24)]
    once = interval(rows, groups)
    ten = interval(np.tile(rows, (10, 1)), groups * 10)
    assert (ten.low, ten.high, ten.n_blocks) == pytest.approx((once.low, once.high, once.n_blocks))


def test_two_variants_side_by_side_are_compared_on_the_same_draws():
    a = np.random.default_rng(0).normal(size=(20, 1))
    both = np.stack([column(a[:, 0] + 0.1), column(a[:, 0])], axis=1)  # (20, 2, 2)
    found = interval(both, own_blocks(20), lambda sums: mean(sums[:, 0]) - mean(sums[:, 1]))
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))  # each alone varies by far more


def covered(rng: np.random.Generator, blocks: int, images: int, per_image: bool) -> float:
    """Share of 300 studies whose 95 % interval holds the true mean 0, with images alike inside a block."""
    hits = 0
    for _ in range(300):
        values = np.repeat(rng.normal(size=blocks), images) + 0.2 * rng.normal(size=blocks * images)
        groups = own_blocks(len(values)) if per_image else np.repeat(own_blocks(blocks), images).tolist()
        found = interval(column(values), groups, draws=400)
        hits += found.low <= 0 <= found.high
    return hits / 300


def test_blocks_cover_the_truth_and_images_of_clips_do_not():
    rng = np.random.default_rng(0)
    assert 0.91 <= covered(rng, blocks=40, images=5, per_image=False) <= 0.98
    assert covered(rng, blocks=40, images=5, per_image=True) < 0.8


def test_one_clip_is_one_block():
    found = block_interval(column(np.zeros(101)), ["0016E5"] * 101, mean)
    reason = "101 images are one block (0016E5): an interval needs at least 5 independent blocks"
    assert found == NoInterval(reason, 1)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([], "there are no images"),
        (["a"], r"^1 image is one block \(a\)"),
        (["b", "a", "c", "d", "a"], r"^5 images are only 4 blocks \(a, b, c, d\)"),
    ],
)
def test_too_few_blocks_have_a_reason(groups, reason):
    found = block_interval(column(np.ones(len(groups))), groups, mean)
    assert isinstance(found, NoInterval)
    assert re.search(reason, found.reason)


def test_undefined_draws_are_left_out():
    rows = np.array([[3, 2], *[[0, 0]] * 5])  # a draw without the first block is 0 / 0
    with np.errstate(invalid="ignore"):
        found = interval(rows, own_blocks(6))
        nowhere = block_interval(np.zeros((6, 2)), own_blocks(6), mean)
    assert (found.low, found.high) == (1.5, 1.5)
    assert nowhere == NoInterval("the score is undefined in every draw of blocks", 6)


def test_a_score_that_may_be_infinite_has_no_interval():
    def one_over(sums: np.ndarray) -> np.ndarray:
        return np.divide(1, sums[..., 0], out=np.full(len(sums), np.inf), where=sums[..., 0] > 0)

    rows = np.array([[0.0, 1.0]] * 3 + [[1.0, 1.0]] * 3)
    found = block_interval(rows, list("abcdef"), one_over)
    assert isinstance(found, NoInterval)
    assert found.reason == "the score is infinite in some draws of blocks"
