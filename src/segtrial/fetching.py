"""An address and a checksum -> the file, whole and checked, however often the download was cut or killed.

A download goes to NAME.part and is continued there by Range, as long as the server still has the same file; only a
whole and checked one gets its name. A file that somebody has put there under its name is checked and taken.
Nothing but https is followed (and http on this machine itself).
"""

import hashlib
import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from segtrial.errors import DataError, DataNotFound, RunError
from segtrial.files import failpoint, sync_folder, write_json

PIECE = 1 << 20
"""Bytes read at once."""
MOST_BYTES = 1 << 40
"""Of a download of unknown size."""
CONNECTING, SILENCE = 4.0, 30.0
"""Seconds until a server must have been reached, and that it may then be silent."""
FRUITLESS, PAUSE = 3, 1.0
"""Tries without a byte after which a download is given up, and the seconds between tries."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
MENDABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may be better in a second."""

Bar = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RemoteFile:
    """A file by its address ("" if a person must fetch it), and what is known of its contents.

    `checksums`, in hexadecimal, are published with the file, unless `trusted` says where else they come from.
    """

    name: str
    url: str = ""
    size: int | None = None
    sha256: str = ""
    md5: str = ""
    trusted: str = "published"


@dataclass(frozen=True)
class Fetched:
    """A whole, checked file. `size` in bytes, `sha256` in hexadecimal."""

    path: Path
    size: int
    sha256: str


def fetch(file: RemoteFile, folder: Path, bar: Bar, otherwise: str) -> Fetched:
    """The file in `folder`, which exists; downloaded unless it is there already.

    `otherwise` is the advice where it cannot be fetched. Raises DataNotFound if it cannot, DataError if it is not
    what it should be. Only one process at a time may fetch into a folder.
    """
    path = folder / file.name
    if path.exists():
        return _checked(file, path, "Remove it, or put the right file there")
    if not file.url:
        raise DataNotFound(path, "not there, and it has no address", otherwise)
    part = _beside(path, ".part")
    _require_safe(file.url, path)
    _require_reachable(file.url, path, otherwise)
    _download(file, path, part, bar, otherwise)
    try:
        found = _checked(file, part, "Repeat the command; if it stays so, the file has changed at its source")
    except DataError as error:
        part.unlink(missing_ok=True)  # wrong bytes do not become right by adding others
        raise DataError(path, error.found, error.fix) from error
    os.replace(part, path)
    sync_folder(folder)
    return Fetched(path, found.size, found.sha256)


def was_downloaded(path: Path) -> bool:
    """Whether `fetch` brought this file, rather than somebody who put it there."""
    return _beside(path, ".part.json").exists()


def forget(path: Path) -> None:
    """Delete a file that `fetch` brought, or has begun to, and what it noted of it; nothing that was put there."""
    if was_downloaded(path):
        path.unlink(missing_ok=True)
        _beside(path, ".part").unlink(missing_ok=True)
        _beside(path, ".part.json").unlink()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _checked(file: RemoteFile, path: Path, fix: str) -> Fetched:
    """Raises DataError unless size and checksums are those known."""
    size = path.stat().st_size
    if size == 0 or file.size not in (None, size):
        raise DataError(path, f"{size} bytes, not {file.size or 'a whole file'}", fix)
    sha256, md5 = _digests(path)
    for kind, known, found in (("SHA-256", file.sha256, sha256), ("MD5", file.md5, md5)):
        if known and known.lower() != found:
            raise DataError(path, f"its {kind} is {found}, and {known.lower()} is {file.trusted}", fix)
    return Fetched(path, size, sha256)


def _digests(path: Path) -> tuple[str, str]:
    """SHA-256 and MD5 of a file, read once."""
    digests = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(PIECE):
            for digest in digests:
                digest.update(piece)
    return digests[0].hexdigest(), digests[1].hexdigest()


