"""Example files in, pictures of a page out: base64 inside the page, at most WIDEST pixels wide, with words for them."""

import io
import math
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from segtrial.classes import Classes
from segtrial.drawing import confidence_map, error_map
from segtrial.errors import RunError
from segtrial.reports import wording
from segtrial.reports.records import CONTINUE, Example
from segtrial.shapes import IGNORE

WIDEST = 480
"""Pixels: two such pictures fill a laptop's page, and 24 rows stay far below the page's 8 MB."""

MOST = 24
"""Rows of pictures on a page."""


@dataclass(frozen=True)
class Panel:
    """One picture: what it is, what to say of it to those who do not see it, its data address, its pixels."""

    title: str
    alt: str
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Row:
    """One example: its panels, and in words how good the answer is."""

    key: str
    group: str
    rank: str
    words: str
    panels: tuple[Panel, ...]


def rows(examples: tuple[Example, ...], classes: Classes, task: str = "segmentation") -> list[Row]:
    """Rows of the first MOST examples, the worst on top. Raises RunError naming a picture that cannot be shown."""
    ordered = sorted(examples[:MOST], key=lambda example: math.inf if example.score is None else example.score)
    if task == "classification":
        return [_class_row(example) for example in ordered]
    return [_color_row(one) if task.startswith("color") else _mask_row(one, classes) for one in ordered]


def _class_row(example: Example) -> Row:
    said = example.said
    words = (
        f"is {said['truth_class'] or 'of no class'}, answered {said['class']} ({wording.percent(said['probability'])})"
    )
    photo = _open(example.pictures["image"]).convert("RGB")
    return Row(example.key, example.group, example.rank, words, (panel("image", f"Image {example.key}", photo),))


def _color_row(example: Example) -> Row:
    shown = {what: _open(path).convert("RGB") for what, path in example.pictures.items()}
    levels = {what: np.asarray(photo, np.float32) for what, photo in shown.items()}  # h w 3
    apart = np.abs(levels["answer"] - levels["truth"]).mean(axis=2) / 255
    panels = (
        panel("seen", f"Photo {example.key} as the network sees it", shown["image"]),
        panel("truth", "The photo's own colours", shown["truth"]),
        panel("answer", "The answer", shown["answer"]),
        panel("difference", f"Difference of {apart.mean():.3f} on average", Image.fromarray(confidence_map(apart * 4))),
    )
    return Row(example.key, example.group, example.rank, f"PSNR {wording.score(example.score)} dB", panels)


def _mask_row(example: Example, classes: Classes) -> Row:
    photo = _open(example.pictures["image"]).convert("RGB")
    truth, answer = (_labels(example.pictures[what], photo.size) for what in ("truth", "answer"))
    sure = np.asarray(_open(example.pictures["confidence"]).convert("L"), np.float32) / 255  # h w
    wrong = (truth != answer) & (truth != IGNORE)
    counted = int((truth != IGNORE).sum())
    share = int(wrong.sum()) / counted if counted else None
    panels = (
        panel("image", f"Image {example.key}", photo),
        panel("truth", f"Truth: {contents(truth, classes)}", label_picture(truth, classes)),
        panel("answer", f"Answer: {contents(answer, classes)}", label_picture(answer, classes)),
        panel("error", f"Wrong pixels in red: {wording.percent(share)}", _errors(photo, truth, answer)),
        panel("confidence", f"Confidence {sure.mean():.2f} on average", Image.fromarray(confidence_map(sure))),
    )
    words = f"mIoU {wording.score(example.score)} · {wording.percent(share)} of pixels wrong"
    return Row(example.key, example.group, example.rank, words, panels)


def _open(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RunError(path, f"not a picture ({error})", CONTINUE) from error


def _labels(path: Path, size: tuple[int, int]) -> UInt8[np.ndarray, "h w"]:
    image = _open(path)
    if image.mode not in ("P", "L") or image.size != size:
        found = f"a {image.mode} picture of {image.size}, not class indices of {size}"
        raise RunError(path, found, CONTINUE)
    return np.asarray(image)


def label_picture(labels: UInt8[np.ndarray, "h w"], classes: Classes) -> Image.Image:
    """Class indices as a palette picture in the colours of the classes."""
    image = Image.fromarray(labels)
    image.putpalette(classes.palette())
    return image


def _errors(photo: Image.Image, truth: UInt8[np.ndarray, "h w"], answer: UInt8[np.ndarray, "h w"]) -> Image.Image:
    image = np.asarray(photo).transpose(2, 0, 1)  # c h w
    return Image.fromarray(error_map(image, truth, answer))


def contents(labels: UInt8[np.ndarray, "h w"], classes: Classes, most: int = 4) -> str:
    """ "road 40 %, sky 31 %": the largest classes, in words."""
    pixels = np.bincount(labels[labels != IGNORE], minlength=len(classes))
    largest = [int(index) for index in np.argsort(-pixels, kind="stable")[:most] if pixels[index]]
    known = [(classes.names[index] if index < len(classes) else f"index {index}", pixels[index]) for index in largest]
    return ", ".join(f"{name} {100 * n / pixels.sum():.0f} %" for name, n in known) or "nothing that counts"


def panel_of(title: str, alt: str, path: Path) -> Panel:
    """One picture of a page, from a file. Raises RunError if it is none."""
    return panel(title, alt, _open(path))


def panel(title: str, alt: str, image: Image.Image) -> Panel:
    """One picture of a page. Label maps stay exact PNG and are shrunk by taking pixels; photographs become WebP."""
    indexed = image.mode == "P"
    shrink = min(WIDEST / image.width, 4 * WIDEST / image.height)  # WebP ends at 16383 pixels
    if shrink < 1:
        size = (max(1, round(image.width * shrink)), max(1, round(image.height * shrink)))
        image = image.resize(size, Image.Resampling.NEAREST if indexed else Image.Resampling.LANCZOS)
    data = io.BytesIO()
    if indexed:
        image.save(data, "PNG", optimize=True)
    else:
        image.save(data, "WEBP", quality=82, method=4)
    kind = "png" if indexed else "webp"
    source = f"data:image/{kind};base64,{b64encode(data.getvalue()).decode()}"
    return Panel(title, alt, source, image.width, image.height)
