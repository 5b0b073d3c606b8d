"""sRGB <-> CIE Lab, grey and its test, and the bins of ab that a network may be asked to tell apart.

Lab is that of D65 and the 2 degree observer, and sRGB has its exact curve (IEC 61966-2-1), not a power of 2.2.
The matrix and the white are those of scikit-image, in which the field publishes; the cube root's junction is CIE's
own (CIE 15:2018, section 8.2.1). A neutral grey so gets a chroma of up to .004 instead of 0. Half precision is
computed in float32.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64, UInt8
from torch import Tensor

Image = Float[Tensor, "b 3 h w"]
Chroma = Float[Tensor, "b 2 h w"]
Plane = Float[Tensor, "b 1 h w"]

XYZ_OF_RGB = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
"""Linear red, green, blue -> X, Y, Z: the primaries of ITU-R BT.709 at D65."""

WHITE = np.array([0.95047, 1.0, 1.08883])
"""X, Y, Z of D65 seen by the 2 degree observer (ASTM E308)."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue: ITU-R BT.601-7, section 2.5.1, as in PIL's mode "L"."""

CHROMA_OF_COLOUR = 4.0
"""Above this chroma a pixel is coloured: the eye sees steps of 2.3, and compression moves a grey photo by 1."""

SHARE_OF_COLOUR = 0.01
"""A photo with less than this share of coloured pixels is grey."""

BIN_STEP = 10
"""Distance of two neighbouring bins on the a and on the b axis (Zhang 2016, section 2.2)."""

ANNEALING = 0.38
"""The temperature T of equation 5: 1 takes the mean of the bins, towards 0 the likeliest bin."""

_JUNCTION = 6 / 29  # where CIE's cube root goes over into a line


def rgb_to_lab(rgb: Image) -> Image:
    """sRGB in [0, 1] -> L in 0 to 100, a and b in about -86 to 98 and -108 to 94; nothing is clipped.

    Differentiable everywhere, black included.
    """
    x, y, z = _mixed(_linear(rgb), XYZ_OF_RGB / WHITE[:, None]).unbind(1)
    fx, fy, fz = (_root(part) for part in (x, y, z))
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)], 1)  # (b, 3, h, w)


def lab_to_rgb(lab: Image) -> Image:
    """L, a, b -> sRGB in [0, 1]: colours that no screen has are clipped, channel by channel.

    The gradient is that of the inverse, and 0 where a channel is clipped.
    """
    lightness, a, b = _exact(lab).unbind(1)
    fy = (lightness + 16) / 116
    white = torch.stack([_cube(part) for part in (fy + a / 500, fy, fy - b / 200)], 1)  # as shares of the white
    linear = _mixed(white, np.linalg.inv(XYZ_OF_RGB) * WHITE).clamp(0, 1)
    curve = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve).clamp(0, 1)


def lightness(rgb: Image) -> Plane:
    """L of `rgb_to_lab`, 0 to 100, without a and b."""
    return 116 * _root(_mixed(_linear(rgb), XYZ_OF_RGB[1:2] / WHITE[1])) - 16


def luma(rgb: Image) -> Plane:
    """.299 R + .587 G + .114 B of the sRGB values as they are: the grey in [0, 1] that PIL's "L" rounds to 8 bits."""
    return _mixed(_exact(rgb), np.array([LUMA]))


def with_ab(rgb: Image, ab: tuple[float | int, float | int]) -> Image:
    """The photo with its own L and one a, b everywhere: (0, 0) is the grey baseline, a mean the mean-colour one."""
    lab = rgb_to_lab(rgb)
    flat = lab.new_tensor(ab).view(1, 2, 1, 1).expand_as(lab[:, 1:])
    return lab_to_rgb(torch.cat([lab[:, :1], flat], 1))


def ab_sums(rgb: Image) -> Float64[Tensor, "b 3"]:
    """Of each image, additively: the sum of a, the sum of b, the pixels. The mean colour of a part is a ratio."""
    ab = rgb_to_lab(rgb.double())[:, 1:].flatten(2)
    pixels = ab.new_full((len(ab), 1), ab.shape[-1])
    return torch.cat([ab.sum(-1), pixels], 1)


def coloured_share(rgb: UInt8[Tensor, "b 3 h w"]) -> Float64[Tensor, " b"]:
    """Of each photo: the share of pixels whose chroma sqrt(a^2 + b^2) is above CHROMA_OF_COLOUR."""
    chroma = rgb_to_lab(rgb.float() / 255)[:, 1:].norm(dim=1)
    return (chroma > CHROMA_OF_COLOUR).double().mean((1, 2))


