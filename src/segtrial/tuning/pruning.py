"""Scores on the way -> whether a trial goes on. Both rules look at stored scores alone, so asking twice is asking once.

    median     stop if the best score so far is below the median of what finished trials had at the same evaluation
    halving    at evaluations 1, 2, 4, 8 ...: stop unless among the better half of all that were ever scored there

Golovin et al. Google Vizier. KDD 2017, section 3.2 (the median rule; like Optuna's, this one compares with the trials'
scores, not with their running averages). Li et al. A system for massively parallel hyperparameter tuning. MLSys 2020
(asynchronous successive halving, reduction factor 2).
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

FEWEST = 5
"""Finished trials that the median is taken of."""

Scores = Mapping[int, float]
"""Number of the evaluation, from 1 -> score."""


@dataclass(frozen=True)
class Other:
    """Another trial: its scores on the way, and whether it was trained to its end."""

    scores: Scores
    complete: bool


def by_median(at: int, own: Scores, others: Sequence[Other]) -> bool:
    """Whether a trial with scores `own` stops at evaluation `at`."""
    there = [other.scores[at] for other in others if other.complete and at in other.scores]
    best = max(score for number, score in own.items() if number <= at)
    return len(there) >= FEWEST and best < statistics.median(there)


def by_halving(at: int, own: Scores, others: Sequence[Other]) -> bool:
    """Whether a trial with scores `own` stops at evaluation `at`."""
    if at & (at - 1):
        return False
    there = sorted([own[at], *(other.scores[at] for other in others if at in other.scores)], reverse=True)
    return own[at] < there[max(1, len(there) // 2) - 1]


def never(at: int, own: Scores, others: Sequence[Other]) -> bool:
    """No trial is stopped."""
    return False


RULES: Mapping[str, Callable[[int, Scores, Sequence[Other]], bool]] = {
    "median": by_median,
    "halving": by_halving,
    "none": never,
}
