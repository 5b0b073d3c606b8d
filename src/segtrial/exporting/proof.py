"""A network, its exported file and the user's own images -> what was lost on the way, and what was won."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segtrial.evaluation import Part, interval_json
from segtrial.scores import number_or_none
from segtrial.statistics import Interval, NoInterval, block_interval
from segtrial.tasks import Task

SCORE = "miou_dataset"
"""The score that a file must keep."""

WARM_UPS, MOST_RUNS, SECONDS = 2, 15, 10.0
"""Runs of either that are not timed; at most so many that are, and none begun after so many seconds."""

Answers = Callable[[Tensor], Tensor]
"""Images `b c h w` -> scores `b k h w`."""


@dataclass(frozen=True)
class Proof:
    """What torch in float32 and the file say of the same images.

    `before` and `after` are the scores of either, NaN where no class occurs, and `interval` is of their difference
    (after - before). `agreement` is the share of pixels (of a multi-label network: of decisions) answered alike,
    `largest_difference` that of any score, `milliseconds` what one image takes either.
    """

    n_images: int
    before: float
    after: float
    interval: Interval | NoInterval
    agreement: float
    largest_difference: float
    milliseconds: tuple[float, float]

    def loses_at_most(self, points: float | int) -> bool:
        """Of the score, in hundredths. False where it is undefined: nothing is proved then."""
        return 100 * (self.before - self.after) <= points

    def to_json(self) -> dict[str, Any]:
        """The figures, ready for JSON."""
        found, (eager, exported) = self.interval, self.milliseconds
        return {
            "n_images": self.n_images,
            "miou_before": number_or_none(self.before),
            "miou_after": number_or_none(self.after),
            "difference": number_or_none(self.after - self.before),
            "interval": interval_json(found),
            **({"reason": found.reason} if isinstance(found, NoInterval) else {}),
            "argmax_agreement": self.agreement,
            "largest_difference": self.largest_difference,
            "latency_ratio": eager / exported,
            "milliseconds": {"torch": eager, "exported": exported},
        }


def prove(
    network: Answers, exported: Answers, part: Part, task: Task, progress: Callable[[int, int], None] | None = None
) -> Proof:
    """Run every image of `part` through both, one by one at its own size; then time the commonest size."""
    rows: list[tuple[np.ndarray, ...]] = []
    alike, decided, largest = 0, 0, 0.0
    count = len(part.keys)
    for index in range(count):
        images, planes = _image(part, index), torch.tensor(part[index].target)[None]
        with torch.no_grad():
            scores = network(images), exported(images)
        rows.append(tuple(task.rows(each, images, planes).numpy() for each in scores))
        first, second = (task.answer(each[0], images[0]).values for each in scores)
        alike, decided = alike + int((first == second).sum()), decided + first.size
        largest = max(largest, float((scores[0] - scores[1]).abs().max()))
        if progress:
            progress(index + 1, count)
    before, after = (np.concatenate(each) for each in zip(*rows, strict=True))
    score = task.table[SCORE]
    both = np.stack([score.parts(before), score.parts(after)], axis=1)
    between = block_interval(both, part.groups, lambda sums: score.value(sums[:, 1]) - score.value(sums[:, 0]))
    times = latencies(network, exported, _usual(part))
    return Proof(count, score(before), score(after), between, alike / decided, largest, times)


def score_on(answers: Answers, part: Part, chosen: Sequence[int], task: Task) -> float:
    """The score that a file must keep, of the images of these numbers."""
    rows = []
    for index in chosen:
        images, planes = _image(part, index), torch.tensor(part[index].target)[None]
        rows.append(task.rows(answers(images), images, planes).numpy())
    return task.table[SCORE](np.concatenate(rows))


def latencies(network: Answers, exported: Answers, images: Tensor) -> tuple[float, float]:
    """Milliseconds that either takes for these images: medians of runs in turn, so that both meet the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    started = time.perf_counter()
    for run in range(WARM_UPS + MOST_RUNS):
        for answers, taken in zip((network, exported), times, strict=True):
            before = time.perf_counter()
            with torch.no_grad():
                answers(images)
            if run >= WARM_UPS:
                taken.append(1000 * (time.perf_counter() - before))
        if times[1] and time.perf_counter() - started > SECONDS:
            break
    return median(times[0]), median(times[1])


def _image(part: Part, index: int) -> Tensor:
    return torch.tensor(part[index].image)[None]


def _usual(part: Part) -> Tensor:
    """The first image of the commonest size."""
    size, _ = Counter(part.sizes).most_common(1)[0]
    return _image(part, list(part.sizes).index(size))
