"""A name, its options and progress -> the factor of the learning rate; past scores -> a further one.

Pure functions of step / steps and of the log: a resumed run needs no saved state of a schedule.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segtrial.errors import UnknownName

Number = float | int

ONE_CYCLE_START, ONE_CYCLE_END = 1 / 25, 1 / 25e4
"""Of the highest rate, at the first and at the last step (torch's OneCycleLR)."""


@dataclass(frozen=True)
class Shape:
    """Options of schedules. Shares are of the steps after the warm-up."""

    share: Number | None = None
    """step: share of the steps after which the rate falls, again and again; None: once at 1/2 and once at 3/4."""
    marks: tuple[Number, ...] = (0.5, 0.75)
    """multistep: shares of the steps after which the rate falls."""
    factor: Number = 0.1
    """step, multistep, plateau: what each fall multiplies the rate by."""
    power: Number = 0.9
    """poly: exponent."""
    rise: Number = 0.3
    """onecycle: share of all steps in which the rate rises, between 0 and 1."""


USUAL = Shape()

SCHEDULES: dict[str, Callable[[float, Shape], float]] = {
    "constant": lambda progress, shape: 1.0,
    "step": lambda progress, shape: shape.factor ** _equal_falls(progress, shape.share),
    "multistep": lambda progress, shape: shape.factor ** sum(progress >= mark for mark in shape.marks),
    "poly": lambda progress, shape: (1 - progress) ** shape.power,
    "linear": lambda progress, shape: 1 - progress,
    "cosine": lambda progress, shape: (1 + math.cos(math.pi * progress)) / 2,
    "onecycle": lambda progress, shape: _one_cycle(progress, shape.rise),
    "plateau": lambda progress, shape: 1.0,
}
"""Progress from 0 to 1 -> factor of the highest rate.

step: He et al. 2016 (a tenth at 1/2 and at 3/4), or torch's StepLR. multistep: torch's MultiStepLR. poly: Chen et al.,
DeepLab, 2018 (power .9). cosine: Loshchilov and Hutter, SGDR, 2017, without restarts. onecycle: Smith, A disciplined
approach to neural network hyper-parameters, 2018, https://arxiv.org/abs/1803.09820: up from 1/25, then down to
1/250,000, both half a cosine, as torch's OneCycleLR. The rate alone: Smith moves momentum against it, this does not.
plateau: constant, times `plateau_factor` of the val scores so far.
"""

WITHOUT_WARMUP = ("onecycle",)


def learning_rate_factor(name: str, progress: Number, warmup: Number = 0.0, shape: Shape = USUAL) -> float:
    """What the highest rate is multiplied by at `progress` = step / steps, from 0 to 1.

    It rises linearly from 0 within the share `warmup` of the steps, below 1, then follows SCHEDULES[name] over the
    rest (Goyal et al. 2017, section 2.2); onecycle rises by itself and has no warm-up. Raises UnknownName.
    """
    if name not in SCHEDULES:
        raise UnknownName("schedule", name, SCHEDULES)
    warmup = 0.0 if name in WITHOUT_WARMUP else warmup
    if progress < warmup:
        return progress / warmup
    return SCHEDULES[name]((progress - warmup) / (1 - warmup), shape)


def plateau_factor(scores: Sequence[Number | None], patience: int, factor: Number = 0.1) -> float:
    """What the rate is multiplied by after evaluations with these `scores`, oldest first; higher is better.

    It falls by `factor` once `patience` (from 1) evaluations in a row were no better than the best before them, then
    waits as long again: torch's ReduceLROnPlateau of patience - 1 without threshold. An undefined score is no better.
    """
    best: Number = -math.inf
    waited = falls = 0
    for score in scores:
        if score is not None and score > best:
            best, waited = score, 0
        else:
            waited += 1
        if waited == patience:
            waited, falls = 0, falls + 1
    return factor**falls


def _equal_falls(progress: float, share: Number | None) -> int:
    if share is None:
        return sum(progress >= mark for mark in (0.5, 0.75))
    return math.floor(progress / share + 1e-9)  # .3 / .1 is a hair less than 3


def _one_cycle(progress: float, rise: Number) -> float:
    if progress < rise:
        return _half_cosine(ONE_CYCLE_START, 1.0, progress / rise)
    return _half_cosine(1.0, ONE_CYCLE_END, (progress - rise) / (1 - rise))


def _half_cosine(first: float, last: float, progress: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * progress)) / 2
