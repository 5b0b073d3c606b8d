"""Rows of additive numbers and their blocks -> an interval, or a reason why there is none.

Frames of one clip repeat each other: they are one observation, however many there are. So whole blocks are
drawn, never images, and the score is computed anew from each draw's sums: a ratio of sums is no mean of ratios.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, Num

from segtrial.errors import DataError, listing
from segtrial.files import last_number

FEWEST_BLOCKS = 5
"""With fewer, the percentile bootstrap covers far less than it claims, and no interval is better than that one."""

NUMBERS_AT_ONCE = 2**22
"""Of one piece of the work: bounds memory at some tens of MB."""


@dataclass(frozen=True)
class Interval:
    """From `low` to `high` at confidence `level`; `over` names what varies: blocks, seeds, seeds and blocks, folds."""

    low: float
    high: float
    level: float
    n_blocks: int | None
    over: str = "blocks"
    n_seeds: int | None = None


@dataclass(frozen=True)
class NoInterval:
    """Why there is no interval, in words."""

    reason: str
    n_blocks: int | None
    n_seeds: int | None = None


def block_interval(
    rows: Num[np.ndarray, "n ..."],
    groups: Sequence[str],
    score: Callable[[np.ndarray], np.ndarray],
    *,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> Interval | NoInterval:
    """The percentile bootstrap interval of `score(rows.sum(0))`, drawing whole blocks with replacement.

    `rows[i]` holds image i's additive numbers and `groups[i]` names its block. `score` maps sums of shape
    `(draws, ...)` to `(draws,)`. With the same seed and blocks, every call draws the same blocks. Draws in which
    the score is NaN are left out. It is of one run; `compare_pair` compares two variants over seeds.

    Efron and Tibshirani, An introduction to the bootstrap, 1993, section 13.3; blocks: Davison and Hinkley,
    Bootstrap methods and their application, 1997, section 3.8.
    """
    names, block_of = blocks_of(groups)
    if len(names) < FEWEST_BLOCKS:
        return NoInterval(too_few(len(rows), names), len(names))
    sums = block_sums(rows[None], block_of)[0]
    scores = np.concatenate([score(drawn) for drawn in _resampled(sums, draws, seed)])
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return NoInterval("the score is undefined in every draw of blocks", len(names))
    if not np.isfinite(defined).all():  # such as the PSNR of photos that are reproduced exactly
        return NoInterval("the score is infinite in some draws of blocks", len(names))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, len(names))


def video_blocks(keys: Sequence[str], groups: Sequence[str], frames: int | None) -> list[str]:
    """The block of each image: its group, or the stretch of `frames` frames of it that its number falls into.

    Numbers are those that end the names. With 30 frames a second 600 frames are 20 s. Raises DataError for a name
    without a number.
    """
    if frames is None:
        return list(groups)
    found = []
    for key, group in zip(keys, groups, strict=True):
        if (number := last_number(key)) is None:
            raise DataError(key, "no number in its name, so it has no place in a video", "Leave block_frames out")
        found.append(f"{group} {number // frames}")
    return found


def blocks_of(groups: Sequence[str]) -> tuple[list[str], Integer[np.ndarray, " n"]]:
    """The names of the blocks in order, and the number of each image's."""
    names, block_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    return [str(name) for name in names], block_of


def block_sums(rows: Num[np.ndarray, "s n *row"], block_of: Integer[np.ndarray, " n"]) -> Num[np.ndarray, "s m *row"]:
    """Of each seed, the sum of the rows of each block; of integers exact."""
    order = np.argsort(block_of, kind="stable")
    starts = np.searchsorted(block_of[order], np.arange(block_of.max() + 1))
    return np.add.reduceat(rows[:, order], starts, axis=1, dtype=np.result_type(rows.dtype, np.int64))


def too_few(images: int, names: Sequence[str]) -> str:
    """The reason for no interval over fewer than `FEWEST_BLOCKS` blocks, in words."""
    if not names:
        return "there are no images"
    what = f"one block ({names[0]})" if len(names) == 1 else f"only {len(names)} blocks ({listing(names)})"
    subject = "1 image is" if images == 1 else f"{images} images are"
    return f"{subject} {what}: an interval needs at least {FEWEST_BLOCKS} independent blocks"


def _resampled(sums: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """The sums over each of `draws` resamples of the blocks, `(draws, ...)`, in pieces."""
    blocks, width = len(sums), sums[0].size
    generator = np.random.default_rng((seed, blocks))
    piece = max(1, NUMBERS_AT_ONCE // max(blocks, width))
    columns = sums.reshape(blocks, width).astype(np.float64)
    for start in range(0, draws, piece):
        size = min(piece, draws - start)
        drawn = generator.integers(blocks, size=(size, blocks)) + blocks * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * blocks).reshape(size, blocks).astype(np.float64)
        yield (times @ columns).reshape(size, *sums.shape[1:])
