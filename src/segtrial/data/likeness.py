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
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from jaxtyping import Float, Float32, Integer, UInt64

from segtrial.data.glance import GLANCES, Glance
from segtrial.data.memory import Kind, seen
from segtrial.data.perceptual import STEPS, Likeness, likeness_of_sample
from segtrial.data.pictures import EXTENSIONS
from segtrial.data.sample import Item, Sample
from segtrial.randomness import generator

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
"""Products of pairs that are made at once: bounds memory."""

PAIRED = 500_000
"""Pairs of hashes that are compared at once: bounds memory, and fits into the cache of a core."""

ROWS = 4096
"""Pairs of greys that are compared at once."""


@dataclass(frozen=True)
class Looks:
    """How n pictures look: `items` in their order, `hashes`, the hashes of their mirror images, and `greys`.

    The greys have mean 0 and length 1; those of a flat picture are all 0, and it is near to nothing. Files with one
    digest have the same bytes.
    """

    items: tuple[Item, ...]
    hashes: UInt64[np.ndarray, " n"]
    mirrored: UInt64[np.ndarray, " n"]
    greys: Float32[np.ndarray, "n 256"]
    digests: tuple[str, ...]

    def __getitem__(self, chosen: Sequence[int] | np.ndarray) -> "Looks":
        index = np.asarray(chosen, dtype=np.int64)
        items, digests = (tuple(side[one] for one in index.tolist()) for side in (self.items, self.digests))
        return Looks(items, self.hashes[index], self.mirrored[index], self.greys[index], digests)

    def of(self, items: Sequence[Item]) -> "Looks":
        """Those of `items` that could be read."""
        wanted = {item.key for item in items}
        return self[[index for index, item in enumerate(self.items) if item.key in wanted]]


def looks_of(items: Sequence[Item], likenesses: Sequence[Likeness]) -> Looks:
    """How these items look, by what was seen of each."""
    bits = np.array([(one.hash, one.mirrored) for one in likenesses], dtype=np.uint64).reshape(-1, 2).T
    greys = np.empty((len(likenesses), 256), np.float32)
    for start in range(0, len(likenesses), PAIRS):  # some at once: bounds memory
        block = [np.frombuffer(b64decode(one.grey), "<u2") for one in likenesses[start : start + PAIRS]]
        greys[start : start + PAIRS] = _standard(np.stack(block).astype(np.float32) / STEPS)
    return Looks(tuple(items), bits[0], bits[1], greys, tuple(one.digest for one in likenesses))


def look_at(
    items: Sequence[Item], read: Callable[[Item], Sample], progress: Callable[[int, int], object] | None = None
) -> Looks:
    """The looks of the items, each decoded once. Damaged files are left out: whoever reads them next names them.

    What no picture file holds is looked at through `read`.
    """
    files = [item for item in items if _is_file(item)]
    others = [item for item in items if not _is_file(item)]
    glances = seen(GLANCES, [item.image for item in files if item.image is not None])
    samples = seen(Kind("likeness", partial(_likeness, read), lambda tree: Likeness(*tree)), others)
    found: dict[Item, Likeness] = {}
    for done, (item, one) in enumerate(zip([*files, *others], chain(glances, samples), strict=True), start=1):
        likeness = one.likeness if isinstance(one, Glance) else one
        if isinstance(likeness, Likeness):
            found[item] = likeness
        if progress is not None:
            progress(done, len(items))
    kept = [item for item in items if item in found]
    return looks_of(kept, [found[item] for item in kept])


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
    index = [(looks[block] @ among.T).argmax(1) for block in _blocks(len(looks), len(among), AT_ONCE)]
    found = np.concatenate([np.zeros(0, np.int64), *index])
    return found, distance(looks, among[found])


def close_hashes(
    hashes: UInt64[np.ndarray, " n"], among: UInt64[np.ndarray, " m"], most: int = COPY_BITS
) -> tuple[Integer[np.ndarray, " p"], Integer[np.ndarray, " p"]]:
    """Index pairs of hashes that differ in at most `most` bits."""
    one, other = np.nonzero(np.bitwise_count(hashes[:, None] ^ among[None]) <= most)
    return one, other


