"""(logits, target) -> one row of confidence bins per image; from sums of rows, the expected calibration error.

A network is calibrated if, of the pixels it is 70 % sure of, 70 % are right. Rows are integers, confidences too (in
units of 2^-24, float32's own below 1), so that they add up exactly, in any order, over any number of ranks.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, Num, UInt8
from torch import Tensor

from segtrial.shapes import IGNORE

Sums = Num[np.ndarray, "*d 3 bins"]

UNIT = 2**-24
"""What confidences are counted in."""


def calibration_counts(
    logits: Float[Tensor, "b k h w"], target: UInt8[Tensor, "b h w"], bins: int = 15
) -> Int64[Tensor, "b 3 bins"]:
    """Of each image and bin: pixels, those answered right, and the sum of confidences in UNITs.

    A pixel's confidence is its largest probability, softmax(logits), and lies in bin m if it is above (m - 1)/bins
    and at most m/bins. Pixels of IGNORE count nowhere; one whose scores are no numbers has confidence 0.
    """
    return torch.stack([_row(*image, bins) for image in zip(logits, target, strict=True)])


def reliability(sums: Sums) -> tuple[Float64[np.ndarray, "*d bins"], Float64[np.ndarray, "*d bins"]]:
    """Of each bin: the share of right pixels and the mean confidence, NaN where it is empty: the diagram's axes."""
    pixels, right, units = sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]
    return _ratio(right, pixels), _ratio(units * UNIT, pixels)


def expected_calibration_error(sums: Sums) -> Float64[np.ndarray, "*d"]:
    """sum_m n_m/n |share right in bin m - mean confidence in bin m|: 0 to 1, lower is better; NaN without pixels.

    Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017, equation 3, with 15 bins.
    """
    gap = np.abs(sums[..., 1, :] - sums[..., 2, :] * UNIT).sum(-1)  # n_m (share - mean), summed
    return _ratio(gap, sums[..., 0, :].sum(-1))


def _row(logits: Tensor, target: Tensor, bins: int) -> Tensor:
    """One image alone, so that its bits do not depend on its batch."""
    confidence, answer = torch.softmax(logits if logits.dtype == torch.float64 else logits.float(), 0).max(0)
    units = (confidence.nan_to_num() / UNIT).round().long()
    lower = ((units * bins - 1) >> 24).clamp(min=0)  # ceil(confidence * bins) - 1, without rounding
    bin_of = lower.masked_fill(target == IGNORE, bins).flatten()
    numbers = torch.stack([torch.ones_like(units), (answer == target).long(), units])  # (3, h, w)
    places = torch.stack([bin_of + row * (bins + 1) for row in range(3)])  # (3, h*w)
    table = units.new_zeros(3 * (bins + 1)).scatter_add_(0, places.flatten(), numbers.flatten())
    return table.view(3, bins + 1)[:, :bins]


def _ratio(over: np.ndarray | np.generic, under: np.ndarray | np.generic) -> np.ndarray:
    """over / under, NaN where under is 0."""
    return np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.greater(under, 0))
