"""Networks that read classes off colours, with weights set by hand, and the run folders they would have come from."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segtrial import modelfile
from segtrial.classes import Classes
from segtrial.data import SplitOptions, open_dataset
from segtrial.evaluation import Counts, save_counts
from segtrial.files import write_json
from segtrial.models._whole import Whole
from segtrial.recipe import from_tree
from segtrial.tasks import TASKS

NAME = "pointwise"
"""What the architecture is called in the registry while a test runs."""


class Pointwise(nn.Module):
    """Scores of each pixel from its own colour."""

    multiple = 1

    def __init__(self, num_classes: int, in_channels: int):
        super().__init__()
        self.score = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.score(x),)


def build(num_classes: int, in_channels: int = 3) -> nn.Module:
    return Pointwise(num_classes, in_channels)


def nearest(colors: Sequence[Sequence[int]], sharpness: float = 300.0) -> tuple[Tensor, Tensor]:
    """Weights `k 3` and biases of -sharpness |x - c|^2, without what is the same for all classes c."""
    centres = torch.tensor(colors, dtype=torch.float32) / 255
    return 2 * sharpness * centres, -sharpness * centres.square().sum(1)


def constant(probabilities: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Weights and biases of the same answer everywhere."""
    return torch.zeros(len(probabilities), 3), torch.tensor(probabilities).log()


def write_model(path: Path, names: Sequence[str], weights: tuple[Tensor, Tensor], task: str = "segmentation") -> None:
    """A model file that these weights are in."""
    fields: dict[str, Any] = {
        "architecture": NAME,
        "options": {},
        "task": task,
        "classes": Classes.named(names),
        "in_channels": 3,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "image_sizes": {"smallest": (8, 8), "largest": (8, 8)},
        "provenance": {"recipe_hash": "ab", "manifest": "cd", "steps": 1, "seed": 0, "segtrial": "0"},
    }
    core = build(len(weights[1]))
    core.load_state_dict({"score.weight": weights[0][:, :, None, None], "score.bias": weights[1]})
    path.parent.mkdir(parents=True, exist_ok=True)
    modelfile.save(path, Whole(core, torch.zeros(3), torch.ones(3)), modelfile.Header.model_validate(fields))


def write_model_of(
    folder: Path, names: Sequence[str], weights: tuple[Tensor, Tensor], task: str = "segmentation"
) -> Path:
    """A model file without a run."""
    write_model(folder / "bare.safetensors", names, weights, task)
    return folder / "bare.safetensors"


def write_run(
    folder: Path,
    data: Path,
    names: Sequence[str],
    weights: tuple[Tensor, Tensor],
    *,
    split: Mapping[str, Any] | None = None,
    start: Path | None = None,
    task: str = "segmentation",
) -> Path:
    """What a run of that split leaves, as far as it says what it has trained on."""
    write_model(folder / "model.safetensors", names, weights, task)
    words = {"data": str(data), "steps": 1, "split": dict(split or {}), "task": task}
    words |= {"start": str(start)} if start else {}
    parts = open_dataset(data, SplitOptions(**(split or {})), TASKS[task].content).parts
    digest = modelfile.load(start / "model.safetensors").digest if start else None
    plan = {"recipe": from_tree(words).model_dump(mode="json"), "parts": {"train": len(parts["train"])}}
    write_json(folder / "plan.json", plan | {"start": digest})
    keys = tuple(item.key for item in parts["val"])
    width = (2,) if task == "classification" else (len(names), len(names))
    save_counts(folder / "counts" / "val.npz", Counts(keys, keys, np.zeros((len(keys), *width), np.int64)))
    return folder
