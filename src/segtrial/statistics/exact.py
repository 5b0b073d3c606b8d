"""Differences of few pairs -> a p-value that assumes no distribution: all flips of their signs."""

from collections.abc import Sequence

import numpy as np


def sign_flip_test(differences: Sequence[float], *, draws: int = 10_000, seed: int = 0) -> float:
    """Two-sided p: the share of all 2^n flips of signs whose mean is as far from 0 as the one that was found.

    No p is below 2^(1 - n): five pairs cannot reach .05. Where 2^n is above `draws`, that many flips are drawn
    with `seed`, and the one found counts as one more.

    Fisher, The design of experiments, 1935, section 21; drawn: Phipson and Smyth, Permutation p-values should never
    be zero, SAGMB 9, 2010.
    """
    values = np.asarray(differences, dtype=np.float64)
    least = abs(values.sum()) * (1 - 1e-12)  # sums in another order end in other bits
    if 2 ** len(values) <= draws:
        bits = np.arange(2 ** len(values))[:, None] >> np.arange(len(values)) & 1
        return float((abs((1 - 2 * bits) @ values) >= least).mean())
    signs = 1 - 2 * np.random.default_rng((seed, len(values))).integers(2, size=(draws, len(values)))
    return float(((abs(signs @ values) >= least).sum() + 1) / (draws + 1))
