"""Bytes -> a file that is whole or absent: atomic writes, folder locks, hashes, failpoints (law 3).

A file is written beside its target, synced, renamed over it, and its folder synced. SEGTRIAL_FAILPOINT ("name",
"name:3" for the third passage, "name:3:TERM" for another signal) kills the process at a named moment; the kill harness
sets it.
"""

import hashlib
import json
import os
import re
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path

from segtrial.errors import RunError

POLL_SECONDS = 0.02

_passages: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Die by SIGKILL (or get another signal) here if SEGTRIAL_FAILPOINT says so: the power cut that tests can aim."""
    wanted, nth, number = [*os.environ.get("SEGTRIAL_FAILPOINT", "").split(":"), "", ""][:3]
    if wanted == name:
        _passages[name] += 1
        if _passages[name] == int(nth or 1):
            os.kill(os.getpid(), signal.Signals[f"SIG{number or 'KILL'}"])


@contextmanager
def writing(path: Path) -> Iterator[BufferedWriter]:
    """A file to write into, which is put at `path`, whole, when the block ends; if it raises, nothing is.

    At any moment the old file or the new one is there. Raises RunError (with the path and the reason) if the folder
    cannot be written or the disk is full.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            failpoint("write.open")
            yield file
            failpoint("write.before_sync")
            file.flush()
            os.fsync(file.fileno())
        failpoint("write.after_sync")
        os.replace(beside, path)
        failpoint("write.after_rename")
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink()
        if isinstance(error, OSError):
            fix = "Choose a folder with space and write access"
            raise RunError(path, f"cannot be written ({error.strerror})", fix) from error
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` at once; see `writing`."""
    with writing(path) as file:
        file.write(data)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON, atomically."""
    write_atomic(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def append_line(path: Path, line: str) -> None:
    """Append one line to a log and sync it. A kill can leave half a line: see `complete_lines`."""
    try:
        with path.open("ab") as file:
            failpoint("append.before")
            file.write(line.encode())
            file.flush()
            failpoint("append.half")
            file.write(b"\n")
            file.flush()
            os.fsync(file.fileno())
        failpoint("append.after")
    except OSError as error:
        raise RunError(
            path, f"cannot be written ({error.strerror})", "Choose a folder with space and write access"
        ) from error


def complete_lines(path: Path) -> list[str]:
    """The lines of a log that were written to their end; a half last line is dropped."""
    if not path.exists():
        return []
    return path.read_text().split("\n")[:-1]


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` survive a power cut (a no-op where folders cannot be opened, as on Windows)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(data: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_partials(folder: Path, *, but: Collection[str] = ()) -> None:
    """Delete what a killed `write_atomic` left anywhere below `folder` (call it under the folder's lock).

    `but` names folders in it that are left alone, as others may write there.
    """
    for leftover in folder.rglob(".*.partial"):
        if leftover.relative_to(folder).parts[0] in but:
            continue
        owner = re.fullmatch(r"\..+\.(\d+)\.partial", leftover.name)
        if owner and not _alive(int(owner[1])):
            leftover.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process != os.getpid()


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process; the system frees it however the process ends.

    Raises RunError, naming the holder, if another process has it or if the folder cannot be written.
    """
    import fcntl

    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RunError(folder, f"cannot be used as a folder ({error.strerror})", "Choose another --out") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another process"
            raise RunError(folder, f"in use by {holder}", "Wait for it, or choose another --out") from error
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def held(file: Path, meanwhile: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Wait until nobody else holds `file`, then hold it; the system frees it however the process ends.

    `meanwhile` is called now and then while it waits; what it raises ends the waiting.
    """
    import fcntl

    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab") as opened:
        while True:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                meanwhile()
                time.sleep(POLL_SECONDS)
        yield


def last_number(name: str) -> int | None:
    """The last digits in a name, such as 960 in 0006R0_f00960_L; None where there are none."""
    digits = re.search(r"(\d+)\D*$", name)
    return int(digits[1]) if digits else None
