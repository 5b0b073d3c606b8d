"""Scores by seed, whole and without each block -> how far chance moves their mean: by seeds, by scenes, by both.

score[seed, scene] = mean + seed effect + scene effect + effect of both        two crossed random effects
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from scipy import special

from segtrial.statistics.blocks import FEWEST_BLOCKS, NUMBERS_AT_ONCE, block_sums, blocks_of

Number = float | np.ndarray

_MOST_SIZES = 1000
"""Largest blocks that the degrees of freedom are computed from: leaving others out makes them fewer."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `seeds` seeds and what is known of its error; numbers, or arrays of one shape.

        S = seed_variance / seeds,   G = scene_variance
        error^2 = S + G
        1 / freedom = S / (S + G) / (seeds - 1) + G / (S + G) / scene_freedom

    `seed_variance` is of one seed, the other is of the mean, and 0 where the images are given. What seeds and scenes
    do together is in both, and is counted twice: Cameron, Gelbach and Miller, Robust inference with multiway
    clustering, JBES 29, 2011, take it off once, but with 3 seeds the interval then covers too little
    (docs/statistics.md). The freedom is that of Satterthwaite, Biometrics Bulletin 2, 1946, with shares in place of
    their squares, and so less: his are too many for 3 seeds (the same page, last table).
    """

    center: Number
    seed_variance: Number
    seeds: int | np.ndarray
    scene_variance: Number = 0.0
    scene_freedom: Number = 1.0

    @property
    def error(self) -> Number:
        return np.sqrt(self.seed_variance / self.seeds + np.asarray(self.scene_variance))

    @property
    def freedom(self) -> Number:
        seeds, scenes = np.asarray(self.seed_variance / self.seeds), np.asarray(self.scene_variance)
        total = seeds + scenes
        share = np.divide(seeds, total, out=np.ones_like(total), where=total > 0)
        return 1 / (share / (self.seeds - 1) + (1 - share) / self.scene_freedom)

    def interval(self, level: float) -> tuple[Number, Number]:
        """center -+ t((1 + level) / 2; freedom) error."""
        reach = special.stdtrit(self.freedom, (1 + level) / 2) * self.error
        return self.center - reach, self.center + reach

    @property
    def p(self) -> Number:
        """Two-sided, of the hypothesis that the mean is 0."""
        error, gap = self.error, np.abs(self.center)
        ratio = np.divide(gap, error, out=np.where(gap > 0, np.inf, 0.0), where=error > 0)
        return 2 * special.stdtr(self.freedom, -ratio)


@dataclass(frozen=True)
class VarianceSplit:
    """Variances of one run's score on one such set of images, by what varies: the seed, the scenes, both together."""

    seeds: float
    scenes: float
    both: float


def of_seeds(values: Float[np.ndarray, "s k"]) -> Estimate:
    """The mean over two seeds or more on the images that there are: Student's t."""
    return Estimate(values.mean(axis=0), values.var(axis=0, ddof=1), len(values))


def of_seeds_and_scenes(
    values: Float[np.ndarray, "s k"], without: Float[np.ndarray, "s m k"], sizes: Num[np.ndarray, " m"]
) -> Estimate:
    """The mean over seeds and over scenes like these: `without[i, j]` is the score of seed i without block j.

        scene_variance = (m - 1) / m sum_j (without_j - mean of these)^2        of the means over seeds

    Delete-one-block jackknife: Shao and Tu, The jackknife and bootstrap, 1995, section 2.1. `sizes` are the images
    of each block.
    """
    seeds, blocks = without.shape[:2]
    scenes = (blocks - 1) * without.mean(axis=0).var(axis=0)
    return Estimate(values.mean(axis=0), values.var(axis=0, ddof=1), seeds, scenes, block_freedom(sizes))


def block_freedom(sizes: Num[np.ndarray, " m"]) -> float:
    """Degrees of freedom of the jackknife's variance over blocks of these sizes: m - 1 where they are equal.

        trace(G)^2 / trace(G^2),   x' G x the jackknife's variance of sum_j size_j x_j / sum_j size_j

    with independent x_j of one variance. Bell and McCaffrey, Bias reduction in standard errors for linear regression
    with multi-stage samples, Survey Methodology 28, 2002, section 4.
    """
    weights = np.sort(sizes)[-_MOST_SIZES:] / np.sort(sizes)[-_MOST_SIZES:].sum()
    left_out = weights / (1 - weights[:, None])  # (m, m): row j weighs the others when j is left out
    np.fill_diagonal(left_out, 0)
    left_out -= left_out.mean(axis=0)
    form = left_out @ left_out.T
    return float(np.trace(form) ** 2 / (form**2).sum())


def variance_split(
    rows: Num[np.ndarray, "s n *row"], groups: Sequence[str], score: Callable[[np.ndarray], np.ndarray]
) -> VarianceSplit | None:
    """How far a variant's score varies by seeds and by scenes; None with one seed, fewer than 5 blocks, or undefined.

    `rows[i, j]` are image j's additive numbers in the run of seed i; `score` maps `(d, ...)` to `(d,)`.
    """
    names, block_of = blocks_of(groups)
    if len(rows) < 2 or len(names) < FEWEST_BLOCKS:
        return None
    values, without = leave_one_out(block_sums(rows, block_of), score)
    return split(values[:, 0], without[:, :, 0])


def split(values: Float[np.ndarray, " s"], without: Float[np.ndarray, "s m"]) -> VarianceSplit | None:
    """Variance components of the pseudo-values m value_i - (m - 1) without_ij by two-way analysis of variance.

    Those below 0 are 0. Searle, Casella and McCulloch, Variance components, 1992, section 4.3.
    """
    seeds, blocks = without.shape
    if not (np.isfinite(values).all() and np.isfinite(without).all()):
        return None
    rest = without - without.mean(axis=1, keepdims=True) - without.mean(axis=0) + without.mean()
    both = (blocks - 1) / (seeds - 1) * float((rest**2).sum()) / blocks
    of_seed = blocks * values - (blocks - 1) * without.mean(axis=1)
    of_scene = (blocks - 1) * without.mean(axis=0)
    return VarianceSplit(
        max(0.0, float(of_seed.var(ddof=1)) - both),
        max(0.0, float(of_scene.var(ddof=1)) / blocks - both / seeds),
        both,
    )


def leave_one_out(
    sums: Num[np.ndarray, "s m *row"], score: Callable[[np.ndarray], np.ndarray]
) -> tuple[Float[np.ndarray, "s k"], Float[np.ndarray, "s m k"]]:
    """The score of each seed, over all blocks and without each; a score of one number has k = 1."""
    totals = sums.sum(axis=1)
    piece = max(1, NUMBERS_AT_ONCE // max(1, totals[0].size))
    without = [
        np.concatenate([columns(score(total - one[at : at + piece])) for at in range(0, len(one), piece)])
        for total, one in zip(totals, sums, strict=True)
    ]
    return columns(score(totals)), np.stack(without)


def columns(scores: np.ndarray) -> Float[np.ndarray, "d k"]:
    """What a score gave, as a table: a row for each sum."""
    return np.reshape(scores, (len(scores), -1)).astype(np.float64)
