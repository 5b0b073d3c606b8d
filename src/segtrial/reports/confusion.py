"""Counts in, rows of a heat map out: how the pixels of each class were answered.

A row is the truth and adds up to 100 %; a column is an answer. Beyond MOST classes the smallest are summed
into one, because a map that nobody can read explains nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

MOST = 40
"""Classes with a row of their own."""

OTHERS = "all others"


@dataclass(frozen=True)
class Cell:
    """Pixels of one truth with one answer; `share` of that truth's pixels, None where it has none."""

    truth: str
    answer: str
    pixels: int
    share: float | None
    right: bool

    @property
    def text(self) -> str:
        """Whole percents; empty for nothing, and for what rounds to nothing."""
        return "" if not self.share or self.share < 0.005 else f"{100 * self.share:.0f}"

    @property
    def strength(self) -> str:
        """Which of the three inks reads best on this cell: low, middle or high."""
        share = self.share or 0
        return "high" if share >= 0.8 else "middle" if share >= 0.6 else "low"


@dataclass(frozen=True)
class HeatMap:
    """`rows[i][j]`: truth i answered j, named by `names`. `merged` classes are in its last row and column."""

    names: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    merged: int


def heat_map(counts: Int64[np.ndarray, "k k"], names: Sequence[str]) -> HeatMap:
    """The heat map of a confusion matrix (rows are the truth), in class order."""
    kept = _largest(counts, MOST)
    merged = len(names) - len(kept)
    table, titles = _merge(counts, kept), [names[index] for index in kept] + [OTHERS] * bool(merged)
    rows = [_row(title, row, titles, number) for number, (title, row) in enumerate(zip(titles, table, strict=True))]
    return HeatMap(tuple(titles), tuple(rows), merged)


def confusions(counts: Int64[np.ndarray, "k k"], names: Sequence[str], most: int = 6) -> list[Cell]:
    """The commonest mistakes, by pixels."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(names)) for place in order]
    return [_row(names[t], counts[t], names, t)[a] for t, a in places if wrong[t, a] > 0]


def _largest(counts: np.ndarray, most: int) -> list[int]:
    """Indices, ascending, of the `most` classes with the most pixels in truth and answers."""
    size = counts.sum(axis=0) + counts.sum(axis=1)
    return sorted(np.argsort(-size, kind="stable")[:most].tolist())


def _merge(counts: np.ndarray, kept: list[int]) -> np.ndarray:
    """The counts with all classes but `kept` summed into a last one; without it if there are no others."""
    others = [index for index in range(len(counts)) if index not in set(kept)]
    order = [[index] for index in kept] + [others] * bool(others)
    return np.array([[counts[np.ix_(rows, columns)].sum() for columns in order] for rows in order])


def _row(truth: str, pixels: np.ndarray, answers: Sequence[str], number: int) -> tuple[Cell, ...]:
    total = int(pixels.sum())
    return tuple(
        Cell(truth, answer, int(n), int(n) / total if total else None, column == number)
        for column, (answer, n) in enumerate(zip(answers, pixels, strict=True))
    )
