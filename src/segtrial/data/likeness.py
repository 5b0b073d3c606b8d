"""Pictures -> how alike they look: perceptual hashes, small greys, and the nearest of many.

Two measures, both of a 32x32 grey of the picture:

- the hash: 64 bits that survive another encoding, another size and other light (`hash_of`). Copies differ in few bits;
- the distance: sqrt(2 - 2 r), where r is the correlation of two 16x16 greys: 0 for the same picture whatever its
  brightness and contrast, 1.41 for two that have nothing in common. Frames of video close in time are near.

Measured by hand: the same picture saved as JPEG of quality 50, at half the size, 15 % brighter or with 20 % less
contrast differs in at most 6 bits, while the nearest two of 300 photographs of scenes differ in 14, of 200 aligned
faces in 10, and of 28 retinas, which look most alike, in 6 (at a distance of .16). The nearest neighbour is at .04 to
.15 for frames of video 1/15 s apart, from .36 for frames a second apart, and above .2 for 99 % of 1800 photographs.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt64
from PIL import Image, ImageOps

from segtrial.data._parallel import each
from segtrial.data.pictures import DEEP_GREY_MODES, EXTENSIONS, ORIENTATION, opened
from segtrial.data.sample import Item, Sample
from segtrial.errors import DataError
from segtrial.randomness import generator

SIDE = 32
"""Pixels on each side of the grey that the hash is made of; distances halve it."""

COPY_BITS = 6
"""Copies of a picture differ in at most this many of the 64 bits."""

COPY = 0.1
"""Largest distance between two copies of a picture (r of .995)."""

NEAR = 0.2
"""A near neighbour is at most this far (r of .98)."""

NEAR_SHARE = 0.25
"""And at most at this share of the usual distance between two pictures of the data set: where all pictures look alike,
such as retinas, alike alone says nothing."""

PAIRS = 512
"""Random pairs whose distances tell what is usual."""

FLAT = 1.0
"""A picture whose greys vary less than this (standard deviation, of 255) looks like nothing."""

AT_ONCE = 4_000_000
"""Pairs that are compared at once: bounds memory."""


@dataclass(frozen=True)
class Looks:
    """How n pictures look: `items` in their order, `hashes`, the hashes of their mirror images, and `greys`.

    The greys have mean 0 and length 1; those of a flat picture are all 0, and it is near to nothing.
    """

    items: tuple[Item, ...]
    hashes: UInt64[np.ndarray, " n"]
    mirrored: UInt64[np.ndarray, " n"]
    greys: Float32[np.ndarray, "n 256"]

    def __getitem__(self, chosen: Sequence[int] | np.ndarray) -> "Looks":
        index = np.asarray(chosen, dtype=np.int64)
        items = tuple(self.items[one] for one in index.tolist())
        return Looks(items, self.hashes[index], self.mirrored[index], self.greys[index])

    def of(self, items: Sequence[Item]) -> "Looks":
        """Those of `items` that could be read."""
        wanted = {item.key for item in items}
        return self[[index for index, item in enumerate(self.items) if item.key in wanted]]


def look_at(
    items: Sequence[Item], read: Callable[[Item], Sample], progress: Callable[[int, int], object] | None = None
) -> Looks:
    """The looks of the items, each decoded once. Damaged files are left out: whoever reads them next names them."""
    kept, greys = [], []
    for done, (item, grey) in enumerate(zip(items, each(lambda item: _grey(item, read), items), strict=True), start=1):
        if not isinstance(grey, DataError):
            kept.append(item)
            greys.append(grey)
        if progress is not None:
            progress(done, len(items))
    stack = np.stack(greys) if greys else np.zeros((0, SIDE, SIDE), np.float32)
    return Looks(tuple(kept), hash_of(stack), hash_of(stack[:, :, ::-1]), _standard(stack))


def hash_of(greys: Float32[np.ndarray, "n 32 32"]) -> UInt64[np.ndarray, " n"]:
    """64 bits a picture: which of its 8x8 lowest waves, constant rows and columns left out, are above their median.

    The waves are those of the discrete cosine transform. After "pHash" (Zauner. Implementation and benchmarking of
    perceptual image hash functions. 2010, section 3.2.1), which keeps constant rows and columns.
    """
    waves = _waves()
    low = (waves @ greys @ waves.T).reshape(len(greys), 64)  # n 8 32 @ 32 8
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").reshape(len(greys)).astype(np.uint64)


def distance(a: Float32[np.ndarray, "n 256"], b: Float32[np.ndarray, "n 256"]) -> Float[np.ndarray, " n"]:
    """sqrt(2 - 2 r) of each pair, 0 to 2, where r is the correlation; that to a flat picture is sqrt(2)."""
    return np.sqrt(np.maximum(2 - 2 * (a.astype(np.float64) * b).sum(1), 0))


def usual_distance(looks: Looks) -> float:
    """The median distance of random pairs: what two pictures of a data set that have nothing to do with each other
    differ by. sqrt(2) where there are fewer than two."""
    if len(looks.items) < 2:
        return float(np.sqrt(2))
    pairs = generator(0, "usual distance").integers(len(looks.items), size=(PAIRS, 2))
    one, other = pairs[pairs[:, 0] != pairs[:, 1]].T
    return float(np.median(distance(looks.greys[one], looks.greys[other])))


def nearest(
    looks: Float32[np.ndarray, "n 256"], among: Float32[np.ndarray, "m 256"]
) -> tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """The most alike of `among` (m > 0) for each of `looks`, and its distance. All pairs, one product a block."""
    index = [(looks[block] @ among.T).argmax(1) for block in _blocks(len(looks), len(among))]
    found = np.concatenate([np.zeros(0, np.int64), *index])
    return found, distance(looks, among[found])


def close_hashes(
    hashes: UInt64[np.ndarray, " n"], among: UInt64[np.ndarray, " m"], most: int = COPY_BITS
) -> tuple[Integer[np.ndarray, " p"], Integer[np.ndarray, " p"]]:
    """Index pairs of hashes that differ in at most `most` bits. All pairs, in blocks: 20,000 by 20,000 in seconds."""
    one, other = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for block in _blocks(len(hashes), len(among)):
        near = np.nonzero(np.bitwise_count(hashes[block, None] ^ among[None]) <= most)
        one.append(near[0] + block.start)
        other.append(near[1])
    return np.concatenate(one), np.concatenate(other)


def copies(looks: Looks) -> list[tuple[int, int, bool]]:
    """Pairs of places (first, later) that show one picture, re-encoded, resized or relit, and whether mirrored.

    Of pictures with equal hashes, each is compared with the first alone, so that many copies are few pairs: what is a
    copy of a copy may have no pair of its own.
    """
    _, firsts, which = np.unique(looks.hashes, return_index=True, return_inverse=True)
    turned = looks.greys.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
    everything = np.arange(len(looks.items))
    found: dict[tuple[int, int], bool] = {}
    for mirrored, one, other in (
        (False, firsts[which], everything),
        (False, *_among(close_hashes(looks.hashes[firsts], looks.hashes[firsts]), firsts, firsts)),
        (True, *_among(close_hashes(looks.hashes[firsts], looks.mirrored), firsts, everything)),
    ):
        one, other = one[one != other], other[one != other]
        same = distance(looks.greys[one], (turned if mirrored else looks.greys)[other]) <= COPY
        for pair in zip(one[same].tolist(), other[same].tolist(), strict=True):
            found.setdefault((min(pair), max(pair)), mirrored)
    return [(*pair, mirrored) for pair, mirrored in sorted(found.items())]


def _among(pairs: tuple[np.ndarray, np.ndarray], one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return one[pairs[0]], other[pairs[1]]


def pixel_digest(item: Item, read: Callable[[Item], Sample]) -> str:
    """SHA-256 of the shape and the decoded pixels."""
    image = read(item).image
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    step = max(1, AT_ONCE // max(columns, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


@cache
def _waves() -> Float32[np.ndarray, "8 32"]:
    """Rows 1 to 8 of the discrete cosine transform of 32 values."""
    row, column = np.arange(1, 9)[:, None], np.arange(SIDE)[None]
    return np.cos(np.pi * row * (2 * column + 1) / (2 * SIDE)).astype(np.float32)


def _standard(greys: Float32[np.ndarray, "n 32 32"]) -> Float32[np.ndarray, "n 256"]:
    small = greys.reshape(-1, 16, 2, 16, 2).mean((2, 4)).reshape(-1, 256)
    small = small - small.mean(1, keepdims=True)
    spread = small.std(1, keepdims=True)
    length = np.sqrt(np.square(small).sum(1, keepdims=True))
    return np.where(spread < FLAT, 0, small / np.maximum(length, 1e-6)).astype(np.float32)


def _grey(item: Item, read: Callable[[Item], Sample]) -> Float32[np.ndarray, "32 32"]:
    """The picture as 32x32 greys, 0 to 255, upright; of what no picture file holds, through the data set's reader."""
    if isinstance(item.image, Path) and item.image.suffix.lower() in EXTENSIONS:
        with opened(item.image) as picture:
            picture.draft("L", (2 * SIDE, 2 * SIDE))  # JPEG decodes at down to 1/8 size; other formats ignore it
            return _small(picture)
    return _small(_picture(read(item).image))


def _picture(image: np.ndarray) -> Image.Image:
    """Channels, rows, columns of a sample as a picture: RGB, or the mean of any other number of channels."""
    pixels = image if image.dtype == np.uint8 else (image * 255).astype(np.uint8)
    if len(pixels) == 3:
        return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    return Image.fromarray(pixels.mean(0).astype(np.float32))


def _small(picture: Image.Image) -> Float32[np.ndarray, "32 32"]:
    if picture.getexif().get(ORIENTATION, 1) != 1:
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in (*DEEP_GREY_MODES, "I", "F"):
        values = np.asarray(picture).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        picture = Image.fromarray((values - low) * (255 / max(high - low, 1e-12)))  # distances ignore the scale
    else:
        picture = picture.convert("L")
    return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR), dtype=np.float32)
