"""Images too large for the device -> tiles that overlap, and their scores blended into one answer, a strip at a time.

    rows of the image  ->  a row of tiles  ->  scores  ->  blended along the row  ->  blended with the row above

What no later tile reaches is handed on at once, so memory holds one row of tiles of the image, one batch of scores,
and the scores of the rows that two rows of tiles share. Tiles begin at multiples of what the network pads to, and
the image is padded as a whole, so that a tile is cut out of exactly what the network would see of the whole image.

Scores are blended as a running mean, which leaves equal scores equal to the bit: wherever a network's answer does not
depend on where a tile ends, tiles give the answer of the whole image. A network that sees `radius` pixels around each
does so if an overlap is at least 4 x radius: a quarter of it, beside the tile's edge, counts for nothing.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float32, Float64, Shaped
from torch import Tensor

from segtrial.drawing import Pixels
from segtrial.errors import RecipeError
from segtrial.models._whole import Whole, pad

Ask = Callable[[Tensor], Tensor]

WHOLE_PIXELS = 2**21
"""Images of up to this many pixels (1024 x 2048) are not cut, whatever the network has learnt from."""

CPU_PIXELS, MOST_PIXELS = 2**19, 2**21
"""Of tiles, or of whole images of one size, that go through the network together: a CPU gains little by more."""

SIDES = (256, 1024)
"""A tile's side, where nobody says otherwise: as the images that the network was scored on, within these."""

LARGEST_SIDE = 16384


@dataclass(frozen=True)
class Tiling:
    """How images of more than `whole` pixels are cut: tiles of `side` (h, w), neighbours sharing `overlap` pixels."""

    side: tuple[int, int]
    overlap: int
    whole: int = 0

    def cuts(self, size: tuple[int, int]) -> bool:
        """Whether an image of `size` (h, w) is cut."""
        return size[0] * size[1] > self.whole and any(a > b for a, b in zip(size, self.side, strict=True))


def tiling(word: str, overlap: int | None, scored: tuple[int, int]) -> Tiling | None:
    """What `--tile` and `--overlap` mean for a network scored on images of up to `scored` (h, w); None: never cut.

    "auto" cuts what has more pixels than WHOLE_PIXELS and than those images, into tiles about as large as they.
    Raises RecipeError for another word, and for an overlap that is not shorter than the tile.
    """
    if word == "none":
        return None
    if word == "auto":
        side = tuple(min(max(extent, SIDES[0]), SIDES[1]) for extent in scored)
        whole = max(WHOLE_PIXELS, scored[0] * scored[1])
    elif re.fullmatch(r"[1-9]\d{0,5}", word) and int(word) <= LARGEST_SIDE:
        side, whole = (int(word), int(word)), 0
    else:
        raise RecipeError("--tile", repr(word), f"Choose auto, none, or a side of 1 to {LARGEST_SIDE} pixels")
    shared = min(side) // 4 if overlap is None else overlap
    if not 0 <= shared < min(side):
        fix = f"Choose 0 to {min(side) - 1} pixels, less than a tile's side of {min(side)}"
        raise RecipeError("--overlap", str(overlap), fix)
    return Tiling((side[0], side[1]), shared, whole)


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis: they begin at `starts`, each `side` long, and cover `length` pixels."""

    starts: tuple[int, ...]
    side: int
    length: int
    overlap: int

    def window(self, tile: int) -> Float64[np.ndarray, " side"]:
        """What each pixel of a tile counts: 0 in a quarter of the overlap, then rising to 1; 1 at the image's edge."""
        margin = self.overlap // 4
        rise = (np.arange(self.side) + 1.0 - margin) / (self.overlap - 2 * margin + 1)
        rise = rise.clip(0, 1)
        before = rise if self.starts[tile] > 0 else np.ones(self.side)
        after = rise[::-1] if self.starts[tile] + self.side < self.length else np.ones(self.side)
        return np.minimum(before, after)

    @cached_property
    def shares(self) -> tuple[Float32[Tensor, " side"], ...]:
        """The share that each tile takes of the mean of all tiles up to it: its window over the sum of the windows."""
        total, shares = np.zeros(self.length), []
        for tile, start in enumerate(self.starts):
            window, there = self.window(tile), slice(start, start + self.side)
            total[there] += window
            share = np.divide(window, total[there], out=np.zeros(self.side), where=window > 0)
            shares.append(torch.from_numpy(share.astype(np.float32)))
        return tuple(shares)

    def ready(self, tile: int) -> int:
        """How many pixels of a tile, from its start, no later tile reaches."""
        following = self.starts[tile + 1] if tile + 1 < len(self.starts) else self.length
        return following - self.starts[tile]


