"""(logits, target) -> a loss: lower is better, ignored pixels weigh nothing.

A loss comes as a sum over pixels and, apart from it, the weight that divides it. So micro-batches and ranks add
up to exactly the loss of the whole batch, however unevenly IGNORE is spread: add the sums, add the weights,
divide once. All take raw logits and compute in float32 at least, also under bfloat16 autocast.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from segtrial.shapes import IGNORE


def cross_entropy(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """The cross-entropy in nats, summed over the pixels that count; 0, with gradient 0, if none does.

        sum_p  w[t_p] (1 - s) (-log q_p[t_p])  +  s/k sum_c w[c] (-log q_p[c])        q = softmax(logits)

    `weights` w: one factor per class, 1 if absent. `label_smoothing` s, from 0 to 1: this share of the target is
    spread evenly over the k classes (Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7).
    """
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(
        exact,
        target.long(),
        weight=None if weights is None else weights.to(exact),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def pixel_weight(target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """What divides the sum: the number of pixels that count, or the sum of their classes' weights (float32)."""
    if weights is None:
        return (target != IGNORE).sum().float()
    table = F.pad(weights, (0, IGNORE + 1 - len(weights)))  # IGNORE weighs 0; a look-up never waits for a GPU
    return table[target.long()].sum()


def mean_cross_entropy(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """`cross_entropy` / `pixel_weight`: the mean over the pixels that count, and 0, not NaN, if none does."""
    total = cross_entropy(logits, target, weights=weights, label_smoothing=label_smoothing)
    return total / pixel_weight(target, weights).to(total).clamp(min=torch.finfo(total.dtype).tiny)
