"""Several variants at once: Holm by hand, and how often whole families are right."""

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import Interval, NoInterval, compare_all, compare_pair, compare_with_baseline, holm
from segtrial.statistics.many import smallest_p
from tests.statistics.rows import clips, column, mean


def variants(centers: dict[str, float], seeds: int = 5, images: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (seeds, images)
    return {name: column(center + 0.01 * rng.normal(size=shape)) for name, center in centers.items()}


def width(found: Interval | NoInterval) -> float:
    assert isinstance(found, Interval)
    return found.high - found.low


def test_holm_by_hand():
    # .005 x 4, .01 x 3, .03 x 2, .04 x 1 but not below .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1, 1]
    assert holm([0.02, None, 0.5]) == [pytest.approx(0.06), None, 1]
    assert holm([]) == []


def test_holm_keeps_order_and_lowers_nothing():
    p = np.random.default_rng(0).random(20).tolist()
    adjusted = holm(p)
    assert np.all(np.asarray(adjusted) >= p)
    assert sorted(adjusted) == [adjusted[index] for index in np.argsort(p)]


def test_a_baseline_is_a_in_every_pair():
    rows = variants({"plain": 0.5, "good": 0.6, "same": 0.5, "bad": 0.4})
    found = compare_with_baseline(rows, "plain", clips(12, 6), mean, margin=0.02)
    assert {name: result.verdict for name, result in found.items()} == {
        "good": "better",
        "same": "equivalent",
        "bad": "worse",
    }
    alone = compare_pair(rows["plain"], rows["good"], clips(12, 6), mean, margin=0.02)
    assert found["good"].interval == alone.interval
    assert found["good"].these_images.mde > alone.these_images.mde  # planned for three comparisons


def test_what_is_sure_alone_may_be_chance_among_many():
    seeds, spread = 5, np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    error = 0.01 * spread.std(ddof=1) / seeds**0.5
    shift = error * stats.t.ppf(1 - 0.03 / 2, 4)  # p = .03 alone
    rows = {
        f"v{index}": column((shift * (index == 1) + 0.01 * spread * (index > 0))[:, None].repeat(6, 1))
        for index in range(4)
    }
    found = compare_with_baseline(rows, "v0", ["clip"] * 6, mean)
    assert compare_pair(rows["v0"], rows["v1"], ["clip"] * 6, mean).verdict == "better"
    assert found["v1"].these_images.p == pytest.approx(0.09)
    assert found["v1"].verdict == "cannot tell"


def test_all_pairs_are_wider_than_alone_and_narrower_than_bonferroni():
    rows, groups = variants({"a": 0.5, "b": 0.5, "c": 0.5, "d": 0.5}), clips(12, 6)
    found = compare_all(rows, groups, mean)
    assert list(found) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]
    for (a, b), result in found.items():
        alone = compare_pair(rows[a], rows[b], groups, mean)
        bonferroni = compare_pair(rows[a], rows[b], groups, mean, level=1 - 0.05 / 6)
        assert width(alone.interval) < width(result.interval) <= width(bonferroni.interval)
        assert width(alone.interval_new_scenes) < width(result.interval_new_scenes)
        assert width(result.interval_new_scenes) <= width(bonferroni.interval_new_scenes)
        assert alone.these_images.p <= result.these_images.p <= 6 * alone.these_images.p
        low, high = result.interval.low, result.interval.high
        assert (result.these_images.p <= 0.05) == (low > 0 or high < 0)
        assert result.interval.level == 0.95


def test_two_variants_are_one_pair():
    rows, groups = variants({"a": 0.5, "b": 0.6}), clips(12, 6)
    assert compare_all(rows, groups, mean) == {("a", "b"): compare_pair(rows["a"], rows["b"], groups, mean)}


def test_pairs_without_an_interval_stay_without():
    rows = variants({"a": 0.5, "b": 0.6, "c": 0.7}, seeds=1)
    found = compare_all(rows, clips(12, 6), mean)
    against = compare_with_baseline(rows, "a", clips(12, 6), mean)
    for result in (*found.values(), *against.values()):
        assert isinstance(result.interval, NoInterval)
        assert result.verdict == "cannot tell"


def test_one_pair_has_a_uniform_p():
    assert stats.kstest(smallest_p(2, 4), "uniform").pvalue > 0.01


def test_of_known_variances_it_is_the_studentized_range():
    # q(.95; 4 variants, infinite freedom) = 3.633; Harter, Tables of range and studentized range, 1960
    expected = 2 * stats.norm.sf(3.633 / 2**0.5)
    assert np.quantile(smallest_p(4, 1e9, draws=40_000), 0.05) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("seeds", [3, 5])
def test_families_of_equals_hold_together(seeds):
    each = np.quantile(smallest_p(4, seeds - 1, draws=20_000, seed=1), 0.05)
    values = np.random.default_rng(0).normal(size=(seeds, 20_000, 4))
    worst = np.min([stats.ttest_rel(values[..., a], values[..., b]).pvalue for a in range(4) for b in range(a)], axis=0)
    assert np.mean(worst <= each) == pytest.approx(0.05, abs=0.006)
