"""Class names and colours in, one table out: what an index in a mask means.

The table travels with the data set and with the model. IGNORE is not a class: it has no row here.
"""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segtrial.errors import DataError
from segtrial.shapes import IGNORE, MOST_CLASSES

Color = tuple[int, int, int]

VOID_COLOR: Color = (0, 0, 0)
"""Drawn for IGNORE where a target is shown."""


@dataclass(frozen=True)
class Classes:
    """Names and RGB colours (0 to 255) of classes 0, 1, ... in order.

    `swaps` holds pairs of indices that a horizontal flip exchanges (left eye, right eye).
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    swaps: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MOST_CLASSES:
            raise DataError("class table", f"{len(self.names)} classes", f"Declare 1 to {MOST_CLASSES}")
        if len(self.names) != len(self.colors):
            found = f"{len(self.names)} names but {len(self.colors)} colours"
            raise DataError("class table", found, "Give each class one colour")
        repeated = sorted({name for name in self.names if self.names.count(name) > 1})
        if repeated:
            raise DataError("class table", f"repeated names {repeated}", "Give each class a name of its own")
        if any(not 0 <= channel <= 255 for color in self.colors for channel in color):
            raise DataError("class table", f"colours {self.colors}", "Give red, green and blue from 0 to 255")
        swapped = [index for pair in self.swaps for index in pair]
        if len(set(swapped)) < len(swapped):
            raise DataError("class table", f"swaps {self.swaps}", "A class may be exchanged with one other class")
        if any(not 0 <= index < len(self.names) for pair in self.swaps for index in pair):
            raise DataError("class table", f"swaps {self.swaps}", f"Use indices 0 to {len(self.names) - 1}")

    def __len__(self) -> int:
        return len(self.names)

    def mirrored(self) -> tuple[int, ...]:
        """The class that each class becomes under a horizontal flip: a permutation of 0..k-1."""
        order = list(range(len(self)))
        for left, right in self.swaps:
            order[left], order[right] = right, left
        return tuple(order)

    def palette(self) -> list[int]:
        """768 numbers for a PNG palette: class colours first, VOID_COLOR at IGNORE."""
        table = [channel for color in self.colors for channel in color]
        table += [0] * (768 - len(table))
        table[3 * IGNORE :] = VOID_COLOR
        return table

    def to_json(self) -> dict[str, list]:
        """Plain lists, for JSON and YAML."""
        return {
            "names": list(self.names),
            "colors": [list(color) for color in self.colors],
            "swaps": [list(pair) for pair in self.swaps],
        }

    @staticmethod
    def from_json(table: Mapping[str, Any]) -> "Classes":
        """The inverse of `to_json`. Raises DataError if a field is missing or of the wrong form."""
        try:
            colors = tuple((int(r), int(g), int(b)) for r, g, b in table["colors"])
            swaps = tuple((int(left), int(right)) for left, right in table.get("swaps", ()))
            return Classes(tuple(str(name) for name in table["names"]), colors, swaps)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DataError("class table", f"{error!r}", "It needs names and colors ([r, g, b] each)") from error

    @staticmethod
    def named(names: Sequence[str]) -> "Classes":
        """Classes with colours of our choosing: distinct hues, the first one dark if called background."""
        return Classes(tuple(names), tuple(_color(index, name) for index, name in enumerate(names)))

    @staticmethod
    def numbered(count: int) -> "Classes":
        """`class_0` to `class_{count-1}`: for masks that come without a table."""
        return Classes.named([f"class_{index}" for index in range(count)])


def _color(index: int, name: str) -> Color:
    if index == 0 and name == "background":
        return (40, 40, 48)
    hue = (index * 0.618033988749895 + 0.05) % 1.0  # the golden ratio keeps neighbours apart at any count
    saturation, value = (0.75, 0.95) if index % 2 else (0.55, 0.75)
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)
