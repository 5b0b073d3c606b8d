"""A window of an image and of its mask -> a crop of both, by one geometry.

A window is a rectangle of source pixels that may reach beyond the image and may be turned about its own
centre. Pixel (i, j) of a crop of H x W has its centre at the fraction ((i + .5) / H, (j + .5) / W) of the
window; the mask takes the source pixel that holds this point, the image is interpolated there. Beyond the
image the mask is IGNORE and the image is its own mirror (... 1 0 0 1 2 ...), as often as it takes.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float32, UInt8
from torch import Tensor

from segtrial.shapes import IGNORE


@dataclass(frozen=True)
class Window:
    """`height` x `width` source pixels whose first is (`top`, `left`); any of them may lie outside the image.

    The content is turned `angle` degrees anticlockwise about the window's centre, then flipped.
    """

    top: int
    left: int
    height: int
    width: int
    angle: float = 0.0
    flip_vertical: bool = False
    flip_horizontal: bool = False


def crop_image(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], window: Window, size: tuple[int, int]
) -> UInt8[Tensor, "c H W"] | Float32[Tensor, "c H W"]:
    """The window as `size` (H, W) pixels: bilinear, anti-aliased where it shrinks; the type stays."""
    if window.angle:
        return _turned(image, window, size)
    crop = resize(_cut(image, window.top, window.left, window.height, window.width), size)
    flipped = [axis for axis, flip in ((-2, window.flip_vertical), (-1, window.flip_horizontal)) if flip]
    return crop.flip(flipped) if flipped else crop


def crop_mask(mask: UInt8[Tensor, "h w"], window: Window, size: tuple[int, int]) -> UInt8[Tensor, "H W"]:
    """The window of a mask as `size` (H, W) pixels: nearest, so that no new value appears but IGNORE."""
    height, width = mask.shape
    if window.angle:
        places = source_points(window, size, mask.device)
        rows, columns = (place.floor().long() for place in places)  # (H, W)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return mask[rows.clamp(0, height - 1), columns.clamp(0, width - 1)].where(inside, IGNORE)
    rows = _nearest(window.top, window.height, size[0], window.flip_vertical, mask.device)  # (H,)
    columns = _nearest(window.left, window.width, size[1], window.flip_horizontal, mask.device)  # (W,)
    # the same as indexing with both at once, in a quarter of the time
    crop = mask.index_select(0, rows.clamp(0, height - 1)).gather(1, columns.clamp(0, width - 1).expand(size))
    if window.top < 0 or window.top + window.height > height:
        crop[(rows < 0) | (rows >= height)] = IGNORE
    if window.left < 0 or window.left + window.width > width:
        crop[:, (columns < 0) | (columns >= width)] = IGNORE
    return crop


def resize(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], size: tuple[int, int]
) -> UInt8[Tensor, "c H W"] | Float32[Tensor, "c H W"]:
    """Bilinear, anti-aliased where it shrinks; the type stays."""
    if tuple(image.shape[-2:]) == size:
        return image
    if image.shape[-1] == 1:  # torch 2.15 answers with its first row everywhere where a map is one pixel wide
        wide = resize(image.expand(*image.shape[:-1], 2), (size[0], max(2, size[1])))
        return wide[..., : size[1]]
    if size[1] == 1 and size[0] > 1:  # and so it does where it becomes one
        return resize(image.mT, (1, size[0])).mT
    # torch interpolates bytes in whole numbers on the CPU, several times faster than floats, and nowhere else
    exact = image if image.device.type == "cpu" else image.float()
    return as_type(F.interpolate(exact[None], size, mode="bilinear", antialias=True)[0], image.dtype)


def as_type(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Levels 0 to 255 rounded to bytes where bytes are wanted; anything else as it is."""
    if values.dtype == dtype or dtype != torch.uint8:
        return values
    return values.round().clamp(0, 255).to(torch.uint8)


def source_points(
    window: Window, size: tuple[int, int], device: torch.device
) -> tuple[Float32[Tensor, "H W"], Float32[Tensor, "H W"]]:
    """Row and column of every crop pixel's centre in the source; source pixel (0, 0) covers [0, 1) x [0, 1)."""
    y = _centred(size[0], window.height, window.flip_vertical, device)[:, None]
    x = _centred(size[1], window.width, window.flip_horizontal, device)[None, :]
    cos, sin = math.cos(math.radians(window.angle)), math.sin(math.radians(window.angle))
    rows = window.top + window.height / 2 + cos * y + sin * x
    columns = window.left + window.width / 2 + cos * x - sin * y
    return rows, columns


def _centred(count: int, extent: int, flip: bool, device: torch.device) -> Tensor:
    """`count` pixel centres spread over `extent` source pixels, 0 in the middle."""
    places = ((torch.arange(count, device=device) + 0.5) / count - 0.5) * extent
    return -places if flip else places


def _nearest(first: int, extent: int, count: int, flip: bool, device: torch.device) -> Tensor:
    """The source pixel under each of `count` pixel centres, in whole numbers: no rounding to go wrong."""
    order = torch.arange(count, device=device)
    places = (2 * order + 1) * extent // (2 * count) + first
    return places.flip(0) if flip else places


def _cut(image: Tensor, top: int, left: int, height: int, width: int) -> Tensor:
    """The window's pixels: a view where the image has them all, else mirrored beyond its edges."""
    for axis, first, count in ((1, top, height), (2, left, width)):
        length = image.shape[axis]
        if first >= 0 and first + count <= length:
            image = image.narrow(axis, first, count)
        else:
            places = torch.arange(first, first + count, device=image.device) % (2 * length)
            image = image.index_select(axis, places.minimum(2 * length - 1 - places))
    return image


def _turned(image: Tensor, window: Window, size: tuple[int, int]) -> Tensor:
    """A turned window: the upright rectangle around it, shrunk as the crop shrinks it, sampled at the points."""
    top, left, height, width = _around(window)
    upright = _cut(image, top, left, height, width)
    shrunk = (_shrunk(height, window.height, size[0]), _shrunk(width, window.width, size[1]))
    rows, columns = source_points(window, size, image.device)
    grid = torch.stack([(columns - left) * (2 / width) - 1, (rows - top) * (2 / height) - 1], dim=-1)  # (H, W, 2)
    upright = resize(upright, shrunk).float()
    turned = F.grid_sample(upright[None], grid[None], mode="bilinear", padding_mode="border", align_corners=False)[0]
    return as_type(turned, image.dtype)


def _around(window: Window) -> tuple[int, int, int, int]:
    """The upright rectangle that holds a turned window and one pixel more on each side."""
    cos, sin = abs(math.cos(math.radians(window.angle))), abs(math.sin(math.radians(window.angle)))
    half_height = (cos * window.height + sin * window.width) / 2 + 1
    half_width = (cos * window.width + sin * window.height) / 2 + 1
    row, column = window.top + window.height / 2, window.left + window.width / 2
    top, left = math.floor(row - half_height), math.floor(column - half_width)
    return top, left, math.ceil(row + half_height) - top, math.ceil(column + half_width) - left


def _shrunk(length: int, extent: int, count: int) -> int:
    """`length` source pixels at the density of the crop, if that is less."""
    return min(length, max(1, round(length * count / extent)))
