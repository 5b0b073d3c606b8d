"""A function that may die -> processes that run it, found again when they died; bytes in, bytes out, over pipes.

A frame is one JSON object and some buffers of bytes. Nothing is unpickled from a worker: one that a hostile picture
took over can answer with pixels, and with nothing else.
"""

import asyncio
import json
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol, runtime_checkable

from segtrial.errors import UserError

Frame = tuple[dict[str, Any], list[Any]]
Handler = Callable[[dict[str, Any], list[Any]], Frame]
Make = Callable[[dict[str, Any]], tuple[dict[str, Any], Handler]]
"""Made in the process from settings: what it says of itself, and how it answers a frame."""

START_SECONDS = 120.0
"""For loading torch and a model."""

LONGEST_PAUSE = 30.0
"""Between two attempts to start a process that does not start."""

_START = "forkserver" if sys.platform != "win32" else "spawn"
_PRELOAD = ["segtrial.serving.decoding", "segtrial.serving.network"]


@runtime_checkable
class Staff(Protocol):
    """Whoever answers frames: a crew of processes, or a test's stand-in."""

    hello: dict[str, Any]

    @property
    def ready(self) -> bool: ...
    async def ask(self, header: dict[str, Any], buffers: Sequence[Any] = ()) -> Frame: ...
    async def stop(self) -> None: ...


class Worker:
    """One process and the pipe to it. Its methods block: call them in threads."""

    def __init__(self, make: Make, settings: dict[str, Any]):
        context = multiprocessing.get_context(_START)
        if _START == "forkserver":
            context.set_forkserver_preload(_PRELOAD)  # so that the next one is there at once
        self._pipe, theirs = context.Pipe()
        self._using = threading.Lock()  # a pipe closed under its reader could become another one's
        self.process = context.Process(target=_work, args=(theirs, make, settings), daemon=True)  # type: ignore[attr-defined]
        self.process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def hello(self) -> dict[str, Any]:
        """What it says of itself once it is ready. Raises EOFError if it dies instead."""
        with self._using:
            return _take(self._pipe)[0]

    def ask(self, header: dict[str, Any], buffers: Sequence[Any]) -> Frame:
        """Raises EOFError or OSError if it dies of it."""
        with self._using:
            _put(self._pipe, header, buffers)
            return _take(self._pipe)

    def end(self) -> None:
        """It ends when its pipe does; if not, by force."""
        with self._using:
            self._pipe.close()
        self.process.join(1)
        self.process.kill()
        self.process.join(5)


