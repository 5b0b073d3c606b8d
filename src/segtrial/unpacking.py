"""A zip, tar or tar.gz from a stranger -> its files below one folder, or a DataError and what was written so far.

Only plain files and folders are made, all below the folder, none twice, none executable. Links, devices, absolute
names, "..", encryption, and archives that grow out of all proportion are refused.
"""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrial.errors import DataError, RunError, UserError
from segtrial.files import failpoint

PIECE = 1 << 20
"""Bytes copied at once."""

NOT_TAKEN = "Do not use it: fetch the archive again from its official page"

Said = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """What an archive may become: number of files, and bytes, absolute and per byte of the archive.

    An archive of any density may become `small` bytes.
    """

    files: int = 1_000_000
    bytes: int = 200_000_000_000
    growth: int = 100
    small: int = 100_000_000


@dataclass(frozen=True)
class Member:
    """One plain file in an archive: its declared size, and a stream of its bytes."""

    name: str
    size: int
    stream: Any


def unpack(archive: Path, into: Path, limits: Limits = Limits(), said: Said = lambda count: None) -> int:
    """Write every file of `archive` below `into`, a folder that nothing else uses; the number of files.

    `said` hears how many there are so far. Raises DataError, naming the archive and the member.
    """
    allowed = min(limits.bytes, max(limits.small, limits.growth * archive.stat().st_size))
    count = written = 0
    try:
        for member in _members(archive, allowed):
            if count == limits.files:
                raise _refused(archive, member.name, f"more than {limits.files} files")
            written = _write(archive, member, into, written, allowed)
            count += 1
            failpoint("unpack.file")
            said(count)
    except UserError:
        raise
    except Exception as error:  # damaged bytes break whatever reads them: BadZipFile, zlib.error, EOFError, ValueError
        raise DataError(archive, f"damaged, or no archive ({error})", NOT_TAKEN) from error
    if not count:
        raise DataError(archive, "no file in it", NOT_TAKEN)
    return count


def _members(archive: Path, allowed: int) -> Iterator[Member]:
    with archive.open("rb") as file:
        start = file.read(265)
    if start[:2] == b"PK":
        return _zip_members(archive)
    if start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar":
        return _tar_members(archive, allowed, zipped=start[:2] == b"\x1f\x8b")
    raise DataError(archive, f"no zip, tar or tar.gz: it starts with {start[:8]!r}", NOT_TAKEN)


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, info.filename, "a link" if kind == stat.S_IFLNK else "no plain file")
            if info.flag_bits & 1:
                raise _refused(archive, info.filename, "encrypted")
            if info.is_dir():
                _parts(archive, info.filename)
                continue
            with file.open(info) as stream:
                yield Member(info.filename, info.file_size, stream)


def _tar_members(archive: Path, allowed: int, *, zipped: bool) -> Iterator[Member]:
    with archive.open("rb") as raw, gzip.GzipFile(fileobj=raw) if zipped else raw as plain:
        # Counted before tarfile sees it: headers, too, can be made to grow. A file's header and padding are < 2 kB.
        counted = _Counted(archive, plain, 2 * allowed)
        with tarfile.open(fileobj=counted, mode="r|") as file:
            for info in file:
                if info.issym() or info.islnk():
                    raise _refused(archive, info.name, f"a link to {info.linkname!r}")
                if info.isdir():
                    _parts(archive, info.name)
                    continue
                stream = file.extractfile(info) if info.isreg() else None
                if stream is None:
                    raise _refused(archive, info.name, "no plain file")
                yield Member(info.name, info.size, stream)


class _Counted(io.RawIOBase):
    """A stream that ends in a DataError when more than `allowed` bytes have come out of it."""

    def __init__(self, archive: Path, stream: Any, allowed: int):
        super().__init__()
        self._archive, self._stream, self._left = archive, stream, allowed

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise _grown(self._archive)
        return data


def _write(archive: Path, member: Member, into: Path, written: int, allowed: int) -> int:
    """Copy one file out; the bytes written so far, with it. Counts what comes, not what headers declare."""
    path = into.joinpath(*_parts(archive, member.name))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.open("xb")
    except (FileExistsError, NotADirectoryError) as error:
        raise _refused(archive, member.name, "there twice, or a file and a folder at once") from error
    except OSError as error:
        raise _unwritable(path, error) from error
    end = written + member.size
    with target:
        while piece := member.stream.read(PIECE):
            written += len(piece)
            if written > allowed:
                raise _grown(archive)
            try:
                target.write(piece)
            except OSError as error:
                raise _unwritable(path, error) from error
    if written != end:
        raise _refused(archive, member.name, f"{end - written} of its {member.size} bytes are missing")
    return written


def _parts(archive: Path, name: str) -> list[str]:
    """The folders and the name of a member. Raises DataError unless they lead down."""
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0][1:2] == ":" or ".." in parts:
        raise _refused(archive, name, "a name that leads out of its folder")
    return [part for part in parts if part not in ("", ".")]


def _refused(archive: Path, name: str, found: str) -> DataError:
    return DataError(archive, f"{name[:200]!r} in it: {found}", NOT_TAKEN)


def _grown(archive: Path) -> DataError:
    found = f"{archive.stat().st_size} bytes that grow out of all proportion"
    return DataError(archive, found, NOT_TAKEN)


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(path, f"cannot be written ({error.strerror})", "Choose another --out, with space and short names")
