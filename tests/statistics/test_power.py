"""Planning before runs: published factors, noncentral t, and what simulated studies find."""

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import (
    DEFAULT_SPREAD,
    MOST_SEEDS,
    pooled_spread,
    predicted_power,
    seeds_needed,
    smallest_visible,
)


@pytest.mark.parametrize(("seeds", "factor"), [(3, 3.10), (5, 1.66), (10, 1.00), (29, 0.54)])
def test_factors_of_the_paired_t_formula(seeds, factor):
    t = stats.t(seeds - 1)
    assert smallest_visible(1.0, seeds) == pytest.approx((t.ppf(0.975) + t.ppf(0.8)) / seeds**0.5)
    assert smallest_visible(2.0, seeds) == pytest.approx(2 * factor, abs=0.011)  # given to two digits


def test_one_seed_sees_nothing():
    assert smallest_visible(1.0, 1) is None


@pytest.mark.parametrize("ratio", [0.1, 0.3, 1.0, 2.0, 5.0])
def test_seeds_needed_are_the_fewest_that_see_it(ratio):
    seeds = seeds_needed(1.0, ratio)
    assert smallest_visible(1.0, seeds) <= ratio
    assert seeds == 2 or smallest_visible(1.0, seeds - 1) > ratio
    assert seeds_needed(1.0, -ratio) == seeds
    if ratio < 0.5:  # (z.975 + z.8)^2 = 7.85
        assert seeds == pytest.approx(7.85 / ratio**2, rel=0.06)


def test_what_no_number_of_seeds_shows():
    assert seeds_needed(1.0, 0.0) is None
    assert seeds_needed(0.0, 0.0) is None
    assert seeds_needed(1.0, 0.05) is None  # 3140
    assert smallest_visible(1.0, MOST_SEEDS) > 0.05


def test_no_spread_needs_two_seeds():
    assert seeds_needed(0.0, 0.01) == 2


@pytest.mark.parametrize(("seeds", "difference"), [(3, 2.0), (5, 1.5), (10, 0.7), (10, -0.7), (5, 0.0)])
def test_power_is_that_of_scipy_and_of_simulated_tests(seeds, difference):
    limit = stats.t.ppf(0.975, seeds - 1)
    t = stats.nct(seeds - 1, difference * seeds**0.5)
    found = predicted_power(1.0, seeds, difference)
    assert found == pytest.approx(t.sf(limit) + t.cdf(-limit), abs=1e-4)
    samples = np.random.default_rng(0).normal(difference, 1, size=(seeds, 20_000))
    assert found == pytest.approx(np.mean(stats.ttest_1samp(samples, 0).pvalue < 0.05), abs=0.01)


@pytest.mark.parametrize("difference", [30.0, -1000.0])
def test_what_cannot_be_missed_has_power_1(difference):
    assert predicted_power(1.0, 10, difference) == pytest.approx(1)


@pytest.mark.parametrize("seeds", [5, 10, 30])
def test_what_is_visible_is_found_in_eight_of_ten(seeds):
    assert predicted_power(1.0, seeds, smallest_visible(1.0, seeds)) == pytest.approx(0.8, abs=0.02)


def test_spread_of_runs_pools_settings_of_unequal_numbers():
    # variances 1 (two degrees) and 2 (one): pooled 4/3
    assert pooled_spread([[1.0, 2.0, 3.0], [5.0, 7.0], [9.0]]) == pytest.approx((2 * 4 / 3) ** 0.5)
    assert pooled_spread([[9.0], []]) is None


def test_the_default_is_that_of_three_published_runs():
    assert pooled_spread([[0.7776, 0.7885, 0.7807]]) == pytest.approx(DEFAULT_SPREAD, rel=0.02)
