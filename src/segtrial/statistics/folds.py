"""Differences of k folds -> an interval that knows that their training parts overlap."""

from collections.abc import Sequence

import numpy as np
from scipy import special

from segtrial.statistics.blocks import Interval, NoInterval


def fold_interval(differences: Sequence[float], test_share: float, *, level: float = 0.95) -> Interval | NoInterval:
    """The mean difference over k folds, or repeats of them; `test_share` is n_test / n_train of one, 1 / (k - 1).

        mean -+ t((1 + level) / 2; k - 1) sqrt((1 / k + test_share) s^2)

    Nadeau and Bengio, Inference for the generalization error, Machine Learning 52, 2003, section 3.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        return NoInterval("one fold: at least 2 are needed", len(values))
    if not np.isfinite(values).all():
        return NoInterval("the score is undefined in some folds", len(values))
    error = ((1 / len(values) + test_share) * values.var(ddof=1)) ** 0.5
    reach = special.stdtrit(len(values) - 1, (1 + level) / 2) * error
    return Interval(float(values.mean() - reach), float(values.mean() + reach), level, len(values), "folds")
