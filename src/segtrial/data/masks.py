"""A mask file, in any encoding -> class indices `h w` and IGNORE, or a MaskError with values, counts and fix.

An Encoding says what values (index, palette, one-bit, 0/255 masks) or colours (RGB masks) mean. It is
found once for a whole data set (`encoding.py`), never file by file: a mask that happens to hold few
classes must not be read by another rule than its neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from segtrial.classes import Color
from segtrial.data.pictures import DEEP_GREY_MODES, Header, opaque, opened, read_header, upright
from segtrial.errors import DataError, MaskError, listing
from segtrial.shapes import IGNORE


@dataclass(frozen=True)
class Encoding:
    """What a mask's pixels mean. Exactly one of `values` and `colors` is given.

    `values`: number in the file -> class index or IGNORE. `colors`: RGB -> class index or IGNORE.
    `tolerance`: a colour that is not in `colors` takes the nearest one at most this far away
    (Euclidean, in 8-bit RGB; 442 is the distance of black from white).
    """

    values: Mapping[int, int] | None = None
    colors: Mapping[Color, int] | None = None
    tolerance: float = 0.0
    names: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line that changes if and only if the encoding does (for cache fingerprints)."""
        return f"{sorted((self.values or {}).items())} {sorted((self.colors or {}).items())} {self.tolerance}"

    def remapped(self, order: tuple[int, ...], names: tuple[str, ...]) -> "Encoding":
        """The same, with class i replaced by order[i] (a class index or IGNORE) of `names`."""

        def move(meanings: Mapping | None) -> dict | None:
            if meanings is None:
                return None
            return {key: order[index] if index != IGNORE else IGNORE for key, index in meanings.items()}

        return Encoding(move(self.values), move(self.colors), self.tolerance, names)


def read_mask(path: Path, encoding: Encoding, image: Header | None = None) -> UInt8[np.ndarray, "h w"]:
    """Class indices and IGNORE. Raises MaskError for a value, colour or size that should not be there."""
    picture = read_mask_picture(path)
    if image is not None:
        check_size(path, (picture.height, picture.width), image)
    if encoding.colors is not None:
        return _decode_colors(path, as_colors(picture), encoding)
    return decode_values(path, as_values(path, picture), encoding)


def mask_header(path: Path) -> Header:
    """What a mask file says of itself. Raises MaskError."""
    try:
        return read_header(path)
    except DataError as error:
        raise MaskError(error.place, error.found, error.fix) from error


def read_mask_picture(path: Path) -> Image.Image:
    """The picture as L, P, 1, RGB or 16/32-bit integers. Raises MaskError for floats and transparency."""
    try:
        with opened(path) as picture:
            return decoded_mask(path, picture)
    except DataError as error:
        raise MaskError(error.place, error.found, error.fix) from error


def decoded_mask(path: Path, picture: Image.Image) -> Image.Image:
    """As `read_mask_picture`, of a file that is open. Raises ImageError, too."""
    by_color = picture.format == "GIF"  # whoever writes a GIF numbers its colours anew: only they can be trusted
    picture = upright(path, picture)
    if picture.mode in ("RGBA", "LA", "PA"):
        picture = opaque(path, picture)
    if picture.mode == "P" and by_color:
        picture = picture.convert("RGB")
    if picture.mode in ("1", "L", "P", "RGB", "I", *DEEP_GREY_MODES):
        return picture
    fix = "Save masks as 8-bit PNG: class numbers (grey or palette) or RGB colours"
    raise MaskError(path, f"a mask cannot be of kind {picture.mode!r}", fix)


def is_colored(picture: Image.Image) -> bool:
    """Whether a picture that `read_mask_picture` gave has a pixel that is no grey."""
    if picture.mode != "RGB":
        return False
    pixels = np.asarray(picture)
    return bool((pixels != pixels[:, :, :1]).any())


def as_values(path: Path, picture: Image.Image) -> Int[np.ndarray, "h w"] | UInt8[np.ndarray, "h w"]:
    """The numbers in the file: palette masks give the palette index, one-bit masks 0 and 1, grey RGB its grey."""
    if picture.mode == "1":
        return np.asarray(picture).astype(np.uint8)
    if picture.mode != "RGB":
        pixels = np.asarray(picture)
        return pixels if pixels.dtype == np.uint8 else pixels.astype(np.int64)
    pixels = np.asarray(picture)
    if (pixels != pixels[:, :, :1]).any():
        raise MaskError(path, "it has colours, where other masks have class numbers", "Save all masks in one way")
    return np.ascontiguousarray(pixels[:, :, 0])


