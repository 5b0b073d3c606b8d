"""Answers to be given -> a server on loopback that keeps the contract of `segtrial serve`, without a network.

So that tests of the page know every pixel of every answer, and may have models and faults that are hard to train.
"""

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image, UnidentifiedImageError

from segtrial.classes import Classes
from segtrial.drawing import image_png, label_png, overlay, picture_png

POLICY = "default-src 'self'; img-src 'self' blob: data:"
KINDS = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
LIMITS = {"bytes": 200_000, "pixels": 400_000}


@dataclass
class Model:
    """What it answers: `labels` and `confidence` of an image `h w 3`; or, for other tasks, shares or a picture."""

    name: str
    classes: Classes
    labels: Callable[[np.ndarray], np.ndarray] | None = None
    confidence: float = 0.8
    task: str = "segmentation"
    shares: tuple[float, ...] = ()
    limits: dict[str, int] = field(default_factory=lambda: dict(LIMITS))
    seconds: float = 0.0


def described(model: Model) -> dict:
    rows = zip(model.classes.names, model.classes.colors, strict=True)
    classes = [{"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(rows)]
    return {
        "name": model.name,
        "task": model.task,
        "classes": [] if model.task.startswith("colorization") else classes,
        "parameters": 123_456,
        "limits": model.limits,
    }


def answered(model: Model, image: np.ndarray) -> dict:
    """The object of answer=json."""
    height, width = image.shape[:2]
    told = {"schema": 1, "model": model.name, "width": width, "height": height, "seconds": 0.012}
    rows = described(model)["classes"]
    if model.task.startswith("colorization"):
        picture = base64.b64encode(recolored(image)).decode()
        return told | {"classes": [], "mean_confidence": None, "labels": picture, "confidence": None}
    if model.labels is None:
        sure = [row | {"probability": share} for row, share in zip(rows, model.shares, strict=True)]
        return told | {"classes": sure, "mean_confidence": max(model.shares), "labels": None, "confidence": None}
    labels = model.labels(image)
    sure = np.full(labels.shape, round(model.confidence * 255), np.uint8)
    counts = [int((labels == row["id"]).sum()) for row in rows]
    return told | {
        "classes": [
            row | {"pixels": count, "share": count / labels.size} for row, count in zip(rows, counts, strict=True)
        ],
        "mean_confidence": float(sure.mean() / 255),
        "labels": base64.b64encode(label_png(labels, model.classes)).decode(),
        "confidence": base64.b64encode(image_png(sure[None])).decode(),
    }


def recolored(image: np.ndarray) -> bytes:
    """Red and blue exchanged."""
    return picture_png(np.ascontiguousarray(image[:, :, ::-1]))


class Server:
    """`with Server([model]) as server: server.url`; `server.asked` lists what was asked."""

    def __init__(self, models: list[Model]):
        self.models, self.asked = {model.name: model for model in models}, []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(self.path)
                self.reply(*server.got(self.path))

            def do_POST(self) -> None:
                server.asked.append(self.path)
                self.reply(*server.posted(self.path, self.rfile.read(int(self.headers["Content-Length"]))))

            def reply(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                for name, value in (("Content-Type", kind), ("Content-Security-Policy", POLICY)):
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self.port, self.handler = 0, Handler

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Again on the same port, if it was stopped."""
        self.listener = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.port = self.listener.server_port
        threading.Thread(target=self.listener.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.listener.shutdown()
        self.listener.server_close()

    def got(self, path: str) -> tuple[int, str, bytes]:
        if path == "/models":
            return _json(200, {"schema": 1, "models": [described(model) for model in self.models.values()]})
        name = "index.html" if path == "/" else path.removeprefix("/page/")
        file = resources.files("segtrial") / "serving" / "page" / name
        return 200, KINDS[name.split(".")[-1]], file.read_bytes()

    def posted(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        model = self.models[asked["model"]]
        time.sleep(model.seconds)
        try:
            image = np.asarray(Image.open(io.BytesIO(body)).convert("RGB"))
        except UnidentifiedImageError:
            found = "it begins with '" + body[:12].decode(errors="replace") + "': a text file"
            return _json(
                422, {"error": {"what": "upload", "found": found, "fix": "Send a PNG, JPEG, TIFF, BMP or WebP"}}
            )
        if asked["answer"] == "json":
            return _json(200, answered(model, image))
        assert asked["answer"] == "overlay"
        assert model.labels is not None
        shown = overlay(image.transpose(2, 0, 1), model.labels(image), model.classes, opacity=float(asked["opacity"]))
        return 200, "image/png", picture_png(shown)


def _json(status: int, value: object) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(value).encode()
