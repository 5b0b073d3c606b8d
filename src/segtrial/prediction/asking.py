"""A network, its task and images of one size -> scores, once or in several views; and the answer for one image."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from segtrial.drawing import Pixels
from segtrial.models._whole import Whole
from segtrial.prediction.flips import PLAIN, View
from segtrial.tasks import Answer, Task


@dataclass(frozen=True)
class Asker:
    """Answers images `b c h w` (uint8, or in [0, 1]) on the network's device, with float32 scores.

    With several views the probabilities of the classes are averaged, in float32, and the scores are those of the mean.
    """

    network: Whole
    task: Task
    precision: torch.dtype = torch.float32
    views: tuple[View, ...] = PLAIN

    def __post_init__(self) -> None:
        assert not self.network.training, "a network in train mode answers by the batch it sees"

    def __call__(self, images: Shaped[Tensor, "b c h w"]) -> Float32[Tensor, "b k H W"]:
        """The scores. Raises ImageError if the channels are not the network's."""
        images = images.to(self.network.mean.device)
        with torch.no_grad():
            if self.views == PLAIN:
                return self._scores(images)
            task = self.task.at(1)  # the temperature is for the mean: it must not decide which class wins
            sums = sum(task.probabilities(self._seen(view, images)) for view in self.views)
            return self.task.scores_of(sums / len(self.views))  # type: ignore[operator]

    def _seen(self, view: View, images: Tensor) -> Float32[Tensor, "b k h w"]:
        mirrored = self.task.classes.mirrored() if self.task.outputs == len(self.task.classes) else ()
        height, width = images.shape[-2:]
        return view.back(self._scores(view.of(images)), (height, width), mirrored)

    def _scores(self, images: Tensor) -> Float32[Tensor, "b k h w"]:
        fast = self.precision != torch.float32
        with torch.autocast(images.device.type, dtype=self.precision) if fast else nullcontext():
            return self.network(images)


def answer(network: Whole, task: Task, image: Pixels, *, precision: torch.dtype = torch.float32) -> Answer:
    """The network's answer for one image `c h w` (uint8, or float32 in [0, 1]), computed on the network's device.

    Raises ImageError if the channels are not the network's. The network must be in eval mode.
    """
    images = torch.tensor(image)[None].to(network.mean.device)
    return task.answer(Asker(network, task, precision)(images)[0], images[0])
