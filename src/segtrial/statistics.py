"""Rows of additive numbers and their blocks -> an interval, or a reason why there is none.

Frames of one clip repeat each other: they are one observation, however many there are. So whole blocks are
drawn, never images, and the score is computed anew from each draw's sums: a ratio of sums is no mean of ratios.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Num

from segtrial.errors import listing

FEWEST_BLOCKS = 5
"""With fewer, the percentile bootstrap covers far less than it claims, and no interval is better than that one."""

_NUMBERS_AT_ONCE = 2**22  # of one piece of the draws: bounds memory at some tens of MB


@dataclass(frozen=True)
class Interval:
    """Between `low` and `high`, `level` of the draws of whole blocks score."""

    low: float
    high: float
    level: float
    n_blocks: int
    over: str = "blocks"


@dataclass(frozen=True)
class NoInterval:
    """Why there is no interval, in words."""

    reason: str
    n_blocks: int


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
    `(draws, ...)` to `(draws,)`. With the same seed and blocks, every call draws the same blocks: to compare two
    variants, put their rows side by side and let `score` be the difference. Draws in which the score is NaN
    are left out.

    Efron and Tibshirani, An introduction to the bootstrap, 1993, section 13.3; blocks: Davison and Hinkley,
    Bootstrap methods and their application, 1997, section 3.8.
    """
    names, block_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(names) < FEWEST_BLOCKS:
        return NoInterval(_too_few(len(rows), [str(name) for name in names]), len(names))
    sums = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(sums, block_of, rows)
    scores = np.concatenate([score(drawn) for drawn in _resampled(sums, draws, seed)])
    defined = scores[~np.isnan(scores)]
    if not len(defined):
        return NoInterval("the score is undefined in every draw of blocks", len(names))
    if not np.isfinite(defined).all():  # such as the PSNR of photos that are reproduced exactly
        return NoInterval("the score is infinite in some draws of blocks", len(names))
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, len(names))


def _resampled(sums: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """The sums over each of `draws` resamples of the blocks, `(draws, ...)`, in pieces."""
    blocks, width = len(sums), sums[0].size
    generator = np.random.default_rng((seed, blocks))
    piece = max(1, _NUMBERS_AT_ONCE // max(blocks, width))
    for start in range(0, draws, piece):
        size = min(piece, draws - start)
        drawn = generator.integers(blocks, size=(size, blocks)) + blocks * np.arange(size)[:, None]
        times = np.bincount(drawn.ravel(), minlength=size * blocks).reshape(size, blocks).astype(np.float64)
        yield (times @ sums.reshape(blocks, width)).reshape(size, *sums.shape[1:])


def _too_few(images: int, names: list[str]) -> str:
    if not names:
        return "there are no images"
    what = f"one block ({names[0]})" if len(names) == 1 else f"only {len(names)} blocks ({listing(names)})"
    subject = "1 image is" if images == 1 else f"{images} images are"
    return f"{subject} {what}: an interval needs at least {FEWEST_BLOCKS} independent blocks"
