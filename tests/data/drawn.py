"""A seed or a list of values -> a tiny image or mask for tests."""

import numpy as np
from PIL import Image


def photo(seed: int = 0, size: tuple[int, int] = (12, 16), channels: int = 3) -> np.ndarray:
    """Random pixels, h w c (h w for one channel)."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    return pixels if channels > 1 else pixels[:, :, 0]


def labels(values: list[int], size: tuple[int, int] = (12, 16)) -> np.ndarray:
    """A mask in which every one of the values occurs."""
    return np.resize(np.array(values, dtype=np.uint8), size)


def scene(seed: int = 0, size: tuple[int, int] = (64, 96)) -> np.ndarray:
    """A smooth picture with random shades, h w c: unlike noise, it survives being encoded and resized."""
    coarse = Image.fromarray(photo(seed, (9, 12)))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))
