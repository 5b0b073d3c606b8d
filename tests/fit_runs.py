"""Recipes and tiny pictures, healthy and with one planted fault each -> finished runs for the fit doctor."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtrial import training
from segtrial.recipe import from_tree

NAMES = ("ground", "pond", "tree", "stone")
COLORS = np.array([[120, 110, 90], [90, 110, 140], [80, 130, 80], [150, 140, 130]])
SIZE = 64
HEALTHY: dict[str, Any] = {
    "model": "compact:width=8",
    "steps": 240,
    "phases": [{"share": 1.0, "batch": 8, "crop": 1.0, "scale": [0.9, 1.1]}],
    "ema": 0.9,
    "threads": 1,
    "precision": "float32",
    "device": "cpu",
    "checkpoint_seconds": 1000.0,
    "progress_steps": 5,
}


def mask_of(random: np.random.Generator, kinds: tuple[int, ...]) -> np.ndarray:
    """Discs of classes 1 to 3, anywhere on the ground."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    mask = np.zeros((SIZE, SIZE), np.uint8)
    for kind in (*kinds, *random.choice(kinds, 2)):
        (row, column), radius = random.integers(0, SIZE, 2), random.integers(7, 15)
        mask[(rows - row) ** 2 + (columns - column) ** 2 < radius**2] = kind
    return mask


def photo_of(mask: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The colours of the classes, in the light of the day, with noise."""
    noise = random.normal(0, 25, (SIZE, SIZE, 3))
    return (COLORS[mask] * random.uniform(0.7, 1.2) + noise).clip(0, 255).astype(np.uint8)


def write_data(
    root: Path, *, train: int = 48, val: int = 16, shuffled: bool = False, missing: tuple[int, ...] = ()
) -> Path:
    """A folder of pictures and masks; `shuffled` pairs each training picture with a mask of its own scene no more."""
    random = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        kinds = tuple(kind for kind in (1, 2, 3) if part == "val" or kind not in missing)
        masks = [mask_of(random, kinds) for _ in range(count)]
        photos = [photo_of(mask, random) for mask in masks]
        if shuffled and part == "train":
            masks = masks[1:] + masks[:1]
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for index, (photo, mask) in enumerate(zip(photos, masks, strict=True)):
            Image.fromarray(photo).save(root / part / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root


def run(out: Path, data: Path, **changes: Any) -> Path:
    """Train the healthy recipe, with some of its fields changed, into `out`."""
    return training.train(from_tree({**HEALTHY, "data": str(data), **changes}), out)