def as_colors(picture: Image.Image) -> Int[np.ndarray, "h w"]:
    """Each pixel's colour as one number, red * 65536 + green * 256 + blue."""
    pixels = np.asarray(picture.convert("RGB")).astype(np.int32)
    return (pixels[:, :, 0] << 16) | (pixels[:, :, 1] << 8) | pixels[:, :, 2]


def pack(color: Color) -> int:
    """The number that `as_colors` gives this colour."""
    return (color[0] << 16) | (color[1] << 8) | color[2]


def unpack(number: int) -> Color:
    """The inverse of `pack`."""
    return number >> 16, number >> 8 & 255, number & 255


def decode_values(path: Path, values: np.ndarray, encoding: Encoding) -> UInt8[np.ndarray, "h w"]:
    """Class indices and IGNORE for numbers `h w`. Raises MaskError for a number that stands for no class."""
    meanings = encoding.values or {}
    table = np.full(256, -1, dtype=np.int16)
    for value, index in meanings.items():
        if value < 256:
            table[value] = index
    if values.dtype == np.uint8:
        result = table[values]
    else:
        result = np.full(values.shape, -1, dtype=np.int16)
        for value in np.unique(values).tolist():
            result[values == value] = meanings.get(value, -1)
    if (result < 0).any():
        raise _unknown_values(path, values[result < 0], meanings)
    return result.astype(np.uint8)


def _unknown_values(path: Path, wrong: np.ndarray, meanings: Mapping[int, int]) -> MaskError:
    values, counts = np.unique(wrong, return_counts=True)
    found = listing(f"{value} ({count} pixels)" for value, count in zip(values.tolist(), counts.tolist(), strict=True))
    known = listing(sorted(meanings))
    fix = "Correct the mask, or declare the values in data.yaml (ids of a class, or ignore)"
    return MaskError(path, f"values that stand for no class: {found}; known are {known}", fix)


def _decode_colors(path: Path, packed: np.ndarray, encoding: Encoding) -> UInt8[np.ndarray, "h w"]:
    known = {pack(color): index for color, index in (encoding.colors or {}).items()}
    numbers = np.array(sorted(known), dtype=np.int32)
    places = np.searchsorted(numbers, packed).clip(max=len(numbers) - 1)
    result = np.array([known[number] for number in numbers.tolist()], dtype=np.uint8)[places]
    strange = numbers[places] != packed
    if strange.any():
        result[strange] = _nearest_class(path, packed[strange], numbers, known, encoding)
    return result


def _nearest_class(
    path: Path, strange: np.ndarray, numbers: np.ndarray, known: Mapping[int, int], encoding: Encoding
) -> np.ndarray:
    """Indices for colours off the table. Raises MaskError if one is farther than the tolerance from all."""
    colors, inverse, counts = np.unique(strange, return_inverse=True, return_counts=True)
    apart = _channels(colors)[:, None] - _channels(numbers)[None]  # colours, classes, 3
    distances = np.sqrt((apart**2).sum(axis=2))
    nearest, distance = distances.argmin(axis=1), distances.min(axis=1)
    far = distance > encoding.tolerance
    indices = np.array([known[number] for number in numbers[nearest].tolist()], dtype=np.uint8)
    if not far.any():
        return indices[inverse]
    rows = sorted(np.flatnonzero(far).tolist(), key=lambda row: -counts[row])

    def name(index: int) -> str:
        return encoding.names[index] if index < len(encoding.names) else "ignored"

    found = listing(
        (
            f"{unpack(int(colors[row]))} ({counts[row]} pixels, nearest is {name(int(indices[row]))}"
            f" at distance {distance[row]:.0f})"
            for row in rows
        ),
        most=5,
    )
    tolerance = f"color_tolerance: {np.ceil(distance.max()):.0f}"
    fix = f"Correct the mask, add the colours to the class table, or set {tolerance} in data.yaml"
    raise MaskError(path, f"{len(rows)} colours stand for no class: {found}", fix)


def _channels(packed: np.ndarray) -> np.ndarray:
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.float64)


def check_size(path: Path, size: tuple[int, int], image: Header) -> None:
    """Raise MaskError unless a mask of this size (h, w) fits its image."""
    if size == image.size:
        return
    hint = ""
    if size == image.size[::-1]:
        hint = (
            " (the image is turned by its EXIF orientation, the mask is not)"
            if image.turned
            else " (height and width are exchanged: transposed, or turned by EXIF)"
        )
    found = f"the mask is {size[0]}x{size[1]} but its image is {image.size[0]}x{image.size[1]} (height x width){hint}"
    raise MaskError(path, found, "Make the mask in the size of its image; it is never resized for you")
