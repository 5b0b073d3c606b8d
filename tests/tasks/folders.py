"""A task -> a generated folder of tiny pictures that it can learn from, and the command line that trains on it."""

from pathlib import Path

import numpy as np
from PIL import Image

from segtrial.tasks import TASKS
from tests import tiny

SIZE = (24, 32)
NAMES = ("ant", "bee", "cat")
SETTINGS = (
    *("model=compact:width=8", "optimizer.name=sgd", "threads=1", "precision=float32", "progress_steps=2"),
    *("evaluations=2", "checkpoint_seconds=0", "phases=[{share: 1, batch: 3, crop: 1, scale: [0.8, 1.2]}]"),
)


def words(data: Path, out: Path, task: str, *more: str) -> list[str]:
    """`segtrial train` for four steps of a few milliseconds."""
    settings = [word for setting in (*SETTINGS, *more) for word in ("--set", setting)]
    return ["train", "--task", task, "--data", str(data), "--out", str(out), "--steps", "4", *settings]


def write(task: str, root: Path) -> Path:
    """Data for `task` below `root`: four pictures to train on and six to validate with."""
    if TASKS[task].content == "masks":
        tiny.write_data(root)
        if task == "binary":
            _two_classes(root)
    for part, count in (("train", 4), ("val", 6)):
        for index in range(count):
            if TASKS[task].content == "classes":
                save(root / part / NAMES[index % 3] / f"{index}.png", photo(index, tint=index % 3))
            elif TASKS[task].content == "photos":
                save(root / part / f"{index}.png", photo(index))
    return root


def photo(seed: int, tint: int | None = None, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A coloured photo `h w 3`: noise over the colour of the ground, or one channel brighter than the others."""
    rng = np.random.default_rng(seed)
    colour = np.array([60, 110, 170]) if tint is None else np.eye(3)[tint] * 120 + 50
    return (colour + rng.integers(0, 80, (*size, 1)) + rng.integers(0, 10, (*size, 3))).clip(0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def _two_classes(root: Path) -> None:
    for path in root.rglob("masks/*.png"):
        save(path, (np.asarray(Image.open(path)) == 2).astype(np.uint8))
    (root / "classes.txt").write_text("background\npole\n")
