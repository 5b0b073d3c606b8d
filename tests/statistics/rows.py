"""Rows whose score is a mean, and random rows of small confusion matrices."""

import numpy as np

from segtrial.scores import SCORES, totals

MIOU = SCORES["miou_dataset"].value


def column(values) -> np.ndarray:
    """Rows whose sum is a mean in waiting: (value, 1) of each image, on a new last axis."""
    values = np.asarray(values, float)
    return np.stack([values, np.ones_like(values)], axis=-1)


def mean(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def confusions(rng: np.random.Generator, seeds: int, images: int, classes: int = 3) -> np.ndarray:
    """Totals `s n 3 k` of random confusion matrices, better than chance."""
    counts = rng.integers(0, 40, size=(seeds, images, classes, classes)) + 60 * np.eye(classes, dtype=np.int64)
    return totals(counts.reshape(-1, classes, classes)).reshape(seeds, images, 3, classes)


def clips(images: int, blocks: int) -> list[str]:
    return [f"clip{index % blocks}" for index in range(images)]
