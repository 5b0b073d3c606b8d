"""(numbers, target numbers) -> a sum over values: how far colours are from the truth; NaN in the target is ignored.

A value is one channel of one pixel. `weights`: one factor per channel; the mean has their sum below the line
(`value_weight`). `bin_cross_entropy` takes a and b as one of the classes of `colors.ab_bins`.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from segtrial.colors import nearest_bin
from segtrial.losses._units import exact

NO_BIN = -1
"""The bin of a pixel that does not count."""


def l1(
    logits: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, weights: Float[Tensor, " c"] | None = None
) -> Float[Tensor, ""]:
    """sum  w |y - t|, in units of the target; `value_weight` divides it."""
    return _weighed(_apart(logits, target).abs(), weights)


def l2(
    logits: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], *, weights: Float[Tensor, " c"] | None = None
) -> Float[Tensor, ""]:
    """sum  w (y - t)^2, in squared units of the target; `value_weight` divides it."""
    return _weighed(_apart(logits, target).square(), weights)


def smooth_l1(
    logits: Float[Tensor, "b c h w"],
    target: Float[Tensor, "b c h w"],
    *,
    weights: Float[Tensor, " c"] | None = None,
    beta: float = 1.0,
) -> Float[Tensor, ""]:
    """Quadratic up to a distance of `beta` > 0, in units of the target, and straight from there.

        sum  w d^2 / (2 beta)  if d < beta, else  w (d - beta/2)        d = |y - t|

    `value_weight` divides it. Girshick, Fast R-CNN, ICCV 2015, equation 3 (beta 1).
    """
    apart = _apart(logits, target)
    return _weighed(F.smooth_l1_loss(apart, torch.zeros_like(apart), reduction="none", beta=beta), weights)


def value_weight(target: Float[Tensor, "b c h w"], weights: Float[Tensor, " c"] | None = None) -> Float[Tensor, ""]:
    """What divides the sum: the number of values that count, or the sum of their channels' weights."""
    return _weighed((~target.isnan()).float(), weights)


def bin_cross_entropy(
    logits: Float[Tensor, "b k h w"], target: Float[Tensor, "b 2 h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """The cross-entropy in nats of the bin that each pixel's a and b fall into; `bin_weight` divides it.

    Scores are of the bins of `colors.ab_bins`. Zhang, Isola and Efros, ECCV 2016, section 2.2, equation 2; their
    target is spread over the five nearest bins, this one is the nearest. `weights`: one factor per bin, which is
    where their rebalancing of rare colours (equation 4) would go.
    """
    factors = None if weights is None else weights.to(exact(logits))
    return F.cross_entropy(exact(logits), _bins(target), factors, ignore_index=NO_BIN, reduction="sum")


def bin_weight(target: Float[Tensor, "b 2 h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """What divides the sum: the number of pixels that count, or the sum of their bins' weights."""
    bins = _bins(target)
    counted = (bins != NO_BIN).float()
    return counted.sum() if weights is None else (counted * weights[bins.clamp(min=0)]).sum()


def _bins(target: Float[Tensor, "b 2 h w"]) -> Tensor:
    return nearest_bin(target.nan_to_num()).masked_fill(target.isnan().any(1), NO_BIN)


def _apart(logits: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """y - t; 0 where the target is NaN: there no cost of these has a slope."""
    scores = exact(logits)
    return scores - target.to(scores).where(~target.isnan(), scores.detach())


def _weighed(costs: Float[Tensor, "b c h w"], weights: Float[Tensor, " c"] | None) -> Float[Tensor, ""]:
    return costs.sum() if weights is None else (costs * weights.to(costs).view(-1, 1, 1)).sum()
