"""Label pictures of any tool and a part of a data set, or a file of counts -> the counts of each image."""

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, UnidentifiedImageError

from segtrial.classes import Classes
from segtrial.counts import confusion
from segtrial.data.sample import Dataset, Item
from segtrial.errors import DataError, DataNotFound, MaskError, RunError, listing
from segtrial.evaluation import load_counts
from segtrial.tasks import TASKS

FIX = "An answer is a picture of class numbers as large as its image, called as the image is: a.png for a.jpg"

COUNTS = "Give a run folder, its counts/SPLIT.npz, or a folder of label pictures with --data"


def count_pictures(
    folder: Path, dataset: Dataset, items: Sequence[Item], progress: Callable[[int, int], None] | None = None
) -> Int64[np.ndarray, "n k k"]:
    """Rows of counts of `items` in their order: rows the truth, columns the answer; ignored pixels are left out.

    The answer to an item lies at its key or at the last part of it, as PNG, TIFF or BMP with class numbers (grey or
    palette). Raises DataNotFound listing the items without an answer, DataError for pictures of another size or kind,
    and MaskError for numbers that are no class.
    """
    found = {item.key: _find(folder, item.key) for item in items}
    missing = [key for key, path in found.items() if path is None]
    if missing or not items:
        raise DataNotFound(folder, f"no answer to {len(missing)} of {len(items)} images: {listing(missing)}", FIX)
    rows = []
    for number, item in enumerate(items, 1):
        rows.append(_row(found[item.key] or folder, dataset.read(item).target, len(dataset.classes)))
        if progress:
            progress(number, len(items))
    return np.stack(rows)


def read_table(path: Path, split: str) -> tuple[Int64[np.ndarray, "n k k"], tuple[str, ...]]:
    """The counts in a run folder, or in one of its files counts/SPLIT.npz, and the names of the classes ("" unknown).

    Raises RunError for what is none, or where classes do not exclude each other.
    """
    file = path / "counts" / f"{split}.npz" if path.is_dir() else path
    plan = file.parent.parent / "plan.json"
    try:
        told = json.loads(plan.read_text()) if plan.is_file() else {}
        classes = Classes.from_json(told["classes"]) if told else Classes.numbered(_width(file))
        task = TASKS[told.get("task", "segmentation")](classes)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(path, f"no run and no file of counts ({error})", COUNTS) from error
    if task.empty.ndim != 3 or task.empty.shape[1] != task.empty.shape[2]:
        raise RunError(path, f"its task is {task.name}, whose counts are no table of classes", COUNTS)
    return load_counts(file, task).counts, classes.names


def _width(file: Path) -> int:
    """Classes in a file of counts, from the header of its array."""
    with np.load(file, allow_pickle=False) as arrays:
        return int(arrays["counts"].shape[-1])


def _find(folder: Path, key: str) -> Path | None:
    for name in (key, key.rsplit("/", 1)[-1]):
        for suffix in (".png", ".tif", ".tiff", ".bmp"):
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    return None


def _row(path: Path, target: UInt8[np.ndarray, "h w"], classes: int) -> Int64[np.ndarray, "k k"]:
    try:
        with Image.open(path) as picture:
            numbers = np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(path, f"no picture that can be read ({error})", FIX) from error
    if numbers.ndim != 2 or numbers.shape != target.shape:
        found = "x".join(map(str, numbers.shape))
        raise DataError(path, f"{found} (height x width), and its mask is {'x'.join(map(str, target.shape))}", FIX)
    if int(numbers.max()) >= classes:
        raise MaskError(path, f"the number {int(numbers.max())}, and there are {classes} classes", FIX)
    return confusion(torch.from_numpy(numbers.astype(np.int64))[None], torch.from_numpy(target)[None], classes)[
        0
    ].numpy()
