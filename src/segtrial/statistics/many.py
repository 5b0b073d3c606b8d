"""Rows of several variants -> their pairs, with errors held for all pairs together.

Against one baseline by Holm's p-values; all against all by the distribution of the smallest of all p-values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float, Num
from scipy import special

from segtrial.statistics.pairs import PairResult, compare_pair
from segtrial.statistics.verdict import Answer, Rule, answered

_MOST_FREEDOM = 60
"""With more, the smallest p-value is distributed as with 60."""

Key = TypeVar("Key")
Rows = Mapping[str, Num[np.ndarray, "s n ..."]]


def compare_with_baseline(
    rows: Rows,
    baseline: str,
    groups: Sequence[str],
    score: Callable[[np.ndarray], np.ndarray],
    *,
    margin: float | int = 0.005,
    level: float = 0.95,
    **options: Any,
) -> dict[str, PairResult]:
    """`compare_pair` of every other variant (b) with the baseline (a); p-values and verdicts by Holm's method.

    Intervals stay those of each pair alone, and so does "equivalent".
    """
    options |= {"margin": margin, "level": level}
    found = {
        name: compare_pair(rows[baseline], rows[name], groups, score, **options) for name in rows if name != baseline
    }
    plan = Rule(margin, level, len(set(groups)), each=level, planned=level)
    return _with_answers(found, lambda answers: _stepped(answers, plan))


def compare_all(
    rows: Rows,
    groups: Sequence[str],
    score: Callable[[np.ndarray], np.ndarray],
    *,
    margin: float | int = 0.005,
    level: float = 0.95,
    draws: int = 10_000,
    seed: int = 0,
    **options: Any,
) -> dict[tuple[str, str], PairResult]:
    """`compare_pair` of all pairs (a, b) in order; all intervals hold at once with confidence `level`, p-values alike.

    Each interval is at the level whose tail is the `1 - level` quantile of the smallest of all p-values, drawn
    `draws` times for variants whose seeds are independent and vary alike.
    """
    options |= {"margin": margin, "level": level, "draws": draws, "seed": seed}
    found = {(a, b): compare_pair(rows[a], rows[b], groups, score, **options) for a, b in combinations(rows, 2)}
    plan = Rule(margin, level, len(set(groups)), each=level, planned=level)
    return _with_answers(found, lambda answers: _together(answers, len(rows), plan, draws, seed))


def _with_answers(found: dict[Key, PairResult], anew: Callable[[list[Answer]], list[Answer]]) -> dict[Key, PairResult]:
    """The results with the answers of each population made anew, together."""
    images = anew([result.these_images for result in found.values()])
    scenes = anew([result.new_scenes for result in found.values()])
    return {
        key: replace(result, these_images=image, new_scenes=scene)
        for (key, result), image, scene in zip(found.items(), images, scenes, strict=True)
    }


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjusted p-values: the j-th smallest of m times m - j + 1, none below the one before it, none above 1.

    None, where nothing was tested, stays None and counts among the m.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    adjusted: list[float | None] = [None] * len(p)
    least = 0.0
    for rank, (value, index) in enumerate(sorted((value, index) for index, value in enumerate(p) if value is not None)):
        least = max(least, min(1.0, (len(p) - rank) * value))
        adjusted[index] = least
    return adjusted


def smallest_p(
    variants: int, freedom: float | int, *, draws: int = 10_000, seed: int = 0
) -> Float[np.ndarray, " draws"]:
    """Sorted draws of the smallest p-value of paired t-tests of all pairs of variants that do not differ.

    Seeds are normal, independent between variants and as many as give `freedom`, rounded up, 60 at most: fewer
    degrees make the tests more alike.

    Westfall and Young, Resampling-based multiple testing, 1993, section 2.6 (single-step min P).
    """
    seeds = 1 + int(np.ceil(min(freedom, _MOST_FREEDOM)))
    values = np.random.default_rng((seed, variants, seeds)).standard_normal((draws, variants, seeds))
    means = values.mean(axis=2)
    values -= means[:, :, None]
    products = values @ values.transpose(0, 2, 1) / (seeds - 1)  # (draws, variants, variants)
    a, b = np.triu_indices(variants, 1)
    error = np.sqrt((products[:, a, a] + products[:, b, b] - 2 * products[:, a, b]) / seeds)
    largest = (abs(means[:, a] - means[:, b]) / error).max(axis=1)
    return np.sort(2 * special.stdtr(seeds - 1, -largest))


def _together(answers: list[Answer], variants: int, plan: Rule, draws: int, seed: int) -> list[Answer]:
    """The answers to all pairs, at the level at which all of them hold at once."""
    freedoms = [float(answer.estimate.freedom) for answer in answers if answer.estimate]
    if len(answers) < 2 or not freedoms:
        return answers
    least = smallest_p(variants, max(freedoms), draws=draws, seed=seed)
    each = 1 - max(float(np.quantile(least, 1 - plan.level)), (1 - plan.level) / len(answers))  # Bonferroni's at least
    rule = replace(plan, each=each, planned=each)
    return [_adjusted(answer, rule, least, len(answers)) for answer in answers]


def _adjusted(answer: Answer, rule: Rule, least: np.ndarray, pairs: int) -> Answer:
    if answer.estimate is None or answer.p is None:
        return answer
    drawn = float(np.searchsorted(least, answer.p, side="right") / len(least))
    return replace(answered(answer.speaks_of, answer.estimate, rule), p=min(max(answer.p, drawn), pairs * answer.p))


def _stepped(answers: list[Answer], plan: Rule) -> list[Answer]:
    """The answers to pairs with one baseline, by Holm's p-values."""
    rule = replace(plan, planned=1 - (1 - plan.level) / max(1, len(answers)))
    return [
        answer if answer.estimate is None else answered(answer.speaks_of, answer.estimate, rule, p=p)
        for answer, p in zip(answers, holm([answer.p for answer in answers]), strict=True)
    ]
