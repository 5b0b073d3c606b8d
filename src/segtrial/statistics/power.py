"""The spread of differences and a number of seeds -> what they can show, and with which chance.

`spread` is the standard deviation, over seeds, of the difference between two variants with the same seed.
"""

from collections.abc import Sequence

import numpy as np
from scipy import special

DEFAULT_SPREAD = 0.008
"""Before any run: 2**.5 times .0056, the spread of mIoU over the three published runs of RegSeg on Cityscapes
(77.76, 78.85 and 78.07 %; Gao, arXiv:2111.09957)."""

MOST_SEEDS = 1000
"""Nobody trains more: what would need more is out of reach."""

_QUANTILES = 10_000


def smallest_visible(spread: float, seeds: int, *, level: float = 0.95, power: float = 0.8) -> float | None:
    """The difference that `seeds` seeds find with chance `power`; None for one seed, which finds nothing.

        (t((1 + level) / 2; n - 1) + t(power; n - 1)) spread / sqrt(n)

    3.10 spreads with 3 seeds, 1.66 with 5, 1.00 with 10. Bloom, Minimum detectable effects, Evaluation Review 19, 1995.
    """
    return float(reach(seeds - 1.0, level, power) * spread / seeds**0.5) if seeds > 1 else None


def seeds_needed(spread: float, difference: float, *, level: float = 0.95, power: float = 0.8) -> int | None:
    """The fewest seeds whose `smallest_visible` is `difference` or less; None if it is 0 or they are over 1000."""
    seeds = np.arange(2, MOST_SEEDS + 1)
    return first(seeds, (reach(seeds - 1.0, level, power) * spread / seeds**0.5 <= abs(difference)) & (difference != 0))


def predicted_power(spread: float, seeds: int, difference: float, *, level: float = 0.95) -> float:
    """The chance that the interval of two seeds or more excludes 0 if the true difference is `difference`.

    P(|T| > t((1 + level) / 2; n - 1)), T noncentral t with shift difference sqrt(n) / spread, here as the mean over
    quantiles of the sample's spread. Cohen, Statistical power analysis, 1988, section 12.3.
    """
    shift, freedom = difference * seeds**0.5 / spread, seeds - 1
    spreads = np.sqrt(2 * special.gammaincinv(freedom / 2, (np.arange(_QUANTILES) + 0.5) / _QUANTILES) / freedom)
    limits = special.stdtrit(freedom, (1 + level) / 2) * spreads
    return float(np.mean(special.ndtr(shift - limits) + special.ndtr(-shift - limits)))


def pooled_spread(scores: Sequence[Sequence[float]]) -> float | None:
    """The spread of differences from runs of single settings, each over its seeds: sqrt(2 pooled variance).

    As if pairing by seed took nothing off, so rather too wide. None if no setting has two runs.
    """
    several = [np.asarray(runs, dtype=np.float64) for runs in scores if len(runs) > 1]
    if not several:
        return None
    squares = sum(float(((runs - runs.mean()) ** 2).sum()) for runs in several)
    return (2 * squares / sum(len(runs) - 1 for runs in several)) ** 0.5


def reach(freedom: float | np.ndarray, level: float, power: float) -> float | np.ndarray:
    """How many standard errors a difference must measure to be found with chance `power`."""
    return special.stdtrit(freedom, (1 + level) / 2) + special.stdtrit(freedom, power)


def first(seeds: np.ndarray, enough: np.ndarray) -> int | None:
    """The first of the numbers that is enough, if any is."""
    return int(seeds[enough.argmax()]) if enough.any() else None
