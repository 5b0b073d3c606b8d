"""Model files and a wish -> a server that runs until it is asked to stop, and then finishes what it began.

SIGTERM, SIGINT   no new connections; what runs is finished within the grace; the second one ends at once
SIGHUP            models whose files changed are loaded anew
"""

import asyncio
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from segtrial import hub
from segtrial.errors import RecipeError, Refused, UserError
from segtrial.hardware import threads
from segtrial.serving import decoding, network
from segtrial.serving.app import make_app
from segtrial.serving.gate import LOOPBACK, App, Door
from segtrial.serving.limits import Limits
from segtrial.serving.metrics import Metrics
from segtrial.serving.protocol import HEAD_BYTES, impatient
from segtrial.serving.reload import SAME, Served
from segtrial.serving.service import Service
from segtrial.serving.workers import Crew, Staff

READERS = 4
"""Processes that decode, where there are cores for them; at least two, so that one slow file holds up nobody."""

LOOK_SECONDS = 2.0
"""Between two looks at files that are watched."""

SHORTEST_TOKEN = 8

BACKLOG = 128
"""Connections that wait to be accepted. asyncio tries as many at once, also when it has no file descriptor left."""


@dataclass(frozen=True)
class Wish:
    """What to serve, where, and to whom. `models`: files by name, the first is the default."""

    models: Mapping[str, Path]
    host: str = "127.0.0.1"
    port: int = 8765
    device: str = "auto"
    tile: str = "auto"
    token: str | None = None
    anyone: bool = False
    """Without a token, although others reach the address."""
    names: tuple[str, ...] = ()
    """Of hosts, beside the address."""
    watch: bool = False
    """Load files anew when they change."""
    limits: Limits = field(default_factory=Limits)

    def door(self) -> Door:
        """Who may enter. Raises RecipeError if that would be anyone and nobody said so."""
        local = self.host in LOOPBACK
        if not local and self.token is None and not self.anyone:
            fix = "Add --token (a secret that clients must send), or --anyone if everybody there may ask"
            raise RecipeError(f"--host {self.host}", "others than this machine's users could reach it", fix)
        if self.token is not None and (len(self.token) < SHORTEST_TOKEN or not self.token.isascii()):
            found = f"fewer than {SHORTEST_TOKEN} letters" if self.token.isascii() else "letters that no header holds"
            raise RecipeError("--token", found, "Choose a longer one of ASCII letters, or --token new")
        known = frozenset({*LOOPBACK, self.host.lower(), *(name.lower() for name in self.names)})
        return Door(known if local or self.names else None, self.token)


