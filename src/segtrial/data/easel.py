"""A town, a camera in it and its light -> metres and colours drawn as dots on a canvas.

Everything is drawn DOTS times larger than the picture on one canvas of four channels: red, green, blue and
class. So colour and class have one shape.
"""

import math
from collections.abc import Sequence
from typing import no_type_check

from PIL import Image, ImageDraw

from segtrial.classes import Color
from segtrial.data.town import Town

DOTS = 3
"""Canvas dots per pixel, each way; odd, so that one lies in the middle."""

NEAR = 1.0
"""Metres before the camera where drawing begins."""

Number = float | int
Point = tuple[Number, Number]
Ink = tuple[int, int, int, int]


@no_type_check  # not looked at while testing: a frame makes thousands of calls, which would take longer than all else
class Easel:
    """Canvas, camera and light: draws metres as dots."""

    def __init__(self, town: Town, frame: int, size: tuple[int, int]):
        self.town, self.height, self.width = town, size[0] * DOTS, size[1] * DOTS
        self.eye = frame * town.step  # metres along the street
        self.focal = town.focal * self.width
        self.horizon, self.vanishing = town.horizon * self.height, town.vanishing * self.width
        self.canvas = Image.new("CMYK", (self.width, self.height))  # four plain channels, none of them alpha
        self.pen = ImageDraw.Draw(self.canvas)
        self.shade = Image.new("L", (size[1], size[0]), 255)  # of the ground, in pixels

    def point(self, x: Number, y: Number, z: Number) -> Point:
        """Where a point of the town is seen, in dots. `z` counts from the camera."""
        depth = max(z, NEAR)
        scale = self.focal / depth
        return self.vanishing + scale * x, self.horizon + scale * (self.town.camera_height - y)

    def ink(self, color: Color, brightness: Number, z: Number, label: int) -> Ink:
        """A colour in this light, at this distance, with its class."""
        light = self.town.light
        clear = math.exp(-z / light.haze) if z > 0 else 1.0
        (red, green, blue), (tint_red, tint_green, tint_blue) = color, light.tint
        full, veil = clear * brightness, 1 - clear
        return (
            min(255, int(full * red * tint_red + veil * light.horizon[0])),
            min(255, int(full * green * tint_green + veil * light.horizon[1])),
            min(255, int(full * blue * tint_blue + veil * light.horizon[2])),
            label,
        )

    def polygon(self, points: Sequence[Point], ink: Ink) -> None:
        self.pen.polygon(points, ink)

    def oval(self, center: Point, radius: Number, ink: Ink, squeeze: Number = 1.0) -> None:
        (x, y), tall = center, radius * squeeze
        self.pen.ellipse((x - radius, y - tall, x + radius, y + tall), ink)

    def floor(self, x: Point, z: Point, color: Color, brightness: Number, label: int) -> None:
        """A level rectangle from x[0] to x[1] and z[0] to z[1]."""
        if z[1] <= NEAR:
            return
        corners = [self.point(x[a], 0, z[b]) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
        self.polygon(corners, self.ink(color, brightness, max(z[0], 0), label))

    def wall(self, x: Number, z: Point, y: Point, ink: Ink) -> None:
        """An upright rectangle along the street."""
        self.polygon([self.point(x, y[a], z[b]) for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))], ink)

    def front(self, x: Point, z: Number, y: Point, ink: Ink) -> None:
        """An upright rectangle across the street."""
        left, foot = self.point(x[0], y[0], z)
        right, top = self.point(x[1], y[1], z)
        self.polygon([(left, foot), (left, top), (right, top), (right, foot)], ink)

    def darken(self, points: Sequence[Point], value: int) -> None:
        """A shadow on the ground with corners (x, z)."""
        corners = [self.point(x, 0, z) for x, z in points]
        ImageDraw.Draw(self.shade).polygon([(u / DOTS, v / DOTS) for u, v in corners], value)
