"""(seed, epoch, key) -> drawn numbers; an image, its mask and drawn numbers -> the crop that is trained on.

The draw knows neither crop size nor scale range: it is in units, so a sample of an epoch is drawn alike in
every phase of a run and in every variant of a comparison. Applying it is a pure function. Light changes the
image alone; everything else moves image and mask by one geometry.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from segtrial.data.geometry import Window, as_type, crop_image, crop_mask
from segtrial.data.own_augment import Function
from segtrial.errors import RecipeError
from segtrial.randomness import generator

Number = float | int

GAINS = 8
"""Colour gains drawn per sample; channel c of an image takes number c modulo 8."""


@dataclass(frozen=True)
class Augmentation:
    """How far each draw may go; 0 switches it off. Raises RecipeError for a value out of its range."""

    flip_horizontal: Number = 0.5
    """Probability, 0 to 1."""
    flip_vertical: Number = 0.0
    """Probability, 0 to 1."""
    rotate: Number = 0.0
    """Largest turn either way about the crop's centre, degrees, 0 to 180. Costs several times a plain crop."""
    shift: Number = 0.0
    """Largest move of the crop either way, as a fraction of the image, 0 to 1; it may leave the image."""
    brightness: Number = 0.2
    """All channels times 1 - x to 1 + x, 0 to 1."""
    contrast: Number = 0.2
    """Distance from mid-grey times 1 - x to 1 + x, 0 to 1."""
    color: Number = 0.1
    """Each channel times its own 1 - x to 1 + x, 0 to 1."""
    cutmix: Number = 0.0
    """Probability, 0 to 1; this and the next two are drawn and done in `mixing`."""
    classmix: Number = 0.0
    """Probability, 0 to 1."""
    copy_paste: Number = 0.0
    """Probability, 0 to 1."""
    mixup: Number = 0.0
    """Both parameters of the beta distribution of the shares, 0 to 10; drawn and done for a whole batch."""
    albumentations: tuple[Any, ...] = ()
    """Steps done to the crop after all else but mixing, see `albumentations_pipeline`."""
    own: Function | None = None
    """A function done to the crop after them, see `own_augment`."""

    def __post_init__(self) -> None:
        for field in (each for each in fields(self) if each.type == Number):
            value, most = getattr(self, field.name), {"rotate": 180, "mixup": 10}.get(field.name, 1)
            if not 0 <= value <= most:
                raise RecipeError(f"augmentation.{field.name}", f"{value}", f"Give a number from 0 to {most}")

    @property
    def on_arrays(self) -> bool:
        """Whether code of others, which knows arrays alone, sees each crop."""
        return bool(self.albumentations) or self.own is not None

    @staticmethod
    def none() -> "Augmentation":
        """Nothing but the scale and the place of the crop."""
        return Augmentation(flip_horizontal=0, brightness=0, contrast=0, color=0)


@dataclass(frozen=True)
class Draw:
    """What one sample of one epoch drew. The default changes nothing."""

    scale: float = 0.5
    """Where in the scale range, 0 to 1, on a logarithmic axis."""
    place: tuple[float, float] = (0.5, 0.5)
    """Where the crop lies between top and bottom, left and right, 0 to 1."""
    shift: tuple[float, float] = (0.0, 0.0)
    """A further move down and right, in heights and widths of the image."""
    angle: float = 0.0
    """Turn, degrees anticlockwise."""
    flip_vertical: bool = False
    flip_horizontal: bool = False
    gains: tuple[float, ...] = (1.0,) * GAINS
    """What channel c modulo 8 is multiplied by, brightness included."""
    contrast: float = 1.0
    """What the distance from mid-grey is multiplied by."""


def draw(augmentation: Augmentation, seed: int, epoch: int, key: str) -> Draw:
    """The draw of one sample in one epoch: a pure function (law 1).

    Every number is drawn whether it is wanted or not, so switching one off leaves the others as they were.
    """
    units = generator(seed, "augment", epoch, key).random(10 + GAINS).tolist()
    scale, row, column, down, right, turn, flip_v, flip_h, contrast, bright = units[:10]
    brightness = _factor(bright, augmentation.brightness)
    return Draw(
        scale=scale,
        place=(row, column),
        shift=(_either_way(down) * augmentation.shift, _either_way(right) * augmentation.shift),
        angle=_either_way(turn) * augmentation.rotate,
        flip_vertical=flip_v < augmentation.flip_vertical,
        flip_horizontal=flip_h < augmentation.flip_horizontal,
        gains=tuple(brightness * _factor(unit, augmentation.color) for unit in units[10:]),
        contrast=_factor(contrast, augmentation.contrast),
    )


def apply(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    drawn: Draw,
    *,
    scale: tuple[Number, Number],
    size: tuple[int, int],
    mirrored: tuple[int, ...],
) -> tuple[UInt8[Tensor, "c H W"] | Float32[Tensor, "c H W"], UInt8[Tensor, "H W"]]:
    """The drawn crop of `size` (H, W) of an image scaled by a factor within `scale`, and of its mask.

    Works where the tensors lie, and keeps the image's type. `mirrored` is `Classes.mirrored()`: the class that
    each class becomes under a horizontal flip. Beyond the image: mask IGNORE, image mirrored.
    """
    height, width = target.shape
    window = place_window((height, width), drawn, scale=scale, size=size)
    labels = crop_mask(target, window, size)
    if drawn.flip_horizontal and mirrored != tuple(range(len(mirrored))):
        table = torch.arange(256, dtype=torch.uint8)
        table[: len(mirrored)] = torch.tensor(mirrored, dtype=torch.uint8)
        labels = table.to(target.device)[labels.long()]
    return light(crop_image(image, window, size), drawn), labels


def place_window(
    image_size: tuple[int, int], drawn: Draw, *, scale: tuple[Number, Number], size: tuple[int, int]
) -> Window:
    """The source pixels that a draw makes a crop of `size` of, at whole pixels: the scale is met to a pixel."""
    factor = scale[0] * (scale[1] / scale[0]) ** drawn.scale
    height, width = (max(1, _nearest_whole(crop / factor)) for crop in size)
    # a window larger than the image moves about it just as a smaller one moves within it
    top, left = (
        _nearest_whole(place * (length - extent) + shift * length)
        for place, length, extent, shift in zip(drawn.place, image_size, (height, width), drawn.shift, strict=True)
    )
    return Window(top, left, height, width, drawn.angle, drawn.flip_vertical, drawn.flip_horizontal)


def light(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], drawn: Draw
) -> UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"]:
    """Contrast about mid-grey, then a gain for each channel, clipped to what the type can hold."""
    gains = [drawn.gains[channel % GAINS] for channel in range(len(image))]
    if drawn.contrast == 1 and all(gain == 1 for gain in gains):
        return image
    white = 255 if image.dtype == torch.uint8 else 1
    slopes = torch.tensor([gain * drawn.contrast for gain in gains], device=image.device)
    offsets = torch.tensor([gain * (1 - drawn.contrast) * white / 2 for gain in gains], device=image.device)
    levels = image.to(torch.float32, copy=True).mul_(slopes[:, None, None]).add_(offsets[:, None, None])
    return as_type(levels.clamp_(0, white), image.dtype)


def _nearest_whole(number: float) -> int:
    return math.floor(number + 0.5)


def _either_way(unit: float) -> float:
    """0 to 1 -> -1 to 1."""
    return 2 * unit - 1


def _factor(unit: float, spread: Number) -> float:
    """0 to 1 -> 1 - spread to 1 + spread."""
    return 1 + _either_way(unit) * spread
