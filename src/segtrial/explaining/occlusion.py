"""A network, an image and targets -> how far a class's score falls where a grey patch hides a part of the image.

Zeiler, Fergus. Visualizing and understanding convolutional networks. ECCV 2014. https://arxiv.org/abs/1311.2901,
section 4.2, with the mean score of a region in place of a classifier's probability.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from segtrial.explaining.targets import Target, class_score
from segtrial.models._whole import Whole
from segtrial.tasks import Task

STEPS = 16
"""Places of the patch along the longer side, where nobody chooses a patch: it is then two of them wide."""

TOGETHER = 4
"""Images that go through the network at once."""

Progress = Callable[[int, int], object]


@dataclass(frozen=True, eq=False)
class Occlusion:
    """`drops[row, column]` of a target is how far its score falls with the patch at (row * step, column * step).

    `map` has, for each pixel, the mean drop over the places of the patch that hide it. Below 0 the score rises.
    """

    drops: Float32[np.ndarray, "rows columns"]
    map: Float32[np.ndarray, "h w"]


@dataclass(frozen=True)
class Patch:
    """A square of `side` pixels that moves by `step`; over the right and lower border it is cut."""

    side: int
    step: int

    def places(self, length: int) -> range:
        """Its first pixels along an axis of the image."""
        return range(0, length, self.step)


def patch_for(size: tuple[int, int], side: int | None = None) -> Patch:
    """The patch for an image of `size` (h, w): an eighth of its longer side, or `side`, moved by half of it."""
    if side is None:
        side = 2 * max(1, round(max(size) / STEPS))
    return Patch(side, max(1, side // 2))


def occlusion(
    network: Whole,
    task: Task,
    image: Float[Tensor, "c h w"],
    targets: Sequence[Target],
    patch: Patch,
    progress: Progress | None = None,
) -> list[Occlusion]:
    """The drops of each target's mean score in its region, image in [0, 1]; the patch has the network's mean colour."""
    height, width = image.shape[-2:]
    places = [(top, left) for top in patch.places(height) for left in patch.places(width)]
    drops = np.zeros((len(targets), len(places)), np.float32)
    with torch.no_grad():
        whole = _scores(network, task, image[None], targets)  # targets 1
        for first in range(0, len(places), TOGETHER):
            some = places[first : first + TOGETHER]
            hidden = torch.stack([_hidden(image, network.mean, place, patch.side) for place in some])
            drops[:, first : first + len(some)] = whole - _scores(network, task, hidden, targets)
            if progress:
                progress(first + len(some), len(places))
    shape = (len(patch.places(height)), len(patch.places(width)))
    return [Occlusion(each, _spread(each, patch, (height, width))) for each in drops.reshape(-1, *shape)]


def _scores(network: Whole, task: Task, images: Tensor, targets: Sequence[Target]) -> Float32[np.ndarray, "targets b"]:
    scores = network(images)
    found = [class_score(task, scores, target) for target in targets]
    return np.stack([each.float().cpu().numpy() for each in found])


def _hidden(image: Tensor, grey: Tensor, place: tuple[int, int], side: int) -> Tensor:
    hidden = image.clone()
    top, left = place
    hidden[:, top : top + side, left : left + side] = grey[:, None, None]
    return hidden


def _spread(drops: Float32[np.ndarray, "rows columns"], patch: Patch, size: tuple[int, int]) -> np.ndarray:
    total, count = np.zeros(size), np.zeros(size)
    for row, top in enumerate(patch.places(size[0])):
        for column, left in enumerate(patch.places(size[1])):
            inside = (slice(top, top + patch.side), slice(left, left + patch.side))
            total[inside] += drops[row, column]
            count[inside] += 1
    return (total / count).astype(np.float32)
