"""A street whose answer is known, the models that give it, and what the page in Chromium shows of it."""

import base64
import io

import numpy as np
from PIL import Image

from segtrial.classes import Classes
from segtrial.drawing import overlay
from tests.serving.standin import Model

H, W = 24, 32
CLASSES = Classes(("sky", "ground", "pole", "boat"), ((90, 150, 220), (150, 100, 60), (250, 220, 40), (1, 2, 3)))
NAMES = CLASSES.names


def scene(_: object = None) -> np.ndarray:
    """Sky above, ground below, a pole of two columns; no boat."""
    labels = np.zeros((H, W), np.uint8)
    labels[H // 2 :] = 1
    labels[4:, 10:12] = 2
    return labels


def shifted(_: object) -> np.ndarray:
    return np.roll(scene(), 3, axis=1)


def photo() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 90, (H, W, 3))
    return (np.array(CLASSES.colors, np.int64)[scene()] // 2 + noise).astype(np.uint8)


def one(**more) -> Model:
    return Model("compact", CLASSES, scene, **more)


def two() -> list[Model]:
    return [one(), Model("unet", CLASSES, shifted, confidence=0.6)]


def upload(page, path) -> None:
    page.set_input_files("#file", path)
    page.wait_for_selector("#result:not([hidden])")


def drawn(page, number: int) -> np.ndarray:
    """What the panel shows, of each of the picture's pixels its middle."""
    data = page.evaluate("n => document.querySelectorAll('#panels canvas')[n].toDataURL()", number)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data.split(",")[1]))).convert("RGB")).astype(int)
    times = shown.shape[1] // W
    assert shown.shape == (H * times, W * times, 3)
    return shown[times // 2 :: times, times // 2 :: times]


def blended(opacity: float = 0.5, labels: np.ndarray | None = None) -> np.ndarray:
    return overlay(photo().transpose(2, 0, 1), scene() if labels is None else labels, CLASSES, opacity=opacity)


def slide(page, percent: int) -> None:
    page.locator("#opacity").fill(str(percent))


def near(shown: np.ndarray, wanted: np.ndarray) -> bool:
    return shown.shape == wanted.shape and np.abs(shown - wanted.astype(int)).max() <= 2
