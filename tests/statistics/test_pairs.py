"""Comparisons of two variants against scipy, against loops, and what must not change them."""

from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from segtrial.scores import iou
from segtrial.statistics import (
    Interval,
    NoInterval,
    PairResult,
    block_interval,
    compare_classes,
    compare_pair,
    sign_flip_test,
    variance_split,
)
from tests.statistics.rows import MIOU, clips, column, confusions, mean


def pair(seed: int, seeds: int = 5, images: int = 24, blocks: int = 8) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    return confusions(rng, seeds, images), confusions(rng, seeds, images), clips(images, blocks)


def ends(found: Interval | NoInterval) -> tuple[float, float]:
    assert isinstance(found, Interval)
    return found.low, found.high


def same(one: PairResult, other: PairResult) -> bool:
    """Equal up to rounding in every number that is printed."""
    numbers = [
        [*result.per_seed, result.difference, *ends(result.interval), *ends(result.interval_new_scenes)]
        for result in (one, other)
    ]
    return numbers[0] == pytest.approx(numbers[1]) and one.verdict == other.verdict


@pytest.mark.parametrize("seeds", [2, 3, 10])
def test_these_images_have_the_paired_t_interval_of_scipy(seeds):
    a, b, groups = pair(0, seeds)
    found = compare_pair(a, b, groups, MIOU)
    theirs = stats.ttest_rel(MIOU(b.sum(axis=1)), MIOU(a.sum(axis=1)))
    assert ends(found.interval) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.these_images.p == pytest.approx(theirs.pvalue)
    assert found.difference == pytest.approx(np.mean(MIOU(b.sum(axis=1)) - MIOU(a.sum(axis=1))))
    assert (found.n_seeds, found.n_blocks) == (seeds, 8)


def test_the_error_over_scenes_is_the_jackknife_done_by_hand():
    a, b, groups = pair(1)
    found = compare_pair(a, b, groups, MIOU).new_scenes.estimate
    assert found is not None
    without = []
    for clip in sorted(set(groups)):
        kept = [index for index, group in enumerate(groups) if group != clip]
        without.append(np.mean(MIOU(b[:, kept].sum(axis=1)) - MIOU(a[:, kept].sum(axis=1))))
    assert found.scene_variance == pytest.approx(7 / 8 * np.sum((np.array(without) - np.mean(without)) ** 2))
    assert found.scene_freedom == pytest.approx(7)  # equal blocks


def test_of_a_mean_the_two_variances_are_those_of_the_table():
    values = np.random.default_rng(2).normal(size=(4, 6))  # seeds x blocks of one image
    found = compare_pair(column(np.zeros((4, 6))), column(values), clips(6, 6), mean)
    seeds, scenes = values.mean(axis=1).var(ddof=1) / 4, values.mean(axis=0).var(ddof=1) / 6
    error = (seeds + scenes) ** 0.5
    freedom = (seeds + scenes) / (seeds / 3 + scenes / 5)
    expected = stats.t(freedom, values.mean(), error).interval(0.95)
    assert ends(found.interval_new_scenes) == pytest.approx(expected)


