"""Label maps, images and numbers in, pictures for people out: colours, overlays, errors, confidence, PNG bytes.

Pictures are uint8 `h w 3` (RGB). Images are `c h w` as everywhere: uint8, or float32 in [0, 1]; one or two
channels are drawn grey (the first), of four and more the first three are drawn. Equal input gives equal bytes.
"""

import io
from functools import cache

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from segtrial.classes import Classes
from segtrial.shapes import IGNORE

Picture = UInt8[np.ndarray, "h w 3"]
Labels = UInt8[np.ndarray, "h w"]
Pixels = UInt8[np.ndarray, "c h w"] | Float32[np.ndarray, "c h w"]

WRONG = (255, 45, 85)
"""The colour of a wrong pixel in an error map."""

NOTE = "segtrial"
"""The PNG text field that carries the `note` of `label_png` and `picture_png`."""

_LINE = 20  # pixels from one row of the legend to the next


def picture_of(image: Pixels) -> Picture:
    """An image of any number of channels as RGB, to look at."""
    if image.dtype != np.uint8:
        image = (image.clip(0, 1) * 255).round().astype(np.uint8)
    shown = image[:3] if len(image) >= 3 else image[:1].repeat(3, axis=0)
    return np.ascontiguousarray(shown.transpose(1, 2, 0))  # h w 3


def colored(labels: Labels, classes: Classes) -> Picture:
    """Each pixel in the colour of its class; IGNORE, and what is no class, in black."""
    return np.array(classes.palette(), np.uint8).reshape(256, 3)[labels]


def overlay(image: Pixels, labels: Labels, classes: Classes, *, opacity: float | int = 0.5) -> Picture:
    """The image tinted by class colours, with one-pixel borders in full colour; IGNORE pixels stay as they are.

    Borders in full colour keep things visible that are a pixel or two wide, such as poles.
    """
    below, above = picture_of(image), colored(labels, classes)
    share = np.where(borders(labels), 1.0, opacity) * (labels != IGNORE)
    return _mix(below, above, share)


def borders(labels: Labels) -> Bool[np.ndarray, "h w"]:
    """Pixels whose right or lower neighbour has another label."""
    edge = np.zeros(labels.shape, bool)
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edge[:-1] |= labels[:-1] != labels[1:]
    return edge


def error_map(image: Pixels, truth: Labels, answer: Labels) -> Picture:
    """Wrong pixels in WRONG, right ones as a dimmed grey image, IGNORE hatched dark."""
    grey = picture_of(image).mean(axis=2, keepdims=True)
    picture = (grey * 0.45).astype(np.uint8).repeat(3, axis=2)  # h w 3
    picture[truth != answer] = WRONG
    row, column = np.indices(truth.shape)
    hatch = np.where((row + column) % 8 < 2, 80, 24).astype(np.uint8)
    return np.where((truth == IGNORE)[..., None], hatch[..., None], picture)


def confidence_map(confidence: Float32[np.ndarray, "h w"]) -> Picture:
    """Probabilities as colours, dark violet (0, unsure) to light yellow (1, sure), in even steps of lightness."""
    return _ramp()[(confidence.clip(0, 1) * 255).round().astype(np.uint8)]


def legend(classes: Classes, width: int) -> Picture:
    """Colour swatches with class names, in as many rows as fit `width` pixels (a longer name widens it)."""
    font = ImageFont.load_default(13)
    places, x, y = [], 0, 0
    for name in classes.names:
        needed = round(font.getlength(name)) + 34  # the swatch, the name and the gaps
        if x and x + needed > width:
            x, y = 0, y + _LINE
        places.append((x, y, x + needed))
        x += needed
    strip = Image.new("RGB", (max(width, *(right for *_, right in places)), y + _LINE), "white")
    draw = ImageDraw.Draw(strip)
    for name, color, (left, top, _) in zip(classes.names, classes.colors, places, strict=True):
        draw.rectangle((left + 4, top + 4, left + 15, top + 15), fill=color, outline="black")
        draw.text((left + 21, top + 2), name, fill="black", font=font)
    return np.array(strip)


def label_png(labels: Labels, classes: Classes, *, note: str = "") -> bytes:
    """A PNG whose pixel values are the labels and whose palette holds the class colours: data and picture in one."""
    picture = Image.fromarray(labels)
    picture.putpalette(classes.palette())  # the mode becomes P
    return _png(picture, note)


def image_png(image: Pixels, *, note: str = "") -> bytes:
    """The bytes of an image's PNG: grey for one or two channels, else RGB."""
    picture = picture_of(image)
    return _png(Image.fromarray(picture if len(image) >= 3 else picture[:, :, 0]), note)


def picture_png(picture: Picture, *, note: str = "") -> bytes:
    """The bytes of an RGB PNG."""
    return _png(Image.fromarray(picture), note)


def note_of(png: Image.Image) -> str:
    """The `note` that an opened PNG was written with, or "" if none."""
    return str(png.info.get(NOTE, ""))


def _png(picture: Image.Image, note: str) -> bytes:
    texts = PngImagePlugin.PngInfo()
    if note:
        texts.add_text(NOTE, note)
    held = io.BytesIO()
    picture.save(held, "PNG", pnginfo=texts)
    return held.getvalue()


def _mix(below: Picture, above: Picture, share: np.ndarray) -> Picture:
    """`share` (h w, 0 to 1) of `above`, the rest of `below`."""
    part = share[..., None].astype(np.float32)
    return (below * (1 - part) + above * part).round().astype(np.uint8)


@cache
def _ramp() -> UInt8[np.ndarray, "256 3"]:
    """256 colours along a straight line through CIELAB, where equal steps look equal."""
    dark, light = np.array([12, 30, -42]), np.array([94, -8, 62])
    line = dark + np.linspace(0, 1, 256)[:, None] * (light - dark)
    return _srgb(line)


def _srgb(lab: np.ndarray) -> np.ndarray:
    """CIELAB (D65) to 8-bit sRGB (IEC 61966-2-1)."""
    y = (lab[:, 0] + 16) / 116
    f = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * (0.95047, 1.0, 1.08883)
    to_rgb = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
    linear = (xyz @ to_rgb.T).clip(0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return (encoded * 255).round().astype(np.uint8)
