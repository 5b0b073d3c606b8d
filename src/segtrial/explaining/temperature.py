"""A loaded model and a part of some data -> the temperature at which its confidence can be believed, and what it mends.

Pixels are drawn from every image, the same ones each time (law 1): one number needs no more than a million of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import Tensor

from segtrial.calibration import (
    calibration_counts,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
)
from segtrial.data.sample import Sample
from segtrial.errors import DataError, RecipeError
from segtrial.evaluation import Part
from segtrial.modelfile import Loaded
from segtrial.randomness import generator
from segtrial.shapes import IGNORE
from segtrial.tasks import Task
from segtrial.tasks.extras import BINS

MOST_PIXELS, MOST_SCORES = 2**20, 2**24
"""Pixels that are drawn of a part, and their scores, of all classes together."""

FOLDS = 5

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Trust:
    """How far probabilities can be believed: mean -log p(truth) in nats, and the expected calibration error."""

    nll: float
    ece: float


@dataclass(frozen=True)
class Calibration:
    """What a fit found. `before` and `after` are of the pixels that it was fitted on.

    `held_out` are the same numbers of each fold of groups at the temperature that the others gave, None (with a
    `reason`) where there is one group only.
    """

    temperature: float
    temperature_before: float
    before: Trust
    after: Trust
    held_out: tuple[Trust, Trust] | None
    reason: str | None
    folds: int
    n_images: int
    n_pixels: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        told = asdict(self)
        pair = told.pop("held_out")
        return told | {"held_out": None if pair is None else {"before": pair[0], "after": pair[1]}}


@dataclass(frozen=True)
class Drawn:
    """Scores and truth of the pixels drawn, and the number of the fold that each image's group is dealt to."""

    logits: Float32[Tensor, "n k"]
    target: UInt8[Tensor, " n"]
    fold: Int64[Tensor, " n"]


def calibrate(loaded: Loaded, part: Part, progress: Progress | None = None) -> Calibration:
    """Fit a temperature to `part`, by likelihood; the network's own is what it is compared with.

    Raises RecipeError for a task whose answers have no probabilities, DataError if no pixel counts.
    """
    require_probabilities(loaded.task)
    folds = min(FOLDS, len(set(part.groups)))
    drawn = draw(loaded, part, folds, progress)
    if not len(drawn.target):
        raise DataError("the part to calibrate on", "it has no pixel that counts", "Choose another --data or --split")
    found, was = fit_temperature(drawn.logits, drawn.target), float(loaded.task.temperature)
    return Calibration(
        temperature=found,
        temperature_before=was,
        before=trust(drawn.logits, drawn.target, was),
        after=trust(drawn.logits, drawn.target, found),
        held_out=(trust(drawn.logits, drawn.target, was), _crossed(drawn, folds)) if folds > 1 else None,
        reason=None if folds > 1 else "all images are of one group, so none are left that are independent of the fit",
        folds=folds,
        n_images=len(part.keys),
        n_pixels=len(drawn.target),
    )


def require_probabilities(task: Task) -> None:
    """Raise RecipeError for a task that answers with colours."""
    if task.content == "photos":
        found = "its answers are colours, which are no classes and have no probability"
        raise RecipeError(f"task {task.name}", found, "Take a model of masks or of classes")


def trust(logits: Float32[Tensor, "n k"], target: UInt8[Tensor, " n"], temperature: float | int) -> Trust:
    """How far softmax(logits / temperature) can be believed."""
    counts = calibration_counts((logits / temperature).t()[None, :, :, None], target[None, :, None], BINS)
    nll = negative_log_likelihood(logits, target, temperature)
    return Trust(nll, float(expected_calibration_error(counts.numpy()[0])))


def draw(loaded: Loaded, part: Part, folds: int, progress: Progress | None = None) -> Drawn:
    """At most MOST_PIXELS pixels that count, evenly over the images; groups are dealt to `folds` in their order."""
    order = {group: number % folds for number, group in enumerate(sorted(set(part.groups)))}
    found = list(_drawn(loaded, part, order, progress))
    logits, target, fold = (torch.cat(arrays) for arrays in zip(*found, strict=True))
    return Drawn(logits, target, fold)


def _drawn(
    loaded: Loaded, part: Part, folds: dict[str, int], progress: Progress | None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    for index in range(len(part.keys)):
        sample = part[index]
        logits, target = _pixels(loaded, sample)
        most = max(1, min(MOST_PIXELS, MOST_SCORES // logits.shape[1]) // len(part.keys))
        if len(target) > most:
            chosen = generator(0, "temperature", sample.key).permutation(len(target))[:most]
            chosen = torch.from_numpy(np.sort(chosen))
            logits, target = logits[chosen], target[chosen]
        yield logits, target, torch.full((len(target),), folds[sample.group])
        if progress:
            progress(index + 1, len(part.keys))


def _pixels(loaded: Loaded, sample: Sample) -> tuple[Tensor, Tensor]:
    """Scores `n k` at temperature 1, and the truth, of all pixels of one image that count."""
    task, device = loaded.task.at(1), loaded.network.mean.device
    images = torch.tensor(sample.image)[None].to(device)
    planes = torch.tensor(sample.target)[None].to(device)
    with torch.no_grad():
        logits = task.class_scores(loaded.network(images)).movedim(1, -1).flatten(0, -2)  # n k
        target = task.target(images, planes).flatten()
    counted = (target != IGNORE) & logits.isfinite().all(1)
    return logits[counted].cpu(), target[counted].cpu()


def _crossed(drawn: Drawn, folds: int) -> Trust:
    """All pixels, each at the temperature that the folds of other groups gave."""
    logits = drawn.logits.clone()
    for fold in range(folds):
        inside = drawn.fold == fold
        logits[inside] /= fit_temperature(drawn.logits[~inside], drawn.target[~inside])
    return trust(logits, drawn.target, 1)
