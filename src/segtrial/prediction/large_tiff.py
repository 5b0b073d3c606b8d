"""A TIFF too large to be decoded whole -> its rows, decoded tile by tile or strip by strip as they are asked for.

The pixels are those that decoding it whole would give: 8-bit grey and RGB, opaque alpha dropped, 16-bit grey scaled
to 8 bits. Needs tifffile, and imagecodecs for compressions other than deflate: the extra `images`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtrial.drawing import Pixels
from segtrial.errors import ImageError, UserError, install
from segtrial.prediction.rasters import as_read, with_channels

INSTALL = install("images")
BLACK_IS_ZERO, RGB, YCBCR = 1, 2, 6  # photometric interpretations
JPEG = 7
UPRIGHT = 1


@contextmanager
def tiff_rows(path: Path, channels: int) -> Iterator[Callable[[int, int], Pixels]]:
    """A function that reads the rows `first` to `last` as `c h w`. Raises ImageError, as the function may."""
    try:
        import tifffile
    except ImportError as error:
        found = "too large to decode whole, and tifffile, which reads it in pieces, is not installed"
        raise ImageError(path, found, f"{INSTALL}; or, if its size is right, raise --max-pixels") from error
    with _named(path):
        file = tifffile.TiffFile(path)
    with file:
        with _named(path):
            page = file.pages[0]
            _require_plain(path, page)
        yield lambda first, last: _rows(path, page, first, last, channels)


def _rows(path: Path, page: Any, first: int, last: int, channels: int) -> Pixels:
    with _named(path):
        values = _decoded(page, first, last)  # c h w
    if len(values) in (2, 4):
        if values[-1].min() < np.iinfo(values.dtype).max:
            fix = "Flatten it onto a background and save it without alpha"
            raise ImageError(path, "it has transparent pixels", fix)
        values = values[:-1]
    return with_channels(path, as_read(path, values), channels)


def _decoded(page: Any, first: int, last: int) -> np.ndarray:
    """Rows of every sample, `c h w`."""
    samples = page.samplesperpixel
    rows = np.zeros((samples, last - first, page.imagewidth), page.dtype)
    length, width = _piece(page)
    across, down = math.ceil(page.imagewidth / width), math.ceil(page.imagelength / length)
    planes = samples if page.planarconfig == 2 else 1
    for plane in range(planes):
        into = rows[plane : plane + 1] if planes > 1 else rows
        for line in range(first // length, math.ceil(last / length)):
            top, bottom = max(first, line * length), min(last, (line + 1) * length, page.imagelength)
            for column in range(across):
                piece = _segment(page, (plane * down + line) * across + column)  # h w c
                there = slice(column * width, min((column + 1) * width, page.imagewidth))
                inside = piece[top - line * length : bottom - line * length, : there.stop - there.start]
                into[:, top - first : bottom - first, there] = inside.transpose(2, 0, 1)
    return rows


def _segment(page: Any, index: int) -> np.ndarray:
    """One tile or strip, `h w c`; one that the file leaves out is 0."""
    file, count = page.parent.filehandle, page.databytecounts[index]
    file.seek(page.dataoffsets[index])
    tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression == JPEG else {}
    data, _, shape = page.decode(file.read(count) if count else None, index, **tables)
    return np.zeros(shape[1:], page.dtype) if data is None else data.reshape(shape)[0]


def _piece(page: Any) -> tuple[int, int]:
    """Length and width of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _require_plain(path: Path, page: Any) -> None:
    """Raises ImageError for what would not be read as training reads it, and for pieces too large to decode."""
    length, width = _piece(page)
    deep = page.dtype == np.uint16 and page.samplesperpixel == 1
    kinds = (BLACK_IS_ZERO, RGB) + ((YCBCR,) if page.compression == JPEG else ())
    if page.photometric not in kinds or not (page.dtype == np.uint8 or deep) or page.samplesperpixel > 4:
        found = f"{page.samplesperpixel} x {page.dtype} ({getattr(page.photometric, 'name', page.photometric)})"
        raise ImageError(path, found, "Save it as 8-bit grey or RGB, or as 16-bit grey")
    if int(page.tags.valueof("Orientation", UPRIGHT)) != UPRIGHT:
        raise ImageError(path, "it is stored turned", "Turn its pixels and save it")
    if length * width > (Image.MAX_IMAGE_PIXELS or length * width):
        found = f"its pixels lie in pieces of {length}x{width}"
        raise ImageError(path, found, "Save it in tiles (gdal_translate -co TILED=YES), or raise --max-pixels")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Whatever breaks inside as an ImageError that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # decoders of damaged bytes raise anything
        if "imagecodecs" in str(error):
            raise ImageError(path, f"its compression needs more than there is ({error})", INSTALL) from error
        raise ImageError(path, f"truncated or damaged ({error})", "Copy the file again from its source") from error
