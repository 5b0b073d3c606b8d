"""A network whose answer is known (each pixel's largest colour channel), pictures for it, and what lies in a folder."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial.classes import Classes
from segtrial.models._whole import Whole
from segtrial.tasks import Task, make

CLASSES = Classes(("red", "green", "blue"), ((200, 0, 0), (0, 200, 0), (0, 0, 200)))
TASK = make("segmentation", CLASSES)


class Largest(nn.Module):
    """Scores are the normalised channels; `seen` holds the shapes of what went in."""

    def __init__(self, multiple: int = 8):
        super().__init__()
        self.multiple = multiple
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.seen.append(tuple(x.shape))
        return (x,)


def whole(core: nn.Module, channels: int = 3) -> Whole:
    return Whole(core, torch.zeros(channels), torch.full((channels,), 0.1)).eval()


@dataclass(frozen=True)
class Loaded:
    """What `modelfile.load` would give."""

    network: Whole = field(default_factory=lambda: whole(Largest()))
    task: Task = TASK
    digest: str = "first"


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """c h w, with no two channels equal anywhere."""
    values = np.random.default_rng(seed).permuted(
        np.arange(256)[:, None, None].repeat(height, 1).repeat(width, 2), axis=0
    )
    return values[:channels].astype(np.uint8)


def put(path: Path, height: int = 6, width: int = 9, seed: int = 0) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = noise(height, width, seed=seed)
    Image.fromarray(image.transpose(1, 2, 0)).save(path, **({} if path.suffix == ".png" else {"lossless": True}))
    return image


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks and journals, whose lines come in the order of the work."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (".lock", ".answers.jsonl")
    }


def labels_in(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))