def _require_safe(url: str, place: str | Path) -> None:
    """Raises DataError for any address but https, and http on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise DataError(place, f"{url} is not an https address", "Only those are fetched: give another")


def _require_reachable(url: str, path: Path, otherwise: str) -> None:
    """Raises DataNotFound within CONNECTING seconds where there is no network; names alone can take minutes."""
    reasons: list[str] = []

    def connect() -> None:
        try:
            socket.create_connection(_door(url), timeout=CONNECTING).close()
            reasons.append("")
        except OSError as error:
            reasons.append(str(error))

    trial = threading.Thread(target=connect, daemon=True)
    trial.start()
    trial.join(CONNECTING)
    if not reasons or reasons[0]:
        _give_up(url, path, reasons[0] if reasons else f"no answer in {CONNECTING:g} s", otherwise)


def _door(url: str) -> tuple[str, int]:
    """Host and port to connect to first: the server's, or its proxy's."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy and not urllib.request.proxy_bypass(parts.hostname or ""):
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _give_up(url: str, path: Path, reason: str, otherwise: str) -> NoReturn:
    raise DataNotFound(path, f"not there, and {url} cannot be fetched ({reason})", otherwise)


def _download(file: RemoteFile, path: Path, part: Path, bar: Bar, otherwise: str) -> None:
    """Fill `part` to its end, with new tries as long as one brings something."""
    fruitless = 0
    while True:
        before = _size(part)
        try:
            if _continue(file, part, bar):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            reason = f"the server says {error.code} {error.reason}"
            error.close()
            if error.code == 416:  # nothing comes after what is there: it is longer than the file
                part.unlink(missing_ok=True)
            elif error.code not in MENDABLE:
                _give_up(file.url, path, reason, otherwise)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless >= FRUITLESS:
            _give_up(file.url, path, reason, otherwise)
        time.sleep(PAUSE)


def _continue(file: RemoteFile, part: Path, bar: Bar) -> bool:
    """One request, from where `part` ends if that is the same file's; whether it reached the file's end."""
    noted = _beside(part, ".json")
    start, headers = _size(part), {"User-Agent": "segtrial", "Accept-Encoding": "identity"}
    same = _validator(noted)
    if start and not (same or file.sha256 or file.md5):
        start = 0  # nothing would show that the rest is another file's
    if start:
        headers |= {"Range": f"bytes={start}-"} | ({"If-Range": same} if same else {})
    opener = urllib.request.build_opener(_OnlySafe)
    with opener.open(urllib.request.Request(file.url, headers=headers), timeout=SILENCE) as answer:
        if answer.status != 206 or not str(answer.headers["Content-Range"]).startswith(f"bytes {start}-"):
            if answer.status == 206:
                raise http.client.HTTPException(f"asked from byte {start}, got {answer.headers['Content-Range']}")
            start = 0
        length = answer.headers["Content-Length"]
        total = start + int(length) if str(length).isdigit() else file.size
        if start == 0:
            write_json(noted, {key: answer.headers[key] for key in ("ETag", "Last-Modified")})
        done = _append(answer, part, start, file, total, bar)
    return done == total if total is not None else True


def _append(answer: Any, part: Path, start: int, file: RemoteFile, total: int | None, bar: Bar) -> int:
    """Write what comes behind byte `start`; the size then. Raises DataError if more comes than there should be."""
    limit = MOST_BYTES if file.size is None else file.size
    megabytes = [round(count / 1e6) for count in (start, total or 0)]
    try:
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            done = start
            while piece := answer.read1(PIECE):
                done += len(piece)
                if done > limit:
                    raise _too_long(file, part, limit)
                stream.write(piece)
                stream.flush()
                failpoint("fetch.piece")
                megabytes[0] = round(done / 1e6)
                bar(megabytes[0], megabytes[1] or megabytes[0] + 1, f"{file.name} (MB)")
            os.fsync(stream.fileno())
    except (TimeoutError, ConnectionError):
        raise
    except OSError as error:
        raise RunError(part, f"cannot be written ({error.strerror})", "Choose another --out, with space") from error
    return done


def _too_long(file: RemoteFile, part: Path, limit: int) -> DataError:
    with suppress(OSError):
        part.unlink()
    return DataError(part.with_suffix(""), f"{file.url} sends more than {limit} bytes", "The file has changed there")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _validator(noted: Path) -> str:
    """What the server called the file that `part` is the beginning of: a strong ETag, or its date, or ""."""
    try:
        known = json.loads(noted.read_bytes())
        tag = known["ETag"] or ""
        return tag if tag.startswith('"') else known["Last-Modified"] or ""
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""


class _OnlySafe(urllib.request.HTTPRedirectHandler):
    """Redirects to https only; from this machine to itself also http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _require_safe(newurl, req.full_url)
        if urlsplit(newurl).scheme == "http" and urlsplit(req.full_url).hostname not in LOOPBACK:
            raise DataError(req.full_url, f"it redirects to {newurl}", "Only https is followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
