"""(seed, scene) -> a town: one street in metres, with its houses, trees, cars, people, posts, light and weather.

x points right from the middle of the road, y up from it, z along it. All of a scene's frames show one town,
so they are alike as the frames of a drive are: the scene is the group that a split must not cut.
"""

from dataclasses import dataclass

import numpy as np

from segtrial.classes import Color
from segtrial.randomness import generator

FAR = 75.0
"""Metres that things are set up ahead of the last frame's camera."""

WALLS = [
    (168, 92, 74),
    (196, 178, 148),
    (150, 142, 136),
    (206, 196, 186),
    (122, 98, 84),
    (178, 150, 98),
    (104, 116, 128),
]
ROOFS = [(120, 58, 44), (78, 74, 76), (96, 84, 72), (64, 72, 84)]
LEAVES = [(70, 104, 44), (52, 88, 48), (104, 118, 50), (150, 104, 40), (86, 110, 70)]
PAINTS = [
    (176, 30, 34),
    (34, 66, 150),
    (226, 226, 222),
    (38, 40, 44),
    (150, 154, 158),
    (214, 176, 38),
    (52, 100, 66),
    (110, 60, 52),
]
CLOTHES = [
    (40, 44, 60),
    (150, 40, 44),
    (198, 190, 178),
    (60, 90, 120),
    (210, 170, 60),
    (70, 76, 62),
    (90, 60, 90),
    (28, 28, 30),
]
SKINS = [(226, 188, 160), (188, 140, 106), (132, 92, 66), (92, 62, 46)]
PLATES = [(190, 28, 34), (28, 74, 160), (228, 226, 220), (222, 176, 32), (30, 110, 70)]

LAMPS = [(230, 40, 36), (240, 180, 40), (40, 200, 90)]


@dataclass(frozen=True)
class Light:
    """What the time of day and the weather do. Colours are those of the sky above, at the horizon, and of haze."""

    zenith: Color
    horizon: Color
    tint: tuple[float, float, float]
    sides: tuple[float, float]
    """Brightness of walls on the left and on the right of the street."""
    shadow: float
    """What sunlight lost leaves of brightness on the ground, 0 to 1."""
    haze: float
    """Metres at which haze has swallowed two thirds."""
    clouds: float
    blur: float
    noise: int
    contrast: float


LIGHTS = {  # zenith, horizon, tint, brightness of a lit and an unlit wall, shadow, clouds
    "noon": ((74, 128, 200), (188, 212, 230), (1.08, 1.04, 0.98), (1.1, 0.62), 0.5, 0.7),
    "overcast": ((168, 174, 182), (206, 208, 210), (0.88, 0.9, 0.93), (0.86, 0.8), 0.86, 0.5),
    "evening": ((92, 104, 150), (244, 184, 126), (1.06, 0.86, 0.7), (1.08, 0.5), 0.55, 0.8),
    "dull": ((132, 142, 154), (180, 182, 182), (0.78, 0.8, 0.86), (0.8, 0.68), 0.85, 0.6),
}


@dataclass(frozen=True)
class House:
    side: int
    """-1 left, 1 right."""
    start: float
    length: float
    height: float
    wall: Color
    roof: Color
    pitch: float
    """Height of the roof, metres; 0 is flat."""
    pane: Color
    spacing: float
    """Metres from window to window."""
    shop: Color | None
    poster: tuple[float, float, Color] | None
    """Place along the wall (0 to 1), height of its foot, colour: like a sign, but part of the house."""
    lit: tuple[bool, ...]
    """Which windows mirror the sky; counted round."""
    pipe: float
    """Place of a rain pipe along the wall (0 to 1): like a pole, but part of the house."""


@dataclass(frozen=True)
class Tree:
    x: float
    z: float
    trunk: float
    """Height of the bare trunk, metres."""
    blobs: tuple[tuple[float, float, float, int], ...]
    """Leaves: sideways and up from the trunk's top, radius, brightness (1 to 3)."""
    color: Color
    behind: bool
    """Stands among the houses, not along the street."""


@dataclass(frozen=True)
class Post:
    x: float
    z: float
    height: float
    width: float
    color: Color
    plate: str
    """What it carries: "lamp", "round", "triangle", "board", "lights"."""
    plate_color: Color


@dataclass(frozen=True)
class Person:
    x: float
    z: float
    pace: float
    """Metres along the street from frame to frame."""
    height: float
    shirt: Color
    trousers: Color
    skin: Color
    stride: float


@dataclass(frozen=True)
class Car:
    x: float
    z: float
    pace: float
    kind: str
    """"car" or "van"."""
    color: Color


