"""(one score per label, target of 0, 1 and IGNORE) -> a sum: labels that exclude nothing, each a sigmoid of its own.

One label is the binary task; several are multi-label. Pixel losses count pairs of pixel and label (`pair_weight`
divides them), region losses images (`counted_images`). `weights` has one factor per label: in pixel losses it is
what the pixels that have the label weigh against those that have not, in region losses what the label weighs in an
image's mean.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from segtrial.losses._units import exact, sum_over_images
from segtrial.shapes import IGNORE


def bce_with_logits(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b k h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """The binary cross-entropy in nats, summed over the pairs that count; `pair_weight` divides it.

    sum  w t (-log s) + (1 - t) (-log(1 - s))        s = sigmoid(logit), t the target, w the label's weight
    """
    scores = exact(logits)
    counted, holds = (target != IGNORE).to(scores), (target == 1).to(scores)
    positive = None if weights is None else weights.to(scores).view(-1, 1, 1)
    return F.binary_cross_entropy_with_logits(scores, holds, counted, pos_weight=positive, reduction="sum")


def binary_focal(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b k h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    gamma: float = 2.0,
) -> Float[Tensor, ""]:
    """Binary cross-entropy that turns away from pairs already learned; summed, `pair_weight` divides it.

        sum  v (1 - s)^gamma (-log s)        s: the probability of what is true, v = w where t = 1, else 1

    `gamma` >= 0; at 0 it is `bce_with_logits`. The paper's alpha is w = alpha / (1 - alpha), which leaves its loss but
    for the factor 1 - alpha. Lin et al., Focal loss for dense object detection, ICCV 2017, section 3.
    """
    sure = _sure(logits, target)
    easy = torch.exp(gamma * F.logsigmoid(-sure))  # (1 - s)^gamma with a finite slope everywhere
    return (_weight_of_pairs(target, weights, logits) * easy * -F.logsigmoid(sure)).sum()


def pair_weight(target: UInt8[Tensor, "b k h w"], weights: Float[Tensor, " k"] | None = None) -> Float[Tensor, ""]:
    """What divides the pixel losses: the pairs of pixel and label that count, whatever they weigh (as torch's mean)."""
    return (target != IGNORE).sum().float()


def binary_dice(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b k h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    smooth: float = 1.0,
) -> Float[Tensor, ""]:
    """One minus the soft Dice overlap of each label, from 0 to 1 an image; summed, `counted_images` divides it.

        1 - (2 TP + 2 smooth) / (2 TP + FP + FN + 2 smooth)        TP = sum_p s t, s = sigmoid(logits)

    `smooth` as in `binary_tversky`. Milletari, Navab and Ahmadi, V-Net, 3DV 2016, section 3; they square s and t
    below the line, this does not.
    """
    return binary_tversky(logits, target, weights=weights, alpha=0.5, beta=0.5, smooth=smooth)


def binary_jaccard(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b k h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    smooth: float = 1.0,
) -> Float[Tensor, ""]:
    """One minus the soft intersection over union of each label, from 0 to 1 an image; `counted_images` divides it.

        1 - (TP + smooth) / (TP + FP + FN + smooth)

    `smooth` as in `binary_tversky`. Rahman and Wang, Optimizing intersection-over-union in deep neural networks for
    image segmentation, ISVC 2016.
    """
    return binary_tversky(logits, target, weights=weights, alpha=1.0, beta=1.0, smooth=smooth)


def binary_tversky(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b k h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
) -> Float[Tensor, ""]:
    """One minus the soft Tversky index of each label, from 0 to 1 an image; summed, `counted_images` divides it.

        1 - (TP + smooth) / (TP + alpha FP + beta FN + smooth)

    `alpha` >= 0 prices a false positive, `beta` > 0 a false negative. `smooth` > 0, in pixels: a label that an image
    does not have, and that is not predicted, costs 0, and predicting it costs more; without it there is nothing to
    learn from such images. Salehi, Erdogmus and Gholipour, MLMI 2017, equation 2.
    """
    s = exact(logits).sigmoid()
    right, extra, missed = (
        (one * where).sum((2, 3)) for one, where in ((s, target == 1), (s, target == 0), (1 - s, target == 1))
    )
    costs = 1 - (right + smooth) / (right + alpha * extra + beta * missed + smooth)
    return sum_over_images(costs, (target != IGNORE).flatten(2).any(2), weights)


def _sure(logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
    """The logit of what is true: the sign turns where the label does not hold."""
    return exact(logits).where(target == 1, -exact(logits))


def _weight_of_pairs(
    target: UInt8[Tensor, "b k h w"], weights: Float[Tensor, " k"] | None, logits: Tensor
) -> Float[Tensor, "b k h w"]:
    """The label's weight where it holds, 1 where it does not, 0 for IGNORE."""
    counted = (target != IGNORE).to(exact(logits))
    return counted if weights is None else torch.where(target == 1, weights.to(counted).view(-1, 1, 1), counted)
