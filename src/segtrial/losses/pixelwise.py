"""(scores of k classes, target) -> a sum over pixels: cross-entropy, and what weighs its pixels differently.

A mean over pixels has the number of counted pixels below the line, or, with class weights, the sum of their
classes' weights. So scaling all class weights by one factor changes none of these losses.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from segtrial.losses._units import exact, weight_of_pixels
from segtrial.shapes import IGNORE


def cross_entropy(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    logit_adjustment: float = 0.0,
) -> Float[Tensor, ""]:
    """The cross-entropy in nats, summed over the pixels that count; 0, with gradient 0, if none does.

        sum_p  w[t_p] (1 - s) (-log q_p[t_p])  +  s/k sum_c w[c] (-log q_p[c])        q = softmax(logits + a log w)

    `weights` w: one factor per class, 1 if absent. `label_smoothing` s, from 0 to 1: this share of the target is
    spread evenly over the k classes (Szegedy et al., Rethinking the Inception architecture, CVPR 2016, section 7).

    `logit_adjustment` a, from 0 to 1: how much of the weights, which must be above 0, the answers take back. Weights
    make softmax(logits) tend to w p, made to add up to 1, p being the probabilities: rare classes are learned sooner,
    and named too often. With a = 1 it tends to p again. After Menon et al., Long-tail learning via logit adjustment,
    ICLR 2021, section 4, who add logarithms of the classes' shares to the logits in the loss.
    """
    scores = exact(logits)
    if weights is not None and logit_adjustment:
        scores = scores + logit_adjustment * weights.to(scores).log()[:, None, None]
    return F.cross_entropy(
        scores,
        target.long(),
        weight=None if weights is None else weights.to(scores),
        ignore_index=IGNORE,
        reduction="sum",
        label_smoothing=label_smoothing,
    )


def pixel_weight(target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """What divides the sum: the number of pixels that count, or the sum of their classes' weights (float32)."""
    if weights is None:
        return (target != IGNORE).sum().float()
    return weight_of_pixels(target, weights).sum()


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


def focal(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """Cross-entropy that turns away from pixels already learned; summed, `pixel_weight` divides it.

        sum_p  w[t_p] (1 - q_p[t_p])^gamma (-log q_p[t_p])        q = softmax(logits)

    `gamma` >= 0; at 0 it is the cross-entropy. `weights` are the paper's alpha. Lin et al., Focal loss for dense
    object detection, ICCV 2017, section 3; theirs is for sigmoids (`binary_focal`), this is its form for softmax.
    """
    costs = _costs(logits, target)
    wrong = -torch.expm1(-costs)  # 1 - q[t], exact also where it is tiny
    wrong = wrong.clamp(min=torch.finfo(costs.dtype).tiny)  # below, a power less than 1 has no finite slope
    return (weight_of_pixels(target, weights).to(costs) * wrong**gamma * costs).sum()


def ohem(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    share: float = 0.25,
) -> Float[Tensor, ""]:
    """Cross-entropy over each image's hardest pixels alone; summed, `hard_pixel_weight` divides it.

        sum_i  of the ceil(share n_i) largest  w[t_p] (-log q_p[t_p])  of image i        n_i: its counted pixels

    `share`: 0 < share <= 1; at 1 it is the cross-entropy. Online hard examples are those of Shrivastava, Gupta and
    Girshick, Training region-based object detectors with online hard example mining, CVPR 2016; for pixels it is
    Wu, Shen and van den Hengel, Bridging category-level and instance-level semantic image segmentation, 2016 (online
    bootstrapping). Chosen per image, not per batch: else the pieces of a batch would not add up to the whole.
    """
    costs = _costs(logits, target)
    costs = (weight_of_pixels(target, weights).to(costs) * costs).flatten(1)
    counted = (target != IGNORE).flatten(1).sum(1, keepdim=True)
    most = min(int(share * costs.shape[1]) + 1, costs.shape[1])
    hardest = costs.topk(most, dim=1).values  # ignored pixels cost 0: none stands before one that counts and costs
    return hardest.where(torch.arange(most, device=costs.device) < _kept(counted, share), 0).sum()


def hard_pixel_weight(
    target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None = None, share: float = 0.25
) -> Float[Tensor, ""]:
    """What divides `ohem`: the pixels kept, each at the mean weight of its image's pixels.

        sum_i  ceil(share n_i) / n_i  sum_p w[t_p]

    Which pixels are kept only the network decides, so the sum of their own weights is not known from the target.
    """
    counted = (target != IGNORE).flatten(1).sum(1)
    return (_kept(counted, share) / counted.clamp(min=1) * weight_of_pixels(target, weights).sum((1, 2))).sum()


def _kept(counted: Tensor, share: float) -> Tensor:
    return (share * counted).ceil()


def _costs(logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """The cross-entropy of each pixel; 0 for IGNORE."""
    return F.cross_entropy(exact(logits), target.long(), ignore_index=IGNORE, reduction="none")
