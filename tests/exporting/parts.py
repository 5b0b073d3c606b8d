"""A part of a data set in memory, a tiny model on disk, and networks that are known."""

from pathlib import Path

import numpy as np
import torch

from segtrial import modelfile, models
from segtrial.classes import Classes
from segtrial.data.sample import Sample
from segtrial.models._blocks import ZeroScaleNorm
from segtrial.models._init import initialise
from segtrial.models._whole import Whole

CLASSES = Classes.named(["sky", "ground", "pole"])
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


class Memory:
    """Random images of two sizes with random masks, in `groups` groups."""

    def __init__(self, count: int, groups: int = 6, dtype: type = np.uint8):
        self.sizes = [(21, 30) if index % 3 else (16, 33) for index in range(count)]
        self.keys = [f"{index:03}" for index in range(count)]
        self.groups = [f"clip{index % groups}" for index in range(count)]
        self.dtype = dtype

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        target = rng.integers(0, 3, self.sizes[index]).astype(np.uint8)
        image = rng.integers(0, 256, (3, *self.sizes[index])).astype(np.uint8)
        if self.dtype is np.float32:
            image = (image / 255).astype(np.float32)
        return Sample(image, target, self.keys[index], self.groups[index])


def network_of(spec: str, outputs: int = 3) -> Whole:
    """Random weights from seed 0, in which every layer has a say."""
    name, options = models.parse(spec)
    core = models.build(name, outputs, 3, **options)
    initialise(core, 0)
    generator = torch.Generator().manual_seed(1)
    for module in core.modules():
        if isinstance(module, ZeroScaleNorm):
            torch.nn.init.uniform_(module.weight, 0.2, 1.0, generator=generator)
    return Whole(core, torch.tensor(MEAN), torch.tensor(STD)).eval()


def saved(
    path: Path, spec: str, task: str = "segmentation", classes: Classes = CLASSES, network: Whole | None = None
) -> Path:
    """The file of a tiny model that nobody trained."""
    name, options = models.parse(spec)
    network = network or network_of(spec, 1 if task == "binary" else len(classes))
    header = modelfile.Header.model_validate(
        {
            "schema": 1,
            "architecture": name,
            "options": options,
            "task": task,
            "classes": classes,
            "in_channels": 3,
            "mean": network.mean.tolist(),
            "std": network.std.tolist(),
            "image_sizes": {"smallest": (16, 30), "largest": (21, 33)},
            "provenance": {"recipe_hash": "", "manifest": "", "steps": 0, "seed": 0, "segtrial": "0"},
        }
    )
    modelfile.save(path, network, header)
    return path
