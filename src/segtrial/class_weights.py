"""Pixels per class -> one loss weight per class, so that rare classes are learned too.

Weights are scaled so that the average pixel weighs 1: sum_c pixels[c] weight[c] = sum_c pixels[c]. A class
without a pixel has no frequency; it gets weight 1, so it is finite and neither favoured nor silenced.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from segtrial.errors import UnknownName

NAMES = ("none", "inverse_sqrt", "median_frequency")


def class_weights(name: str, pixels: Sequence[int], around: Sequence[int] | None = None) -> Float64[np.ndarray, " k"]:
    """The weights of that name. `pixels[c]` and `around[c]` are as in `median_frequency`.

    Raises UnknownName, with the list, for a name that is not in NAMES.
    """
    if name == "none":
        return np.ones(len(pixels))
    if name == "inverse_sqrt":
        return inverse_sqrt_frequency(pixels)
    if name == "median_frequency":
        return median_frequency(pixels, around)
    raise UnknownName("class weighting", name, NAMES)


def inverse_sqrt_frequency(pixels: Sequence[int]) -> Float64[np.ndarray, " k"]:
    """w[c] ~ 1 / sqrt(f[c]), with f[c] the share of class c in all pixels: half way between none and full balance.

    The square root is that of Mahajan et al., Exploring the limits of weakly supervised pretraining, ECCV 2018,
    section 2.2, who draw samples by it; here it weighs pixels.
    """
    return _scaled(np.sqrt(_inverse(np.ones(len(pixels)), pixels)), pixels)


def median_frequency(pixels: Sequence[int], around: Sequence[int] | None = None) -> Float64[np.ndarray, " k"]:
    """w[c] ~ median(f) / f[c], with f[c] the share of class c in the pixels of those images that show it.

    `pixels[c]` is the number of pixels of c, `around[c]` the number of counted pixels of any class in the images
    with at least one pixel of c; without it, every image is taken to show every class. The median is one factor
    for all classes, so the scaling takes its place.

    Eigen and Fergus, Predicting depth, surface normals and semantic labels, ICCV 2015, section 4; SegNet uses it.
    """
    return _scaled(_inverse(np.ones(len(pixels)) if around is None else around, pixels), pixels)


def _inverse(over: Sequence[int] | np.ndarray, pixels: Sequence[int]) -> np.ndarray:
    """over / pixels; NaN for a class without a pixel."""
    amount = np.asarray(pixels, np.float64)
    return np.divide(np.asarray(over, np.float64), amount, out=np.full(len(amount), np.nan), where=amount > 0)


def _scaled(weights: np.ndarray, pixels: Sequence[int]) -> np.ndarray:
    """The weights, scaled so that the average pixel weighs 1; 1 for a class without a pixel."""
    amount = np.asarray(pixels, np.float64)
    seen = ~np.isnan(weights)
    mean = (amount * weights)[seen].sum() / amount.sum() if seen.any() else 1.0
    return np.where(seen, weights / mean, 1.0)
