"""A web server on this machine for tests of downloads: each path answers as told, and notes what it was asked."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Page:
    """What is at a path. The lists `codes` and `cuts` are for the first requests, one entry each.

    `codes`: answer with these instead. `cuts`: end the connection after so many bytes. `pause`: seconds before every
    4096 bytes. `declared`: a false Content-Length; 0 for none.
    """

    body: bytes = b""
    tag: str = '"one"'
    ranges: bool = True
    codes: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    pause: float = 0.0
    declared: int | None = None
    location: str = ""


@dataclass
class Site:
    """Pages by path, and the requests so far: (path, Range, If-Range)."""

    address: str = ""
    pages: dict[str, Page] = field(default_factory=dict)
    asked: list[tuple[str, str | None, str | None]] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"{self.address}{path}"


@contextmanager
def serving() -> Iterator[Site]:
    """A site that is up inside the block."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers["Range"], self.headers["If-Range"]))
            page = site.pages.get(self.path, Page(codes=[404]))
            code = page.codes.pop(0) if page.codes else 302 if page.location else 200
            if code != 200:
                self.send_response(code)
                self.send_header("Content-Length", "0")
                if page.location:
                    self.send_header("Location", page.location)
                self.end_headers()
                return
            self._send(page)

        def _send(self, page: Page) -> None:
            start = 0
            if self.headers["Range"] and page.ranges and self.headers["If-Range"] in (None, page.tag):
                start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            body = page.body[start:]
            if start and not body:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(page.body) - 1}/{len(page.body)}")
            if page.declared != 0:
                self.send_header("Content-Length", str(page.declared or len(body)))
            if page.tag:
                self.send_header("ETag", page.tag)
            self.end_headers()
            if page.cuts:
                body = body[: page.cuts.pop(0)]
            with suppress(ConnectionError):  # who asked went away; a traceback would stand in another test's stderr
                for place in range(0, len(body), 4096):
                    time.sleep(page.pause)
                    self.wfile.write(body[place : place + 4096])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
