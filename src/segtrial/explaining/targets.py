"""A task, its answer and what somebody asks for -> targets: a class, the pixels that it is asked about, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from segtrial.errors import RecipeError, UnknownName
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, Task

MOST = 3
"""Classes that are explained where nobody names any."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are beyond the last pixel."""

Plane = UInt8[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Target:
    """Class number `index`, and the pixels that it is asked about; of an answer for the whole image there is one.

    `words` say what region that is.
    """

    index: int
    region: Bool[np.ndarray, "h w"]
    words: str


def class_score(task: Task, scores: Float[Tensor, "b k h w"], target: Target) -> Float[Tensor, " b"]:
    """The mean score of the target's class over its region: what explanations follow.

    Of one score for two classes, background has the score below zero.
    """
    maps = task.compared(scores)
    if task.outputs == 1 and len(task.classes) == 2:
        maps = torch.cat([-maps, maps], 1)
    region = torch.from_numpy(target.region).to(maps.device)
    return maps[:, target.index][:, region].mean(1)


def choose(
    task: Task, answer: Answer, truth: Plane | None, names: Sequence[str] = (), box: Box | None = None
) -> list[Target]:
    """What to explain of one answer.

    The classes called `names`, each where it is answered (everywhere, if it is not), or in the `box`. Without names:
    in the box the commonest class; else the MOST commonest, and where the truth is known the largest mistake.
    Raises UnknownName for a class that there is not, RecipeError for a box without pixels.
    """
    for name in names:
        if name not in task.classes.names:
            raise UnknownName("class", name, task.classes.names)
    holds = _holds(task, answer)
    inside = np.ones(holds.shape[1:], bool) if box is None else _box(box, holds.shape[1:])
    pixels = (holds & inside).sum((1, 2))
    if names:
        chosen = [task.classes.names.index(name) for name in names]
    elif task.content == "classes":
        chosen = [int(index) for index in np.argsort(-answer.values, kind="stable")[: min(2, len(pixels))]]
    else:
        most = 1 if box else MOST
        chosen = [int(index) for index in np.argsort(-pixels, kind="stable")[:most] if pixels[index]]
    found = [_target(task, index, holds[index], box, inside) for index in chosen]
    mistake = None if names or box or truth is None else _mistake(task, answer, truth)
    return [*found, *([mistake] if mistake else [])]


def labels_of(task: Task, answer: Answer) -> Plane | None:
    """Class indices to look at: of several masks the last that holds; None of an answer for the whole image."""
    if task.content == "classes":
        return None
    if answer.values.ndim == 2:
        return answer.values
    drawn = task.picture("", np.zeros((1, *answer.values.shape[1:]), np.uint8), answer)
    return drawn.pixels


def _holds(task: Task, answer: Answer) -> Bool[np.ndarray, "k h w"]:
    """Where each class is answered; an answer for the whole image is one pixel, of every class."""
    if task.content == "classes":
        return np.ones((len(task.classes), 1, 1), bool)
    if answer.values.ndim == 3:
        return answer.values
    return answer.values == np.arange(len(task.classes), dtype=np.uint8)[:, None, None]


def _box(box: Box, size: tuple[int, ...]) -> Bool[np.ndarray, "h w"]:
    left, top, right, bottom = box
    inside = np.zeros(size, bool)
    inside[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = True
    if size == (1, 1) or not inside.any():
        found = f"{','.join(map(str, box))} has no pixel of an answer of {size[1]}x{size[0]} (width x height)"
        raise RecipeError(
            "--region", found, "Give left,top,right,bottom in pixels, of an image whose pixels have classes"
        )
    return inside


def _target(task: Task, index: int, holds: np.ndarray, box: Box | None, inside: np.ndarray) -> Target:
    if box is not None:
        return Target(index, inside, f"in the region {','.join(map(str, box))}")
    if task.content == "classes":
        return Target(index, holds, "for the whole image")
    if not holds.any():
        return Target(index, inside, "in the whole image, since it is answered nowhere")
    return Target(index, holds, "where it is answered")


def _mistake(task: Task, answer: Answer, truth: Plane) -> Target | None:
    """The class that was most often answered in place of another one, at those pixels."""
    if task.content == "classes" or answer.values.ndim == 3:
        return None
    k, labels = len(task.classes), answer.values
    wrong = (truth != IGNORE) & (truth != labels)
    if not wrong.any():
        return None
    pairs = np.bincount(truth[wrong].astype(np.int64) * k + labels[wrong], minlength=k * k)
    true, answered = divmod(int(pairs.argmax()), k)
    region = wrong & (truth == true) & (labels == answered)
    return Target(answered, region, f"where it is a mistake for {task.classes.names[true]}")
