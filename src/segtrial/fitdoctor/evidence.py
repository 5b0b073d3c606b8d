"""A run's records -> the numbers that findings rest on: losses over the steps, pairs of scores, rates."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from segtrial.fitdoctor.finding import Json, Record

SCORES = ("iou_foreground", "miou_dataset", "accuracy")
"""What is followed, the first that both splits log: shares from 0 to 1."""
FEWEST_LINES = 3
"""Of the training log, for a mean with a standard error."""
NEAREST = 5
"""Lines before an evaluation that tell the training score at least, where so many were logged."""
BINS = 24
"""Means of the training loss that are compared: each of two lines of the log at least."""
USUAL_RATES = {"sgd": 0.05, "adam": 1e-3, "adamw": 3e-3, "rmsprop": 1e-3, "muon": 0.03}
"""Those of `segtrial.optimizers`, which loads torch."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Means of the training loss over stretches of the log. `error` is the standard error of one of them.

    `untrained` is the first line, `last` the mean of the last quarter, `falls` by how much that lies below the third.
    """

    losses: Float64[np.ndarray, " n"]
    epochs: Float64[np.ndarray, " n"]
    phases: Int64[np.ndarray, " n"]
    untrained: float
    last: float
    falls: float
    error: float


def curve(run: Record) -> Curve | None:
    """The course of the training loss; None if too few lines were logged."""
    lines = run.train
    if len(lines) < 2 * FEWEST_LINES:
        return None
    losses, epochs = (np.array([float(line[name]) for line in lines]) for name in ("loss", "epoch"))
    ends = np.cumsum([phase["steps"] for phase in run.plan["phases"]])
    phases = np.searchsorted(ends, [line["step"] for line in lines]).astype(np.int64)
    pieces = np.array_split(np.arange(len(lines)), min(BINS, len(lines) // 2))
    noise = 1.4826 * float(np.median(np.abs(np.diff(losses)))) / math.sqrt(2)  # of a line; no trend moves it
    quarters = [float(piece.mean()) for piece in np.array_split(losses, 4)]
    return Curve(
        losses=np.array([losses[piece].mean() for piece in pieces]),
        epochs=np.array([epochs[piece[-1]] for piece in pieces]),
        phases=np.array([phases[piece[0]] for piece in pieces]),
        untrained=float(losses[0]),
        last=quarters[3],
        falls=quarters[2] - quarters[3],
        error=noise / math.sqrt(len(lines) / len(pieces)),
    )


@dataclass(frozen=True)
class Point:
    """One evaluation: val's score, and the mean of the training lines before it with its standard error (NaN: none)."""

    step: int
    epoch: float
    val: float
    train: float
    error: float

    @property
    def gap(self) -> float:
        """Training score minus val's."""
        return self.train - self.val


def points(run: Record) -> list[Point]:
    """The evaluations of a run. The training score is that of the lines in the later half of the way to each.

    Where these are few, it is that of the NEAREST lines.
    """
    name = next((n for n in SCORES if any(n in line for line in run.train) and any(n in line for line in run.val)), "")
    lines = [line for line in run.val if line.get(name) is not None]
    if run.plan["recipe"]["keep"] == "best" and any(line[name] == lines[-1][name] for line in lines[:-1]):
        lines.pop()  # such a run ends by scoring its best weights once more
    found, before = [], 0
    for line in lines:
        middle = (before + line["step"]) / 2
        told = [(t["step"], float(t[name])) for t in run.train if t["step"] <= line["step"] and t.get(name) is not None]
        near = [value for step, value in told if step > middle]
        near = near if len(near) >= NEAREST else [value for _, value in told[-NEAREST:]]
        enough = len(near) >= FEWEST_LINES
        mean, error = (np.mean(near), np.std(near, ddof=1) / len(near) ** 0.5) if enough else (math.nan, math.nan)
        found.append(Point(int(line["step"]), float(line["epoch"]), float(line[name]), float(mean), float(error)))
        before = line["step"]
    return found


def shares_loss(run: Record) -> float | None:
    """The loss, in nats, of answering with the class shares alone; None for other losses than these two.

    cross_entropy           the least that a constant answer costs: the entropy of q_c = w_c n_c / sum w n, for n
                            training pixels of class c and w the recipe's class weights, whatever the logit adjustment
    cross_entropy + dice    that, and about what the Dice loss of q is, were every image of these shares
    """
    wish = run.plan["recipe"]["loss"]
    weighed = np.array(run.plan["class_pixels"], np.float64) * np.array(run.plan["class_weights"], np.float64)
    first, *others = wish["name"].replace(" ", "").split("+")
    if first.partition(":")[0] != "cross_entropy" or others not in ([], ["dice"]) or wish["label_smoothing"]:
        return None
    there = weighed > 0
    if np.count_nonzero(there) < 2:
        return None
    answer = weighed[there] / weighed.sum()
    entropy = float(-(answer * np.log(answer)).sum())
    if not others:
        return entropy
    weights = np.array(run.plan["class_weights"], np.float64)[there]
    shares = weighed[there] / weights / (weighed[there] / weights).sum()
    return entropy + float(np.average(1 - 2 * answer * shares / (answer + shares), weights=weights))


def last_mean(run: Record, name: str) -> float | None:
    """The mean of a value over the last quarter of the training lines."""
    values = [float(line[name]) for line in run.train if line.get(name) is not None]
    return float(np.mean(values[-max(1, len(values) // 4) :])) if values else None


def unlearnable(run: Record) -> float:
    """The share of the classes in val's mean that training lacks: they score 0 there, whatever was learnt."""
    rows = (run.evaluation or {}).get("per_class") or ()
    shown = {name for name, count in zip(run.plan["classes"]["names"], run.plan["class_pixels"], strict=False) if count}
    counted = [row["name"] for row in rows if row["iou"] is not None]
    return sum(name not in shown for name in counted) / len(counted) if counted else 0.0


def with_interval(result: Json | None) -> tuple[float, float, float] | None:
    """The score of an evaluation, with the low and the high end of its interval; None if it has none."""
    for name in SCORES:
        span = ((result or {}).get("intervals") or {}).get(name)
        if result is not None and span is not None:
            return result["scores"][name], span["low"], span["high"]
    return None


def optimizer(run: Record) -> str:
    """Its name."""
    return str(run.plan["recipe"]["optimizer"]["name"])


def usual_rate(run: Record) -> float:
    """The rate that the run's optimizer has by default; NaN for one that is not known here."""
    return USUAL_RATES.get(optimizer(run), math.nan)


def highest_rate(run: Record) -> float:
    """The highest learning rate that the recipe asks for."""
    wish = run.plan["recipe"]["optimizer"]["lr"]
    return float(usual_rate(run) if wish is None else wish)
