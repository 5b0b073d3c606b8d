"""Trials: equal numbers for every variant, and an optimum beyond the range is found all the same."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.comparison import search
from segtrial.comparison.request import Tune
from segtrial.comparison.search import Setting, Trial
from segtrial.recipe import Recipe, from_tree
from segtrial.training.opening import open_data
from tests.comparison import trial

TUNE = Tune(trials=8, lr=(1e-3, 1e-1), weight_decay=(1e-5, 1e-2))


def test_the_first_round_is_a_lattice_over_both_ranges():
    found = search.first_round(TUNE, Recipe())
    rates, decays = (np.log10([getattr(one, name) for one in found]) for name in ("lr", "weight_decay"))
    np.testing.assert_allclose(np.diff(rates), 2 / 7, atol=0.01)  # three digits of each rate
    assert (rates[0], rates[-1]) == (-3, -1)
    assert decays.min() >= -5
    assert decays.max() <= -2
    # by Steinhaus's theorem gaps of multiples of the golden ratio take at most three lengths: none is large
    assert np.diff(np.sort(decays)).max() < 2.6 * 3 / len(decays)


def test_without_ranges_the_rate_alone_is_tried_around_the_variants_own():
    for tree, own in (({"optimizer": {"name": "sgd", "lr": 0.3}}, 0.3), ({"optimizer": {"name": "adam"}}, 1e-3)):
        found = search.first_round(Tune(trials=3), from_tree(tree))
        assert found == [Setting(own / 10, None), Setting(own, None), Setting(own * 10, None)]


@settings(deadline=None, max_examples=40)
@given(lr=st.floats(-4.2, 0.2))
def test_an_optimum_beyond_the_range_is_found(lr):
    tune = Tune(trials=8, lr=(1e-3, 1e-1))

    def scored(found: list[Setting]) -> list[Trial]:
        return [Trial(one, (-abs(math.log10(one.lr) - lr),)) for one in found]

    found = search.first_round(tune, Recipe())
    for _ in range(search.MOST_ROUNDS):
        found = [*found, *search.further_round(tune, scored(found))]
    assert abs(math.log10(search.best(scored(found)).setting.lr) - lr) < 2 / 7, "a step of the grid"


@settings(deadline=None, max_examples=40)
@given(lr=st.floats(-4.2, 0.2), decay=st.floats(-5.5, -1.5))
def test_every_variant_gets_as_many_trials_and_none_twice(lr, decay):
    def score(one: Setting) -> float:
        assert one.weight_decay is not None
        return -math.hypot(math.log10(one.lr) - lr, 0.3 * (math.log10(one.weight_decay) - decay))

    trials = [Trial(one, (score(one), score(one))) for one in search.first_round(TUNE, Recipe())]
    for number in range(search.MOST_ROUNDS):
        trials += [Trial(one, (score(one), score(one))) for one in search.further_round(TUNE, trials)]
        assert len(trials) == 8 + 2 * (number + 1)
    assert len({trial.setting for trial in trials}) == len(trials)


def test_the_border_is_named():
    found = search.first_round(Tune(trials=4, lr=(1e-3, 1.0)), Recipe())
    for winner, side in ((0, -1), (1, 0), (2, 0), (3, 1)):
        trials = [Trial(one, (float(index == winner),)) for index, one in enumerate(found)]
        assert search.border(trials) == (side, 0)
        assert search.best(trials).setting == found[winner]


def test_a_setting_that_diverges_at_one_seed_is_not_chosen():
    wild, tame = Trial(Setting(1.0, None), (0.9, None)), Trial(Setting(0.1, None), (0.2, 0.2))
    assert search.best([wild, tame]) is tame


def test_where_all_diverge_lower_rates_are_tried():
    tune = Tune(trials=4, lr=(1.0, 1000.0))
    trials = [Trial(one, (None,)) for one in search.first_round(tune, Recipe())]
    assert search.border(trials) == (-1, 0)
    assert [one.lr for one in search.further_round(tune, trials)] == [0.1, 0.01]


def test_the_better_half_is_what_the_spread_is_measured_on():
    trials = [Trial(Setting(0.1, None), scores) for scores in ((0.1,), (0.4,), (None,), (0.3,), (0.2,), (0.0,))]
    assert [trial.scores for trial in search.better_half(trials)] == [(0.4,), (0.3,), (0.2,)]


@pytest.mark.parametrize("tune", [Tune(val_share=0.4), Tune(folds=2, seeds=2)])
def test_trials_never_see_the_held_out_images(tune, cache):
    resolved = from_tree(trial.BASE)
    train, val = ({item.key for item in open_data(resolved).parts[part]} for part in ("train", "val"))
    scored_on = []
    for number in range(2):
        recipe = search.trial_recipe(resolved, Setting(0.1, 0.2), tune, number)
        parts = {part: {item.key for item in items} for part, items in open_data(recipe).parts.items()}
        assert parts["train"] | parts["val"] == train
        assert not parts["train"] & parts["val"]
        assert not (parts["train"] | parts["val"]) & val
        scored_on.append(parts["val"])
    assert (scored_on[0] & scored_on[1] == set()) == bool(tune.folds)


def test_a_trial_is_a_run_with_its_own_seed_and_setting():
    resolved = from_tree({**trial.BASE, "steps": 10, "seed": 7})
    recipe = search.trial_recipe(resolved, Setting(0.25, None), Tune(steps=0.3, seeds=(5, 9)), 1)
    assert (recipe.seed, recipe.steps, recipe.optimizer.lr) == (16, 3, 0.25)
    assert recipe.optimizer.weight_decay == resolved.optimizer.weight_decay
