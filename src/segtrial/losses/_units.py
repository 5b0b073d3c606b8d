"""What all losses share: exact numbers, the units that a loss is averaged over, and a loss as a value."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from segtrial.errors import UnknownName
from segtrial.shapes import IGNORE


@dataclass(frozen=True)
class Loss:
    """One loss: what is summed over its units, and what divides the sum.

        total(logits, target, *, weights=None, option=value, ...)
        weight(target, weights=None)

    Both are scalars. `weight` sees the target alone, so it is known before the network runs. The loss of a batch is
    the sum of `total` over its pieces and ranks, divided by the sum of `weight` over the same.
    """

    total: Callable[..., Tensor]
    weight: Callable[..., Tensor]

    @property
    def options(self) -> dict[str, float]:
        """Names and values of what the paper leaves to choose; the ranges are in the docstring of `total`."""
        parameters = inspect.signature(self.total).parameters.values()
        return {one.name: one.default for one in parameters if isinstance(one.default, float)}

    def using(self, **options: float) -> "Loss":
        """The same loss with these options; raises UnknownName, with the list, for one that it does not have."""
        for name in options:
            if name not in self.options:
                raise UnknownName("option of the loss", name, tuple(self.options))
        needed = {name: value for name, value in options.items() if name in inspect.signature(self.weight).parameters}
        return replace(self, total=partial(self.total, **options), weight=partial(self.weight, **needed))

    def mean(self, logits: Tensor, target: Tensor, weights: Tensor | None = None) -> Float[Tensor, ""]:
        """The loss of a whole batch: `total` / `weight`, and 0, not NaN, if nothing counts."""
        total = self.total(logits, target, weights=weights)
        return total / self.weight(target, weights).to(total).clamp(min=torch.finfo(total.dtype).tiny)


def exact(logits: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """The logits in float32 at least: half precision is widened, float64 stays."""
    return logits if logits.dtype == torch.float64 else logits.float()


def weight_of_pixels(target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None) -> Float[Tensor, "b h w"]:
    """The weight of each pixel's class, 1 without `weights`; 0 for IGNORE."""
    if weights is None:
        return (target != IGNORE).float()
    table = F.pad(weights, (0, IGNORE + 1 - len(weights)))  # IGNORE weighs 0; a look-up never waits for a GPU
    return table[target.long()]


def counted_images(target: UInt8[Tensor, "b *pixels"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """What divides a loss whose units are images: how many of them have a pixel that counts (float32)."""
    return (target != IGNORE).flatten(1).any(1).sum().float()


def sum_over_images(
    costs: Float[Tensor, "b k"], counts: Bool[Tensor, "b k"], weights: Float[Tensor, " k"] | None
) -> Float[Tensor, ""]:
    """sum_i  (sum_c w[c] cost[i, c]) / (sum_c w[c]), with c over the classes that count in image i; 0 if none does."""
    share = counts.to(costs) if weights is None else counts * weights.to(costs)
    share = share / share.sum(1, keepdim=True).clamp(min=torch.finfo(share.dtype).tiny)
    return (share * costs).sum()