class Crew:
    """`size` processes that do the same, each one frame at a time, ended if it takes longer than `seconds`.

    `died` is told of each that ends unasked; another one takes its place, unless it says something else of itself than
    the first did under the words of `same`.
    """

    def __init__(
        self,
        make: Make,
        settings: dict[str, Any],
        *,
        size: int,
        seconds: float | int,
        died: Callable[[], None],
        same: Sequence[str] = (),
    ):
        self._make, self._settings, self._size, self._seconds, self._died = make, settings, size, seconds, died
        self._same = same
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._workers: set[Worker] = set()
        self._tasks: set[asyncio.Task] = set()
        self._threads = ThreadPoolExecutor(2 * size)
        self._stopping = asyncio.Event()
        self.hello: dict[str, Any] = {}

    @property
    def ready(self) -> bool:
        return not self._stopping.is_set() and any(worker.alive for worker in self._workers)

    @property
    def processes(self) -> list[int]:
        """Their numbers."""
        return [worker.process.pid for worker in self._workers if worker.process.pid]

    async def start(self) -> "Crew":
        """Raises UserError if a worker says, in place of a greeting, what is wrong."""
        try:
            await asyncio.gather(*(self._hire() for _ in range(self._size)))
        except BaseException:
            await self.stop()
            raise
        return self

    async def ask(self, header: dict[str, Any], buffers: Sequence[Any] = ()) -> Frame:
        """One frame's answer. Raises ChildProcessError if the process died of it. Cancelled, the work goes on."""
        task = self._task(self._ask(header, buffers))
        return await asyncio.shield(task)

    async def stop(self) -> None:
        """Frames under way are finished first."""
        self._stopping.set()
        if self._tasks:
            _, hopeless = await asyncio.wait(self._tasks, timeout=self._seconds)
            for task in hopeless:  # they wait for a process that will not come
                task.cancel()
        workers, self._workers = self._workers, set()
        for worker in workers:
            asyncio.get_running_loop().remove_reader(worker.process.sentinel)
            await self._thread(worker.end)
        self._threads.shutdown(wait=False)

    async def _ask(self, header: dict[str, Any], buffers: Sequence[Any]) -> Frame:
        worker = await self._idle.get()
        while not worker.alive:
            worker = await self._idle.get()
        try:
            with _ended_after(self._seconds, worker):
                frame = await self._thread(worker.ask, header, buffers)
        except (EOFError, OSError) as error:
            worker.process.kill()  # it may only have closed its pipe
            raise ChildProcessError(f"a process died ({type(error).__name__})") from error
        self._idle.put_nowait(worker)
        return frame

    async def _hire(self) -> None:
        worker = await self._thread(Worker, self._make, self._settings)
        try:
            with _ended_after(START_SECONDS, worker):
                hello = await self._thread(worker.hello)
        except (EOFError, OSError):
            hello = {"error": ["a process", "it died while it started", "See what it printed above"]}
        different = [word for word in self._same if self.hello and hello.get(word) != self.hello[word]]
        if different and "error" not in hello:
            found = f"its file was exchanged for one with another {' and another '.join(different)}"
            hello = {"error": ["a process", found, "Put the file back"]}
        if "error" in hello:
            await self._thread(worker.end)
            raise UserError(*hello["error"])
        self.hello = hello
        self._workers.add(worker)
        asyncio.get_running_loop().add_reader(worker.process.sentinel, self._missed, worker)
        self._idle.put_nowait(worker)

    def _missed(self, worker: Worker) -> None:
        asyncio.get_running_loop().remove_reader(worker.process.sentinel)
        self._workers.discard(worker)
        self._died()
        self._task(self._replace(worker))

    async def _replace(self, worker: Worker) -> None:
        await self._thread(worker.end)
        pause = 0.1
        while not self._stopping.is_set():
            try:
                await self._hire()
                break
            except UserError as error:  # such as a model file that is being written
                print(f"segtrial: {error}; trying again in {pause:g} s", file=sys.stderr, flush=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _task(self, work: Any) -> asyncio.Task:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())  # who asked may be gone
        return task

    def _thread(self, work: Callable[..., Any], *arguments: Any) -> "asyncio.Future[Any]":
        return asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


@contextmanager
def _ended_after(seconds: float | int, worker: Worker) -> Iterator[None]:
    """The worker is killed if it is still at it: whoever waits for it sees its pipe end."""
    timer = asyncio.get_running_loop().call_later(seconds, worker.process.kill)
    try:
        yield
    finally:
        timer.cancel()


def _work(pipe: Connection, make: Make, settings: dict[str, Any]) -> None:
    """A worker's life. It ends with the pipe, so also when the server is killed; signals to the group pass it by."""
    for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if sys.platform != "win32" else [])):
        signal.signal(number, signal.SIG_IGN)
    try:
        hello, handle = make(settings)
    except UserError as error:
        _put(pipe, {"error": [error.place, error.found, error.fix]}, ())
        return
    _put(pipe, hello, ())
    with suppress(EOFError, BrokenPipeError):
        while True:
            _put(pipe, *handle(*_take(pipe)))


def _put(pipe: Connection, header: dict[str, Any], buffers: Sequence[Any]) -> None:
    pipe.send_bytes(json.dumps({**header, "buffers": len(buffers)}).encode())
    for buffer in buffers:
        pipe.send_bytes(buffer)


def _take(pipe: Connection) -> Frame:
    header = json.loads(pipe.recv_bytes())
    return header, [pipe.recv_bytes() for _ in range(header.pop("buffers"))]
