"""Trials of a variant -> its learning rate and weight decay: equal numbers of trials for every variant.

    trial i of n      lr = low (high / low)^(i / (n - 1)),   weight decay = low (high / low)^frac((i + 1/2) / golden)
    one round more    for all variants, while the best trial of any lies on the border of what it tried: a variant at
                      its border steps beyond it, the others try settings between their best one and its neighbours

So nobody's optimum is cut off, and nobody gets more trials than the others. The points are a rank-1 lattice: evenly
spaced in the logarithm of the rate, and the decays fill their range as evenly for any n. Nothing is drawn.

Weyl. Ueber die Gleichverteilung von Zahlen mod. Eins. Math. Ann. 77, 1916 (multiples of the golden ratio).
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segtrial.comparison.request import Tune
from segtrial.optimizers import DEFAULTS
from segtrial.recipe import Recipe

GOLDEN = (1 + 5**0.5) / 2
MOST_ROUNDS = 3
"""More than these are not added: a best that still lies on its border is reported as such."""
ROUND_SHARE = 0.25
"""Trials of a further round, as a share of those of the first."""
AROUND = 10.0
"""Where no range of rates is given: the variant's own, divided and multiplied by this."""


@dataclass(frozen=True)
class Setting:
    """What a trial tries; a weight decay of none leaves the variant's."""

    lr: float
    weight_decay: float | None


@dataclass(frozen=True)
class Trial:
    """A setting, and its score for each seed; none where the training diverged or the score is undefined."""

    setting: Setting
    scores: tuple[float | None, ...]

    @property
    def mean(self) -> float:
        """What settings are chosen by: minus infinity if any seed has no score."""
        known = [score for score in self.scores if score is not None]
        return sum(known) / len(known) if known and len(known) == len(self.scores) else -math.inf

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self.setting), "scores": list(self.scores)}


def first_round(tune: Tune, recipe: Recipe) -> list[Setting]:
    """The trials that every variant begins with."""
    low, high = tune.lr or _around(recipe)
    found = []
    for index in range(tune.trials):
        lr = low * (high / low) ** (index / (tune.trials - 1))
        decay = None
        if tune.weight_decay:
            least, most = tune.weight_decay
            decay = least * (most / least) ** ((index + 0.5) / GOLDEN % 1)
        found.append(_setting(lr, decay))
    return found


def further_round(tune: Tune, trials: Sequence[Trial]) -> list[Setting]:
    """A further round of a variant: beyond its border, or between its best setting and the neighbours."""
    count = max(2, math.ceil(ROUND_SHARE * tune.trials))
    chosen, sides = best(trials).setting, border(trials)
    rate = _spacing([trial.setting.lr for trial in trials[: tune.trials]])
    decays = [trial.setting.weight_decay for trial in trials[: tune.trials] if trial.setting.weight_decay is not None]
    decay = _spacing(decays) if decays else 1.0
    found = []
    before = max(0, len(trials) - tune.trials)  # of further rounds: what they tried inwards is not tried again
    for index in range(count):
        outward, turn = index + 1, index + before
        inward = (-1) ** turn * 0.5 ** (turn // 2 + 1)  # 1/2, -1/2, 1/4, -1/4, ... of the way to a neighbour
        lr = chosen.lr * rate ** (sides[0] * outward if any(sides) else inward)
        wd = chosen.weight_decay
        found.append(
            _setting(lr, None if wd is None else wd * decay ** (sides[1] * outward if any(sides) else -inward))
        )
    return found


def border(trials: Sequence[Trial]) -> tuple[int, int]:
    """On which border of what was tried the best setting lies, of rate and decay: -1 the lowest, 1 the highest, 0 none.

    A decay counts only at the outermost value of all: the one next to it is no border, whatever its rate.
    """
    chosen = best(trials).setting
    if best(trials).mean == -math.inf:
        return -1, 0  # all of them diverged: lower rates are what is left
    rates = [trial.setting.lr for trial in trials]
    decays = [trial.setting.weight_decay for trial in trials if trial.setting.weight_decay is not None]
    return _side(chosen.lr, rates), 0 if chosen.weight_decay is None else _side(chosen.weight_decay, decays)


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the highest mean score; of equals the one with the lowest rate."""
    return max(trials, key=lambda trial: (trial.mean, -trial.setting.lr))


def trial_recipe(resolved: Recipe, setting: Setting, tune: Tune, number: int) -> Recipe:
    """The recipe of a trial with tuning seed number `number`: scored on a part of train, the val part left out."""
    inner: dict[str, Any] = {"inner": tune.val_share}
    if tune.folds:
        inner = {"inner_folds": tune.folds, "inner_fold": number % tune.folds}
    changes: dict[str, Any] = {
        "seed": resolved.seed + tune.seed_list[number],
        "split": resolved.split.model_copy(update=inner),
        "evaluations": 1,
    }
    if resolved.steps is not None:
        changes["steps"] = max(1, round(tune.steps * resolved.steps))
    elif resolved.epochs is not None:
        changes["epochs"] = tune.steps * resolved.epochs
    return with_setting(resolved, setting).model_copy(update=changes)


def with_setting(recipe: Recipe, setting: Setting) -> Recipe:
    """The recipe with a tuned setting."""
    decay = recipe.optimizer.weight_decay if setting.weight_decay is None else setting.weight_decay
    changed = recipe.optimizer.model_copy(update={"lr": setting.lr, "weight_decay": decay})
    return recipe.model_copy(update={"optimizer": changed})


def better_half(trials: Sequence[Trial]) -> list[Trial]:
    """The trials with the higher scores of a variant, those without a score left out: near its best setting."""
    known = sorted((trial for trial in trials if trial.mean > -math.inf), key=lambda trial: -trial.mean)
    return known[: -(-len(known) // 2)]


def _around(recipe: Recipe) -> tuple[float, float]:
    own = recipe.optimizer.lr or DEFAULTS[recipe.optimizer.name].lr
    return own / AROUND, own * AROUND


def _setting(lr: float, decay: float | None) -> Setting:
    """Three digits: a setting that can be typed again."""
    return Setting(float(f"{lr:.3g}"), None if decay is None else float(f"{decay:.3g}"))


def _spacing(values: Sequence[float]) -> float:
    """The factor between neighbours, were the values evenly spaced in the logarithm."""
    return (max(values) / min(values)) ** (1 / (len(values) - 1))


def _side(chosen: float, tried: Sequence[float]) -> int:
    return -1 if chosen <= min(tried) else 1 if chosen >= max(tried) else 0
