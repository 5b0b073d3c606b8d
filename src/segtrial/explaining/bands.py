"""A network, an image and targets -> what changes if one band of the image (red, infrared, ...) is taken away."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from segtrial.explaining.targets import Target, class_score
from segtrial.models._whole import Whole
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, Task


@dataclass(frozen=True, eq=False)
class Band:
    """One band, taken away: how far each target's score falls, and where the answer is another one.

    `right` is the share of pixels that are then answered rightly, None where the truth is not known; of several masks
    a pixel is right if all of them are.
    """

    name: str
    drops: tuple[float, ...]
    changed: Bool[np.ndarray, "h w"]
    right: float | None


def band_names(channels: int) -> tuple[str, ...]:
    """What the bands of an image are called: a model file does not say, so those of colour photos, else numbers."""
    if channels == 3:
        return "red", "green", "blue"
    return tuple(f"band {number}" for number in range(1, channels + 1))


def without_bands(
    network: Whole,
    task: Task,
    image: Float[Tensor, "c h w"],
    answer: Answer,
    truth: UInt8[np.ndarray, "h w"] | None,
    targets: Sequence[Target],
) -> list[Band]:
    """Each band of the image (in [0, 1]) set to the mean that it had in the training data, and the answer to that."""
    before = decisions(task, answer)
    found = []
    with torch.no_grad():
        scores = network(image[None])
        whole = [class_score(task, scores, target)[0] for target in targets]
        for number, name in enumerate(band_names(len(image))):
            missing = image.clone()
            missing[number] = network.mean[number]
            scores = network(missing[None])
            after = task.answer(scores[0], missing)
            left = [class_score(task, scores, target)[0] for target in targets]
            drops = [float(was - now) for was, now in zip(whole, left, strict=True)]
            right = None if truth is None else right_share(task, after, truth)
            found.append(Band(name, tuple(drops), (decisions(task, after) != before).any(0), right))
    return found


def right_share(task: Task, answer: Answer, truth: UInt8[np.ndarray, "h w"]) -> float | None:
    """The share of right pixels among those that count, or of an answer for the whole image 1 or 0; None if none does.

    Of several masks a pixel is right if all of them are.
    """
    decided, counted = decisions(task, answer), truth != IGNORE
    if not counted.any():
        return None
    if task.content == "classes":
        return float(decided.flat[0] == truth[counted][0])
    several = answer.values.ndim == 3
    wanted = truth == np.arange(len(decided), dtype=np.uint8)[:, None, None] if several else truth[None]
    return float((decided == wanted).all(0)[counted].mean())


def decisions(task: Task, answer: Answer) -> UInt8[np.ndarray, "n h w"]:
    """What is answered: one map of class numbers, one mask for each class, or one number for the whole image."""
    if task.content == "classes":
        return np.array(answer.values.argmax(), np.uint8).reshape(1, 1, 1)
    values = answer.values.astype(np.uint8)
    return values if values.ndim == 3 else values[None]
