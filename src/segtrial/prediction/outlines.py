"""Label maps, row by row -> the outlines of their areas as polygons with holes, along the edges of the pixels.

An area is what one class has of pixels that share an edge (4-connected). Corners are (x, y) in pixels, (0, 0) the top
left corner of the image, x to the right and y down. An outer ring runs so that the area lies on its right as one looks
at the image (its shoelace sum is positive), a hole the other way round; pixel (row, column) has its centre at
(column + 0.5, row + 0.5). Filling the rings (even-odd) gives the label map back, exactly.

Memory grows with the length of the outlines, not with the area of the image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8

from segtrial.shapes import IGNORE

EAST, SOUTH, WEST, NORTH = range(4)

Ring = Int64[np.ndarray, "_ 2"]


@dataclass(frozen=True)
class Area:
    """One connected area of a class: its outer ring, its holes, and its pixels."""

    label: int
    rings: tuple[np.ndarray, ...]
    pixels: int


class Outlines:
    """The outlines of a label map under way; IGNORE has none."""

    def __init__(self, width: int):
        self._above = np.full(width, IGNORE, np.uint8)
        self._top = 0
        self._runs: list[np.ndarray] = []  # (label, direction, x from, y from, x to, y to)

    def add(self, labels: UInt8[np.ndarray, "r w"]) -> None:
        """The next rows."""
        self._runs += [*self._along(np.vstack([self._above, labels])), *self._down(labels)]
        self._above, self._top = labels[-1].copy(), self._top + len(labels)

    def areas(self) -> Iterator[Area]:
        """Call it once, after the last row. By class, then from top to bottom."""
        self._runs += self._along(np.vstack([self._above, np.full_like(self._above, IGNORE)]))
        runs = np.concatenate(self._runs) if self._runs else np.zeros((0, 6), np.int64)
        self._runs = []
        if len(runs):
            yield from _areas(runs)

    def _along(self, rows: np.ndarray) -> list[np.ndarray]:
        """Upper edges, eastwards, and lower edges, westwards, between each row and the next."""
        upper, lower = rows[:-1], rows[1:]
        found = []
        for labels, heading in ((lower, EAST), (upper, WEST)):
            label, line, first, last = _runs(np.where(upper != lower, labels, IGNORE))
            line = line + self._top
            ends = (first, line, last, line) if heading == EAST else (last, line, first, line)
            found.append(np.stack([label, np.full_like(label, heading), *ends], axis=1))
        return found

    def _down(self, rows: np.ndarray) -> list[np.ndarray]:
        """Right edges, southwards, and left edges, northwards, within these rows."""
        column = np.full((len(rows), 1), IGNORE, np.uint8)
        left, right = np.hstack([column, rows]), np.hstack([rows, column])
        found = []
        for labels, heading in ((left, SOUTH), (right, NORTH)):
            label, line, first, last = _runs(np.where(left != right, labels, IGNORE).T)
            first, last = first + self._top, last + self._top
            ends = (line, first, line, last) if heading == SOUTH else (line, last, line, first)
            found.append(np.stack([label, np.full_like(label, heading), *ends], axis=1))
        return found


def _runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Runs of one label other than IGNORE along each line: (label, line, first, last + 1)."""
    border = np.full((len(labels), 1), IGNORE, labels.dtype)
    padded = np.hstack([border, labels, border]).astype(np.int64)
    line, place = np.nonzero(padded[:, 1:] != padded[:, :-1])  # a run begins or ends before `place`
    begins, ends = padded[line, place + 1] != IGNORE, padded[line, place] != IGNORE
    return padded[line, place + 1][begins], line[begins], place[begins], place[ends]


