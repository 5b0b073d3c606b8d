"""Seed, number and finished trials -> where a trial looks (law 1): the same however often a search was killed.

    trial 0             the recipe's own setting, as far as it lies in the ranges
    trials 1 to 7       spread evenly over the ranges (`space.spread`)
    from trial 8        Optuna's TPE over all fields together, its generator made anew for each trial

With several workers a trial starts while others run, so which trials are finished by then, and with it the suggestion,
depends on the clock. TPE then takes running trials for bad ones, which keeps workers apart.

Bergstra et al. Algorithms for hyper-parameter optimization. NeurIPS 2011. Watanabe. Tree-structured Parzen estimator.
arXiv 2304.11127, 2023.
"""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from segtrial.randomness import key_of
from segtrial.tuning.space import FIRST, Space, Value, spread


class Stateless(BaseSampler):
    """Remembers nothing: see the file's caption. `own` is what the recipe has by itself."""

    def __init__(self, seed: int, space: Space, own: Mapping[str, Value]):
        self._seed, self._space, self._own = seed, space, own

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All fields, from the first trial on."""
        return {one.key: one.distribution() for one in self._space}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The whole point; where a killed trial had stored some of it already, the rest is that of the same point."""
        found: dict[str, Value] = spread(self._space, self._seed, trial.number)
        if trial.number == 0:
            found |= self._own
        elif trial.number >= FIRST:
            seed = key_of(self._seed, "tpe", trial.number) % 2**32
            found |= TPESampler(n_startup_trials=1, seed=seed).sample_relative(study, trial, search_space)
        return {one.key: one.tidy(found[one.key]) for one in self._space}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Never asked: every field is in the search space."""
        raise AssertionError(param_name)
