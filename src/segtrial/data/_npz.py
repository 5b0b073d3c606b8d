"""An .npz file -> its arrays, mapped or inflated, once their headers have been checked; nothing is unpickled.

An .npz is a zip of .npy files. What a header declares must be what the zip holds, and a compressed array may not
grow out of all proportion. An array that was stored is mapped from the file, a compressed one is inflated; either
way its checksum is compared.
"""

import math
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from segtrial.errors import DataError, UserError

MOST_GROWTH = 200
"""A compressed array may be this many times its size in the file. Text shrinks to a tenth, black pictures more."""

ALWAYS_FINE = 64_000_000
"""Bytes of an array that may be compressed as well as can be."""

PIECE = 1 << 20  # bytes read at once while the checksum is computed

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}

AGAIN = "Save it again with numpy.savez"


@dataclass(frozen=True)
class Header:
    """One array as it declares itself. `start` is the place of its first number in the file, None if compressed."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool
    start: int | None


def array_names(path: Path) -> list[str]:
    """The names of the arrays in the file. Raises DataError if it is no .npz."""
    with _zip(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_header(path: Path, name: str) -> Header:
    """What the array `name` is, without reading it. Raises DataError for objects, lies and bombs."""
    with _zip(path, name) as archive:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as stream:
            version = np.lib.format.read_magic(stream)
            if version not in HEADERS:
                raise DataError(_place(path, name), f"version {version} of the .npy format", AGAIN)
            shape, fortran, dtype = HEADERS[version](stream)
            length = stream.tell()
        _check(path, name, info, shape, dtype, length)
        start = _start(path, info) + length if info.compress_type == zipfile.ZIP_STORED else None
        return Header(shape, dtype, fortran, start)


def read_array(path: Path, name: str) -> np.ndarray:
    """The array `name`, read only. Raises DataError as `read_header` does, and for damaged contents."""
    header = read_header(path, name)
    with _zip(path, name) as archive, archive.open(f"{name}.npy") as stream:
        if header.start is None:
            array = np.lib.format.read_array(stream, allow_pickle=False)
            array.setflags(write=False)
            return array
        while stream.read(PIECE):  # at the end the zip's checksum is compared
            pass
    order = "F" if header.fortran else "C"
    if math.prod(header.shape) == 0:
        return np.empty(header.shape, header.dtype)
    return np.memmap(path, header.dtype, "r", header.start, header.shape, order)


def _check(path: Path, name: str, info: zipfile.ZipInfo, shape: tuple[int, ...], dtype: np.dtype, length: int) -> None:
    place = _place(path, name)
    if dtype.hasobject:
        found = "Python objects, which only unpickling reads, and a pickle can run any code"
        raise DataError(place, found, "Save plain numbers or text: np.array(values, dtype=...)")
    declared = math.prod(shape) * dtype.itemsize + length
    if declared != info.file_size or any(side < 0 for side in shape):
        found = f"its header declares {shape} of {dtype} ({declared} bytes), and {info.file_size} bytes are there"
        raise DataError(place, found, AGAIN)
    if info.compress_size > path.stat().st_size:
        raise DataError(place, f"{info.compress_size} bytes, more than the whole file has", AGAIN)
    if info.file_size > max(ALWAYS_FINE, MOST_GROWTH * info.compress_size):
        found = f"{info.compress_size} bytes that grow to {info.file_size}, more than {MOST_GROWTH} times"
        raise DataError(place, found, "Save it uncompressed, with numpy.savez, if it is meant so")


def _start(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a stored member's bytes begin: behind its local header, its name and its extra field."""
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", file.read(4))
    return info.header_offset + 30 + name + extra


def _place(path: Path, name: str) -> str:
    return f"{path}: {name}" if name else str(path)


@contextmanager
def _zip(path: Path, name: str = "") -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except UserError:
        raise
    except MemoryError as error:
        fix = "Save it uncompressed, with numpy.savez: it is then mapped, not loaded"
        raise DataError(_place(path, name), "the inflated array does not fit into memory", fix) from error
    except Exception as error:  # damage meets whatever breaks first: BadZipFile, zlib.error, ValueError, KeyError
        raise DataError(_place(path, name), f"damaged, or no .npz file ({error})", AGAIN) from error
