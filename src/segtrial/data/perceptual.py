"""A picture -> its Likeness: a perceptual hash and small greys, in plain values.

Both are made of a 32x32 grey of the picture. The hash is 64 bits that survive another encoding, another size and other
light; `likeness` says how either is compared.
"""

from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8, UInt64
from PIL import Image

from segtrial.data.pictures import DEEP_GREY_MODES
from segtrial.files import sha256_file

SIDE = 32
"""Pixels on each side of the grey that the hash is made of; distances halve it."""

STEPS = 256
"""Steps of one grey in which a likeness keeps it: exact for the mean of four whole ones."""


class Likeness(NamedTuple):
    """How one picture looks, in plain values: 0.7 kB.

    `hash` and `mirrored` are `hash_of` the picture and its mirror image, `grey` its 16x16 greys in steps of 1/256 (16
    bits each, base 64), and `digest` says which bytes the file has; "" where it is none.
    """

    digest: str
    hash: int
    mirrored: int
    grey: str


def likeness_of(picture: Image.Image, path: Path | None = None) -> Likeness:
    """How an upright picture looks; `path` is its file."""
    grey = _small(picture)
    both = hash_of(np.stack([grey, grey[:, ::-1]]))
    sums = grey.reshape(16, 2, 16, 2).sum((1, 3))  # 4 greys each
    packed = b64encode(np.rint(sums * (STEPS / 4)).astype("<u2").tobytes()).decode()
    return Likeness("" if path is None else sha256_file(path)[:32], int(both[0]), int(both[1]), packed)


def likeness_of_sample(image: UInt8[np.ndarray, "c h w"] | Float32[np.ndarray, "c h w"]) -> Likeness:
    """How the image of a sample looks that no picture file holds: RGB, or the mean of any other number of channels."""
    pixels = image if image.dtype == np.uint8 else (image * 255).astype(np.uint8)
    if len(pixels) == 3:
        return likeness_of(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))
    return likeness_of(Image.fromarray(pixels.mean(0).astype(np.float32)))


def hash_of(greys: Float32[np.ndarray, "n 32 32"]) -> UInt64[np.ndarray, " n"]:
    """64 bits a picture: which of its 8x8 lowest waves, constant rows and columns left out, are above their median.

    The waves are those of the discrete cosine transform. After "pHash" (Zauner. Implementation and benchmarking of
    perceptual image hash functions. 2010, section 3.2.1), which keeps constant rows and columns.
    """
    waves = _waves()
    low = (waves @ greys @ waves.T).reshape(len(greys), 64)  # n 8 32 @ 32 8
    middle = np.sort(low, axis=1)[:, 31:33]
    bits = low > (middle[:, :1] + middle[:, 1:]) / 2
    return np.packbits(bits, axis=1).view(">u8").reshape(len(greys)).astype(np.uint64)


@cache
def _waves() -> Float32[np.ndarray, "8 32"]:
    """Rows 1 to 8 of the discrete cosine transform of 32 values."""
    row, column = np.arange(1, 9)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * row * (2 * column + 1) / (2 * SIDE)).astype(np.float32)


def _small(picture: Image.Image) -> Float32[np.ndarray, "32 32"]:
    """32x32 greys, 0 to 255."""
    if picture.mode == "LAB":
        picture = picture.getchannel("L")
    if picture.mode in (*DEEP_GREY_MODES, "I", "F"):
        values = np.nan_to_num(np.asarray(picture).astype(np.float32), posinf=0, neginf=0)
        low, high = float(values.min()), float(values.max())
        picture = Image.fromarray((values - low) * (255 / max(high - low, 1e-12)))  # distances ignore the scale
    else:
        picture = picture.convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
