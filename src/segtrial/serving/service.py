"""A request's body and a model's name -> images and the network's answers for them, with places and memory counted."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import UInt8

from segtrial.errors import Refused
from segtrial.serving.limits import Limits, Room
from segtrial.serving.metrics import Metrics
from segtrial.serving.reload import Served, Version
from segtrial.serving.workers import Staff
from segtrial.tasks import Answer

Images = UInt8[np.ndarray, "b c h w"]

T = TypeVar("T")

DRAWERS = 4
"""Threads that draw answers."""

BYTES_A_PIXEL = 16
"""Of memory that an image and its answer take, until the answer is sent."""


@dataclass(frozen=True)
class Answers:
    """Images of one request, the answer for each, and what else its body asked for."""

    images: Images
    answers: list[Answer]
    asked: dict[str, Any]


class Service:
    """The models, those who decode images, and what both may cost."""

    def __init__(self, models: Mapping[str, Served], readers: Staff, limits: Limits, metrics: Metrics):
        self.models, self.readers, self.limits, self.metrics = models, readers, limits, metrics
        self.room = Room(limits)
        self.stopping = False
        self._drawers = ThreadPoolExecutor(DRAWERS)
        metrics.gauges |= {
            "segtrial_queue_length": ("Requests that wait or are being answered.", lambda: self.room.places),
            "segtrial_held_bytes": ("Bytes of bodies and images under way.", lambda: self.room.bytes),
            "segtrial_ready": ("1 if every model answers.", lambda: int(self.ready)),
        }

    async def draw(self, work: Callable[[], T]) -> T:
        """What `work` makes, in a thread: PNGs and long JSON take the processor, and the loop must not wait."""
        return await asyncio.get_running_loop().run_in_executor(self._drawers, work)

    async def stop(self) -> None:
        """What is in line is answered first."""
        await asyncio.gather(self.readers.stop(), *(served.stop() for served in self.models.values()))
        self._drawers.shutdown(wait=False)

    @property
    def ready(self) -> bool:
        """Whether every model answers, and pictures can be decoded."""
        return not self.stopping and self.readers.ready and all(one.ready for one in self.models.values())

    def model(self, name: str | None) -> Served:
        """The model of that name, the first without one. Raises Refused (422) for another."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise Refused(422, "model", f"{name[:80]!r} is not served here", f"Choose {', '.join(self.models)}")
        return self.models[name]

    async def reload(self) -> dict[str, Any]:
        """Which models were exchanged. Raises Refused (409) for one that cannot be, when all have been tried."""
        changed: list[str] = []
        refused: list[Refused] = []
        for name, served in self.models.items():
            try:
                changed += [name] * await served.reload()
            except Refused as error:
                refused.append(error)
        self.metrics.reloads += len(changed)
        if refused:
            raise refused[0]
        return {"schema": 1, "reloaded": changed}

    async def answers(self, version: Version, job: dict[str, Any], body: bytes, more: Callable[[int], None]) -> Answers:
        """The images in a body, and the answer for each. Raises Refused."""
        with version.batcher.kept():
            header, images = await self._decoded({**job, "channels": version.info["channels"]}, body)
            more(images.shape[0] * images.shape[2] * images.shape[3] * BYTES_A_PIXEL)
            found = await asyncio.gather(*(version.batcher.answer(image) for image in images))
        return Answers(images, found, header["asked"])

    async def _decoded(self, job: dict[str, Any], body: bytes) -> tuple[dict[str, Any], Images]:
        """What the reader says. Asks twice: the first one may have been ended by somebody else."""
        for _ in range(2):
            try:
                header, buffers = await self.readers.ask(job, [body])
            except ChildProcessError:
                continue
            if "refused" in header:
                raise Refused(*header["refused"])
            return header, np.frombuffer(buffers[0], np.uint8).reshape(header["shape"])
        fix = "Save it with another program, or send a smaller one"
        raise Refused(422, "the picture", "decoding it takes too long, or breaks the decoder", fix)
