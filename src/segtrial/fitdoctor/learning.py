"""The training loss -> whether the network learns at all, and if not, the likeliest reason."""

import math
from collections.abc import Iterator

import numpy as np

from segtrial.fitdoctor.evidence import Curve, curve, highest_rate, last_mean, optimizer, shares_loss, usual_rate
from segtrial.fitdoctor.finding import Finding, Json, Record

RISE = 0.2
"""Of the untrained loss. Healthy logs rise by under .05, also where crops grow from one phase to the next."""
NOTHING_LEARNT = 0.9
"""Of the loss of answering with the class shares alone; learning wrong masks by heart takes some percent off it."""
HALF = 0.5
"""Of the same loss: runs at a fitting rate end below it."""
FEWEST_STEPS = 50
"""Before them a flat loss says nothing: a rate in its warm-up moves no network."""
ACCURATE = 0.1
"""Right pixels above the share of the commonest class from which on something was learnt."""
EARLY = 5.0
"""Epochs before which a network that is slow to begin looks like one whose labels are shuffled."""
FAR = 10.0
"""A rate this many times off the usual one is the first suspect; within it, recipes differ by taste."""


def findings(run: Record, one_batch: Json | None) -> Iterator[Finding]:
    """At most one reason why the loss does not fall, the surest first; and what the one-batch test says."""
    known = one_batch is not None and one_batch["learnt"] is True
    found = _diverged(run) or _rises(run) or _low_rate(run, known) or _as_shares_alone(run, known)
    if found:
        yield found
    if one_batch is not None and one_batch["learnt"] is False:
        yield _not_by_heart(one_batch)


def _diverged(run: Record) -> Finding | None:
    ends = [line for line in run.timing if line.get("event") == "diverged"]
    if not ends or run.evaluation is not None:
        return None
    step, rate = int(ends[-1]["step"]), highest_rate(run)
    message = (
        f"Learning rate too high: the loss was no longer a number at step {step:,} of {run.plan['steps']:,}, at "
        f"rates up to {rate:.3g} ({optimizer(run)} usually takes {usual_rate(run):g}). {_lower(rate)}, or cut "
        "gradients: --set clip=1.0."
    )
    evidence = {"step": step, "highest_rate": rate, "usual_rate": usual_rate(run)}
    return Finding("learning_rate_high", "problem", message, evidence)


def _rises(run: Record) -> Finding | None:
    """A loss that climbs within a phase by RISE of what an untrained network has, and far out of its noise."""
    course = curve(run)
    climb = _steepest_climb(course) if course else None
    if course is None or climb is None:
        return None
    low, high = climb
    start, end = float(course.losses[low]), float(course.losses[high])
    untrained = min(course.untrained, shares_loss(run) or math.inf)
    if end - start < max(RISE * untrained, 6 * course.error):  # 6: the difference of two means, four errors off
        return None
    rate = highest_rate(run)
    message = (
        f"Learning rate too high: the loss rose from {start:.3g} (epoch {course.epochs[low]:.3g}) to {end:.3g} "
        f"(epoch {course.epochs[high]:.3g}), at rates up to {rate:.3g} ({optimizer(run)} usually takes "
        f"{usual_rate(run):g}). {_lower(rate)}, or raise schedule.warmup."
    )
    evidence = {
        "losses": [start, end],
        "epochs": [float(course.epochs[low]), float(course.epochs[high])],
        "noise": course.error,
        "highest_rate": rate,
        "usual_rate": usual_rate(run),
    }
    return Finding("learning_rate_high", "problem", message, evidence)


def _steepest_climb(course: Curve) -> tuple[int, int] | None:
    """Where within one phase the loss is lowest before it is highest: the two places in the curve."""
    best = None
    for phase in np.unique(course.phases):
        places = np.flatnonzero(course.phases == phase)
        losses = course.losses[places]
        lowest = np.minimum.accumulate(losses)
        top = int((losses - lowest).argmax())
        climb = float(losses[top] - lowest[top]), int(places[losses[: top + 1].argmin()]), int(places[top])
        best = max(best or climb, climb)
    return best[1:] if best else None


