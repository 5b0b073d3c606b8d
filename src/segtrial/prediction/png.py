"""Rows of pixels, top to bottom -> one PNG file, written while they come: no image is ever held whole.

PNG specification (third edition), W3C 2025: chunks (section 5), filter types (9), palette and text (11.3).
"""

import struct
import zlib
from io import BufferedIOBase

import numpy as np
from jaxtyping import UInt8

from segtrial.drawing import NOTE

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, COLOURS, INDEXED = 0, 2, 3  # colour types
PLAIN, UP = 0, 2  # filter types: a byte as it is, or its difference from the byte above
LEVEL = 6  # of deflate; 9 takes three times as long and saves little


class PngRows:
    """A PNG of `size` (h, w) under way: 8-bit grey, RGB, or indices of a palette of 256 colours."""

    def __init__(self, file: BufferedIOBase, size: tuple[int, int], kind: int, *, palette: bytes = b"", note: str = ""):
        assert (kind == INDEXED) == (len(palette) == 768)
        self._file, self._packer, self._filter = file, zlib.compressobj(LEVEL), UP if kind == COLOURS else PLAIN
        self._above = np.zeros(size[1] * (3 if kind == COLOURS else 1), np.uint8)
        self._missing = size[0]
        file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], 8, kind, 0, 0, 0))
        if palette:
            self._chunk(b"PLTE", palette)
        if note:
            self._chunk(b"tEXt", NOTE.encode() + b"\0" + note.encode("latin-1"))

    def add(self, rows: UInt8[np.ndarray, "r w"] | UInt8[np.ndarray, "r w 3"]) -> None:
        """The next rows."""
        lines = rows.reshape(len(rows), -1)  # r, bytes
        self._missing -= len(lines)
        packed = np.empty((len(lines), 1 + lines.shape[1]), np.uint8)
        packed[:, 0] = self._filter
        packed[:, 1:] = lines
        if self._filter == UP:
            packed[0, 1:] -= self._above
            packed[1:, 1:] -= lines[:-1]
            self._above = lines[-1].copy()
        self._data(self._packer.compress(packed.tobytes()))

    def finish(self) -> None:
        """Call it once, after the last row."""
        assert self._missing == 0, f"{self._missing} rows are missing"
        self._data(self._packer.flush())
        self._chunk(b"IEND", b"")

    def _data(self, packed: bytes) -> None:
        if packed:
            self._chunk(b"IDAT", packed)

    def _chunk(self, kind: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))
