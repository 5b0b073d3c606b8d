"""A server inside the test's own process: the real application, with functions in place of processes."""

import asyncio
import io
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
from PIL import Image

from segtrial.classes import Classes
from segtrial.modelfile import Header, Loaded
from segtrial.models._whole import Whole
from segtrial.serving import decoding
from segtrial.serving.app import make_app
from segtrial.serving.gate import Door
from segtrial.serving.limits import Limits
from segtrial.serving.metrics import Metrics
from segtrial.serving.network import Answering, describe
from segtrial.serving.reload import Served
from segtrial.serving.service import Service
from tests.prediction.known import CLASSES, Largest, noise, whole

PNG = {"content-type": "image/png"}
BASE = "http://127.0.0.1:8765"


def loaded(network: Whole | None = None, classes: Classes = CLASSES, task: str = "segmentation") -> Loaded:
    """The network that answers each pixel's largest channel, as a model file would give it."""
    header = Header.model_validate(
        {
            "schema": 1,
            "architecture": "linear",
            "options": {},
            "task": task,
            "classes": classes,
            "in_channels": 3,
            "mean": (0.0, 0.0, 0.0),
            "std": (0.1, 0.1, 0.1),
            "image_sizes": {"smallest": (8, 8), "largest": (64, 64)},
            "provenance": {"recipe_hash": "0", "manifest": "0", "steps": 1, "seed": 0, "segtrial": "0"},
        }
    )
    return Loaded(network or whole(Largest()), classes, header, "0123456789abcdef")


class Direct:
    """A crew without processes: frames pass through JSON and bytes, as they would through a pipe."""

    def __init__(self, hello: dict[str, Any], handle: Callable[..., Any]):
        self.hello, self.handle, self.ready, self.stopped = json.loads(json.dumps(hello)), handle, True, False
        self.asked: list[dict[str, Any]] = []

    async def ask(self, header: dict[str, Any], buffers: Sequence[Any] = ()) -> tuple[dict[str, Any], list[Any]]:
        await asyncio.sleep(0)
        self.asked.append({**header, "buffers": len(buffers)})
        said, answers = self.handle(json.loads(json.dumps(header)), [bytes(one) for one in buffers])
        return json.loads(json.dumps(said)), [bytes(one) for one in answers]

    async def stop(self) -> None:
        self.stopped = True


def answering(model: Loaded | None = None, tile: str = "auto") -> Direct:
    model = model or loaded()
    return Direct(describe(model), Answering(model, tile).handle)


def read() -> Direct:
    return Direct({}, decoding.handle)


Story = Callable[[httpx2.AsyncClient, Service], Awaitable[None]]


def run(
    story: Story,
    *,
    staff: Direct | Sequence[Direct] | None = None,
    readers: Direct | None = None,
    limits: Limits | None = None,
    door: Door | None = None,
    path: Path = Path(__file__),
) -> None:
    """Tell the story with a server that has the model `known` (and `known1`, ..., of several staffs)."""

    async def play() -> None:
        several = list(staff) if isinstance(staff, Sequence) else [staff or answering()]
        models = {}
        metrics = Metrics()
        for number, one in enumerate(several):
            name = f"known{number or ''}"

            async def hire(path: Path, one: Direct = one) -> Direct:
                return one

            models[name] = await Served(name, path, hire, metrics.batches.add).start()
        service = Service(models, readers or read(), limits or Limits(), metrics)
        transport = httpx2.ASGITransport(make_app(service, door or Door()), raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE) as client:
            await story(client, service)
        await service.stop()

    asyncio.run(play())


def png(image: np.ndarray, form: str = "PNG", **options: Any) -> bytes:
    """The file of an image `c h w`."""
    held = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(held, form, **options)
    return held.getvalue()


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture)


def error_of(response: httpx2.Response) -> dict[str, str]:
    """The one form that every refusal has."""
    told = response.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"what", "found", "fix"}
    assert all(isinstance(word, str) and word for word in told["error"].values())
    assert "Traceback" not in response.text
    return told["error"]


class Slow(Direct):
    """Answers when it is told to."""

    def __init__(self, other: Direct):
        super().__init__(other.hello, other.handle)
        self.go = asyncio.Event()

    async def ask(self, header, buffers=()):
        await self.go.wait()
        return await super().ask(header, buffers)


IMAGE = noise(12, 17)
BODY = png(IMAGE)
TOKEN = "correct horse battery"


async def still_answers(client: httpx2.AsyncClient) -> None:
    """The server goes on as if nothing had been."""
    response = await client.post("/predict", content=BODY, headers=PNG)
    assert (pixels(response.content) == IMAGE.argmax(0)).all()
