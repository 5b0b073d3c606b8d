"""The four words: when each is said, and what is said about the way to another."""

import numpy as np
import pytest
from scipy import stats

from segtrial.statistics import Estimate
from segtrial.statistics.verdict import Rule, answered

RULE = Rule(0.005, 0.95, 20, each=0.95, planned=0.95)
T95, T90 = stats.t.ppf([0.975, 0.95], 4)  # five seeds


def answer(center: float, error: float, rule: Rule = RULE, **options):
    return answered("these images", Estimate(center, 5 * error**2, 5), rule, **options)


@pytest.mark.parametrize(
    ("center", "error", "verdict"),
    [
        (0.010, 0.0099 / T95, "better"),
        (-0.010, 0.0099 / T95, "worse"),
        (0.010, 0.0101 / T95, "cannot tell"),  # the 95 % interval holds 0
        (0.005, 0.001 / T95, "better"),  # at the margin
        (0.0049, 0.001 / T95, "cannot tell"),  # sure, but on both sides of the margin
        (0.002, 0.0029 / T90, "equivalent"),  # the 90 % interval ends at .0049
        (0.002, 0.0031 / T90, "cannot tell"),
        (0.002, 0.0001, "equivalent"),  # sure, and too small to matter
        (-0.002, 0.0029 / T90, "equivalent"),
        (0.0, 0.0049 / T90, "equivalent"),
        (0.0, 0.0, "equivalent"),
        (0.1, 0.0, "better"),
    ],
)
def test_the_rule(center, error, verdict):
    found = answer(center, error)
    assert found.verdict == verdict
    assert bool(found.reason) == (verdict == "cannot tell")


def test_without_a_margin_only_a_sign_is_asked_for():
    rule = Rule(0, 0.95, 20, each=0.95, planned=0.95)
    assert answer(1e-6, 1e-7, rule).verdict == "better"
    assert answer(1e-6, 1e-6, rule).verdict == "cannot tell"
    assert answer(1e-6, 1e-6, rule).reason.startswith("the difference may be 0; about")


def test_what_is_seen_is_what_the_published_factor_says():
    assert answer(0.0, 0.002).mde == pytest.approx(0.002 * 1.66 * 5**0.5, rel=2e-3)


@pytest.mark.parametrize("center", [0.012, 0.0])
def test_the_seeds_it_names_would_tell_in_eight_of_ten(center):
    found = answer(center, 0.005)
    assert found.verdict == "cannot tell"
    values = np.random.default_rng(0).normal(center, 0.005 * 5**0.5, size=(found.seeds_needed, 2000))
    told = 0
    for sample in values.T:
        estimate = Estimate(sample.mean(), sample.var(ddof=1), len(sample))
        told += answered("these images", estimate, RULE).verdict != "cannot tell"
    assert 0.76 < told / 2000 < 0.86


def test_where_scenes_vary_too_much_no_seeds_will_do():
    found = answered("new scenes", Estimate(0.006, 0.001**2, 5, 0.004**2, 9.0), RULE)
    assert (found.verdict, found.seeds_needed) == ("cannot tell", None)
    assert found.reason == (
        "the difference may be 0, or beyond the margin of 0.005; 1000 seeds would not tell, and more scenes are needed"
    )


@pytest.mark.parametrize(
    ("center", "error", "reason"),
    [
        (0.01, 0.005, "the difference may be 0, or beyond the margin of 0.005; about 12 seeds would tell"),
        (
            0.0045,
            0.001,
            "there is a difference, but it may lie on either side of the margin of 0.005; about {n} seeds would tell",
        ),
        (
            0.004999,
            0.001,
            "there is a difference, but it may lie on either side of the margin of 0.005; 1000 seeds would not tell",
        ),
    ],
)
def test_why_it_cannot_tell(center, error, reason):
    found = answer(center, error)
    assert found.reason == reason.format(n=found.seeds_needed)


def test_a_corrected_p_decides_instead_of_the_interval():
    assert answer(0.02, 0.002).verdict == "better"
    found = answer(0.02, 0.002, p=0.06)
    assert (found.verdict, found.p) == ("cannot tell", 0.06)
    assert found.reason.startswith("alone this would be a difference, among several comparisons it may be chance")
    assert answer(0.02, 0.002, p=0.05).verdict == "better"
