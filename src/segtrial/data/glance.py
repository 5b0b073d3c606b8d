"""A picture file, opened and decoded once -> all that anybody asks of it before training: plain values, for a memory.

Who opens a data set asks for headers and for the values of masks; who inspects it asks how pictures look, too.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped
from PIL import Image, JpegImagePlugin

from segtrial.data.masks import as_colors, as_values, decoded_mask, is_colored, pack
from segtrial.data.memory import Kind
from segtrial.data.perceptual import Likeness, likeness_of
from segtrial.data.pictures import Header, has_alpha, header_of, opened, plain_mode, upright
from segtrial.errors import DataError, ImageError, MaskError

MOST_NUMBERS = 256
"""Distinct values or colours of a mask that are kept; whoever needs those of a fuller one decodes it again."""


class Glance(NamedTuple):
    """What an image file is. `fault`: what was found in its pixels, and the fix, where they cannot be trained on."""

    format: str
    mode: str
    size: tuple[int, int]
    turned: bool
    fault: tuple[str, str] | None = None
    halved: bool = False
    alpha: bool = False
    constant: bool = False
    likeness: Likeness | None = None

    @property
    def header(self) -> Header:
        """What the file says of itself."""
        return Header(*self[:4])


class MaskGlance(NamedTuple):
    """What a mask file is: its `numbers` in order, values or (`colored`) packed colours, and the pixels of each.

    `shown` are the packed colours that the palette has for them, -1 where it has none. Of more than MOST_NUMBERS only
    `distinct` is known.
    """

    format: str
    mode: str
    size: tuple[int, int]
    turned: bool
    fault: tuple[str, str] | None = None
    colored: bool = False
    distinct: int = 0
    numbers: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()

    @property
    def header(self) -> Header:
        """What the file says of itself."""
        return Header(*self[:4])

    def colors(self) -> tuple[int, ...] | None:
        """The packed colours that the numbers are shown in; None if they are not known."""
        if self.distinct > len(self.numbers) or -1 in self.shown:
            return None
        if self.colored or self.shown:
            return self.numbers if self.colored else self.shown
        scale = {"1": 0xFFFFFF, "L": 0x010101, "LA": 0x010101, "RGB": 0x010101, "RGBA": 0x010101}.get(self.mode)
        return tuple(value * scale for value in self.numbers) if scale is not None else None


def glance(path: Path) -> Glance:
    """Decode an image. Raises ImageError if its header cannot be read; what else is wrong is the fault."""
    with opened(path) as picture:
        header = header_of(picture)
        try:
            return _of_image(path, picture, header)
        except ImageError as error:
            return Glance(*_plain(header), fault=(error.found, error.fix))


def mask_glance(path: Path) -> MaskGlance:
    """Decode a mask. Raises MaskError if its header cannot be read; what else is wrong is the fault."""
    try:
        with opened(path) as picture:
            header = header_of(picture)
            try:
                return _of_mask(path, decoded_mask(path, picture), header)
            except DataError as error:
                return MaskGlance(*_plain(header), fault=(error.found, error.fix))
    except ImageError as error:
        raise MaskError(error.place, error.found, error.fix) from error


def tally(pixels: Shaped[np.ndarray, "h w"]) -> tuple[Shaped[np.ndarray, " d"], Int[np.ndarray, " d"]]:
    """The d distinct whole numbers in order, and how many pixels have each."""
    flat = pixels.ravel()
    if flat.dtype == np.uint8:
        counts = np.bincount(flat, minlength=256)
        numbers = np.flatnonzero(counts)
        return numbers, counts[numbers]
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])  # of runs of one number: few to sort
    lengths = np.diff(starts, append=len(flat))
    numbers, which = np.unique(flat[starts], return_inverse=True)
    return numbers, np.bincount(which, lengths).astype(np.int64)


def has_halved_chroma(picture: Image.Image) -> bool:
    """Whether a JPEG keeps colours at half the resolution or less."""
    return isinstance(picture, JpegImagePlugin.JpegImageFile) and JpegImagePlugin.get_sampling(picture) in (1, 2)


def _plain(header: Header) -> tuple[str, str, tuple[int, int], bool]:
    return header.format, header.mode, header.size, header.turned


def _of_image(path: Path, picture: Image.Image, header: Header) -> Glance:
    halved = has_halved_chroma(picture)
    picture = upright(path, picture)
    known = Glance(*_plain(header), None, halved, has_alpha(picture), False, likeness_of(picture, path))
    try:
        extremes = plain_mode(path, picture).getextrema()
    except ImageError as error:
        return known._replace(fault=(error.found, error.fix))
    low, high = np.reshape(extremes, (-1, 2)).T  # of each channel
    return known._replace(constant=bool((low == high).all()))


def _of_mask(path: Path, picture: Image.Image, header: Header) -> MaskGlance:
    colored = is_colored(picture)
    numbers, counts = tally(as_colors(picture) if colored else as_values(path, picture))
    known = MaskGlance(*_plain(header), None, colored, len(numbers))
    if len(numbers) > MOST_NUMBERS:
        return known
    values: list[int] = numbers.tolist()
    known = known._replace(numbers=tuple(values), counts=tuple(counts.tolist()))
    if picture.mode != "P":
        return known
    flat = picture.getpalette("RGB") or []
    palette = [pack((r, g, b)) for r, g, b in zip(flat[::3], flat[1::3], flat[2::3], strict=False)]
    return known._replace(shown=tuple(palette[value] if value < len(palette) else -1 for value in values))


def _glance_from_json(tree: list) -> Glance:
    kind, mode, size, turned, fault, halved, alpha, constant, likeness = tree
    fault = None if fault is None else tuple(fault)
    known = None if likeness is None else Likeness(*likeness)
    return Glance(kind, mode, tuple(size), turned, fault, halved, alpha, constant, known)


def _mask_glance_from_json(tree: list) -> MaskGlance:
    kind, mode, size, turned, fault, colored, distinct, *lists = tree
    numbers, counts, shown = map(tuple, lists)
    return MaskGlance(
        kind, mode, tuple(size), turned, fault and tuple(fault), colored, distinct, numbers, counts, shown
    )


GLANCES = Kind("image", glance, _glance_from_json, alone=True)
MASK_GLANCES = Kind("mask", mask_glance, _mask_glance_from_json, alone=True)
