"""Probabilities of a model and a written mask -> how far to trust the labels, and where the two disagree.

The model must not have learned from the mask: what it has learned by heart always looks right. A whole picture with
one class is a mask of one pixel. Pixels of IGNORE count nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int64, UInt8
from scipy import ndimage

from segtrial.shapes import IGNORE

Probabilities = Float[np.ndarray, "k h w"]
Labels = UInt8[np.ndarray, "h w"]

TEMPERATURE = 0.1
"""Of the soft minimum, as in Lad and Mueller 2023."""


@dataclass(frozen=True)
class Region:
    """Connected pixels that are written as one class and look like one other.

    `box` is (top, left, bottom, right) in pixels; the last row and column are outside.
    """

    written: int
    likely: int
    pixels: int
    box: tuple[int, int, int, int]


def self_confidence(probabilities: Probabilities, written: Labels) -> Float[np.ndarray, "h w"]:
    """Label quality of each pixel: the probability of the class that is written there, 0 to 1; NaN under IGNORE."""
    counted = written != IGNORE
    place = np.where(counted, written, 0).astype(np.intp)[None]
    chosen = np.take_along_axis(probabilities, place, axis=0)[0]
    return np.where(counted, chosen, np.array(np.nan, chosen.dtype))


def soft_minimum(qualities: Float[np.ndarray, "*d"], temperature: float = TEMPERATURE) -> float:
    """Label quality of an image from that of its pixels, between their minimum and their mean; lower is worse.

        sum_i w_i q_i,   w_i = exp(-q_i / temperature) / sum_j exp(-q_j / temperature)

    over what is not NaN; NaN if nothing is. A few surely wrong pixels outweigh many right ones. As `temperature`
    falls it nears the minimum, as it grows the mean.

    Lad, Mueller. Estimating label quality and errors in semantic segmentation data via any model. 2023,
    arXiv 2307.05080 (their softmin).
    """
    values = qualities[~np.isnan(qualities)].astype(np.float64)
    if not len(values):
        return float("nan")
    weights = np.exp((values.min() - values) / temperature)
    return float(weights @ values / weights.sum())


def confidence_sums(probabilities: Probabilities, written: Labels) -> Float64[np.ndarray, "2 k"]:
    """Of each class: the pixels that are written so, and the sum of their self-confidences. Rows of images add up."""
    counted = written != IGNORE
    classes = written[counted].astype(np.intp)
    values, most = self_confidence(probabilities, written)[counted], len(probabilities)
    return np.stack([np.bincount(classes, minlength=most), np.bincount(classes, values, most)]).astype(np.float64)


def thresholds(sums: Float64[np.ndarray, "2 k"]) -> Float32[np.ndarray, " k"]:
    """The probability from which a model is confident of a class: t_j = mean self-confidence of what is written as j.

    Infinite for a class that nobody wrote: nothing ever looks like it. In float32, as probabilities are, so that equal
    ones reach their own mean.

    Northcutt, Jiang, Chuang. Confident learning: estimating uncertainty in dataset labels. JAIR 2021.
    """
    pixels, total = sums
    mean = np.divide(total, pixels, out=np.full_like(total, np.inf), where=pixels > 0)
    return mean.astype(np.float32)


def looks_like(probabilities: Probabilities, limits: Float32[np.ndarray, " k"]) -> Labels:
    """The class that the model is confident of at each pixel; IGNORE where it is of none.

    argmax_j p_j over {j: p_j >= t_j},   the first of equals (Northcutt et al. 2021, the confident joint)
    """
    reached = np.where(probabilities >= limits[:, None, None], probabilities, -1.0)
    return np.where(reached.max(axis=0) >= 0, reached.argmax(axis=0), IGNORE).astype(np.uint8)


def joint(written: Labels, likely: Labels, classes: int) -> Int64[np.ndarray, "k k"]:
    """Pixels written as r (row) that look like c (column); pixels where either is IGNORE count nowhere."""
    both = (written != IGNORE) & (likely != IGNORE)
    codes = written[both].astype(np.intp) * classes + likely[both]
    return np.bincount(codes, minlength=classes * classes).reshape(classes, classes)


def disagreement(counts: Int64[np.ndarray, "k k"], written: Labels) -> float:
    """Share of the counted pixels that look like another class than is written; NaN if none counts."""
    pixels = int(np.count_nonzero(written != IGNORE))
    return float(counts.sum() - np.trace(counts)) / pixels if pixels else float("nan")


def largest_region(written: Labels, likely: Labels, counts: Int64[np.ndarray, "k k"]) -> Region | None:
    """The largest connected region (over sides, not corners) of one disagreement; None where there is none.

    `counts` is their `joint`. Of equally large ones: the pair of classes with more pixels, then the first.
    """
    apart = counts * (1 - np.eye(len(counts), dtype=np.int64))
    best: Region | None = None
    for code in np.argsort(-apart, axis=None, kind="stable").tolist():
        pair = divmod(code, len(counts))
        if apart[pair] <= (best.pixels if best else 0):
            break
        found = _largest(pair, (written == pair[0]) & (likely == pair[1]))
        best = found if best is None or found.pixels > best.pixels else best
    return best


def _largest(pair: tuple[int, int], where: Bool[np.ndarray, "h w"]) -> Region:
    marks = np.zeros(where.shape, np.int32)
    ndimage.label(where, output=marks)
    sizes = np.bincount(marks.ravel())[1:]
    largest = int(sizes.argmax())
    rows, columns = ndimage.find_objects(marks)[largest]
    box = (int(rows.start), int(columns.start), int(rows.stop), int(columns.stop))
    return Region(*pair, int(sizes[largest]), box)


def upper_fence(values: Sequence[float]) -> float:
    """What is above stands out from the rest: third quartile + 1.5 (third - first quartile).

    Tukey. Exploratory data analysis. 1977, section 2D.
    """
    first, third = np.quantile(np.asarray(values, np.float64), (0.25, 0.75))
    return float(third + 1.5 * (third - first))
