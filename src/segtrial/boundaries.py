"""(answer, target) -> one row of boundary hits per image; from sums of rows, the boundary F-score of each class.

A pixel is on the boundary of its class if one of its four neighbours has another class. It is hit if the other map
has a boundary pixel of the same class within the tolerance. Pixels of IGNORE count nowhere: they are on no boundary,
and next to them there is none, in the truth or in the answer. Rows are integers and add up exactly.
"""

import math

import numpy as np
import torch
from jaxtyping import Float64, Int64, Integer, Num, UInt8
from torch import Tensor

from segtrial.shapes import IGNORE

Sums = Num[np.ndarray, "*d 4 k"]

TOLERANCE = 0.0075
"""As a share of the image's diagonal (Csurka 2013, section 4; Perazzi 2016 use .008)."""

_WORD = 31  # classes whose boundaries are widened at once, one bit each


def tolerance_in_pixels(height: int, width: int, share: float = TOLERANCE) -> int:
    """The next whole number of pixels: 5 for 360 x 480."""
    return math.ceil(share * math.hypot(height, width))


def boundary_counts(
    prediction: Integer[Tensor, "b h w"], target: UInt8[Tensor, "b h w"], num_classes: int, tolerance: int | None = None
) -> Int64[Tensor, "b 4 k"]:
    """Of each image and class, boundary pixels: the answer's that are hit, the answer's, the truth's hit, the truth's.

    `tolerance`: the largest distance in pixels, Euclidean, at which the other map's boundary is still hit (0: on
    the spot); `tolerance_in_pixels` of the image if absent. The cost grows with the tolerance, not with the classes.
    """
    radius = tolerance_in_pixels(*target.shape[-2:]) if tolerance is None else tolerance
    counted = target != IGNORE
    answer, truth = (_boundary(labels.long(), counted, num_classes) for labels in (prediction, target))
    answer_hit = answer.where(_hit(answer, truth, num_classes, radius), num_classes)
    truth_hit = truth.where(_hit(truth, answer, num_classes, radius), num_classes)
    rows = num_classes + 1  # the last is what lies on no boundary
    codes = torch.stack([labels + rows * i for i, labels in enumerate((answer_hit, answer, truth_hit, truth))], 1)
    counts = torch.stack([torch.bincount(code, minlength=4 * rows) for code in codes.flatten(1)])
    return counts.view(-1, 4, rows)[..., :num_classes].contiguous()  # (b, 4, k)


def boundary_precision(sums: Sums) -> Float64[np.ndarray, "*d k"]:
    """Of each class: the share of the answer's boundary pixels that are hit; NaN if there are none."""
    return _ratio(sums[..., 0, :], sums[..., 1, :])


def boundary_recall(sums: Sums) -> Float64[np.ndarray, "*d k"]:
    """Of each class: the share of the truth's boundary pixels that are hit; NaN if there are none."""
    return _ratio(sums[..., 2, :], sums[..., 3, :])


def boundary_f1(sums: Sums) -> Float64[np.ndarray, "*d k"]:
    """Of each class: 2 P R / (P + R), 0 to 1; 0 if only one map has a boundary, NaN if none has.

    Precision and recall are those of the summed counts, so long boundaries weigh more than short ones; of one
    image's row, the score is the paper's for that image.
    Csurka, Larlus, Perronnin. What is a good evaluation measure for semantic segmentation? BMVC 2013.
    Perazzi et al. A benchmark dataset and evaluation methodology for video object segmentation. CVPR 2016.
    """
    precision, recall = (np.nan_to_num(share(sums)) for share in (boundary_precision, boundary_recall))
    f1 = np.nan_to_num(_ratio(2 * precision * recall, precision + recall))
    return np.where(sums[..., 1, :] + sums[..., 3, :] > 0, f1, np.nan)


def _boundary(labels: Tensor, counted: Tensor, num_classes: int) -> Tensor:
    """The class of each pixel on a boundary, and num_classes elsewhere."""
    edge = torch.zeros_like(counted)
    for axis in (1, 2):
        size = labels.shape[axis] - 1
        here, there = ((labels.narrow(axis, at, size), counted.narrow(axis, at, size)) for at in (0, 1))
        differ = (here[0] != there[0]) & here[1] & there[1]
        edge.narrow(axis, 0, size).logical_or_(differ)
        edge.narrow(axis, 1, size).logical_or_(differ)
    return torch.where(edge, labels, num_classes)


def _hit(mine: Tensor, other: Tensor, num_classes: int, radius: int) -> Tensor:
    """Where a boundary pixel of `mine` has one of its class in `other` within the radius."""
    hit = torch.zeros_like(mine, dtype=torch.bool)
    for first in range(0, num_classes, _WORD):
        bits = [_bits(labels - first, num_classes - first) for labels in (mine, other)]
        hit |= (bits[0] & _widened(bits[1], radius)) != 0
    return hit


def _bits(labels: Tensor, classes: int) -> Tensor:
    """Bit c is set where the label is c; none where it is none of this word's classes."""
    inside = (labels >= 0) & (labels < min(_WORD, classes))
    return torch.where(inside, 1 << labels.clamp(0, _WORD - 1), 0).int()


def _widened(bits: Tensor, radius: int) -> Tensor:
    """Every bit set within the radius: the union, over rows of the disk, of maps widened along x, moved along y."""
    wide, reach, result = bits.clone(), 0, torch.zeros_like(bits)
    for dy in range(min(radius, bits.shape[1] - 1), -1, -1):
        half = math.isqrt(radius**2 - dy**2)
        for dx in range(reach + 1, min(half, bits.shape[2] - 1) + 1):
            _union(wide, bits, dx, axis=2)
            reach = dx
        _union(result, wide, dy, axis=1)
    return result


def _union(result: Tensor, bits: Tensor, shift: int, axis: int) -> None:
    """result |= bits moved by `shift` in both directions."""
    size = bits.shape[axis] - shift
    result.narrow(axis, shift, size).bitwise_or_(bits.narrow(axis, 0, size))
    result.narrow(axis, 0, size).bitwise_or_(bits.narrow(axis, shift, size))


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    """over / under, NaN where under is 0."""
    return np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.greater(under, 0))
