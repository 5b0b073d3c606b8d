"""Errors and their degrees of freedom, against formulas of known cases and simulated variances."""

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import Estimate, variance_split
from segtrial.statistics.spread import block_freedom
from tests.statistics.rows import clips, column, mean


def test_one_source_of_variance_has_its_own_freedom():
    assert Estimate(0.0, 1.0, 7).freedom == pytest.approx(6)
    assert Estimate(0.0, 0.0, 7, 2.0, 3.5).freedom == pytest.approx(3.5)
    assert Estimate(0.0, 0.0, 7).freedom == 6


def test_two_sources_have_less_freedom_than_welchs_test():
    # Welch's t-test adds two such variances: those of the means of two samples
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=5), 3 * rng.normal(size=9) + 2
    ours = Estimate(x.mean() - y.mean(), x.var(ddof=1), 5, y.var(ddof=1) / 9, 8.0)
    theirs = stats.ttest_ind(x, y, equal_var=False)
    assert 4 < ours.freedom < theirs.df
    t = stats.t(ours.freedom)
    assert ours.p == pytest.approx(2 * t.sf(abs(theirs.statistic)))
    half = t.ppf(0.95) * abs(ours.center / theirs.statistic)
    assert ours.interval(0.9) == pytest.approx((ours.center - half, ours.center + half))


def test_freedom_by_hand():
    # equal variances of 4 and 8 degrees: 1 / (1/2 / 4 + 1/2 / 8)
    assert Estimate(0.0, 5.0, 5, 1.0, 8.0).freedom == pytest.approx(16 / 3)


def test_what_seeds_and_scenes_do_adds_up():
    assert Estimate(0.0, 5.0, 5, 1.25, 8.0).error == pytest.approx(1.5)


@pytest.mark.parametrize(("seeds", "blocks"), [(3, 5), (3, 50), (5, 20), (10, 5)])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.85, 0.95])
def test_sums_of_any_two_variances_are_covered(seeds, blocks, share):
    rng = np.random.default_rng(0)
    drawn = seeds * share * rng.chisquare(seeds - 1, 20_000) / (seeds - 1)
    scenes = (1 - share) * rng.chisquare(blocks - 1, 20_000) / (blocks - 1)
    low, high = Estimate(rng.standard_normal(20_000), drawn, seeds, scenes, blocks - 1.0).interval(0.95)
    assert np.mean((low <= 0) & (high >= 0)) > 0.94


@pytest.mark.parametrize("blocks", [2, 5, 50, 1500])
def test_equal_blocks_have_one_degree_less_than_blocks(blocks):
    assert block_freedom(np.full(blocks, 7)) == pytest.approx(min(blocks, 1000) - 1)


def test_unequal_blocks_have_the_freedom_of_the_variance_they_give():
    # a variance distributed as chi squared / f times its mean has 2 mean^2 / variance = f
    rng = np.random.default_rng(1)
    sizes = np.array([1, 2, 3, 10, 20])
    values = rng.normal(size=(200_000, 5))
    kept = sizes * (1 - np.eye(5))
    without = values @ (kept / kept.sum(axis=1, keepdims=True)).T
    variance = without.var(axis=1)
    assert block_freedom(sizes) == pytest.approx(2 * variance.mean() ** 2 / variance.var(), rel=0.03)
    assert block_freedom(sizes) < 2


def test_variance_is_split_as_it_was_made():
    rng = np.random.default_rng(2)
    made = []
    for _ in range(300):
        values = 2 * rng.normal(size=(6, 1)) + 3 * rng.normal(size=(1, 8)) + 4 * rng.normal(size=(6, 8))
        found = variance_split(column(values), clips(8, 8), mean)
        assert found is not None
        made.append([found.seeds, found.scenes, found.both])
    seeds, scenes, both = np.mean(made, axis=0)
    assert both == pytest.approx(16 / 8, rel=0.1)
    assert seeds == pytest.approx(4, rel=0.2)
    assert scenes == pytest.approx(9 / 8, rel=0.2)


def test_variance_of_one_source_is_all_that_sources():
    values = np.arange(4.0)[:, None] + np.zeros(6)
    found = variance_split(column(values), clips(6, 6), mean)
    assert found is not None
    assert (found.seeds, found.scenes, found.both) == pytest.approx((np.arange(4).var(ddof=1), 0, 0))


@pytest.mark.parametrize(("seeds", "blocks"), [(1, 8), (3, 4)])
def test_too_little_is_not_split(seeds, blocks):
    assert variance_split(column(np.ones((seeds, 8))), clips(8, blocks), mean) is None


def test_an_undefined_score_is_not_split():
    with np.errstate(invalid="ignore"):
        assert variance_split(np.zeros((3, 8, 2)), clips(8, 8), mean) is None
