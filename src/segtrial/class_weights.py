"""Pixels per class -> one loss weight per class, so that rare classes are learned too.

Weights are scaled so that the average pixel weighs 1: sum_c pixels[c] weight[c] = sum_c pixels[c]. Some papers leave
the scale free and others state one; it means nothing to losses that have the sum of the weights below the line, and
with one scale for all the others keep their size. A class without a pixel has no frequency; it gets weight 1, so it
is finite and neither favoured nor silenced.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from segtrial.errors import UnknownName

NAMES = ("none", "inverse", "inverse_sqrt", "median_frequency", "enet", "effective_number")


def class_weights(name: str, pixels: Sequence[int], around: Sequence[int] | None = None) -> Float64[np.ndarray, " k"]:
    """The weights of that name. `pixels[c]` and `around[c]` are as in `median_frequency`.

    Raises UnknownName, with the list, for a name that is not in NAMES.
    """
    if name not in NAMES:
        raise UnknownName("class weighting", name, NAMES)
    if name == "none":
        return np.ones(len(pixels))
    if name == "median_frequency":
        return median_frequency(pixels, around)
    by_name = {
        "inverse": inverse_frequency,
        "inverse_sqrt": inverse_sqrt_frequency,
        "enet": enet,
        "effective_number": effective_number,
    }
    return by_name[name](pixels)


def inverse_frequency(pixels: Sequence[int]) -> Float64[np.ndarray, " k"]:
    """w[c] ~ 1 / f[c], with f[c] the share of class c in all pixels: every class has the same sum of weights.

    King and Zeng, Logistic regression in rare events data, Political Analysis 2001; known as "balanced".
    """
    return _scaled(_inverse(np.ones(len(pixels)), pixels), pixels)


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


def enet(pixels: Sequence[int]) -> Float64[np.ndarray, " k"]:
    """w[c] ~ 1 / ln(1.02 + f[c]), with f[c] the share of class c in all pixels: the rarest weighs 36 times the only.

    Paszke et al., ENet, 2016, section 5.2, where the weights lie between 1.4 and 50.
    """
    amount = np.asarray(pixels, np.float64)
    weights = 1 / np.log(1.02 + amount / max(amount.sum(), 1))
    return _scaled(np.where(amount > 0, weights, np.nan), pixels)


def effective_number(pixels: Sequence[int], beta: float | None = None) -> Float64[np.ndarray, " k"]:
    """w[c] ~ (1 - beta) / (1 - beta^pixels[c]): more pixels of a class bring ever less that is new.

    `beta`, from 0 (no weighting) to below 1 (towards `inverse_frequency`), stands for 1 - 1/N, N being how many
    different pixels a class has at all. The paper counts images and takes 0.9 to 0.9999; of pixels there are so many
    that such values weigh all classes alike. Without `beta`, N is the mean number of pixels of the classes that have
    any, so that the weights follow from the shares alone.

    Cui, Jia, Lin, Song and Belongie, Class-balanced loss based on effective number of samples, CVPR 2019, section 4.
    """
    amount = np.asarray(pixels, np.float64)
    seen = amount > 0
    usual = amount[seen].mean() if seen.any() else 1.0
    kept = 1 - 1 / float(usual) if beta is None else beta
    if kept == 0:
        return np.ones(len(amount))
    new = -np.expm1(amount * math.log(kept))
    return _scaled(np.divide(1 - kept, new, out=np.full(len(amount), np.nan), where=seen), pixels)


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