def axis(length: int, side: int, overlap: int, multiple: int) -> Axis:
    """Tiles over `length` pixels, a multiple of `multiple`, that begin at multiples of it, evenly spread.

    Sides and overlaps are rounded up to multiples, and a side is at least two of them, as the network wants it.
    """
    units, tile = length // multiple, max(2, math.ceil(side / multiple))
    if units <= tile:
        return Axis((0,), length, length, 0)
    shared = min(math.ceil(overlap / multiple), tile - 1)
    count = math.ceil((units - shared) / (tile - shared))
    starts = tuple(multiple * (number * (units - tile) // (count - 1)) for number in range(count))
    return Axis(starts, tile * multiple, length, shared * multiple)


@dataclass(frozen=True)
class Block:
    """A rectangle of an image, and its scores, which nothing changes any more. The last of a row has `ends`."""

    image: Shaped[Tensor, "c h w"]
    scores: Float32[Tensor, "k h w"]
    ends: bool = True


def blocks(
    ask: Ask,
    read: Callable[[int, int], Pixels],
    size: tuple[int, int],
    network: Whole,
    tiling: Tiling,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Block]:
    """The image of `size` (h, w), whose rows `read(first, last)` gives, from left to right and top to bottom."""
    height, width = network.padded_size(*size)
    down = axis(height, tiling.side[0], tiling.overlap, network.multiple)
    across = axis(width, tiling.side[1], tiling.overlap, network.multiple)
    above: Tensor | None = None  # scores (k, rows, width) of the rows that this row of tiles shares with the last
    for row, top in enumerate(down.starts):
        image = torch.from_numpy(np.array(read(top, min(top + down.side, size[0]))))  # c rows w
        padded = pad(image[None], (down.side, width))[0]
        ready, below = down.ready(row), None
        rows = min(ready, size[0] - top)
        for left, scores in _along(ask, padded, across, pixels_together(network)):
            right = left + scores.shape[2]
            mixed = scores if above is None else _mixed(above[..., left:right], scores, down.shares[row][:, None], 1)
            if ready < down.side:  # in one piece: small ones would lie all over the memory
                below = mixed.new_empty(len(mixed), down.side - ready, width) if below is None else below
                below[..., left:right] = mixed[:, ready:]
            inside = slice(left, min(right, size[1]))
            yield Block(image[:, :rows, inside], mixed[:, :rows, : inside.stop - left], right == width)
        above = below
        if progress:
            progress(row + 1, len(down.starts))


def pixels_together(network: Whole) -> int:
    """How many pixels go through the network at once, on the device where it is."""
    return CPU_PIXELS if network.mean.device.type == "cpu" else MOST_PIXELS


def _along(ask: Ask, image: Tensor, across: Axis, most: int) -> Iterator[tuple[int, Float32[Tensor, "k side columns"]]]:
    """The blended scores of one row of tiles, in pieces: (first column, scores of the columns from there)."""
    batch = max(1, most // (image.shape[1] * across.side))
    kept: Tensor | None = None  # of the columns that the next tile covers as well
    for first in range(0, len(across.starts), batch):
        starts = across.starts[first : first + batch]
        answers = ask(torch.stack([image[:, :, start : start + across.side] for start in starts]))
        for tile, scores in enumerate(answers, first):
            mixed = scores if kept is None else _mixed(kept, scores, across.shares[tile], 2)
            ready = across.ready(tile)
            yield across.starts[tile], mixed[:, :, :ready]
            kept = mixed[:, :, ready:]


def _mixed(old: Tensor, new: Tensor, shares: Tensor, axis: int) -> Tensor:
    """`new`, whose first rows (axis 1) or columns (axis 2) are mixed with `old`, of which they take their share."""
    length = old.shape[axis]
    share = shares[:length].to(new.device)
    return torch.cat(
        [old.lerp(new.narrow(axis, 0, length), share), new.narrow(axis, length, new.shape[axis] - length)], axis
    )
