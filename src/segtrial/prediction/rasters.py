"""A picture file or an array file -> its size, and its pixels as training reads them: whole, or some rows at a time.

    pictures    through `data.pictures`, so the same bytes give the same pixels as in training; decoded whole
    .npy        h w, h w c or c h w: uint8, uint16 (scaled to 8 bits) or floats in [0, 1]; read by rows
    large TIFF  beyond the limit of pixels: tiles and strips are read as they are needed (extra `images`)

Pictures of more pixels than the limit are not decoded: a file of a few bytes may claim to have any number.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from segtrial.data._npz import HEADERS
from segtrial.data.pictures import ORIENTATION, RANGE_FIX, eight_bits, opened, read_image
from segtrial.drawing import Pixels
from segtrial.errors import ImageError
from segtrial.prediction.geotiff import Georeference, georeference

ARRAY = ".npy"
ANY = 2**62
"""A limit of pixels that nothing exceeds."""


@dataclass(frozen=True)
class Look:
    """What a file says of itself before its pixels are read. `size` is (h, w) as stored: decoding may turn it."""

    path: Path
    size: tuple[int, int]
    format: str
    """Of arrays also the type of their numbers."""
    large: bool = False
    """Too large to be decoded whole."""

    @property
    def alike(self) -> tuple[object, ...]:
        """What images have in common that go through the network together."""
        return self.size, self.format if self.format.startswith(ARRAY) else "picture"


@dataclass(frozen=True)
class Raster:
    """Pixels of `size` (h, w), upright: `read(first, last)` gives rows as `c h w`."""

    size: tuple[int, int]
    read: Callable[[int, int], Pixels]


@contextmanager
def pixel_limit(most: int | None) -> Iterator[None]:
    """Inside, pictures of up to `most` pixels are decoded; None: as many as Pillow allows."""
    before = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = before if most is None else most
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def look_at(path: Path) -> Look:
    """Raises ImageError for what cannot be predicted: no picture, or one beyond the limit that is no TIFF."""
    if path.suffix.lower() == ARRAY:
        with _opened_array(path) as (_, array):
            return Look(path, _layout(path, array.shape)[:2], f"{ARRAY} {array.dtype}")
    most = Image.MAX_IMAGE_PIXELS or ANY
    with pixel_limit(ANY), opened(path) as picture:  # not `read_header`, which may decode a PNG
        (width, height), kind = picture.size, picture.format or ""
    if width * height > most and kind != "TIFF":
        found = f"too large to decode safely ({height}x{width} pixels; the limit is {most} pixels)"
        raise ImageError(path, found, f"If it is what it says, predict with --max-pixels {width * height}")
    return Look(path, (height, width), kind, large=width * height > most)


@contextmanager
def rows_of(look: Look, channels: int) -> Iterator[Raster]:
    """The pixels of a file. Raises ImageError, as reading some of them may."""
    if look.format.startswith(ARRAY):
        with _opened_array(look.path) as (file, array):
            yield Raster(look.size, _array_rows(look.path, file, array, channels))
    elif look.large:
        from segtrial.prediction.large_tiff import tiff_rows  # an extra

        with tiff_rows(look.path, channels) as read:
            yield Raster(look.size, read)
    else:
        image = read_image(look.path, channels)
        yield Raster(image.shape[1:], lambda first, last: image[:, first:last])


def place_of(look: Look) -> Georeference | None:
    """Where on the ground a GeoTIFF lies. Raises ImageError if its tags are damaged, or speak of turned pixels."""
    if look.format != "TIFF":
        return None
    with pixel_limit(ANY), opened(look.path) as picture:
        tags: dict[int, object] = dict(picture.tag_v2)  # type: ignore[attr-defined]
        place = georeference(tags)
    if place is not None and tags.get(ORIENTATION, 1) != 1:
        found = "it lies on the ground, and its pixels are stored turned"
        raise ImageError(look.path, found, "Turn the pixels, and save it without an orientation")
    return place


@dataclass(frozen=True)
class _Array:
    """The header of a .npy file: `start` is the place of its first number."""

    shape: tuple[int, ...]
    dtype: np.dtype
    start: int


@contextmanager
def _opened_array(path: Path) -> Iterator[tuple[BinaryIO, _Array]]:
    if not os.path.isfile(path):  # a pipe would keep its reader waiting
        raise ImageError(path, "there is no such file", "Restore it, or leave it out")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ImageError(path, f"cannot be opened ({error.strerror})", "Make it readable, or leave it out") from error
    with file:
        yield file, _array_header(path, file)


def _array_header(path: Path, file: BinaryIO) -> _Array:
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran, dtype = HEADERS[version](file)
    except Exception as error:  # damage meets whatever breaks first: ValueError, KeyError, SyntaxError
        raise ImageError(path, f"damaged, or no .npy file ({error!s:.100})", "Save it with numpy.save") from error
    if dtype.hasobject or dtype not in (np.uint8, np.uint16, np.float16, np.float32, np.float64):
        raise ImageError(path, f"numbers of type {dtype}", "Save uint8, uint16, or floats in [0, 1]")
    if fortran:
        raise ImageError(path, "columns before rows (Fortran order)", "Save numpy.ascontiguousarray(image)")
    start = file.tell()
    length = file.seek(0, 2) - start
    if length != math.prod(shape) * dtype.itemsize or math.prod(shape) == 0:
        raise ImageError(path, f"{length} bytes for {shape} of {dtype}", "Copy the file again from its source")
    return _Array(shape, dtype, start)


def _layout(path: Path, shape: tuple[int, ...]) -> tuple[int, int, int, bool]:
    """(h, w, c, whether the channels come first): they are the shorter of the outer axes."""
    if len(shape) == 2:
        return shape[0], shape[1], 1, False
    if len(shape) != 3:
        raise ImageError(path, f"an array of shape {shape}", "Save one image: h w, h w c or c h w")
    first = shape[0] < shape[2]
    return (shape[1], shape[2], shape[0], True) if first else (shape[0], shape[1], shape[2], False)


def _array_rows(path: Path, file: BinaryIO, array: _Array, channels: int) -> Callable[[int, int], Pixels]:
    height, width, count, planes = _layout(path, array.shape)

    def numbers(start: int, rows: int, length: int) -> np.ndarray:
        file.seek(array.start + start * array.dtype.itemsize)
        return np.fromfile(file, array.dtype, rows * length)

    def read(first: int, last: int) -> Pixels:
        rows = last - first
        if planes:
            found = [numbers((plane * height + first) * width, rows, width) for plane in range(count)]
            values = np.stack(found).reshape(count, rows, width)
        else:
            values = numbers(first * width * count, rows, width * count).reshape(rows, width, count).transpose(2, 0, 1)
        return with_channels(path, as_read(path, values), channels)

    return read


def as_read(path: Path, values: np.ndarray) -> Pixels:
    """Planes `c h w` of any kind as training has them: uint8, or float32 in [0, 1]. Raises ImageError."""
    if values.dtype == np.uint16:
        return np.stack([eight_bits(plane) for plane in values])
    if values.dtype == np.uint8:
        return values
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):  # also where there is NaN
        raise ImageError(path, f"numbers from {low:g} to {high:g}, and floats must lie in [0, 1]", RANGE_FIX)
    return values.astype(np.float32)


def with_channels(path: Path, image: Pixels, channels: int) -> np.ndarray:
    """Grey as red, green and blue where three channels are wanted. Raises ImageError for another number."""
    if len(image) == 1 and channels == 3:
        return image.repeat(3, axis=0)
    if len(image) != channels:
        found = f"it has {len(image)} channels, not {channels}"
        raise ImageError(path, found, "Convert it, or take a model that was trained on such images")
    return np.ascontiguousarray(image)