def test_over_many_scenes_the_error_is_that_of_scipys_bootstrap():
    rng = np.random.default_rng(3)
    hits, pixels = rng.gamma(2, size=200), rng.gamma(2, size=200) + 3
    b = np.stack([hits, pixels], axis=-1)[None].repeat(3, axis=0)  # seeds do not vary
    a = np.stack([0 * hits, pixels], axis=-1)[None].repeat(3, axis=0)
    found = compare_pair(a, b, clips(200, 200), mean).new_scenes.estimate
    theirs = stats.bootstrap(
        (hits, pixels),
        lambda over, under, axis: over.sum(axis) / under.sum(axis),
        paired=True,
        n_resamples=4000,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    assert found is not None
    assert found.error == pytest.approx(theirs.standard_error, rel=0.05)


@given(st.integers(0, 10_000), st.integers(2, 6), st.sampled_from([0.0, 0.005, 0.05]))
@settings(max_examples=25, deadline=None)
def test_swapping_the_names_flips_the_sign_and_nothing_else(seed, seeds, margin):
    a, b, groups = pair(seed, seeds)
    one, other = compare_pair(a, b, groups, MIOU, margin=margin), compare_pair(b, a, groups, MIOU, margin=margin)
    words = {"better": "worse", "worse": "better"}
    for first, second in ((one.these_images, other.these_images), (one.new_scenes, other.new_scenes)):
        low, high = ends(second.interval)
        assert ends(first.interval) == (-high, -low)
        assert first.verdict == words.get(second.verdict, second.verdict)
        assert (first.p, first.mde, first.seeds_needed) == (second.p, second.mde, second.seeds_needed)
        assert first.reason == second.reason
    assert one.difference == -other.difference
    assert one.per_seed == tuple(-value for value in other.per_seed)
    assert one.probability_better == pytest.approx(1 - other.probability_better)
    assert (one.p_sign_flip, one.variance) == (other.p_sign_flip, other.variance)


def test_copies_of_images_inside_their_groups_change_nothing():
    a, b, groups = pair(4)
    copies = [np.repeat(rows, 7, axis=1) for rows in (a, b)]
    assert same(compare_pair(*copies, list(np.repeat(groups, 7)), MIOU), compare_pair(a, b, groups, MIOU))


def test_the_order_of_images_and_of_seeds_changes_nothing():
    a, b, groups = pair(5)
    images, seeds = np.random.default_rng(0).permutation(24), [3, 0, 4, 1, 2]
    moved = compare_pair(a[seeds][:, images], b[seeds][:, images], [groups[index] for index in images], MIOU)
    whole = compare_pair(a, b, groups, MIOU)
    assert same(replace(moved, per_seed=whole.per_seed), whole)
    assert sorted(moved.per_seed) == pytest.approx(sorted(whole.per_seed))


def test_images_as_their_own_groups_look_surer_than_their_clips():
    rng = np.random.default_rng(6)
    values = np.repeat(rng.normal(size=6) + 0.1 * rng.normal(size=(5, 6)), 20, axis=1)  # 20 alike in each of 6 clips
    rows, groups = column(values), np.repeat([f"clip{index}" for index in range(6)], 20).tolist()
    clip, photo = (compare_pair(0 * rows + column(0), rows, names, mean) for names in (groups, clips(120, 120)))
    width = [np.ptp(ends(found.interval_new_scenes)) for found in (clip, photo)]
    assert width[0] > 2 * width[1]


def test_one_clip_has_no_interval_for_new_scenes_and_the_verdict_speaks_of_these_images():
    a, b, _ = pair(7)
    found = compare_pair(a, b, ["0016E5"] * 24, MIOU)
    reason = "24 images are one block (0016E5): an interval needs at least 5 independent blocks"
    assert found.interval_new_scenes == NoInterval(reason, 1, 5)
    assert (found.new_scenes.verdict, found.new_scenes.reason) == ("cannot tell", reason)
    assert (found.speaks_of, found.variance) == ("these images", None)
    assert ends(found.interval) == ends(compare_pair(a, b, clips(24, 8), MIOU).interval)


def test_with_blocks_enough_the_verdict_speaks_of_new_scenes():
    a, b, groups = pair(8)
    found = compare_pair(a, b, groups, MIOU)
    assert found.headline is found.new_scenes
    assert (found.speaks_of, found.interval_new_scenes.n_blocks, found.interval.n_seeds) == ("new scenes", 8, 5)
    assert (found.interval.over, found.interval_new_scenes.over) == ("seeds", "seeds and blocks")


def test_one_seed_cannot_tell_but_says_the_difference():
    a, b, groups = pair(9, seeds=1)
    found = compare_pair(a, b, groups, MIOU)
    assert found.difference == MIOU(b.sum(axis=1))[0] - MIOU(a.sum(axis=1))[0]
    assert found.verdict == "cannot tell"
    assert found.reason == "one seed: how much runs differ by chance is unknown; at least 2 are needed"
    assert isinstance(found.interval, NoInterval)
    assert isinstance(found.interval_new_scenes, NoInterval)
    assert (found.mde, found.seeds_needed, found.p_sign_flip, found.variance) == (None, None, None, None)


def test_one_seed_and_a_known_spread_say_how_many_seeds_it_takes():
    rows = column(np.zeros((1, 10)))
    found = compare_pair(rows, column(np.full((1, 10), 0.02)), clips(10, 5), mean, prior_spread=0.02 / 1.7)
    assert found.seeds_needed == 5  # that see 1.66 spreads


def test_equal_rows_are_equivalent():
    a, _, groups = pair(10)
    found = compare_pair(a, a.copy(), groups, MIOU)
    assert (found.difference, ends(found.interval), ends(found.interval_new_scenes)) == (0, (0, 0), (0, 0))
    assert found.these_images.verdict == found.new_scenes.verdict == "equivalent"
    assert (found.these_images.p, found.probability_better, found.p_sign_flip, found.mde) == (1, 0.5, 1, 0)


def test_a_difference_without_any_variance_is_one():
    rows = column(np.zeros((3, 10)))
    found = compare_pair(rows, column(np.full((3, 10), 0.25)), clips(10, 5), mean)
    assert (found.verdict, ends(found.interval), found.these_images.p) == ("better", (0.25, 0.25), 0)


def test_a_seed_without_a_score_is_neither_dropped_nor_a_number():
    a, b, groups = pair(11)
    b[2] = 0
    found = compare_pair(a, b, groups, MIOU)
    assert (found.difference, found.per_seed[2], found.probability_better, found.verdict) == (
        None,
        None,
        None,
        "cannot tell",
    )
    assert found.reason == "the difference is undefined or infinite in 1 of 5 seeds"
    assert found.per_seed.count(None) == 1


def test_infinite_scores_give_no_number():
    def psnr(sums: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return -np.log10(sums[..., 0])

    exact, near = np.zeros((3, 10, 1)), np.full((3, 10, 1), 0.1)
    for b in (exact, near):
        found = compare_pair(exact, b, clips(10, 5), psnr)
        assert (found.difference, found.verdict) == (None, "cannot tell")
        assert isinstance(found.interval_new_scenes, NoInterval)


def test_classes_are_compared_one_by_one_and_absent_ones_cannot_tell():
    a, b, groups = pair(12)
    a[..., 1], b[..., 1] = 0, 0  # in no truth and no answer
    found = compare_classes(a, b, groups, iou)
    alone = compare_pair(a, b, groups, lambda sums: iou(sums)[..., 2])
    assert found[2] == alone
    assert (found[1].difference, found[1].verdict) == (None, "cannot tell")
    assert found[1].reason == "the difference is undefined or infinite in 5 of 5 seeds"


def test_a_class_of_a_single_clip_speaks_of_these_images():
    a, b, groups = pair(13)
    elsewhere = [group != "clip3" for group in groups]
    a[:, elsewhere, :, 0], b[:, elsewhere, :, 0] = 0, 0
    found = compare_classes(a, b, groups, iou)[0]
    assert found.interval_new_scenes == NoInterval("without clip3 the score is undefined", 8, 5)
    assert (found.speaks_of, type(found.interval)) == ("these images", Interval)


def test_narrow_integers_do_not_overflow():
    a, b, groups = pair(14)
    wide = compare_pair(a, b, groups, MIOU)
    assert compare_pair(a.astype(np.uint16), b.astype(np.uint16), groups, MIOU) == wide
    assert block_interval(a[0].astype(np.uint16), groups, MIOU) == block_interval(a[0], groups, MIOU)


@pytest.mark.parametrize(("won", "seeds"), [(0, 3), (2, 3), (5, 5), (7, 10)])
def test_the_probability_has_the_exact_interval_of_scipy(won, seeds):
    values = np.where(np.arange(seeds) < won, 1.0, -1.0)[:, None].repeat(6, axis=1)
    found = compare_pair(column(0 * values), column(values), clips(6, 6), mean)
    theirs = stats.binomtest(won, seeds).proportion_ci(0.95, method="exact")
    assert found.probability_better == won / seeds
    assert ends(found.probability_interval) == pytest.approx(tuple(theirs))


def test_equal_scores_count_half():
    values = np.array([1.0, 0.0, 0.0, -1.0, 1.0])[:, None].repeat(6, axis=1)
    assert compare_pair(column(0 * values), column(values), clips(6, 6), mean).probability_better == 0.6


def test_the_pair_has_the_p_value_of_all_flips():
    a, b, groups = pair(15)
    found = compare_pair(a, b, groups, MIOU)
    assert found.p_sign_flip == sign_flip_test(found.per_seed)


def test_the_variance_of_the_difference_is_that_of_its_rows():
    a, b, groups = pair(16)
    both = np.stack([a, b], axis=2)
    found = variance_split(both, groups, lambda sums: MIOU(sums[:, 1]) - MIOU(sums[:, 0]))
    assert astuple(found) == pytest.approx(astuple(compare_pair(a, b, groups, MIOU).variance))
