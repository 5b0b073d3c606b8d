"""Every request -> refused at the door, or let in; every fault -> one form of JSON; every answer -> safe headers.

Who may enter: a Host that is ours (a page of another name could be pointed at this machine), no page of another
origin, and, where there is a token, whoever knows it.
"""

import asyncio
import base64
import hmac
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from segtrial.errors import Refused, UserError
from segtrial.serving.limits import Limits, Receive
from segtrial.serving.metrics import Metrics

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_TO_ALL = frozenset({"/health", "/ready", "/v2/health/live", "/v2/health/ready"})
"""Without a token: they tell nothing but that the server is there."""

READING = frozenset({"GET", "HEAD"})

SAFE_HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

DRAIN_SECONDS = 2.0
"""How long a body that is not wanted is still received: a client that is cut off while it sends sees no answer."""


@dataclass(frozen=True)
class Door:
    """Who may enter. `hosts` None: any name, for a server behind names of its own; `token` None: no secret."""

    hosts: frozenset[str] | None = LOOPBACK
    token: str | None = None

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raises Refused: 403 for a foreign Host or page, 401 without the token."""
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            fix = "Call it by the name it was started with (--allow-host adds names)"
            raise Refused(403, "Host", f"{host[:80]!r} is not this server", fix)
        if method not in READING:
            _check_origin(host, headers)
        if self.token is not None and path not in OPEN_TO_ALL and not _knows(self.token, headers):
            found = "missing or wrong"
            raise Refused(401, "the token", found, "Send it: Authorization: Bearer TOKEN, or as a browser's password")


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: App, door: Door, limits: Limits, metrics: Metrics):
        self._app, self._door, self._limits, self._metrics = app, door, limits, metrics

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        visit = _Visit(scope, receive, send, self._limits)
        try:
            self._door.check(scope["method"], scope["path"], visit.headers)
            await self._app(scope, visit.receive, visit.send)
        except ConnectionResetError:
            self._metrics.gone += 1
            return None
        except asyncio.CancelledError:  # the grace of a server that stops is over
            fix = "Send it again when the server is back"
            await self._confess(Refused(503, "the server", "it is being stopped", fix, retry=5), visit)
        except Exception as fault:
            await self._confess(fault, visit)
        self._metrics.request(_route(scope), visit.status, time.monotonic() - visit.start)
        return None

    async def _confess(self, fault: Exception, visit: "_Visit") -> None:
        if not isinstance(fault, UserError):
            print("".join(traceback.format_exception(fault)), file=sys.stderr, flush=True)
        if visit.status == 0:
            status, headers, body = told(fault, plain=visit.path.startswith("/v2"))
            if isinstance(fault, Refused):
                self._metrics.refused[fault.place] += 1
            await visit.send({"type": "http.response.start", "status": status, "headers": headers})
            await visit.send({"type": "http.response.body", "body": body})


class _Visit:
    """One request and its answer: adds headers, and receives the rest of a body that nobody read."""

    def __init__(self, scope: Message, receive: Receive, send: Send, limits: Limits):
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.start, self.status, self.path = time.monotonic(), 0, scope["path"]
        self._receive, self._send, self._limits = receive, send, limits
        self._unread = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers

    async def receive(self) -> Message:
        message = await self._receive()
        self._unread = self._unread and message["type"] == "http.request" and message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = list(message["headers"])
            names = {name.lower() for name, _ in given}
            safe = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]
            given += [(name, value) for name, value in safe if name not in names]
            close = [(b"connection", b"close")] * self._unread
            return await self._send({**message, "headers": [*given, *close]})
        if not self._unread or message.get("more_body", False):
            return await self._send(message)
        await self._send({**message, "more_body": True})
        await self._drain()
        return await self._send({"type": "http.response.body", "body": b""})

    async def _drain(self) -> None:
        left = 2 * self._limits.bytes
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def told(fault: Exception, *, plain: bool = False) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body for a fault. `plain`: in one sentence, as the Open Inference Protocol has it."""
    if isinstance(fault, UserError):
        status, error = 422, {"what": fault.place, "found": fault.found, "fix": fault.fix}
    else:
        status = 500
        error = {"what": "the server", "found": "a fault of ours", "fix": "Its log says where; try again"}
    headers = [(b"content-type", b"application/json")]
    if isinstance(fault, Refused):
        status = fault.status
        headers += [(b"retry-after", str(fault.retry).encode())] * (fault.retry is not None)
        headers += [(b"www-authenticate", b'Basic realm="segtrial", charset="UTF-8"')] * (status == 401)
    words = f"{error['what']}: {error['found']}. {error['fix']}"
    body = json.dumps({"error": words if plain else error}).encode()
    return status, [*headers, (b"content-length", str(len(body)).encode())], body


def _check_origin(host: str, headers: Mapping[str, str]) -> None:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and _address(origin) != host.lower():
        raise Refused(403, "Origin", f"{origin[:80]!r} is another site", "Send requests from this server's own page")
    if site not in ("none", "same-origin"):
        raise Refused(403, "Sec-Fetch-Site", repr(site[:40]), "Send requests from this server's own page")


def _address(origin: str) -> str | None:
    """Host and port of an Origin header; None of one that has none, such as null."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:  # brackets without an address
        return None


def _knows(token: str, headers: Mapping[str, str]) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = base64.b64decode(given, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.encode(), token.encode())


def _name(host: str) -> str:
    """A Host header without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # brackets without an address
        return ""


def _route(scope: Message) -> str:
    """What the request counts under: a route of ours, never a client's words."""
    route = scope.get("route")
    return getattr(route, "path", "other")