def _low_rate(run: Record, known: bool) -> Finding | None:
    """A loss that has hardly fallen, at a rate far below the usual one."""
    course, rate, usual = curve(run), highest_rate(run), usual_rate(run)
    if course is None or known or not rate * FAR <= usual:
        return None
    taken_over = run.plan["recipe"]["start"] or run.plan["recipe"]["encoder"]["weights"] != "none"
    untrained = shares_loss(run) or (0.0 if taken_over else course.untrained)  # the first line of such runs is low
    if not untrained or course.last < HALF * untrained:
        return None
    message = (
        f"Learning rate too low: in {run.train[-1]['step']:,} steps the loss fell from {course.untrained:.3g} to "
        f"{course.last:.3g} only, at rates up to {rate:.3g}, 1/{usual / rate:.0f} of what {optimizer(run)} usually "
        f"takes ({usual:g}). Set it {FAR:.0f} times higher: --set optimizer.lr={rate * FAR:.2g}."
    )
    evidence = {"losses": [course.untrained, course.last], "highest_rate": rate, "usual_rate": usual}
    return Finding("learning_rate_low", "problem", message, evidence)


def _as_shares_alone(run: Record, known: bool) -> Finding | None:
    """A loss that stays at what the class shares alone give, and answers like those of the commonest class."""
    course, shares, accuracy = curve(run), shares_loss(run), _accuracy(run)
    if course is None or shares is None or accuracy is None or run.train[-1]["step"] < FEWEST_STEPS:
        return None
    commonest = max(run.plan["class_pixels"]) / sum(run.plan["class_pixels"])
    flat = course.falls <= RISE / 2 * shares + 2 * course.error
    if course.last < NOTHING_LEARNT * shares or accuracy > commonest + ACCURATE or not flat:
        return None
    rate, usual = highest_rate(run), usual_rate(run)
    evidence = {
        "loss": course.last,
        "loss_of_class_shares": shares,
        "pixel_accuracy": accuracy,
        "commonest_share": commonest,
        "highest_rate": rate,
        "usual_rate": usual,
    }
    what = (
        f"the training loss stays at {course.last:.3g}, where answering with the class shares alone costs "
        f"{shares:.3g}; {accuracy:.1%} of the pixels are right, and the commonest class has {commonest:.1%}"
    )
    if rate >= FAR * usual and not known:
        times = f"The rate, {rate:.3g}, is {rate / usual:.0f} times the usual one"
        message = f"Learning rate too high: {what}. {times}. {_lower(rate)}."
        return Finding("learning_rate_high", "problem", message, evidence)
    proof = "If `segtrial fit RUN --one-batch` says that a batch can be learnt by heart, it is the labels"
    if (epochs := float(course.epochs[-1])) < EARLY:
        proof = f"After {epochs:.2g} epochs it may also be a network that is slow to begin: train longer first. {proof}"
    message = (
        f"Labels look shuffled: {what}. {'One batch was learnt by heart, so it is the labels' if known else proof}: "
        "look at masks drawn over their images. Do they belong together, and does each value mean one class in all "
        "of them?"
    )
    return Finding("labels_look_shuffled", "problem", message, evidence)


def _not_by_heart(one_batch: Json) -> Finding:
    message = (
        f"Not even one batch can be learnt by heart: in {one_batch['steps']} steps on {one_batch['images']} images, "
        f"without augmentation, the loss went from {one_batch['first_loss']:.3g} to {one_batch['last_loss']:.3g}. So "
        "look at the learning rate, the loss and the network before the data and the budget."
    )
    return Finding("one_batch_not_learnt", "problem", message, dict(one_batch))


def _accuracy(run: Record) -> float | None:
    """Of the last training batches: right pixels, or right images for a classifier."""
    right = last_mean(run, "pixel_accuracy")
    return last_mean(run, "accuracy") if right is None else right


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _lower(rate: float) -> str:
    return f"Set it {FAR:.0f} times lower: --set optimizer.lr={rate / FAR:.2g}"
