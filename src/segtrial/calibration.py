"""(logits, target) -> one row of confidence bins per image, from sums of rows the calibration error; a temperature.

A network is calibrated if, of the pixels it is 70 % sure of, 70 % are right. Rows are integers, confidences too (in
units of 2^-24, float32's own below 1), so that they add up exactly, in any order, over any number of ranks.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64, Num, UInt8
from torch import Tensor

from segtrial.shapes import IGNORE

Sums = Num[np.ndarray, "*d 3 bins"]

UNIT = 2**-24
"""What confidences are counted in."""

TEMPERATURES = (0.01, 100.0)
"""Between these a temperature is looked for: one that ends here has no optimum, as where every answer is right."""

PIECE = 2**16
"""Pixels that go through float64 together."""


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


def negative_log_likelihood(
    logits: Float[Tensor, "n k"], target: UInt8[Tensor, " n"], temperature: float | int = 1.0
) -> float:
    """Mean of -log p(target) with p = softmax(logits / temperature), in nats; lower is better; NaN of none."""
    total = torch.zeros((), dtype=torch.float64)
    for scores, truth in zip(logits.split(PIECE), target.split(PIECE), strict=True):
        total += F.cross_entropy(scores.double() / temperature, truth.long(), reduction="sum").cpu()
    return float(total / len(target)) if len(target) else float("nan")


def fit_temperature(logits: Float[Tensor, "n k"], target: UInt8[Tensor, " n"]) -> float:
    """The temperature T, within TEMPERATURES, at which softmax(logits / T) makes the targets likeliest; 1 for none.

    The likelihood is log-concave in b = 1 / T. Its slope is the sum of s_target - E_p[s]; Newton's method finds where
    that is 0, and halves the bracket wherever a step would leave it. Logits must be finite; nothing is IGNORE.

    Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017, section 4.2.
    """
    low, high = (1 / temperature for temperature in reversed(TEMPERATURES))
    if not len(target):
        return 1.0
    for end, inward in ((low, 1), (high, -1)):
        if inward * _slope(logits, target, end)[0] <= 0:
            return 1 / end
    b = 1.0
    for _ in range(100):
        slope, curve = _slope(logits, target, b)
        low, high = (b, high) if slope > 0 else (low, b)
        wanted = b + slope / curve if curve > 0 else low
        step = (wanted if low < wanted < high else (low * high) ** 0.5) / b
        b *= step
        if abs(step - 1) < 1e-7:
            break
    return 1 / b


def _slope(logits: Tensor, target: Tensor, b: float) -> tuple[float, float]:
    """Of the log-likelihood at 1 / T = b, divided by the pixels: its slope, and its curvature's absolute value."""
    slope = curve = torch.zeros((), dtype=torch.float64, device=logits.device)
    for scores, truth in zip(logits.split(PIECE), target.split(PIECE), strict=True):
        apart = scores.double() - scores.gather(1, truth.long()[:, None]).double()  # s - s_target
        p = (b * apart).softmax(1)
        mean = (p * apart).sum(1)
        slope, curve = slope - mean.sum(), curve + ((p * apart.square()).sum(1) - mean.square()).sum()
    return float(slope) / len(target), float(curve) / len(target)


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
