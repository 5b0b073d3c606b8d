"""Images of one size -> the network's answers, in the process that holds the network; the same as `segtrial predict`'s.

Whatever nobody foresaw ends the process: its requests are refused, and another one is started.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from segtrial import modelfile
from segtrial.hardware import keep_memory, pick_device, pick_precision
from segtrial.modelfile import Loaded
from segtrial.prediction import Asker, Tiling, tiling
from segtrial.prediction.tiles import Block, blocks
from segtrial.prediction.writing import HEIGHT, Strip, strips
from segtrial.serving.workers import Frame, Handler
from segtrial.tasks import Answer


def start(settings: dict[str, Any]) -> tuple[dict[str, Any], Handler]:
    """`settings`: the model's `path`, a `device`, and `tile`, as `segtrial predict` knows them."""
    keep_memory()
    loaded = modelfile.load(settings["path"], str(pick_device(settings["device"])))
    return describe(loaded), Answering(loaded, settings["tile"]).handle


def describe(loaded: Loaded) -> dict[str, Any]:
    """What the server must know of a model."""
    header = loaded.header
    return {
        "task": header.task,
        "classes": header.classes.to_json(),
        "mean_color": header.mean_color,
        "channels": loaded.network.channels,
        "parameters": sum(each.numel() for each in loaded.network.core.parameters()),
        "architecture": header.architecture,
        "digest": loaded.digest,
        "largest": header.image_sizes.largest,
        "device": str(loaded.network.mean.device),
    }


class Answering:
    """A loaded model that answers frames."""

    def __init__(self, loaded: Loaded, tile: str):
        network, self._task = loaded.network, loaded.task
        self._asker = Asker(network, self._task, pick_precision("auto", network.mean.device))
        cut = tiling(tile, None, loaded.header.image_sizes.largest)
        self._tiling: Tiling | None = cut if self._task.content != "classes" else None  # a class is of the whole image

    def handle(self, header: dict[str, Any], buffers: list[bytes]) -> Frame:
        """`shape` (c h w) of uint8 images, one a buffer -> `answers`: types and shapes of arrays, which follow."""
        images = np.stack([np.frombuffer(one, np.uint8).reshape(header["shape"]) for one in buffers])
        said, arrays = [], []
        for answer in self._answers(images):
            if answer is None:
                said.append(None)
                continue
            parts = [answer.values, *([] if answer.confidence is None else [answer.confidence])]
            said.append([[str(part.dtype), part.shape] for part in parts])
            arrays += [np.ascontiguousarray(part).reshape(-1).view(np.uint8).data for part in parts]
        return {"answers": said}, arrays

    def _answers(self, images: np.ndarray) -> list[Answer | None]:
        """Of each image, None if it does not fit the device's memory."""
        try:
            if self._tiling is not None and self._tiling.cuts(images.shape[2:]):
                return [self._cut(image, self._tiling) for image in images]
            pixels = torch.from_numpy(images)
            pairs = zip(pixels, self._asker(pixels), strict=True)
            return [_joined(strips([Block(*pair)], self._task, probabilities=False)) for pair in pairs]
        except torch.OutOfMemoryError:
            return [None] if len(images) == 1 else [self._answers(image[None])[0] for image in images]

    def _cut(self, image: np.ndarray, cut: Tiling) -> Answer:
        network, size = self._asker.network, (image.shape[1], image.shape[2])
        found = blocks(self._asker, lambda first, last: image[:, first:last], size, network, cut)
        return _joined(strips(found, self._task, probabilities=False))


def _joined(pieces: Iterable[Strip]) -> Answer:
    """The answer for the whole image."""
    answers = [piece.answer for piece in pieces]
    if len(answers) == 1:
        return answers[0]
    confidence = [answer.confidence for answer in answers if answer.confidence is not None]
    values = np.concatenate([answer.values for answer in answers], HEIGHT)
    return Answer(values, np.concatenate(confidence, HEIGHT) if confidence else None)