def _areas(runs: np.ndarray) -> Iterator[Area]:
    order, ring_of = _rings(runs)
    starts = np.flatnonzero(np.diff(ring_of[order], prepend=-1))  # `order` holds ring after ring
    labels, corners = runs[order[starts], 0], np.split(runs[order][:, 2:4], starts[1:])
    rings = [_bends(each) for each in corners]
    doubled = np.array([_shoelace(ring) for ring in rings])
    owner = _owners(runs, ring_of, order[starts], doubled)
    holes: dict[int, list[int]] = {}
    for ring in np.flatnonzero(doubled < 0).tolist():
        holes.setdefault(int(owner[ring]), []).append(ring)
    outer = np.flatnonzero(doubled > 0).tolist()
    for ring in sorted(outer, key=lambda ring: (labels[ring], *rings[ring][0][::-1])):
        members = [ring, *holes.get(ring, [])]
        loops = [loop for one in members for loop in _loops(rings[one])]
        loops.sort(key=_shoelace, reverse=True)  # the outer one is the only one above 0
        yield Area(int(labels[ring]), tuple(loops), int(doubled[members].sum()) // 2)


def _rings(runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs in the order in which they follow each other, ring after ring; and the ring of each run.

    Where two areas of a class touch at a corner, a ring turns right: it stays with its own pixel.
    """
    following = _following(runs)
    ring_of = np.full(len(runs), -1)
    order, ring = [], 0
    for first in np.lexsort((runs[:, 2], runs[:, 3], runs[:, 0])).tolist():
        run = first
        while ring_of[run] < 0:
            ring_of[run] = ring
            order.append(run)
            run = int(following[run])
        ring = int(ring_of[order[-1]]) + 1
    return np.array(order), ring_of


def _following(runs: np.ndarray) -> np.ndarray:
    """The run that each run is followed by: to the right if there is one, else ahead, else to the left."""
    label, heading = runs[:, 0], runs[:, 1]
    wide, high = runs[:, 2].max() + 1, runs[:, 3].max() + 1

    def key(x: np.ndarray, y: np.ndarray, towards: np.ndarray) -> np.ndarray:
        return ((label * high + y) * wide + x) * 4 + towards

    begins = key(runs[:, 2], runs[:, 3], heading)
    order = np.argsort(begins)
    begins = begins[order]
    following = np.full(len(runs), -1)
    for turn in (3, 0, 1):  # left, ahead, right: the last found counts
        wanted = key(runs[:, 4], runs[:, 5], (heading + turn) % 4)
        place = np.searchsorted(begins, wanted).clip(max=len(begins) - 1)
        following = np.where(begins[place] == wanted, order[place], following)
    return following


def _bends(points: np.ndarray) -> Ring:
    """A ring without the points on its straight lines, from its topmost left corner."""
    before, after = np.roll(points, 1, axis=0), np.roll(points, -1, axis=0)
    bends = (before[:, 0] == points[:, 0]) != (points[:, 0] == after[:, 0])
    return _from_top(points[bends])


def _from_top(ring: np.ndarray) -> Ring:
    return np.roll(ring, -int(np.lexsort((ring[:, 0], ring[:, 1]))[0]), axis=0)


def _loops(ring: Ring) -> list[Ring]:
    """A ring that touches itself at corners as rings that do not."""
    if len(np.unique(ring, axis=0)) == len(ring):
        return [ring]
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    loops = []
    for x, y in ring.tolist():
        if (x, y) in place:
            start = place[x, y]
            loops.append(_from_top(np.array(path[start:])))
            for gone in path[start:]:
                del place[gone]
            del path[start:]
        place[x, y] = len(path)
        path.append((x, y))
    return [_from_top(np.array(path)), *loops]


def _shoelace(ring: Ring) -> int:
    """Twice the enclosed area; negative for a hole."""
    x, y = ring.T
    return int((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())


def _owners(runs: np.ndarray, ring_of: np.ndarray, first: np.ndarray, doubled: np.ndarray) -> np.ndarray:
    """The outer ring of each ring's area. Above a hole, in its class, the next upper edge belongs to the same area."""
    upper = runs[:, 1] == EAST
    label, x, y, length = runs[upper, 0], runs[upper, 2], runs[upper, 3], runs[upper, 4] - runs[upper, 2]
    wide, high = runs[:, 2].max() + 1, runs[:, 3].max() + 2
    each = np.repeat(np.arange(len(x)), length)  # an upper edge, once for each of its columns
    column = x[each] + np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    edges = (label[each] * wide + column) * high + y[each]
    order = np.argsort(edges)
    edges, rings = edges[order], ring_of[upper][each][order]
    owner = np.arange(len(doubled))
    holes = np.flatnonzero(doubled < 0)
    tops = _tops(runs, ring_of, holes)
    place = np.searchsorted(edges, (runs[first[holes], 0] * wide + tops[:, 0]) * high + tops[:, 1], side="right") - 1
    owner[holes] = rings[place]
    while (doubled[owner] < 0).any():  # a hole below another one
        owner = owner[owner]
    return owner


def _tops(runs: np.ndarray, ring_of: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """A column and the lower edge (x, y) of the area above each hole: the first westward run at its top."""
    west = np.flatnonzero(runs[:, 1] == WEST)
    order = west[np.lexsort((runs[west, 3], ring_of[west]))]
    place = np.searchsorted(ring_of[order], holes)
    return np.stack([runs[order[place], 4], runs[order[place], 3]], axis=1)
