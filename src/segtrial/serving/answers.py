"""A network's answer for one image -> what a client gets: a label PNG, an overlay, the confidence, or JSON of them all.

Labels are the pixels that `segtrial predict` writes; pictures are drawn some rows at a time.
"""

import base64
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from segtrial.drawing import Pixels, overlay
from segtrial.errors import Refused
from segtrial.prediction.png import COLOURS, GREY, INDEXED, PngRows
from segtrial.prediction.writing import PIECE, planes
from segtrial.tasks import Answer, Task

KINDS = ("png", "json", "overlay", "confidence")
SCHEMA = 1
OPACITY = 0.5


def picture(kind: str, task: Task, image: Pixels, answer: Answer, opacity: float | int = OPACITY) -> bytes:
    """The PNG of a kind: "png", "overlay" or "confidence". Raises Refused (422) if the task has no such picture."""
    if kind == "confidence":
        return _confidence(task, answer)
    if task.content == "classes":
        raise _undrawn(kind, task)
    drawing = task.picture("", image, answer)
    if kind == "png":
        return _png(drawing.pixels, bytes(task.classes.palette()) if drawing.indexed else b"")
    if not drawing.indexed:
        raise _undrawn(kind, task)
    return _overlay(task, image, drawing.pixels, opacity)


def record(name: str, task: Task, image: Pixels, answer: Answer) -> dict[str, Any]:
    """The JSON answer: sizes, the classes with their shares, and the label and confidence PNGs in base64.

    A classifier has no PNGs but each class's `probability`; colours have no classes.
    """
    height, width = image.shape[1:]
    told = {"schema": SCHEMA, "model": name, "width": width, "height": height, "classes": _classes(task, answer)}
    if task.content == "classes":
        return {**told, "mean_confidence": float(answer.values.max()), "labels": None, "confidence": None}
    sure = answer.confidence
    return {
        **told,
        "mean_confidence": None if sure is None else float(sure.mean(dtype=np.float64)),
        "labels": _text(picture("png", task, image, answer)),
        "confidence": None if sure is None else _text(_confidence(task, answer)),
    }


def _classes(task: Task, answer: Answer) -> list[dict[str, Any]]:
    """Index, name and colour of each class, and how much of the image it has."""
    if task.content == "photos":
        return []
    known = enumerate(zip(task.classes.names, task.classes.colors, strict=True))
    rows = [{"id": index, "name": name, "color": list(color)} for index, (name, color) in known]
    if task.content == "classes":
        return [{**row, "probability": float(value)} for row, value in zip(rows, answer.values, strict=True)]
    counts = np.sum([np.bincount(plane.ravel(), minlength=256) for plane in planes(answer)], axis=0)
    area = answer.values.shape[-2] * answer.values.shape[-1]
    return [{**row, "pixels": int(counts[row["id"]]), "share": int(counts[row["id"]]) / area} for row in rows]


def _confidence(task: Task, answer: Answer) -> bytes:
    if answer.confidence is None:
        raise _undrawn("confidence", task)
    return _png(np.round(answer.confidence.clip(0, 1) * 255).astype(np.uint8))


def _overlay(task: Task, image: Pixels, labels: UInt8[np.ndarray, "h w"], opacity: float | int) -> bytes:
    file, size = io.BytesIO(), (labels.shape[0], labels.shape[1])
    png = PngRows(file, size, COLOURS)
    for first, last in _pieces(size):
        below = slice(first, last + 1)  # borders are drawn between a row and the next
        png.add(overlay(image[:, below], labels[below], task.classes, opacity=opacity)[: last - first])
    png.finish()
    return file.getvalue()


def _png(pixels: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"], palette: bytes = b"") -> bytes:
    file, size = io.BytesIO(), (pixels.shape[0], pixels.shape[1])
    png = PngRows(file, size, INDEXED if palette else COLOURS if pixels.ndim == 3 else GREY, palette=palette)
    for first, last in _pieces(size):
        png.add(pixels[first:last])
    png.finish()
    return file.getvalue()


def _pieces(size: tuple[int, int]) -> Iterator[tuple[int, int]]:
    rows = max(1, PIECE // size[1])
    for first in range(0, size[0], rows):
        yield first, min(first + rows, size[0])


def _undrawn(kind: str, task: Task) -> Refused:
    return Refused(422, f"answer={kind}", f"{task.name} has no such picture", "Ask for answer=json")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
