"""(scores of k classes, target) -> cross-entropy in which pixels near a border between classes weigh more."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int16, UInt8
from torch import Tensor

from segtrial.losses._units import exact, weight_of_pixels
from segtrial.shapes import IGNORE


def boundary(
    logits: Float[Tensor, "b k h w"],
    target: UInt8[Tensor, "b h w"],
    *,
    weights: Float[Tensor, " k"] | None = None,
    w0: float = 10.0,
    sigma: float = 5.0,
) -> Float[Tensor, ""]:
    """Cross-entropy with the pixel weights of `border_weights`; summed, `border_weight` divides it.

    sum_p  v_p (-log q_p[t_p])        q = softmax(logits)
    """
    costs = F.cross_entropy(exact(logits), target.long(), ignore_index=IGNORE, reduction="none")
    return (border_weights(target, weights, w0, sigma).to(costs) * costs).sum()


def border_weight(
    target: UInt8[Tensor, "b h w"],
    weights: Float[Tensor, " k"] | None = None,
    w0: float = 10.0,
    sigma: float = 5.0,
) -> Float[Tensor, ""]:
    """What divides `boundary`: the sum of the pixels' weights."""
    return border_weights(target, weights, w0, sigma).sum()


def border_weights(
    target: UInt8[Tensor, "b h w"], weights: Float[Tensor, " k"] | None, w0: float, sigma: float
) -> Float[Tensor, "b h w"]:
    """The weight of each pixel, more at borders between classes; 0 for IGNORE.

        v_p = w[t_p] (1 + w0 exp(-d_p^2 / (2 sigma^2)))

    d_p: Euclidean distance in pixels to the nearest pixel that has one of another class beside, above or below it;
    those have d = 0. From 4 sigma on the second term is 0 (it is under 0.0004 w0 there). IGNORE makes no border: a
    class that ends in a rim of ignored pixels has none there. `w0` >= 0; at 0 it is the cross-entropy.
    `sigma`: 0 < sigma <= 30 pixels of the target as it is given: at the stride that a network makes its scores at.

    Ronneberger, Fischer and Brox, U-Net, MICCAI 2015, section 3, equation 2. There d is the sum of the distances to
    the two nearest cells, which keeps touching cells apart; classes have no cells, so here it is one distance. There
    the term is added to the class weight, here it multiplies it, so that the weights' scale means nothing.
    """
    reach = math.ceil(4 * sigma)
    square = _squared_distance(_borders(target), reach)
    near = torch.exp(square * (-0.5 / sigma**2)).where(square < reach**2, 0)
    return weight_of_pixels(target, weights) * (1 + w0 * near)


def _borders(target: UInt8[Tensor, "b h w"]) -> Bool[Tensor, "b h w"]:
    """Counted pixels that have a counted pixel of another class beside, above or below them."""
    border = torch.zeros_like(target, dtype=torch.bool)
    for axis in (1, 2):
        last = target.shape[axis] - 1
        one, next_one = target.narrow(axis, 0, last), target.narrow(axis, 1, last)
        differ = (one != next_one) & (one != IGNORE) & (next_one != IGNORE)
        border.narrow(axis, 0, last).logical_or_(differ)
        border.narrow(axis, 1, last).logical_or_(differ)
    return border


def _squared_distance(border: Bool[Tensor, "b h w"], reach: int) -> Int16[Tensor, "b h w"]:
    """To the nearest border pixel, exact below reach^2 and not less than that beyond it.

    min over dy of  dy^2 + (min over dx of |dx|)^2,  in integers. Steps of 1, 2, 4, ... reach every dx.
    """
    along = torch.full(border.shape, reach, dtype=torch.int16, device=border.device).masked_fill_(border, 0)
    step = 1
    while step < min(reach, border.shape[2]):
        _lower(along, along, 2, step, step)
        step *= 2
    square = along.square()
    along = square.clone()
    for step in range(1, min(reach, border.shape[1])):
        _lower(square, along, 1, step, step**2)
    return square


def _lower(values: Tensor, others: Tensor, axis: int, step: int, price: int) -> None:
    """In place: no value is larger than the price and what stands `step` before or behind it."""
    rest = values.shape[axis] - step
    for to, source in ((0, step), (step, 0)):
        here = values.narrow(axis, to, rest)
        torch.minimum(here, others.narrow(axis, source, rest) + price, out=here)
