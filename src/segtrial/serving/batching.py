"""Images as they come -> batches of equal ones for a network, the oldest first; and the answers back to who asked.

Nobody waits for others: a batch is whatever is there when the network is free.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segtrial.errors import Refused
from segtrial.prediction.folder import MOST_IMAGES
from segtrial.prediction.tiles import CPU_PIXELS, MOST_PIXELS
from segtrial.serving.workers import Staff
from segtrial.tasks import Answer

Image = UInt8[np.ndarray, "c h w"]


@dataclass(eq=False)
class Waiting:
    """An image in line, and where its answer goes."""

    image: Image
    answer: "asyncio.Future[Answer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


def together(line: deque[Waiting], most_pixels: int) -> list[Waiting]:
    """Takes the oldest image out of the line, and those of its size behind it, as many as the network takes at once."""
    first = line[0].image.shape
    most = max(1, min(MOST_IMAGES, most_pixels // (first[1] * first[2])))
    group = [one for one in line if one.image.shape == first][:most]
    for one in group:
        line.remove(one)
    return group


class Batcher:
    """The line before one network. `sizes` is told how many images went through together."""

    def __init__(self, staff: Staff, sizes: Callable[[int], None]):
        self.staff, self._sizes = staff, sizes
        self._most = CPU_PIXELS if staff.hello["device"] == "cpu" else MOST_PIXELS
        self._line: deque[Waiting] = deque()
        self._filled = asyncio.Event()
        self._users, self._stopping = 0, False
        self._runner = asyncio.create_task(self._run())

    async def answer(self, image: Image) -> Answer:
        """The network's answer. Raises Refused: 503 if its process died, 413 if the image does not fit the device."""
        waiting = Waiting(image)
        self._line.append(waiting)
        self._filled.set()
        try:
            return await waiting.answer
        finally:
            if waiting in self._line:  # nobody wants the answer any more
                self._line.remove(waiting)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, the network stays, also if it is asked to stop."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1

    async def stop(self) -> None:
        """Answers what is in line and whoever keeps it, then dismisses the network."""
        while self._users:
            await asyncio.sleep(0.01)
        self._stopping = True
        self._filled.set()
        await self._runner
        await self.staff.stop()

    async def _run(self) -> None:
        while not self._stopping:
            await self._filled.wait()
            while self._line:
                group = together(self._line, self._most)
                self._sizes(len(group))
                await self._ask(group)
            self._filled.clear()

    async def _ask(self, group: list[Waiting]) -> None:
        """Every one of the group has an answer or an exception in the end, whatever happens: somebody waits for it."""
        images = [one.image.reshape(-1).data for one in group]
        try:
            header, buffers = await self.staff.ask({"shape": group[0].image.shape}, images)
            arrays = iter(buffers)
            for one, parts in zip(group, header["answers"], strict=True):
                _settle(one, _too_large(one) if parts is None else _answer(parts, arrays))
        except ChildProcessError:
            found = "its process ended while it answered; another one is being started"
            for one in group:
                _settle(one, Refused(503, "the network", found, "Try again in a moment", retry=2))
        except Exception as fault:
            for one in group:
                _settle(one, fault)


def _answer(parts: list[Any], arrays: Iterator[bytes]) -> Answer:
    return Answer(*(np.frombuffer(next(arrays), dtype).reshape(shape) for dtype, shape in parts))


def _too_large(waiting: Waiting) -> Refused:
    height, width = waiting.image.shape[1:]
    found = f"{height}x{width} pixels do not fit the device's memory"
    return Refused(413, "the picture", found, "Send a smaller picture")


def _settle(waiting: Waiting, outcome: Answer | Exception) -> None:
    if waiting.answer.done():  # given up
        return
    if isinstance(outcome, Exception):
        waiting.answer.set_exception(outcome)
    else:
        waiting.answer.set_result(outcome)