@dataclass(frozen=True)
class Town:
    """One street. Camera: height in metres, focal length and vanishing point in shares of the picture."""

    camera_height: float
    focal: float
    horizon: float
    vanishing: float
    step: float
    """Metres that the camera moves from frame to frame."""
    half_road: float
    pavement: float
    asphalt: Color
    paving: Color
    paint: Color
    edge_lines: bool
    crossings: tuple[float, ...]
    patches: tuple[tuple[float, float, float, float, float], ...]
    """Mended asphalt: x, z, width, length, brightness."""
    light: Light
    sunny: int
    """The side (-1, 1) that the sun lights; shadows reach into the street from the other one."""
    skyline: tuple[tuple[float, float, float, bool], ...]
    """What closes the view: x, width, height in metres at FAR * 2; wood or houses."""
    houses: tuple[House, ...]
    trees: tuple[Tree, ...]
    posts: tuple[Post, ...]
    people: tuple[Person, ...]
    cars: tuple[Car, ...]


def build_town(seed: int, scene: int, frames: int) -> Town:
    """The town of one scene, long enough for `frames` frames: a pure function."""
    rng = generator(seed, "toytown", scene)
    step = _between(rng, 1.2, 3.0)
    end = frames * step + FAR
    half_road, pavement = _between(rng, 2.8, 4.2), _between(rng, 2.0, 4.0)
    sunny = _pick(rng, [-1, 1])
    crossings = tuple(np.arange(_between(rng, 5, 22), end, _between(rng, 22, 40)).tolist())
    return Town(
        camera_height=_between(rng, 1.25, 2.3),
        focal=_between(rng, 0.72, 0.98),
        horizon=_between(rng, 0.36, 0.5),
        vanishing=_between(rng, 0.38, 0.62),
        step=step,
        half_road=half_road,
        pavement=pavement,
        asphalt=_vary(rng, _pick(rng, [(88, 88, 92), (108, 106, 104), (74, 76, 82)]), 8),
        paving=_vary(rng, _pick(rng, [(146, 140, 132), (128, 120, 116), (120, 122, 126), (158, 132, 116)]), 10),
        paint=_pick(rng, [(222, 222, 214), (206, 206, 200), (214, 178, 70)]),
        edge_lines=bool(rng.random() < 0.5),
        crossings=crossings,
        patches=tuple(_patch(rng, half_road, end) for _ in range(int(end / 4))),
        light=_light(rng, sunny),
        sunny=sunny,
        skyline=tuple(_skyline(rng, float(x)) for x in range(-200, 200, 16)),
        houses=(*_row(rng, -1, end), *_row(rng, 1, end)),
        trees=_trees(rng, half_road, pavement, end),
        posts=_posts(rng, half_road, pavement, crossings, end),
        people=tuple(_person(rng, half_road, pavement, end, crossings) for _ in range(int(end / 3.2))),
        cars=_cars(rng, half_road, end),
    )


def _between(rng: np.random.Generator, low: float | int, high: float | int) -> float:
    return low + (high - low) * float(rng.random())


def _pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]


def _vary(rng: np.random.Generator, color: Color, spread: int) -> Color:
    red, green, blue = (int(c) + int(rng.integers(-spread, spread + 1)) for c in color)
    return red, green, blue


def _light(rng: np.random.Generator, sunny: int) -> Light:
    zenith, horizon, tint, (lit, unlit), shadow, clouds = LIGHTS[_pick(rng, ["noon", "noon", *LIGHTS])]
    return Light(
        zenith=_vary(rng, zenith, 14),
        horizon=_vary(rng, horizon, 10),
        tint=tint,
        sides=(lit, unlit) if sunny < 0 else (unlit, lit),
        shadow=shadow,
        haze=_between(rng, 70, 260),
        clouds=clouds * float(rng.random()),
        blur=_pick(rng, [0.0, 0.0, 0.4, 0.6]),
        noise=int(rng.integers(2, 10)),
        contrast=_between(rng, 0.88, 1.15),
    )


def _patch(rng: np.random.Generator, half_road: float, end: float) -> tuple[float, float, float, float, float]:
    x, z = _between(rng, -half_road, half_road - 1), _between(rng, 0, end)
    return x, z, _between(rng, 0.5, min(2.0, half_road - x)), _between(rng, 0.6, 5), _between(rng, 0.78, 1.14)


def _skyline(rng: np.random.Generator, x: float) -> tuple[float, float, float, bool]:
    return x, _between(rng, 14, 30), _between(rng, 4, 22), bool(rng.random() < 0.5)


def _row(rng: np.random.Generator, side: int, end: float) -> list[House]:
    """Houses along one side, wall to wall but for a gap now and then."""
    houses, z = [], _between(rng, -8, 0)
    storeys, gaps = int(rng.integers(1, 5)), _between(rng, 0.05, 0.4)
    while z < end:
        length = _between(rng, 5, 14)
        houses.append(_house(rng, side, z, length, max(1, storeys + int(rng.integers(-1, 2)))))
        z += length + (_between(rng, 3, 10) if rng.random() < gaps else 0)
    return houses


