"""(scores, target) -> a sum over images: the convex extension of the Jaccard loss, for softmax and for sigmoids.

Berman, Rannen Triki and Blaschko, The Lovasz-softmax loss, CVPR 2018. Jaccard's loss of a set of wrong pixels,

    D(M) = |M| / |truth or M|

extends to errors m_p >= 0 of any size: rank the pixels by falling error, and charge each its error times what it
adds to D when it joins those before it (their equations 8 and 9). The units are images, as in overlap.py.
"""

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from segtrial.losses._units import exact, sum_over_images
from segtrial.shapes import IGNORE

LEVELS = 2**14
"""Errors that differ by less than 1 / LEVELS may be taken for equal: then they share what they add to D."""


def lovasz(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """Lovasz-softmax per image over the classes that its truth shows, from 0 to 1; `counted_images` divides it.

    The error of class c at pixel p is |[t_p = c] - q_p[c]|, q = softmax(logits) (their equation 11). Pixels are not
    sorted but counted in LEVELS steps of error, which is several times faster and changes the loss of an image by
    less than 1 / LEVELS: the loss is a mean of errors, and only ones in the same step change places.
    """
    q = exact(logits).softmax(1)
    classes = torch.arange(q.shape[1], dtype=torch.uint8, device=q.device).view(1, -1, 1, 1)
    truth = target.unsqueeze(1) == classes
    apart = truth.to(q) - q
    return sum_over_images((_slopes(apart.detach(), target) * apart).sum((2, 3)), truth.flatten(2).any(2), weights)


@torch.no_grad()
def _slopes(apart: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"]) -> Float[Tensor, "b k h w"]:
    """What each pixel adds to D, with the sign of `apart`; 0 for IGNORE.

    Pixels are counted by step of error, the largest first; those of one step share what the step adds. Ignored ones
    have error 0, and stand in the last step, where nothing is charged.
    """
    b, k = apart.shape[:2]
    counted = target != IGNORE
    ignored = ~counted.unsqueeze(1)
    first = torch.arange(b * k, device=apart.device).view(b, k, 1, 1) * (LEVELS + 1)
    place = apart.abs().masked_fill_(ignored, 0).neg_().add_(1).mul_(LEVELS).long().add_(first)
    own = place.gather(1, target.where(counted, 0).long().unsqueeze(1))  # where each pixel's true class stands
    pixels = _counts(place, torch.ones((), dtype=torch.int32, device=apart.device).expand(place.shape), b * k)
    truths = _counts(own, counted.int().unsqueeze(1), b * k)
    shared = _added(truths, pixels - truths, apart.dtype) / pixels.clamp(min=1)
    slopes = shared.flatten().index_select(0, place.flatten()).view(apart.shape)
    return slopes.copysign_(apart).masked_fill_(ignored, 0)


def _counts(places: Int[Tensor, "b j h w"], amounts: Int[Tensor, "b j h w"], rows: int) -> Int[Tensor, "rows steps"]:
    table = torch.zeros(rows * (LEVELS + 1), dtype=torch.int32, device=places.device)
    return table.scatter_add_(0, places.flatten(), amounts.flatten()).view(rows, LEVELS + 1)


def _added(
    missed: Int[Tensor, "*rows s"], others: Int[Tensor, "*rows s"], dtype: torch.dtype
) -> Float[Tensor, "*rows s"]:
    """What each step adds to D when so many pixels of the truth and so many others join the wrong ones at it.

    D is 1 - I/U, and I/U - (I - m)/(U + o) = (m + o I/U) / (U + o): nothing cancels. I/U is 1 where U is empty.
    """
    truths = missed.sum(-1, keepdim=True)
    intersection = truths - missed.cumsum(-1) + missed
    union = truths + others.cumsum(-1)
    before = (union - others).to(dtype)
    index = (intersection / before.clamp(min=1)).where(before > 0, 1)
    return (missed + others * index) / union.clamp(min=1)


def binary_lovasz(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b k h w"], *, weights: Float[Tensor, " k"] | None = None
) -> Float[Tensor, ""]:
    """The Lovasz hinge per image and label, 0 or more; `counted_images` divides the sum.

    The error of a pixel is max(0, 1 - z s), with z its logit and s = 1 where the label holds, else -1; here
    pixels are sorted. `weights` weigh the labels in an image's mean. A label that an image does not
    have costs the largest error: any pixel there is wrong.
    """
    counted = (target != IGNORE).flatten(2)
    truth = (target == 1).flatten(2)
    margins = exact(logits).flatten(2) * (1 - 2 * truth.to(exact(logits)))
    errors, order = (1 + margins).relu().sort(dim=2, descending=True)
    missed, seen = (what.gather(2, order).int() for what in (truth, counted))
    return sum_over_images((_added(missed, seen - missed, errors.dtype) * errors).sum(2), counted.any(2), weights)
