"""Scores and targets -> rows that not every evaluation needs: how far confidence can be trusted, how borders fit."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from segtrial.boundaries import TOLERANCE, boundary_counts, boundary_f1
from segtrial.calibration import calibration_counts, expected_calibration_error
from segtrial.scores import Score, mean

BINS = 15


@dataclass(frozen=True)
class Extra:
    """One more row for each image, and the score of such rows.

    `rows` takes class scores `b k h w` and targets `b h w`; `width(k)` is the shape of one row.
    """

    name: str
    rows: Callable[[Float[Tensor, "b k h w"], UInt8[Tensor, "b h w"]], Int64[Tensor, "b *row"]]
    width: Callable[[int], tuple[int, int]]
    score: Score


def _boundary_rows(scores: Float[Tensor, "b k h w"], targets: UInt8[Tensor, "b h w"]) -> Int64[Tensor, "b 4 k"]:
    answers = scores.max(dim=1).indices.to(torch.uint8)
    return boundary_counts(answers, targets, scores.shape[1])


def _calibration_rows(scores: Float[Tensor, "b k h w"], targets: UInt8[Tensor, "b h w"]) -> Int64[Tensor, "b 3 bins"]:
    return calibration_counts(scores, targets, BINS)


CALIBRATION = Extra(
    "ece",
    _calibration_rows,
    lambda k: (3, BINS),
    Score(
        f"Expected calibration error: mean over {BINS} bins of confidence, weighted by their pixels (of a classifier:"
        " images; of labels that exclude nothing: each class of each pixel), of |share of right answers - mean"
        " confidence|; 0 is best, lower is better; what is ignored counts nowhere. Guo et al., ICML 2017.",
        lambda rows: np.asarray(rows),
        lambda sums: expected_calibration_error(sums),
    ),
)

BOUNDARY = Extra(
    "boundary_f1",
    _boundary_rows,
    lambda k: (4, k),
    Score(
        "Mean over classes of the boundary F-score 2 P R / (P + R): P is the share of the answer's boundary pixels with"
        f" one of the truth's within {100 * TOLERANCE:g} % of the image's diagonal, R the share of the truth's with one"
        " of the answer's, both summed over all images; a class without boundaries is left out; ignored pixels have"
        " none. Csurka et al., BMVC 2013.",
        lambda rows: np.asarray(rows),
        lambda sums: mean(boundary_f1(sums)),
    ),
)
