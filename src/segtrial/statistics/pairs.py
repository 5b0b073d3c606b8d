"""Rows of two variants over the same seeds and images -> their difference, two intervals, a verdict.

The difference is b - a: "better" says that b is better than a. Scores are to be raised; negate a loss.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num
from scipy import special

from segtrial.errors import listing
from segtrial.statistics.blocks import FEWEST_BLOCKS, Interval, NoInterval, block_sums, blocks_of, too_few
from segtrial.statistics.exact import sign_flip_test
from segtrial.statistics.spread import (
    Estimate,
    VarianceSplit,
    columns,
    leave_one_out,
    of_seeds,
    of_seeds_and_scenes,
    split,
)
from segtrial.statistics.verdict import Answer, Rule, Scope, Verdict, answered, seeds_from_spread, unanswered

ScoreOfSums = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class PairResult:
    """b against a. What is None is undefined: a score in some seed, or a number that needs more than one seed.

    `interval` and `interval_new_scenes` always stand side by side. `verdict`, `speaks_of`, `mde`, `seeds_needed`
    and `reason` are those of new scenes where there are 5 blocks or more, else of these images.
    """

    difference: float | None
    """Mean over seeds of score(b) - score(a)."""
    per_seed: tuple[float | None, ...]
    these_images: Answer
    new_scenes: Answer
    probability_better: float | None
    """The share of seeds in which b scores higher than a; equal scores count half."""
    probability_interval: Interval | NoInterval
    p_sign_flip: float | None
    variance: VarianceSplit | None
    """Of the difference between two runs with the same seed."""
    n_seeds: int
    n_blocks: int

    @property
    def interval(self) -> Interval | NoInterval:
        return self.these_images.interval

    @property
    def interval_new_scenes(self) -> Interval | NoInterval:
        return self.new_scenes.interval

    @property
    def headline(self) -> Answer:
        return self.new_scenes if self.new_scenes.estimate else self.these_images

    @property
    def verdict(self) -> Verdict:
        return self.headline.verdict

    @property
    def speaks_of(self) -> Scope:
        return self.headline.speaks_of

    @property
    def mde(self) -> float | None:
        return self.headline.mde

    @property
    def seeds_needed(self) -> int | None:
        return self.headline.seeds_needed

    @property
    def reason(self) -> str:
        return self.headline.reason


def compare_pair(
    a: Num[np.ndarray, "s n *row"],
    b: Num[np.ndarray, "s n *row"],
    groups: Sequence[str],
    score: ScoreOfSums,
    *,
    margin: float | int = 0.005,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
    prior_spread: float | None = None,
) -> PairResult:
    """How much better b is than a; `a[i, j]` and `b[i, j]` are image j's additive numbers in the runs of seed i.

    `groups[j]` names the block of image j; `score` maps sums `(d, ...)` to `(d,)`. From `margin` on a difference
    matters. `draws` and `seed` are for flips of signs where they are too many to try all. `prior_spread`, of
    differences between seeds, says how many seeds are needed where there is only one.

    The interval for these images is Student's t over seeds, that for new scenes adds a jackknife over blocks:
    `Estimate` has the formula, `answered` the rule of the verdict, docs/statistics.md what they cover.
    """
    return _compared(a, b, groups, score, (margin, level, draws, seed, prior_spread))[0]


def compare_classes(
    a: Num[np.ndarray, "s n *row"],
    b: Num[np.ndarray, "s n *row"],
    groups: Sequence[str],
    score: ScoreOfSums,
    *,
    margin: float | int = 0.005,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
    prior_spread: float | None = None,
) -> tuple[PairResult, ...]:
    """`compare_pair` where `score` maps sums `(d, ...)` to `(d, k)`: a result for each of the k, each by itself."""
    return _compared(a, b, groups, score, (margin, level, draws, seed, prior_spread))


@dataclass(frozen=True)
class _Differences:
    """Of every seed, over all images and without each block; no blocks left out where they are too few."""

    whole: Float[np.ndarray, "s k"]
    without: Float[np.ndarray, "s m k"]
    images: int
    blocks: list[str]
    sizes: Num[np.ndarray, " m"]


def _compared(
    a: np.ndarray, b: np.ndarray, groups: Sequence[str], score: ScoreOfSums, options: tuple
) -> tuple[PairResult, ...]:
    assert a.shape == b.shape, "variants are compared over the same seeds and images"
    assert len(a) > 0, "there is at least one seed"
    assert a.shape[1] == len(groups), "every image has its group"
    found = _differences(a, b, groups, score)
    return tuple(_result(found, column, *options) for column in range(found.whole.shape[1]))


def _differences(a: np.ndarray, b: np.ndarray, groups: Sequence[str], score: ScoreOfSums) -> _Differences:
    names, block_of = blocks_of(groups)
    with np.errstate(invalid="ignore"):  # infinite less infinite
        if len(names) < FEWEST_BLOCKS:
            first, second = (columns(score(rows.sum(axis=1))) for rows in (a, b))
            return _Differences(second - first, np.empty((len(a), 0, first.shape[1])), len(groups), names, np.empty(0))
        first, second = (leave_one_out(block_sums(rows, block_of), score) for rows in (a, b))
        sizes = np.bincount(block_of)
        return _Differences(second[0] - first[0], second[1] - first[1], len(groups), names, sizes)


def _result(
    found: _Differences,
    column: int,
    margin: float | int,
    level: float,
    draws: int,
    seed: int,
    prior_spread: float | None,
) -> PairResult:
    values, without = found.whole[:, column], found.without[:, :, column]
    rule = Rule(margin, level, len(found.blocks), each=level, planned=level)
    defined, several = bool(np.isfinite(values).all()), len(values) > 1
    images, scenes = _estimates(found, column)
    share, around = _probability(values, level)
    needed = None
    if defined and not several and prior_spread is not None:
        needed = seeds_from_spread(float(values[0]), prior_spread, rule)
    return PairResult(
        float(values.mean()) if defined else None,
        tuple(float(value) if np.isfinite(value) else None for value in values),
        _answer("these images", images, rule, needed),
        _answer("new scenes", scenes, rule, None),
        share,
        around,
        sign_flip_test(values.tolist(), draws=draws, seed=seed) if defined and several else None,
        split(values, without) if several and without.size else None,
        len(values),
        len(found.blocks),
    )


def _answer(speaks_of: Scope, found: Estimate | NoInterval, rule: Rule, needed: int | None) -> Answer:
    if isinstance(found, NoInterval):
        return unanswered(speaks_of, found, needed)
    return answered(speaks_of, found, rule)


def _estimates(found: _Differences, column: int) -> tuple[Estimate | NoInterval, Estimate | NoInterval]:
    """Of these images, and of new scenes; or why there is none."""
    values, blocks, seeds = found.whole[:, [column]], len(found.blocks), len(found.whole)
    fault = _fault(values[:, 0])
    if fault:
        why = NoInterval(fault, blocks, seeds)
        return why, why
    images = _single(of_seeds(values))
    if blocks < FEWEST_BLOCKS:
        return images, NoInterval(too_few(found.images, found.blocks), blocks, seeds)
    without = found.without[:, :, [column]]
    missing = [
        name for name, scores in zip(found.blocks, without[:, :, 0].T, strict=True) if not np.isfinite(scores).all()
    ]
    if missing:
        return images, NoInterval(f"without {listing(missing, most=3)} the score is undefined", blocks, seeds)
    return images, _single(of_seeds_and_scenes(values, without, found.sizes))


def _fault(values: np.ndarray) -> str:
    """Why these seeds have no interval; empty if they have."""
    undefined = [index for index, value in enumerate(values) if not np.isfinite(value)]
    if undefined:
        return f"the difference is undefined or infinite in {len(undefined)} of {len(values)} seeds"
    return "one seed: how much runs differ by chance is unknown; at least 2 are needed" if len(values) < 2 else ""


def _single(estimate: Estimate) -> Estimate:
    """The only column, as numbers."""
    center, seeds, scenes = (
        float(np.asarray(part).item()) for part in (estimate.center, estimate.seed_variance, estimate.scene_variance)
    )
    return Estimate(center, seeds, int(estimate.seeds), scenes, float(estimate.scene_freedom))


def _probability(values: np.ndarray, level: float) -> tuple[float | None, Interval | NoInterval]:
    """The share of seeds above 0, ties half, with the exact interval of a binomial share.

    Clopper and Pearson, The use of confidence or fiducial limits, Biometrika 26, 1934. As a criterion: Bouthillier et
    al., Accounting for variance in machine learning benchmarks, MLSys 2021, section 4.
    """
    seeds = len(values)
    if not np.isfinite(values).all():
        return None, NoInterval(_fault(values), None, seeds)
    won = float((values > 0).sum() + (values == 0).sum() / 2)
    tail = (1 - level) / 2
    low = float(special.betaincinv(won, seeds - won + 1, tail)) if won > 0 else 0.0
    high = float(special.betaincinv(won + 1, seeds - won, 1 - tail)) if won < seeds else 1.0
    return won / seeds, Interval(low, high, level, None, "seeds", seeds)
