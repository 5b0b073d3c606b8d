"""(outputs of the network, targets) -> the loss that a recipe lowers, as sums that pieces and ranks can add up.

Scores that a network makes at a stride are compared with the targets at that stride. Each loss is divided by its own
weight over the whole batch, which the targets alone decide, so cutting a batch into pieces changes nothing.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from segtrial import losses
from segtrial.losses import Criterion
from segtrial.recipe_parts import Loss
from segtrial.tasks import Task


class Goal:
    """The recipe's sum of losses, over all outputs of a network; targets are in the form of the task.

    `padded_size` is the wrapper's: the size (h, w) that the network sees of images of a size.
    """

    def __init__(
        self, task: Task, wish: Loss, class_weights: Tensor, padded_size: Callable[[int, int], tuple[int, int]]
    ):
        terms = losses.terms(wish.name, task.losses, wish.label_smoothing)
        self.criterion = Criterion(terms, task.loss_weights(class_weights))
        self.task, self.auxiliary, self.padded_size = task, wish.auxiliary, padded_size

    def weights(
        self, outputs: tuple[Tensor, ...], targets: Shaped[Tensor, "b *c h w"], place: int
    ) -> Float[Tensor, "outputs terms"]:
        """What divides each loss of each output over these targets, which may be more than the outputs' images.

        `place` chooses, where scores have a stride, which pixels of their cells they are compared with.
        """
        terms, weights = self.criterion.terms, self.criterion.weights
        rows = []
        for scores in outputs:
            seen = self._seen(self.task.compared(scores), targets, place)
            rows.append(torch.stack([term.loss.weight(seen, weights).float() for term in terms]))
        return torch.stack(rows)

    def loss(
        self,
        outputs: tuple[Tensor, ...],
        targets: Shaped[Tensor, "b *c h w"],
        place: int,
        weights: Float[Tensor, "outputs terms"],
    ) -> Float[Tensor, ""]:
        """The part of a batch's loss that these images have; `weights` are the whole batch's."""
        total = torch.zeros((), device=targets.device)
        for index, scores in enumerate(map(self.task.compared, outputs)):
            seen = self._seen(scores, targets, place)
            scores = scores[..., : seen.shape[-2], : seen.shape[-1]]  # without what the wrapper padded
            for number, term in enumerate(self.criterion.terms):
                cost = term.loss.total(scores, seen, weights=self.criterion.weights) / weights[index, number]
                total = total + cost * term.factor * (self.auxiliary if index else 1.0)
        return total

    def _seen(self, scores: Tensor, targets: Tensor, place: int) -> Tensor:
        """The targets at the stride of `scores`."""
        size = targets.shape[-2:]
        padded = self.padded_size(*size)
        strides = [min(whole // part, side) for whole, part, side in zip(padded, scores.shape[-2:], size, strict=True)]
        seen = thinned(targets, (strides[0], strides[1]), place)  # a cell may be larger than the image
        return seen[..., : scores.shape[-2], : scores.shape[-1]]


def thinned(targets: Shaped[Tensor, "b *c h w"], strides: tuple[int, int], place: int) -> Shaped[Tensor, "b *c H W"]:
    """Every `strides[0]`-th row and `strides[1]`-th column, from one of the places to start; `place` chooses which.

    Scores made at a stride stand for all the pixels of their cell; over the steps each of these takes its turn.
    """
    row, column = divmod(place % (strides[0] * strides[1]), strides[1])
    return targets[..., row :: strides[0], column :: strides[1]]
