"""A folder of tiny pictures, and a run of two steps on it, for tests of whatever comes after training."""

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("sky", "ground", "pole")
SIZE = (24, 32)
MODEL = "compact:width=8"
STEPS = 2
SETTINGS = ("optimizer.name=sgd", "threads=1", "checkpoint_seconds=1000", "evaluations=1", "precision=float32")


def write_data(root: Path, *, train: int = 4, val: int = 6) -> Path:
    """`root/train/images/0.png` with `root/train/masks/0.png`, and so on, and a classes.txt."""
    rng = np.random.default_rng(0)
    for part, count in (("train", train), ("val", val)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for index in range(count):
            mask = scene(rng)
            noise = rng.integers(0, 60, (*SIZE, 3))
            image = (np.array([[90, 120, 190], [90, 80, 60], [20, 20, 20]])[mask] + noise).astype(np.uint8)
            Image.fromarray(image).save(root / part / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return root


def scene(rng: np.random.Generator) -> np.ndarray:
    """A horizon and a pole: class numbers of all three classes."""
    mask = np.zeros(SIZE, np.uint8)
    mask[rng.integers(8, 16) :] = 1
    column = rng.integers(2, SIZE[1] - 4)
    mask[4:, column : column + 3] = 2
    return mask


def words(data: Path, out: Path, *more: str) -> list[str]:
    """The command line that trains a tiny run, with `more` at its end."""
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    return ["train", "--model", MODEL, "--data", str(data), "--out", str(out), "--steps", str(STEPS), *settings, *more]
