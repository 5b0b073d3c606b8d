"""An estimate and a margin -> better, worse, equivalent or cannot tell, and what it would take to tell."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from segtrial.statistics.blocks import Interval, NoInterval
from segtrial.statistics.power import MOST_SEEDS, first, reach
from segtrial.statistics.spread import Estimate

Verdict = Literal["better", "worse", "equivalent", "cannot tell"]
Scope = Literal["these images", "new scenes"]

POWER = 0.8
"""The chance with which `mde` would be seen and `seeds_needed` would do."""


@dataclass(frozen=True)
class Rule:
    """A difference matters from `margin` on, at confidence `level`.

    One of several comparisons has its interval at level `each` and is planned for at level `planned`, so that all
    together keep `level`; a single one has `level` for all three. `n_blocks` blocks were compared on.
    """

    margin: float | int
    level: float
    n_blocks: int
    each: float
    planned: float


@dataclass(frozen=True)
class Answer:
    """What can be said of one population: these images (seeds vary), or new scenes (seeds and scenes vary)."""

    speaks_of: Scope
    verdict: Verdict
    interval: Interval | NoInterval
    p: float | None
    """Two-sided; of several comparisons together where they were made together."""
    mde: float | None
    """The smallest difference that so many seeds and scenes show in 8 of 10 repeats."""
    seeds_needed: int | None
    """Of "cannot tell": as many would tell in 8 of 10 repeats; None where 1000 would not, or nothing is known."""
    reason: str
    """Of "cannot tell": why, in words; else empty."""
    estimate: Estimate | None


def unanswered(speaks_of: Scope, why: NoInterval, seeds: int | None = None) -> Answer:
    """No interval: cannot tell."""
    return Answer(speaks_of, "cannot tell", why, None, None, seeds, why.reason, None)


def answered(speaks_of: Scope, estimate: Estimate, rule: Rule, *, p: float | None = None) -> Answer:
    """Better or worse if the interval excludes 0 and the difference is at least the margin; else equivalent if the
    interval at 2 level - 1 (the 90 % one) lies inside the margin; else cannot tell.

    With `p`, adjusted for several comparisons, that must be at most 1 - level instead.

    Two one-sided tests: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987.
    """
    low, high = (float(end) for end in estimate.interval(rule.each))
    apart = low > 0 or high < 0
    sure = apart if p is None else p <= 1 - rule.level
    verdict = _verdict(estimate, rule, sure)
    seeds = _seeds(estimate, rule) if verdict == "cannot tell" else None
    return Answer(
        speaks_of,
        verdict,
        _interval(speaks_of, low, high, estimate, rule),
        float(estimate.p) if p is None else p,
        float(reach(estimate.freedom, rule.planned, POWER) * estimate.error),
        seeds,
        _reason(speaks_of, apart, sure, seeds, rule) if verdict == "cannot tell" else "",
        estimate,
    )


def in_words(verdict: Verdict, a: str, b: str, margin: float | int) -> str:
    """What a verdict on b against a says, without a full stop."""
    return {
        "better": f"{b} is better than {a}",
        "worse": f"{b} is worse than {a}",
        "equivalent": f"{b} and {a} differ by less than {margin:g}",
        "cannot tell": f"Nobody can tell yet whether {b} or {a} is better",
    }[verdict]


def seeds_from_spread(difference: float, spread: float, rule: Rule) -> int | None:
    """How many seeds would tell, if differences of seeds had that spread."""
    return _seeds(Estimate(difference, spread**2, 1), rule)


def _verdict(estimate: Estimate, rule: Rule, sure: bool) -> Verdict:
    if sure and abs(estimate.center) >= rule.margin:
        return "better" if estimate.center > 0 else "worse"
    low, high = estimate.interval(2 * rule.each - 1)
    return "equivalent" if -rule.margin <= low and high <= rule.margin else "cannot tell"


def _seeds(estimate: Estimate, rule: Rule) -> int | None:
    """The fewest seeds, more than there are, that give this difference an answer with chance `POWER`."""
    more = replace(estimate, seeds=np.arange(int(estimate.seeds) + 1, MOST_SEEDS + 1))
    gap = float(abs(estimate.center))
    if gap >= rule.margin:
        enough = reach(more.freedom, rule.planned, POWER) * more.error <= gap
    else:  # both ends inside: either may fail, so each gets half of the chance to
        enough = reach(more.freedom, 2 * rule.each - 1, (1 + POWER) / 2) * more.error <= rule.margin - gap
    return first(np.asarray(more.seeds), np.asarray(enough))


def _interval(speaks_of: Scope, low: float, high: float, estimate: Estimate, rule: Rule) -> Interval:
    over = "seeds" if speaks_of == "these images" else "seeds and blocks"
    return Interval(low, high, rule.level, rule.n_blocks, over, int(estimate.seeds))


def _reason(speaks_of: Scope, apart: bool, sure: bool, seeds: int | None, rule: Rule) -> str:
    if apart and not sure:
        why = "alone this would be a difference, among several comparisons it may be chance"
    elif apart:
        why = f"there is a difference, but it may lie on either side of the margin of {rule.margin:g}"
    else:
        why = "the difference may be 0" + (f", or beyond the margin of {rule.margin:g}" if rule.margin else "")
    if seeds:
        return f"{why}; about {seeds} seeds would tell"
    more = ", and more scenes are needed" if speaks_of == "new scenes" else ""
    return f"{why}; {MOST_SEEDS} seeds would not tell{more}"
