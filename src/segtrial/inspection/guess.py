"""Masks that no table explains -> the classes that they seem to have, for a description to be edited."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageColor

from segtrial.classes import Classes, Color
from segtrial.data.encoding import MOST_VALUES
from segtrial.data.masks import Encoding, unpack
from segtrial.inspection.records import Look, Record
from segtrial.shapes import IGNORE

SHARE = 0.001
"""A colour with a smaller share of all pixels is noise, where there are many or a file is lossy."""

APART = 48.0
"""So is one nearer than this to a commoner colour (Euclidean, in 8-bit RGB)."""

FARTHEST = 442.0
"""No two colours are farther apart."""


@dataclass(frozen=True)
class Guess:
    """Classes found in the masks, and how they would be read."""

    classes: Classes
    encoding: Encoding


def guess(records: Sequence[Record]) -> Guess | None:
    """The classes that all masks together seem to have; None if nothing sensible can be said."""
    masks = [record.mask for record in records if record.mask is not None]
    if not masks:
        return None
    lossy = any(mask.format == "JPEG" for mask in masks)
    colored = any(mask.colored for mask in masks)
    pixels = _pixels(masks, colored=colored)
    clean = len(pixels) <= MOST_VALUES and all(mask.distinct <= MOST_VALUES for mask in masks)
    if not colored and not lossy and clean:
        return _by_value(sorted(pixels))
    if not colored:
        pixels = Counter({value * 0x010101: count for value, count in pixels.items() if 0 <= value <= 255})
    return _by_color(_palette(pixels, clean=clean and not lossy))


def _pixels(masks: Sequence[Look], *, colored: bool) -> Counter[int]:
    """How often each number occurs; grey masks beside coloured ones count as colours."""
    pixels: Counter[int] = Counter()
    for mask in masks:
        for number, count in mask.values:
            pixels[number * 0x010101 if colored and not mask.colored else number] += count
    return pixels


def _by_value(values: Sequence[int]) -> Guess | None:
    meant = [value for value in values if value != IGNORE and value >= 0] if list(values) != [0, 255] else list(values)
    if not 2 <= len(meant) < IGNORE:
        return None
    names = ["background", "foreground"] if meant == [0, 255] else [f"class_{value}" for value in meant]
    meanings = {value: index for index, value in enumerate(meant)}
    classes = Classes.named(names)
    return Guess(classes, Encoding({IGNORE: IGNORE} | meanings, names=classes.names))


def _by_color(colors: Sequence[Color]) -> Guess | None:
    if not 2 <= len(colors) < IGNORE:
        return None
    if list(colors) == [(0, 0, 0), (255, 255, 255)]:
        names = ["background", "foreground"]
    else:
        names = _names(colors)
    classes = Classes(tuple(names), tuple(colors))
    return Guess(classes, Encoding(None, {color: n for n, color in enumerate(colors)}, FARTHEST, classes.names))


def _palette(pixels: Counter[int], *, clean: bool) -> list[Color]:
    """The colours that are classes, black first and then the commonest; all of them where the masks are `clean`."""
    if clean:
        chosen = [unpack(number) for number, _ in pixels.most_common()]
    else:
        chosen = []
        for number, count in pixels.most_common():
            color = np.array(unpack(number), dtype=float)
            far = all(np.linalg.norm(color - other) >= APART for other in chosen)
            if far and count >= SHARE * pixels.total():
                chosen.append(unpack(number))
    return sorted(chosen, key=lambda color: color != (0, 0, 0))


def _names(colors: Sequence[Color]) -> list[str]:
    """The nearest of HTML's colour names, each once: it is easier to see which class is `red` than `class_2`."""
    known = {name: ImageColor.getrgb(name) for name in ImageColor.colormap}
    names: list[str] = []
    for color in colors:
        ranked = sorted(known, key=lambda name: (_apart(known[name], color), name))
        names.append(next(name for name in ranked if name not in names))
    return names


def _apart(one: tuple[int, ...], other: Color) -> float:
    return float(np.linalg.norm(np.subtract(one, other)))
