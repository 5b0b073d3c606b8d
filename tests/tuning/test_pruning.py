"""When a trial is stopped: Optuna's median pruner agrees, and halving is worked out by hand."""

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from segtrial.tuning.pruning import FEWEST, Other, by_halving, by_median

LR = {"x": FloatDistribution(0, 1)}


@pytest.mark.parametrize("seed", range(8))
def test_the_median_rule_is_optunas(seed):
    rng = np.random.default_rng(seed)
    curves = [dict(enumerate(rng.random(rng.integers(1, 5)).tolist(), 1)) for _ in range(9)]
    complete = (rng.random(9) < 0.7).tolist()
    study = optuna.create_study(direction="maximize")
    for curve, whole in zip(curves, complete, strict=True):
        state = TrialState.COMPLETE if whole else TrialState.PRUNED
        study.add_trial(
            create_trial(params={"x": 0.5}, distributions=LR, intermediate_values=curve, value=0.5, state=state)
        )
    own = dict(enumerate(rng.random(4).tolist(), 1))
    others = [Other(curve, whole) for curve, whole in zip(curves, complete, strict=True)]
    for at in own:
        trial = create_trial(
            params={"x": 0.5},
            distributions=LR,
            intermediate_values={step: score for step, score in own.items() if step <= at},
            state=TrialState.RUNNING,
        )
        enough = sum(other.complete and at in other.scores for other in others) >= FEWEST
        theirs = optuna.pruners.MedianPruner(n_startup_trials=FEWEST).prune(study, trial)
        assert by_median(at, own, others) == (theirs and enough)


def test_what_comes_later_does_not_stop_a_trial_earlier():
    """A trial that goes on after a kill is asked again at evaluations that lie behind it."""
    others = [Other({1: 0.5, 2: 0.5}, True)] * FEWEST
    assert not by_median(1, {1: 0.6, 2: 0.1}, others)
    assert by_median(1, {1: 0.4, 2: 0.9}, others)


@pytest.mark.parametrize(
    ("own", "others", "stops"),
    [
        (0.1, [], False),  # nobody to compare with
        (0.5, [0.6], True),  # the better half of two is one
        (0.7, [0.6], False),
        (0.5, [0.6, 0.4], True),
        (0.5, [0.6, 0.4, 0.3], False),  # two of four go on
        (0.4, [0.4, 0.4], False),  # equals are not worse
    ],
)
def test_halving_by_hand(own, others, stops):
    there = [Other({1: score}, False) for score in others]
    assert by_halving(1, {1: own}, there) is stops
    assert by_halving(3, {3: own}, [Other({3: score}, True) for score in others]) is False, "3 is no power of 2"