def serve(wish: Wish, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `started` is told the address when every model answers.

    Raises, before any model is loaded, RecipeError for an address that cannot be taken or is not safe; and what
    loading a model raises.
    """
    door = wish.door()
    with _bound(wish.host, wish.port) as listener:
        asyncio.run(_serve(wish, door, listener, started))


async def _serve(wish: Wish, door: Door, listener: socket.socket, started: Callable[[str], None]) -> None:
    metrics, limits = Metrics(), wish.limits
    died = partial(_count_death, metrics)
    readers = Crew(
        decoding.start,
        {"pixels": limits.pixels},
        size=min(READERS, max(2, threads())),
        seconds=limits.decode_seconds,
        died=died,
    )

    async def hire(path: Path) -> Staff:
        settings = {"path": str(path), "device": wish.device, "tile": wish.tile}
        same = (*SAME, "mean_color")
        return await Crew(network.start, settings, size=1, seconds=limits.seconds, died=died, same=same).start()

    models: dict[str, Served] = {}
    service = Service(models, readers, limits, metrics)
    try:
        await readers.start()
        for name, path in wish.models.items():
            models[name] = await Served(name, path, hire, metrics.batches.add).start()
        await _run(service, door, listener, wish, started)
    finally:
        await service.stop()


async def _run(
    service: Service, door: Door, listener: socket.socket, wish: Wish, started: Callable[[str], None]
) -> None:
    asyncio.get_running_loop().set_exception_handler(_Notes())
    config = configuration(make_app(service, door), service.limits)
    listener.listen(config.backlog)  # who comes from here on is answered
    started(_address(wish.host, listener))
    watching = asyncio.create_task(_watch(service)) if wish.watch else None
    await _Server(config, service).serve(sockets=[listener])
    if watching:
        watching.cancel()


def configuration(app: App, limits: Limits) -> uvicorn.Config:
    """How uvicorn serves: nothing is logged but faults of ours, which the gate prints; no header of a proxy counts."""
    return uvicorn.Config(
        app,
        http=impatient(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEAD_BYTES,
        timeout_graceful_shutdown=limits.grace,
        backlog=BACKLOG,
    )


class _Server(uvicorn.Server):
    """uvicorn's, which would end by the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, service: Service):
        super().__init__(config)
        self._service = service
        self._loop = asyncio.get_running_loop()
        self._reloading: asyncio.Task | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # type: ignore[override]
        handlers = {signal.SIGTERM: self._stop, signal.SIGINT: self._stop}
        if sys.platform != "win32":
            handlers[signal.SIGHUP] = self._reload
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self._service.stopping
        self.should_exit = self._service.stopping = True

    def _reload(self, number: int, frame: FrameType | None) -> None:
        def start() -> None:
            self._reloading = self._loop.create_task(_reload(self._service))

        self._loop.call_soon_threadsafe(start)


class _Notes:
    """What asyncio reports, such as too few file descriptors: a line each, not one for every time it happens."""

    def __init__(self) -> None:
        self._said = ""

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        said = f"{context['message']} ({context.get('exception')})"
        if said != self._said:
            print(f"segtrial: {said}", file=sys.stderr, flush=True)
        self._said = said


async def _watch(service: Service) -> None:
    """Once for each change of a file: one that cannot be served is tried again when it has changed again."""
    seen = [served.version.stamp for served in service.models.values()]
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        now = [served.stamp for served in service.models.values()]
        if now != seen:
            await _reload(service)
        seen = now


async def _reload(service: Service) -> None:
    try:
        changed = (await service.reload())["reloaded"]
    except Refused as error:
        print(f"segtrial: {error}; the old one is kept", file=sys.stderr, flush=True)
    else:
        if changed:
            print(f"segtrial: loaded anew: {', '.join(changed)}", file=sys.stderr, flush=True)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    with ExitStack() as closing:
        try:
            family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = closing.enter_context(socket.socket(family, kind))
            with suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # of a server that has just ended
            listener.bind(address)
        except OSError as error:
            fix = "Choose another --port (0 takes a free one) or --host; perhaps a server runs there"
            raise RecipeError(f"{host}:{port}", str(error.strerror or error), fix) from error
        yield listener


def _address(host: str, listener: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"


def _count_death(metrics: Metrics) -> None:
    metrics.deaths += 1


def named(words: list[str]) -> dict[str, Path]:
    """Model files by name, of words such as runs/first, NAME=runs/first, model.safetensors or owner/name on the hub.

    A run is called as its folder, a file as its stem. Raises RecipeError if two have one name, and ModelFileError for
    what the hub does not have.
    """
    found: dict[str, Path] = {}
    for word in words:
        name, _, rest = word.partition("=")
        given = Path(word) if not rest or Path(word).exists() else Path(rest)
        wanted = hub.id_of(str(given))
        path = hub.fetch(wanted) if wanted else given / "model.safetensors" if given.is_dir() else given
        if not path.is_file():
            raise RecipeError(word, "no model there", "Name a run folder that has finished, or a model file")
        own = wanted.name if wanted else given.resolve().name if given.is_dir() else _stem(path)
        called = own if given == Path(word) else name
        if called in found:
            raise RecipeError(word, f"{called!r} is the name of {found[called]} too", f"Give it one: other={given}")
        found[called] = path
    if not found:
        raise UserError("MODEL", "none was named", "Name a run folder or a model file")
    return found


def _stem(path: Path) -> str:
    return path.resolve().parent.name if path.name == "model.safetensors" else path.stem
