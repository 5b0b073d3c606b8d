"""Rows of class indices and the tags of a GeoTIFF -> a TIFF with the class colours that lies where the image lay.

TIFF 6.0, Adobe 1992: an image file directory behind the strips, little endian. The georeference (GeoTIFF 1.1, OGC
2019: scale, tie points or matrix, and the keys of its coordinate system) is copied, number by number.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedIOBase
from typing import Any

import numpy as np
from jaxtyping import UInt8

GEOREFERENCE = {33550: "d", 33922: "d", 34264: "d", 34735: "H", 34736: "d", 34737: "s"}
"""Tag -> type of its values: pixel scale, tie points, transformation, keys, and what the keys point at."""

ROWS = 64  # of a strip
DEFLATE, PALETTE = 8, 3  # compression, photometric interpretation
TYPES = {"s": 2, "H": 3, "L": 4, "d": 12}


@dataclass(frozen=True)
class Georeference:
    """Where on the ground an image lies: the values of the tags in GEOREFERENCE, as they are."""

    tags: tuple[tuple[int, tuple[float, ...] | tuple[int, ...] | str], ...]


def georeference(tags: Mapping[int, object]) -> Georeference | None:
    """What the tags of a TIFF say of its place; None if they say nothing. Raises ValueError if that is no place."""
    found = {tag: tags[tag] for tag in GEOREFERENCE if tags.get(tag) is not None}
    if 34735 not in found and 33550 not in found and 34264 not in found:
        return None
    return Georeference(tuple((tag, _checked(tag, value)) for tag, value in found.items()))


def _checked(tag: int, value: Any) -> tuple[float, ...] | tuple[int, ...] | str:
    """The values of a tag in its type; one alone comes without a tuple."""
    kind, values = GEOREFERENCE[tag], value if isinstance(value, tuple) else (value,)
    if kind == "s" and isinstance(value, str):
        return value
    if kind == "H" and all(isinstance(one, int) and 0 <= one < 2**16 for one in values):
        return values
    if kind == "d" and not isinstance(value, str | bytes):
        return tuple(float(one) for one in values)
    raise ValueError(f"its tag {tag}, of where it lies on the ground, holds {value!r:.60}")


class TiffRows:
    """A TIFF of `size` (h, w) under way: indices of a palette of 256 colours, deflated in strips of ROWS rows."""

    def __init__(self, file: BufferedIOBase, size: tuple[int, int], palette: bytes, place: Georeference):
        self._file, self._size, self._palette, self._place = file, size, palette, place
        self._rows, self._strips = np.zeros((0, size[1]), np.uint8), []
        file.write(b"II*\0" + bytes(4))  # the place of the directory is filled in at the end

    def add(self, rows: UInt8[np.ndarray, "r w"]) -> None:
        """The next rows."""
        self._rows = np.concatenate([self._rows, rows])
        while len(self._rows) >= ROWS:
            self._strip(self._rows[:ROWS])
            self._rows = self._rows[ROWS:]

    def finish(self) -> None:
        """Call it once, after the last row."""
        if len(self._rows):
            self._strip(self._rows)
        colors = np.frombuffer(self._palette, np.uint8).reshape(256, 3).T.astype(np.uint16) * 257  # to 16 bits
        starts, lengths = zip(*self._strips, strict=True)
        entries: dict[int, tuple[str, object]] = {
            256: ("L", (self._size[1],)),
            257: ("L", (self._size[0],)),
            258: ("H", (8,)),  # bits
            259: ("H", (DEFLATE,)),
            262: ("H", (PALETTE,)),
            273: ("L", starts),
            277: ("H", (1,)),  # number a pixel
            278: ("L", (ROWS,)),
            279: ("L", lengths),
            320: ("H", colors.flatten()),
        }
        entries |= {tag: (GEOREFERENCE[tag], value) for tag, value in self._place.tags}
        start = self._directory([_entry(tag, *entries[tag]) for tag in sorted(entries)])
        self._file.seek(4)
        self._file.write(struct.pack("<I", start))

    def _strip(self, rows: np.ndarray) -> None:
        packed = zlib.compress(rows.tobytes(), 6)
        self._strips.append((self._file.tell(), len(packed)))
        self._file.write(packed + bytes(len(packed) % 2))  # places are even

    def _directory(self, entries: list[tuple[bytes, bytes]]) -> int:
        """Write the values that are longer than four bytes, then the directory; its place."""
        lines = []
        for head, values in entries:
            if len(values) > 4:
                lines.append(head + struct.pack("<I", self._file.tell()))
                self._file.write(values + bytes(len(values) % 2))
            else:
                lines.append(head + values.ljust(4, b"\0"))
        start = self._file.tell()
        self._file.write(struct.pack("<H", len(lines)) + b"".join(lines) + bytes(4))
        return start


def _entry(tag: int, kind: str, values: object) -> tuple[bytes, bytes]:
    """The first eight bytes of a directory's entry, and its values."""
    if isinstance(values, str):
        packed = values.encode("ascii", "replace") + b"\0"
        count = len(packed)
    else:
        numbers = np.array(values, {"H": "<u2", "L": "<u4", "d": "<f8"}[kind])
        packed, count = numbers.tobytes(), numbers.size
    return struct.pack("<HHI", tag, TYPES[kind], count), packed
