"""(answer, truth) -> one row of numbers per photo, and from sums of rows PSNR, SSIM, ab-RMSE and colourfulness.

Photos are sRGB with a data range of 1 (8-bit values over 255). Everything is computed in float64, photo by photo, so
that a row never depends on its batch. Rows are additive; `parts` of rows too: `VALUES[name](parts(rows).sum(0))`
is the score, and NaN where nothing defines it. PSNR, SSIM: higher is better; ab-RMSE: lower.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from segtrial.colors import rgb_to_lab

Images = Float[Tensor, "b 3 h w"]
Rows = Float64[np.ndarray, "n v"]
Sums = Float64[np.ndarray, "*d s"]
Values = Float64[np.ndarray, "*d"]

COLUMNS = (
    *("squared_error", "values"),  # over red, green and blue; values: 3 h w
    *("ssim", "ssim_places"),  # summed over channels and places; places: 3 (h - 10) (w - 10)
    *("ab_squared_error", "pixels"),  # (a - a')^2 + (b - b')^2; h w
    *("colourfulness", "colourfulness_of_truth", "images"),  # images: 1
)
"""What the numbers of a row are."""

RADIUS, SIGMA = 5, 1.5
"""The window of SSIM: a Gaussian of 11 x 11 taps (Wang 2004, section III.C)."""

C1, C2 = 0.01**2, 0.03**2
"""(K1 L)^2 and (K2 L)^2 with the data range L = 1 (Wang 2004)."""

LEAST_SQUARED_ERROR = 1 / 255**2
"""One value of a photo off by one 8-bit level."""

_STRIP = 64  # places a matrix product filters at once: fastest of 16 to 128


def colour_rows(answer: Images, truth: Images) -> Float64[Tensor, "b v"]:
    """The numbers of COLUMNS for each photo; both in [0, 1].

    a and b are those of the answer as it is shown: after clipping to sRGB.
    """
    return torch.stack([_row(*pair) for pair in zip(answer.double(), truth.double(), strict=True)])


def colourfulness(rgb: Images) -> Float64[Tensor, " b"]:
    """sqrt(s_rg^2 + s_yb^2) + .3 sqrt(m_rg^2 + m_yb^2) of rg = R - G and yb = (R + G)/2 - B on the scale of 0 to 255.

    0 for grey, about 15 "slightly", 45 "quite", 109 "extremely". s: population standard deviation, m: mean.
    Hasler and Suesstrunk. Measuring colourfulness in natural images. Human Vision and Electronic Imaging 2003.
    """
    red, green, blue = (255 * rgb.double()).flatten(2).unbind(1)
    axes = torch.stack([red - green, (red + green) / 2 - blue])  # (2, b, h*w)
    spread, mean = axes.var(-1, correction=0).sum(0).sqrt(), axes.mean(-1).norm(dim=0)
    return spread + 0.3 * mean


def ssim(answer: Images, truth: Images) -> Float64[Tensor, " b"]:
    """Of each photo: the mean over channels and places of the structural similarity, -1 to 1; NaN below 11 pixels.

        (2 m m' + C1) (2 cov + C2) / ((m^2 + m'^2 + C1) (var + var' + C2))

    with means, variances and covariance (of the population) under a Gaussian window. Only whole windows count, so
    nothing is padded. Wang, Bovik, Sheikh, Simoncelli. Image quality assessment. IEEE TIP 13(4), 2004. Equal to
    scikit-image's `structural_similarity(gaussian_weights=True, use_sample_covariance=False, data_range=1)`.
    """
    pairs = zip(answer.double(), truth.double(), strict=True)
    return torch.stack([_ssim_sum(*pair) / (_places(pair[0]) or math.nan) for pair in pairs])


def image_psnr(rows: Rows) -> Float64[np.ndarray, " n"]:
    """Of each photo: 10 log10(1 / mean squared error) in dB, infinite where both are identical."""
    return _decibel(rows[:, 0], rows[:, 1])


def parts(rows: Rows) -> Float64[np.ndarray, "n s"]:
    """Rows -> what adds up to scores: a row, its PSNR with LEAST_SQUARED_ERROR, its SSIM, and whether it has one."""
    shown = np.nan_to_num(_decibel(np.maximum(rows[:, 0], LEAST_SQUARED_ERROR), rows[:, 1]))  # 0 without a pixel
    of_image = np.nan_to_num(_ratio(rows[:, 2], rows[:, 3]))
    return np.concatenate([rows, np.stack([shown, of_image, rows[:, 3] > 0], axis=1)], axis=1)


VALUES: dict[str, Callable[[Sums], Values]] = {
    "psnr": lambda sums: _ratio(sums[..., 9], sums[..., 8]),
    "psnr_pooled": lambda sums: _decibel(sums[..., 0], sums[..., 1]),
    "ssim": lambda sums: _ratio(sums[..., 10], sums[..., 11]),
    "ab_rmse": lambda sums: np.sqrt(_ratio(sums[..., 4], sums[..., 5])),
    "colourfulness": lambda sums: _ratio(sums[..., 6], sums[..., 8]),
    "colourfulness_of_truth": lambda sums: _ratio(sums[..., 7], sums[..., 8]),
}
"""From `parts` summed over photos, any leading axes."""

DEFINITIONS: dict[str, str] = {
    "psnr": "Mean over photos of 10 log10(1 / MSE) in dB, MSE over red, green and blue of sRGB in [0, 1] (8-bit values"
    " over 255); a photo's squared error counts at least (1/255)^2, one value off by one level, so that a photo"
    " that is reproduced exactly does not make the mean infinite.",
    "psnr_pooled": "10 log10(1 / MSE) in dB with one MSE over red, green and blue of all photos' pixels, sRGB in"
    " [0, 1]; infinite if all photos are reproduced exactly.",
    "ssim": "Mean over photos of SSIM (Wang 2004), mean over red, green and blue of sRGB in [0, 1]: data range 1,"
    " Gaussian window of 11 x 11 with sigma 1.5, population covariance, K1 = .01, K2 = .03, whole windows only;"
    " photos with a side below 11 pixels have none and are left out.",
    "ab_rmse": "Square root of the mean over all photos' pixels of (a - a')^2 + (b - b')^2, a and b of CIE Lab (D65, 2"
    " degrees) of the sRGB photo as it is shown; lower is better.",
    "colourfulness": "Mean over photos of Hasler and Suesstrunk's colourfulness (2003) of the answer, on the scale of"
    " 8-bit values; to be compared with colourfulness_of_truth, not raised.",
    "colourfulness_of_truth": "Mean over photos of Hasler and Suesstrunk's colourfulness (2003) of the true photo.",
}


def _row(answer: Tensor, truth: Tensor) -> Tensor:
    both = torch.stack([answer, truth])
    lab = rgb_to_lab(both)
    sums = [(answer - truth).square().sum(), _ssim_sum(answer, truth), (lab[0, 1:] - lab[1, 1:]).square().sum()]
    sizes = [answer.numel(), _places(answer), answer[0].numel()]
    pairs = [number for total, size in zip(sums, sizes, strict=True) for number in (total, total.new_tensor(size))]
    return torch.stack([*pairs, *colourfulness(both), answer.new_tensor(1)])


def _places(image: Tensor) -> int:
    height, width = (max(0, side - 2 * RADIUS) for side in image.shape[-2:])
    return len(image) * height * width


def _ssim_sum(answer: Tensor, truth: Tensor) -> Tensor:
    """The sum of SSIM over channels and places, in tiles that stay in the processor's cache."""
    filters = _filters(answer.device)
    x, y = answer - 0.5, truth - 0.5  # nothing but the means depends on the zero point, and squares lose less
    moments = torch.stack([x, y, x * x + y * y, x * y])  # (4, c, h, w)
    total = answer.new_zeros(())
    for tall in _strips(moments, -2):
        down = filters[: tall.shape[-2], : tall.shape[-2] - 2 * RADIUS].T @ tall  # (4, c, strip, w)
        for tile in _strips(down, -1):
            total += _similarity(*(tile @ filters[: tile.shape[-1], : tile.shape[-1] - 2 * RADIUS])).sum()
    return total


def _similarity(x: Tensor, y: Tensor, squares: Tensor, product: Tensor) -> Tensor:
    """SSIM from the windows' means of x, y, x^2 + y^2 and x y, where x and y are the photos less .5."""
    variances, covariance = squares - x * x - y * y, product - x * y
    x, y = x + 0.5, y + 0.5
    light = (2 * x * y + C1) / (x * x + y * y + C1)
    return light * (2 * covariance + C2) / (variances + C2)


def _strips(x: Tensor, axis: int) -> list[Tensor]:
    """Strips with the margin that the window needs; none if the window does not fit."""
    places = x.shape[axis] - 2 * RADIUS
    return [
        x.narrow(axis, start, min(_STRIP, places - start) + 2 * RADIUS) for start in range(0, max(0, places), _STRIP)
    ]


def _filters(device: torch.device) -> Tensor:
    """Column j holds the window's taps from row j on: a strip times this is the strip filtered."""
    offset = torch.arange(_STRIP + 2 * RADIUS, device=device)[:, None] - torch.arange(_STRIP, device=device) - RADIUS
    taps = torch.exp(-(offset.double() ** 2) / (2 * SIGMA**2)) * (offset.abs() <= RADIUS)
    return taps / taps[:, 0].sum()


def _decibel(squared_error: np.ndarray | np.generic, values: np.ndarray | np.generic) -> np.ndarray:
    """10 log10(values / squared error), infinite without error, NaN without values."""
    share = _ratio(squared_error, values)
    logarithm = np.log10(share, out=np.full(np.shape(share), -np.inf), where=share != 0)
    return np.multiply(-10, logarithm, out=logarithm)


def _ratio(over: np.ndarray | np.generic, under: np.ndarray | np.generic) -> np.ndarray:
    """over / under, NaN where under is 0."""
    return np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.greater(under, 0))
