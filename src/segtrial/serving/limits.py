"""A request -> its body, within limits of bytes, seconds and places; who asks for more is refused and told the fix."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from segtrial.errors import Refused

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True)
class Limits:
    """What one request, one client and all of them together may cost the server. Times are seconds."""

    bytes: int = 32 * 2**20
    """Of a request's body."""
    pixels: int = 64_000_000
    """Of an image."""
    head_seconds: float | int = 10
    """From the first byte of a request, or from the connection, to the end of its headers."""
    receive_seconds: float | int = 30
    """For the body; also how long a client may keep the server from writing."""
    decode_seconds: float | int = 10
    """For decoding one image; then the process that does it is ended."""
    seconds: float | int = 60
    """From the body's last byte to the answer."""
    queue: int = 64
    """Requests that wait or are answered at a time."""
    per_client: int = 64
    """Of those, from one address."""
    held: int = 2**30
    """Bytes of bodies and images held at a time."""
    connections: int = 1024
    grace: int = 20
    """For what runs when the server is asked to stop."""


class Room:
    """What is taken now: places in the queue, and memory."""

    def __init__(self, limits: Limits):
        self._limits = limits
        self._clients: Counter[str] = Counter()
        self.places = self.bytes = 0

    @contextmanager
    def place(self, client: str) -> Iterator[None]:
        """A place in the queue. Raises Refused: 503 if there is none, 429 if this client has its share."""
        if self._clients[client] >= self._limits.per_client:
            found = f"{self._clients[client]} requests of this address are being answered"
            raise Refused(429, "this client", found, "Wait for their answers", retry=1)
        if self.places >= self._limits.queue:
            raise Refused(503, "the queue", f"{self.places} requests wait", "Try again in a moment", retry=1)
        self.places += 1
        self._clients[client] += 1
        try:
            yield
        finally:
            self.places -= 1
            self._clients[client] -= 1
            self._clients += Counter()  # forgets who has none

    @contextmanager
    def holding(self) -> Iterator[Callable[[int], None]]:
        """Inside, `more(count)` takes bytes, all of which are given back at the end. It raises Refused (503)."""
        taken = 0

        def more(count: int) -> None:
            nonlocal taken
            if self.bytes + count > self._limits.held:
                found = f"{self.bytes / 2**20:.0f} MiB of images are under way"
                raise Refused(503, "memory", found, "Try again in a moment", retry=2)
            self.bytes += count
            taken += count

        try:
            yield more
        finally:
            self.bytes -= taken


async def read_body(receive: Receive, headers: Mapping[str, str], limits: Limits, more: Callable[[int], None]) -> bytes:
    """The body; `more` is told of its bytes as they come.

    Raises Refused: 413 beyond the limit (at once if the headers say so), 408 if it takes too long, 400 for a length
    that is no number; and ConnectionResetError if the client is gone.
    """
    declared = headers.get("content-length", "0")
    if not declared.isdecimal():
        raise Refused(400, "Content-Length", f"{declared[:40]!r} is no number of bytes", "Leave it to your client")
    if int(declared) > limits.bytes:
        raise _too_long(int(declared), limits)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.receive_seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ConnectionResetError("the client is gone")
                chunk = message.get("body", b"")
                if len(body) + len(chunk) > limits.bytes:
                    raise _too_long(len(body) + len(chunk), limits)
                more(len(chunk))
                body += chunk
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        found = f"{len(body)} bytes in {limits.receive_seconds} seconds"
        raise Refused(408, "the body", found, "Send it faster, or a smaller picture") from None


def _too_long(found: int, limits: Limits) -> Refused:
    fix = "Send a smaller picture, or start the server with a larger --max-mb"
    return Refused(413, "the body", f"{found} bytes or more, and the limit is {limits.bytes}", fix)
