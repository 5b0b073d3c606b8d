"""Flips of signs against scipy and by hand; folds by hand and by simulation."""

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import Interval, NoInterval, fold_interval, sign_flip_test


@pytest.mark.parametrize("seeds", [2, 3, 5, 8])
def test_all_flips_are_those_of_scipy(seeds):
    values = np.random.default_rng(seeds).normal(0.5, 1, size=seeds)
    theirs = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_test(values.tolist()) == pytest.approx(theirs.pvalue)


def test_flips_by_hand():
    assert sign_flip_test([1.0, 2.0, 3.0]) == 2 / 8  # only +++ and --- reach 6
    assert sign_flip_test([1.0, 2.0, -3.0]) == 1  # 0 is reached by all
    assert sign_flip_test([1.0, 1.0, 4.0, 4.0, 5.0]) == 2 / 32
    assert sign_flip_test([0.1, 0.2, 0.3, -0.1]) == 6 / 16  # |5| of 1 2 3 1: all +, one 1 -, their mirrors
    assert sign_flip_test([0.0, 0.0]) == 1


def test_many_pairs_are_drawn_near_the_exact_share():
    values = np.random.default_rng(0).normal(0.4, 1, size=12)
    exact = sign_flip_test(values.tolist())
    assert sign_flip_test(values.tolist(), draws=4000) == pytest.approx(exact, abs=0.03)
    assert sign_flip_test(values.tolist(), draws=4000) == sign_flip_test(values.tolist(), draws=4000)
    assert sign_flip_test(values.tolist(), draws=4000, seed=1) != sign_flip_test(values.tolist(), draws=4000)
    assert sign_flip_test([1.0] * 40, draws=999) == 1 / 1000


def test_folds_by_hand():
    # mean 2, variance 1, k 3, test share 1/2: sqrt(1/3 + 1/2) = .9129, t(.975; 2) = 4.3027
    found = fold_interval([1.0, 2.0, 3.0], 0.5)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx((2 - 4.3027 * 0.9129, 2 + 4.3027 * 0.9129), abs=1e-3)
    assert (found.over, found.n_blocks) == ("folds", 3)


def test_without_a_test_share_it_is_the_plain_t():
    values = np.random.default_rng(0).normal(size=10)
    found = fold_interval(values.tolist(), 0.0, level=0.9)
    assert isinstance(found, Interval)
    assert (found.low, found.high) == pytest.approx(tuple(stats.ttest_1samp(values, 0).confidence_interval(0.9)))


@pytest.mark.parametrize(("values", "reason"), [([1.0], "one fold"), ([1.0, float("nan")], "undefined in some folds")])
def test_folds_without_an_interval_say_why(values, reason):
    found = fold_interval(values, 0.1)
    assert isinstance(found, NoInterval)
    assert reason in found.reason