def copies(looks: Looks, progress: Callable[[int, int], object] | None = None) -> list[tuple[int, int, bool]]:
    """Pairs of places (first, later) that show one picture, re-encoded, resized or relit, and whether mirrored.

    Only pictures of different groups are compared. Each later one is named with the earliest that it is a copy of, and
    with the earliest whose mirror image it is: at most two pairs. Of pictures with equal hashes the later ones are
    compared with the first alone: what is a copy of a copy may have no pair of its own.

    All pairs of hashes are compared, in blocks: memory grows with the number of pictures, not of pairs. A picture that
    was found to be a copy is compared with no later one. `progress(done, total)` counts pictures.
    """
    _, firsts, which = np.unique(looks.hashes, return_index=True, return_inverse=True)
    everything, search = np.arange(len(looks.items)), _Search(looks)
    search.add(False, firsts[which], everything)
    firsts = np.sort(firsts)
    straight, turned = looks.hashes, looks.mirrored
    for block in _blocks(len(looks.items), len(looks.items), PAIRED):
        rows = everything[block]
        heads = firsts[np.searchsorted(firsts, block.start) : np.searchsorted(firsts, block.stop)]
        for mirrored, low, low_hashes, high, high_hashes in (
            (False, heads, straight, firsts, straight),
            (True, heads, straight, everything, turned),
            (True, rows, turned, firsts, straight),
        ):
            high = high[(high > block.start) & (search.earliest[int(mirrored)][high] > block.start)]
            one, other = close_hashes(low_hashes[low], high_hashes[high])
            search.add(mirrored, low[one], high[other])
        if progress is not None:
            progress(block.stop, len(looks.items))
    return search.pairs()


class _Search:
    """The earliest picture that each one is a copy of, straight ([0]) and mirrored ([1]); n where there is none."""

    def __init__(self, looks: Looks):
        number = {group: index for index, group in enumerate(dict.fromkeys(item.group for item in looks.items))}
        self.groups = np.array([number[item.group] for item in looks.items], dtype=np.int64)
        self.greys = looks.greys
        self.earliest = np.full((2, len(looks.items)), len(looks.items))

    def add(self, mirrored: bool, low: np.ndarray, high: np.ndarray) -> None:
        """Take the pairs of places low < high that are near enough and of two groups, earliest first."""
        fit = (low < high) & (self.groups[low] != self.groups[high])
        low, high = low[fit], high[fit]
        earliest = self.earliest[int(mirrored)]
        while len(low):
            one, other = self.greys[low[:ROWS]], self.greys[high[:ROWS]]
            if mirrored:
                other = other.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
            same = distance(one, other) <= COPY
            np.minimum.at(earliest, high[:ROWS][same], low[:ROWS][same])
            low, high = low[ROWS:], high[ROWS:]
            better = low < earliest[high]
            low, high = low[better], high[better]

    def pairs(self) -> list[tuple[int, int, bool]]:
        """(first, later, whether only mirrored), in order."""
        places = np.arange(self.earliest.shape[1])
        found: dict[tuple[int, int], bool] = {}
        for mirrored, earliest in ((False, self.earliest[0]), (True, self.earliest[1])):
            later = places[earliest < len(places)]
            for pair in zip(earliest[later].tolist(), later.tolist(), strict=True):
                found.setdefault(pair, mirrored)
        return [(*pair, mirrored) for pair, mirrored in sorted(found.items())]


def pixel_digest(item: Item, read: Callable[[Item], Sample]) -> str:
    """SHA-256 of the shape and the decoded pixels."""
    image = read(item).image
    return hashlib.sha256(f"{image.shape} {image.dtype}".encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def _blocks(rows: int, columns: int, pairs: int) -> Iterator[slice]:
    step = max(1, pairs // max(columns, 1))
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _standard(small: Float32[np.ndarray, "n 256"]) -> Float32[np.ndarray, "n 256"]:
    small = small - small.mean(1, keepdims=True)
    spread = small.std(1, keepdims=True)
    length = np.sqrt(np.square(small).sum(1, keepdims=True))
    return np.where(spread < FLAT, 0, small / np.maximum(length, 1e-6)).astype(np.float32)


def _is_file(item: Item) -> bool:
    return item.image is not None and item.image.suffix.lower() in EXTENSIONS


def _likeness(read: Callable[[Item], Sample], item: Item) -> Likeness:
    return likeness_of_sample(read(item).image)
