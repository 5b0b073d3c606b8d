"""(scores of k classes, target) -> a sum over images: how badly the classes of each image overlap their truth.

The units are images: an image's loss is the mean over the classes that its truth shows, weighed by class weights
where given; a batch's is the mean over its images that show any (`counted_images`). A class that is not there has no
overlap to raise; predicting it takes probability from those that are. Overlap over all pixels of a batch at once,
as in several libraries, is left out: its value depends on who shares a batch, and pieces and ranks do not add up.
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segtrial.losses._units import exact, sum_over_images


def dice(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """One minus the soft Dice overlap, from 0 to 1 an image; summed, `counted_images` divides it.

        1 - 2 TP / (2 TP + FP + FN)        TP = sum_p q_p[c] [t_p = c], FP and FN likewise; q = softmax(logits)

    Milletari, Navab and Ahmadi, V-Net, 3DV 2016, section 3; they square q and t below the line, this does not.
    """
    return tversky(logits, target, weights=weights, alpha=0.5, beta=0.5)


def jaccard(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """One minus the soft intersection over union, from 0 to 1 an image; summed, `counted_images` divides it.

        1 - TP / (TP + FP + FN)

    Rahman and Wang, Optimizing intersection-over-union in deep neural networks for image segmentation, ISVC 2016.
    """
    return tversky(logits, target, weights=weights, alpha=1.0, beta=1.0)


def tversky(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
) -> Float[Tensor, ""]:
    """One minus the soft Tversky index, from 0 to 1 an image; summed, `counted_images` divides it.

        1 - TP / (TP + alpha FP + beta FN)

    `alpha` >= 0 is the price of a false positive, `beta` > 0 that of a false negative; both 1/2 is Dice, both 1 is
    Jaccard. Salehi, Erdogmus and Gholipour, Tversky loss function for image segmentation using 3D fully convolutional
    deep networks, MLMI 2017, equation 2; the defaults are the pair that they found best.
    """
    table = _soft_confusion(logits, target)
    right = table.diagonal(dim1=1, dim2=2)
    wrong = table - right.diag_embed()
    below = right + alpha * wrong.sum(2) + beta * wrong.sum(1)
    costs = 1 - right / below.clamp(min=torch.finfo(below.dtype).tiny)
    return sum_over_images(costs, table.detach().sum(1) > 0.5, weights)


def _soft_confusion(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"]
) -> Float[Tensor, "b k {logits.shape[1]}"]:
    """sum_p q_p[c] [t_p = j] for each image, predicted class c and true class j: one matrix product, one pass."""
    q = exact(logits).softmax(1)
    classes = torch.arange(logits.shape[1], dtype=torch.uint8, device=logits.device).view(1, -1, 1, 1)
    truth = (target.unsqueeze(1) == classes).to(q)  # IGNORE equals no class
    with torch.autocast(logits.device.type, enabled=False):  # it would round q to bfloat16
        return torch.einsum("bchw,bjhw->bcj", q, truth)