def is_grey(rgb: UInt8[Tensor, "b 3 h w"]) -> list[bool]:
    """Of each photo: whether less than SHARE_OF_COLOUR of its pixels is coloured.

    Grey stored as RGB is grey, also after lossy compression; a toned one (sepia) is not.
    """
    return [share < SHARE_OF_COLOUR for share in coloured_share(rgb).tolist()]


@cache
def ab_bins() -> Float64[Tensor, "k 2"]:
    """a and b of every bin of the grid of step 10 that an sRGB colour falls into, by a, then b: k = 261.

    Found by computation. A line of constant a and b leaves the solid of all colours through its surface, so the
    six faces of the RGB cube, 256 x 256 colours each, fall into every bin that any colour falls into.
    Zhang, Isola and Efros. Colorful image colorization. ECCV 2016, https://arxiv.org/abs/1603.08511, section 2.2,
    has 313, which are more than the colours of the sRGB cube reach: 229 bins have their own centre in gamut, 261
    hold a colour, 306 are corners of a square of the grid that does.
    """
    return BIN_STEP * torch.nonzero(_occupied()).double() - _REACH * BIN_STEP


def nearest_bin(ab: Chroma) -> Int64[Tensor, "b h w"]:
    """The index in `ab_bins` of each pixel: its nearest point of the grid.

    Where that is no bin (no sRGB colour comes to lie there), the bin nearest to that point.
    """
    a, b = _cell(ab).clamp(0, 2 * _REACH).unbind(1)
    return _nearest_of_cell().to(ab.device)[a, b]


def decode_ab(logits: Float[Tensor, "b k h w"], temperature: float | int = ANNEALING) -> Chroma:
    """The annealed mean: sum_q p_q ab_q with p = softmax(logits / T), T > 0 (Zhang 2016, equation 5)."""
    share = torch.softmax(_exact(logits) / temperature, 1)
    axes = ab_bins().to(share).T[:, :, None, None]  # (2, k, 1, 1)
    return torch.stack([(share * axis).sum(1) for axis in axes], 1)  # (b, 2, h, w)


_REACH = 12  # the grid goes from -120 to 120, and sRGB from -108 to 98


@cache
def _occupied() -> Tensor:
    """Of each cell of the grid: whether a colour on the RGB cube's surface lies in it."""
    steps = torch.arange(256, dtype=torch.float64, device="cpu") / 255  # also where networks are made without memory
    plane = torch.stack(torch.meshgrid(steps, steps, indexing="ij"))
    faces = [
        torch.stack([*plane[:axis], torch.full_like(plane[0], value), *plane[axis:]])
        for axis in range(3)
        for value in (0, 1)
    ]
    a, b = _cell(rgb_to_lab(torch.stack(faces))[:, 1:]).unbind(1)
    occupied = torch.zeros(2 * _REACH + 1, 2 * _REACH + 1, dtype=torch.bool, device="cpu")
    occupied[a.flatten(), b.flatten()] = True
    return occupied


@cache
def _nearest_of_cell() -> Tensor:
    cells = BIN_STEP * (torch.nonzero(torch.ones_like(_occupied())).double() - _REACH)  # (cells, 2)
    return torch.cdist(cells, ab_bins()).argmin(1).view(_occupied().shape)


def _cell(ab: Tensor) -> Tensor:
    return (ab / BIN_STEP).round().long() + _REACH


def _exact(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _mixed(channels: Tensor, table: np.ndarray) -> Tensor:
    """Each row of the table applied to the channels; written out, as autocast would round a matrix product."""
    red, green, blue = channels.unbind(1)
    return torch.stack([r * red + g * green + b * blue for r, g, b in table.tolist()], 1)


def _linear(rgb: Tensor) -> Tensor:
    exact = _exact(rgb)
    return torch.where(exact <= 0.04045, exact / 12.92, ((exact.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4)


def _root(share: Tensor) -> Tensor:
    line = share / (3 * _JUNCTION**2) + 4 / 29
    return torch.where(share > _JUNCTION**3, share.clamp(min=_JUNCTION**3) ** (1 / 3), line)


def _cube(root: Tensor) -> Tensor:
    return torch.where(root > _JUNCTION, root**3, 3 * _JUNCTION**2 * (root - 4 / 29))