def _house(rng: np.random.Generator, side: int, start: float, length: float, storeys: int) -> House:
    poster = (_between(rng, 0.1, 0.8), _between(rng, 1, 3), _pick(rng, PLATES)) if rng.random() < 0.5 else None
    return House(
        side=side,
        start=start,
        length=length,
        height=storeys * _between(rng, 2.7, 3.3) + 0.8,
        wall=_vary(rng, _pick(rng, WALLS), 16),
        roof=_vary(rng, _pick(rng, ROOFS), 10),
        pitch=_pick(rng, [0.0, 1.5, 2.5]),
        pane=_vary(rng, _pick(rng, [(52, 60, 72), (36, 40, 46), (84, 96, 108)]), 8),
        spacing=_between(rng, 1.9, 3.2),
        shop=_pick(rng, [*PLATES, *PAINTS]) if rng.random() < 0.35 else None,
        poster=poster,
        lit=tuple((rng.random(17) < 0.35).tolist()),
        pipe=float(rng.random()),
    )


def _trees(rng: np.random.Generator, half_road: float, pavement: float, end: float) -> tuple[Tree, ...]:
    leaves, trees = _pick(rng, LEAVES), []
    for side in (-1, 1):
        every = _pick(rng, [6.0, 9.0, 14.0, 40.0])
        for z in np.arange(_between(rng, 3, 3 + every), end, every):
            x = side * (half_road + _between(rng, 0.5, 0.9))
            trees.append(_tree(rng, x, float(z) + _between(rng, -1, 1), leaves, 1.0, behind=False))
        for z in np.arange(_between(rng, 4, 12), end, 9.0):
            x = side * (half_road + pavement + _between(rng, 3, 9))
            trees.append(_tree(rng, x, float(z), leaves, _between(rng, 1.0, 1.6), behind=True))
    return tuple(trees)


def _tree(rng: np.random.Generator, x: float, z: float, leaves: Color, size: float, *, behind: bool) -> Tree:
    spread = _between(rng, 0.9, 1.5) * size
    units = rng.random((26, 4)) * 2 - 1
    blobs = tuple(
        (float(a) * spread, (float(b) + 1) * spread, spread * (0.3 + 0.12 * float(c)), 2 + round(1.4 * float(d)))
        for a, b, c, d in units
        if a * a + b * b < 1
    )
    return Tree(x, z, _between(rng, 1.6, 2.6) * size, blobs, _vary(rng, leaves, 12), behind)


def _posts(
    rng: np.random.Generator, half_road: float, pavement: float, crossings: tuple[float, ...], end: float
) -> tuple[Post, ...]:
    """Lamps at even distances, signs in between, lights at crossings."""
    posts, metal = [], _pick(rng, [(84, 88, 92), (58, 62, 60), (132, 134, 136)])
    for side in (-1, 1):
        x = side * (half_road + 0.35)
        for z in np.arange(_between(rng, 2, 14), end, _between(rng, 12, 18)):
            posts.append(Post(x, float(z), _between(rng, 4.5, 6), 0.13, metal, "lamp", metal))
        for z in np.arange(_between(rng, 4, 12), end, _between(rng, 7, 13)):
            kind, offset = _pick(rng, ["round", "triangle", "board"]), _between(rng, 0.05, pavement - 0.5)
            place = (x + side * offset, float(z) + _between(rng, -2, 2))
            posts.append(Post(*place, _between(rng, 2.2, 2.9), 0.08, metal, kind, _pick(rng, PLATES)))
        for z in crossings if rng.random() < 0.6 else ():
            posts.append(Post(x, z - 0.5, _between(rng, 2.9, 3.3), 0.11, metal, "lights", _pick(rng, LAMPS)))
    return tuple(posts)


def _person(
    rng: np.random.Generator, half_road: float, pavement: float, end: float, crossings: tuple[float, ...]
) -> Person:
    """On a pavement; now and then on a crossing."""
    x, z = _pick(rng, [-1, 1]) * (half_road + _between(rng, 0.3, pavement)), _between(rng, 4, end)
    if rng.random() < 0.15:
        x, z = _between(rng, -half_road, half_road), _pick(rng, crossings) + 1.2
    colors = _vary(rng, _pick(rng, CLOTHES), 14), _vary(rng, _pick(rng, CLOTHES), 14), _pick(rng, SKINS)
    return Person(x, z, _between(rng, -0.8, 0.8), _between(rng, 1.5, 1.92), *colors, _between(rng, 0.1, 0.32))


def _cars(rng: np.random.Generator, half_road: float, end: float) -> tuple[Car, ...]:
    """Parked along the kerbs; coming on the left, going on the right."""
    cars, lane = [], half_road / 2
    for side in (-1, 1):
        crowd = _pick(rng, [0.0, 0.25, 0.6])
        for z in np.arange(_between(rng, 4, 9), end, 6.2):
            if rng.random() < crowd:
                cars.append(_car(rng, side * (half_road - 0.95), float(z), 0.0))
        pace = 2.0 if side > 0 else -2.5
        for z in np.arange(_between(rng, 8, 30), 1.6 * end, _between(rng, 14, 40)):
            cars.append(_car(rng, side * (lane - 0.25), float(z), pace))
    return tuple(cars)


def _car(rng: np.random.Generator, x: float, z: float, pace: float) -> Car:
    return Car(x, z, pace, _pick(rng, ["car", "car", "car", "van"]), _vary(rng, _pick(rng, PAINTS), 12))
