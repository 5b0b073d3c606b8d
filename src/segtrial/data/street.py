"""A town and a frame number -> the picture that a camera takes there, and its exact mask.

The picture is the mean of DOTS x DOTS dots of the canvas, the mask the class of the middle one: what lies at
the pixel's centre. Houses carry windows, posters in the signs' colours and pipes like poles; cars are painted
like signs; so colour alone does not tell the classes apart.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from operator import itemgetter

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFilter

from segtrial.classes import Classes
from segtrial.data.easel import DOTS, NEAR, Easel, Number, Point
from segtrial.data.town import FAR, LAMPS, Car, House, Person, Post, Town, Tree

TABLE = {
    "sky": (108, 166, 205),
    "building": (150, 62, 62),
    "road": (128, 92, 138),
    "pavement": (226, 128, 190),
    "tree": (92, 148, 46),
    "car": (40, 62, 168),
    "person": (228, 92, 36),
    "sign": (236, 204, 40),
    "pole": (170, 170, 170),
    "marking": (245, 245, 245),
}
CLASSES = Classes(tuple(TABLE), tuple(TABLE.values()))
SKY, BUILDING, ROAD, PAVEMENT, TREE, CAR, PERSON, SIGN, POLE, MARKING = range(len(TABLE))

CIRCLE = [(math.cos(math.tau * turn / 9), math.sin(math.tau * turn / 9)) for turn in range(9)]


def draw_frame(
    town: Town, frame: int, size: tuple[int, int], rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "c h w"], UInt8[np.ndarray, "h w"]]:
    """Picture and mask of one frame; `rng` makes the clouds' and the sensor's noise."""
    easel = Easel(town, frame, size)
    _sky(easel, rng)
    _ground(easel)
    _skyline(easel)
    _things(easel, frame)
    mask = np.asarray(easel.canvas.getchannel(3))[DOTS // 2 :: DOTS, DOTS // 2 :: DOTS].copy()
    return _develop(easel, mask, rng), mask


def _sky(easel: Easel, rng: np.random.Generator) -> None:
    """A gradient and clouds, the haze's colour at the horizon."""
    light, (rows, columns) = easel.town.light, (16, 24)
    height = np.clip(np.linspace(0, 1 / easel.town.horizon, rows), 0, 1)[:, None, None] ** 1.5
    zenith, horizon = np.array(light.zenith, np.float32), np.array(light.horizon, np.float32)
    sky = zenith + height * (horizon - zenith) + np.zeros((rows, columns, 3), np.float32)
    cover = np.asarray(_smooth(rng, (columns, rows), 5)) / 255 + np.asarray(_smooth(rng, (columns, rows), 11)) / 255
    veil = np.clip((cover - 0.85) * 2.2, 0, 1)[..., None] * light.clouds
    sky += veil * (np.array([232, 232, 236], np.float32) * np.mean(light.tint) - sky)
    picture = Image.fromarray(np.clip(sky, 0, 255).astype(np.uint8)).resize(
        (easel.width, easel.height), Image.Resampling.BICUBIC
    )
    easel.canvas.paste(Image.merge("CMYK", (*picture.split(), Image.new("L", picture.size, SKY))))


def _smooth(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Image.Image:
    """Grey clouds of about `cells` lumps across."""
    return Image.fromarray(rng.integers(0, 256, (cells * 2 // 3 + 1, cells), np.uint8)).resize(
        size, Image.Resampling.BICUBIC
    )


def _ground(easel: Easel) -> None:
    town, half, eye = easel.town, easel.town.half_road, easel.eye
    edges = [NEAR, 5, 8, 12, 18, 28, 45, 80, 400]
    strips = list(pairwise(edges))
    for z in strips:
        easel.floor((-400, 400), z, town.paving, 1.0, PAVEMENT)
        easel.floor((-half, half), z, town.asphalt, 1.0, ROAD)
    for z in np.arange(1.2 - eye % 1.2, 16, 1.2).tolist():  # joints between slabs
        for side in (-1, 1):
            easel.floor((side * half, side * (half + town.pavement)), (z, z + 0.05), town.paving, 0.8, PAVEMENT)
    for side in (-1, 1):
        for near, far in strips:
            easel.floor((side * half, side * (half + 0.18)), (near, far), town.paving, 1.22, PAVEMENT)
    for x, z, width, length, brightness in town.patches:
        easel.floor((x, x + width), (z - eye, z - eye + length), town.asphalt, brightness, ROAD)
    _markings(easel)
    _shadows(easel)


def _markings(easel: Easel) -> None:
    town, half, eye = easel.town, easel.town.half_road, easel.eye
    for z in np.arange(-eye % 7.0 - 7, 60, 7.0).tolist():
        easel.floor((-0.08, 0.08), (z, z + 3.5), town.paint, 0.98, MARKING)
    if town.edge_lines:
        for side in (-1, 1):
            for z in np.arange(-eye % 6.0 - 6, 54, 6.0).tolist():
                easel.floor((side * (half - 0.35), side * (half - 0.22)), (z, z + 6), town.paint, 0.94, MARKING)
    for start in town.crossings:
        if -3 < start - eye < 50:
            easel.floor((-half, half), (start - eye - 1, start - eye + 4), town.asphalt, 1.0, ROAD)
            for x in np.arange(-half + 0.3, half - 0.5, 1.0).tolist():
                easel.floor((x, x + 0.5), (start - eye, start - eye + 2.6), town.paint, 1.0, MARKING)


def _shadows(easel: Easel) -> None:
    """The houses opposite the sun's side throw theirs over the street; trees and cars darken what they stand on."""
    town, eye = easel.town, easel.eye
    value = round(255 * town.light.shadow)
    dark_side = -town.sunny
    wall = dark_side * (town.half_road + town.pavement)
    for house in town.houses:
        if house.side == dark_side and house.start - eye < 70:
            start, reach = house.start - eye, wall - dark_side * house.height * 0.6
            end = start + house.length
            easel.darken([(wall, start), (reach, start + 1.5), (reach, end + 1.5), (wall, end)], value)
    for tree in town.trees:
        z = tree.z - eye
        if NEAR < z < 40 and not tree.behind:
            easel.darken([(tree.x - dark_side * 1.6 + 1.5 * a, z + 0.8 + 1.1 * b) for a, b in CIRCLE], value)


def _skyline(easel: Easel) -> None:
    """What closes the street far away: woods and houses in the haze."""
    z = 2 * FAR
    for x, width, height, wood in easel.town.skyline:
        if wood:
            ink = easel.ink((76, 100, 60), 0.9, z, TREE)
            for step in range(5):
                center = easel.point(x + width * step / 5, height * 0.3, z)
                easel.oval(center, easel.focal * height * (0.36 + 0.05 * (step * 7 % 3)) / z, ink)
        else:
            easel.front((x, x + width), z, (0, height), easel.ink((150, 140, 136), 0.9, z, BUILDING))


def _things(easel: Easel, frame: int) -> None:
    """Far to near: what lines the street, then what stands in it."""
    town, eye = easel.town, easel.eye
    trees = [(tree.behind, tree.z - eye, partial(_tree, easel, tree)) for tree in town.trees]
    lining = [(house.start - eye, partial(_house, easel, house)) for house in town.houses]
    lining += [(z, paint) for behind, z, paint in trees if behind]
    standing = [(z, paint) for behind, z, paint in trees if not behind]
    standing += [(post.z - eye, partial(_post, easel, post)) for post in town.posts]
    standing += [(person.z + person.pace * frame - eye, partial(_person, easel, person)) for person in town.people]
    standing += [(car.z + car.pace * frame - eye, partial(_car, easel, car)) for car in town.cars]
    for layer in (lining, standing):
        for z, paint in sorted(layer, key=itemgetter(0), reverse=True):
            if z < FAR:
                paint(z)


def _house(easel: Easel, house: House, z: Number) -> None:
    if z + house.length <= NEAR:
        return
    town, side = easel.town, house.side
    x = side * (town.half_road + town.pavement)
    brightness = town.light.sides[0 if side < 0 else 1]
    near, far, top = max(z, NEAR), z + house.length, house.height
    easel.front((x, x + side * 9), near, (0, top), easel.ink(house.wall, 0.8, near, BUILDING))
    if house.pitch:
        roof = [easel.point(x, top, near), easel.point(x + side * 4, top + house.pitch, near)]
        roof += [easel.point(x + side * 4, top + house.pitch, far), easel.point(x, top, far)]
        gable = [roof[0], roof[1], easel.point(x + side * 8, top, near)]
        easel.polygon(gable, easel.ink(house.wall, 0.8, near, BUILDING))
        easel.polygon(roof, easel.ink(house.roof, brightness, near, BUILDING))
    easel.wall(x, (near, far), (0, top), easel.ink(house.wall, brightness, near, BUILDING))
    if near < 50:
        _facade(easel, house, z, x, brightness)


def _facade(easel: Easel, house: House, z: Number, x: Number, brightness: Number) -> None:
    """Windows, a shop, a rain pipe, a poster: none of them but building."""
    sky, far = easel.town.light.horizon, z + house.length
    storeys, columns = max(1, int(house.height / 2.8)), max(1, int(house.length / house.spacing))
    easel.wall(x, (z, far), (0, 0.5), easel.ink(house.wall, brightness * 0.7, z, BUILDING))
    easel.wall(x, (z, far), (house.height - 0.3, house.height), easel.ink(house.wall, brightness * 1.2, z, BUILDING))
    for column in range(columns):
        start = z + (column + 0.28) * house.length / columns
        end = start + 0.44 * house.length / columns
        if end < NEAR:
            continue
        for storey in range(1 if house.shop else 0, storeys):
            foot = (storey + 0.32) * house.height / storeys
            pane = sky if house.lit[(column * 5 + storey * 3) % len(house.lit)] else house.pane
            if start < 22:
                frame = easel.ink(house.wall, brightness * 1.25, start, BUILDING)
                easel.wall(x, (start - 0.12, end + 0.12), (foot - 0.12, foot + 1.5), frame)
            easel.wall(x, (start, end), (foot, foot + 1.4), easel.ink(pane, brightness * 0.9, start, BUILDING))
    if house.shop:
        easel.wall(x, (z + 0.4, far - 0.4), (0.4, 2.2), easel.ink(house.pane, 0.9, z, BUILDING))
        easel.wall(x, (z + 0.2, far - 0.2), (2.3, 2.9), easel.ink(house.shop, brightness, z, BUILDING))
    if house.poster:
        place, foot, color = house.poster
        start = z + place * house.length
        easel.wall(x, (start, start + 1.1), (foot, foot + 1.1), easel.ink(color, brightness, start, BUILDING))
    pipe = z + house.pipe * house.length
    if pipe > NEAR:
        easel.wall(x, (pipe, pipe + 0.16), (0, house.height), easel.ink(house.wall, 0.45, pipe, BUILDING))


def _tree(easel: Easel, tree: Tree, z: Number) -> None:
    if z < 2.5:
        return
    scale = easel.focal / z
    width = 0.11 if not tree.behind else 0.2
    bark = easel.ink((78, 62, 50), 0.9, z, TREE)
    easel.front((tree.x - width, tree.x + width), z, (0, tree.trunk + 0.8), bark)
    inks = [easel.ink(tree.color, 0.6 + 0.15 * level, z, TREE) for level in range(5)]
    for aside, up, radius, level in tree.blobs:
        x, y = easel.point(tree.x + aside, tree.trunk + up, z)
        reach = radius * scale
        easel.oval((x, y), reach, inks[level], 0.85)
        for turn in range(4 if z < 20 else 2):  # twigs: a rim that is not round, in other lights
            angle = turn * 1.7 + aside * 9 + up * 5
            rim = (x + math.cos(angle) * reach, y + math.sin(angle) * reach * 0.85)
            easel.oval(rim, reach * 0.3, inks[level - 1 + (turn + level) % 3])


def _post(easel: Easel, post: Post, z: Number) -> None:
    """A post at least one pixel wide, so that a far one is thin and not gone; none beyond 45 m."""
    if not 2.0 < z < 45:
        return
    half = max(post.width / 2, 0.5 * DOTS * z / easel.focal)
    metal = easel.ink(post.color, 1.0, z, POLE)
    easel.front((post.x - half, post.x + half), z, (0, post.height), metal)
    if post.plate == "lamp":
        reach = post.x - math.copysign(1.3, post.x)
        easel.front((post.x, reach), z, (post.height - 2 * half, post.height), metal)
        return
    _plate(easel, post, easel.point(post.x, post.height - 0.3, z), 0.34 * easel.focal / z, z)


def _plate(easel: Easel, post: Post, center: Point, radius: Number, z: Number) -> None:
    """What a post carries; `radius` in dots."""
    x, y = center
    plate, white = easel.ink(post.plate_color, 1.05, z, SIGN), easel.ink((236, 236, 230), 1.0, z, SIGN)
    if post.plate == "round":
        easel.oval(center, radius, plate)
        easel.oval(center, radius * 0.62, white)
    elif post.plate == "triangle":
        for size, ink in ((1.15, plate), (0.62, white)):
            corners = [(0.0, -1.0), (0.9, 0.62), (-0.9, 0.62)]
            easel.polygon([(x + size * radius * a, y + size * radius * b) for a, b in corners], ink)
    elif post.plate == "board":
        for size, ink in ((1.0, white), (0.86, plate)):
            easel.polygon(_box(x, y, 1.5 * radius * size, 0.9 * radius * size), ink)
    else:
        easel.polygon(_box(x, y, radius * 0.55, radius * 1.4), easel.ink((34, 36, 38), 1.0, z, SIGN))
        lamp = y + 0.85 * radius * (LAMPS.index(post.plate_color) - 1)
        easel.oval((x, lamp), radius * 0.34, (*post.plate_color, SIGN))


def _box(x: Number, y: Number, half_width: Number, half_height: Number) -> list[Point]:
    left, right, top, foot = x - half_width, x + half_width, y - half_height, y + half_height
    return [(left, top), (right, top), (right, foot), (left, foot)]


def _person(easel: Easel, person: Person, z: Number) -> None:
    if not 2.0 < z < 55:
        return
    tall, x = person.height, person.x
    trousers = easel.ink(person.trousers, 1.0, z, PERSON)
    shirt = easel.ink(person.shirt, 1.0, z, PERSON)
    hip = 0.48 * tall
    for way in (-1, 1):
        foot = easel.point(x + way * person.stride, 0, z)
        shoe = easel.point(x + way * person.stride + 0.14, 0, z)
        easel.polygon([foot, shoe, easel.point(x + 0.15, hip, z), easel.point(x - 0.15, hip, z)], trousers)
        hand = x + way * (0.24 + person.stride / 3)
        arm = [(x + way * 0.16, 0.81), (x + way * 0.25, 0.79), (hand + way * 0.07, 0.47), (hand, 0.47)]
        easel.polygon([easel.point(a, b * tall, z) for a, b in arm], easel.ink(person.shirt, 0.85, z, PERSON))
    torso = [(-0.17, 0.45), (-0.22, 0.8), (-0.1, 0.85), (0.1, 0.85), (0.22, 0.8), (0.17, 0.45)]
    easel.polygon([easel.point(x + a, b * tall, z) for a, b in torso], shirt)
    radius = 0.07 * tall * easel.focal / z
    easel.oval(easel.point(x, 0.93 * tall, z), radius, easel.ink(person.skin, 1.0, z, PERSON), 1.15)
    easel.oval(easel.point(x, 0.965 * tall, z), radius * 0.95, easel.ink((50, 38, 30), 1.0, z, PERSON), 0.7)


@dataclass(frozen=True)
class _Body:
    """A car's outline from the tail over the roof to the nose, (metres along, metres up); its parts; side windows."""

    outline: tuple[Point, ...]
    glass: tuple[int, ...]
    """Pieces of the outline, between point i and i + 1, that are windows."""
    level: tuple[int, ...]
    """Pieces that face the sky."""
    panes: tuple[Point, ...]


BODIES = {
    "car": _Body(
        ((0, 0.3), (0, 0.92), (0.35, 1.0), (0.85, 1.45), (2.35, 1.45), (3.1, 0.98), (4.2, 0.84), (4.2, 0.3)),
        glass=(2, 4),
        level=(1, 3, 5),
        panes=((0.75, 1.0), (1.05, 1.36), (2.25, 1.36), (2.8, 1.0)),
    ),
    "van": _Body(
        ((0, 0.32), (0, 1.95), (0.1, 2.05), (3.6, 2.05), (4.3, 1.2), (5.0, 1.05), (5.0, 0.32)),
        glass=(3,),
        level=(1, 2, 4),
        panes=((2.6, 1.15), (2.6, 1.8), (3.5, 1.8), (3.95, 1.15)),
    ),
}


def _car(easel: Easel, car: Car, z: Number) -> None:
    """The end towards the camera (the nose if it comes, else the tail) and the side that faces it."""
    if z < 2.0:
        return
    body, half, comes = BODIES[car.kind], 0.88, car.pace < 0
    length = body.outline[-1][0]

    def along(metres: Number) -> Number:
        return z + length - metres if comes else z + metres

    inner, outer = (car.x - half, car.x + half) if car.x > 0 else (car.x + half, car.x - half)
    easel.darken([(outer, z - 0.2), (inner, z - 0.2), (inner, z + length), (outer, z + length)], 90)
    for x in (outer, inner):
        _wheels(easel, x, along, length, z)
    glass, pieces = easel.ink((48, 58, 70), 1.0, z, CAR), range(len(body.outline) - 1)
    for piece in pieces if comes else reversed(pieces):
        (tail, low), (nose, high) = body.outline[piece], body.outline[piece + 1]
        corners = [(outer, low, tail), (inner, low, tail), (inner, high, nose), (outer, high, nose)]
        paint = easel.ink(car.color, 1.15 if piece in body.level else 0.92, z, CAR)
        quad = [easel.point(x, y, along(metres)) for x, y, metres in corners]
        easel.polygon(quad, glass if piece in body.glass else paint)
    facing = easel.ink(car.color, easel.town.light.sides[1 if car.x > 0 else 0], z, CAR)
    easel.polygon([easel.point(inner, y, along(metres)) for metres, y in body.outline], facing)
    easel.polygon([easel.point(inner, y, along(metres)) for metres, y in body.panes], glass)
    _wheels(easel, inner, along, length, z)
    _lamps(easel, car.x, half, comes, z)


def _lamps(easel: Easel, x: Number, half: Number, comes: bool, z: Number) -> None:
    """Bumper, lamps and number plate of the nearer end."""
    color = (238, 232, 200) if comes else (186, 26, 28)
    easel.front((x - half, x + half), z, (0.3, 0.42), easel.ink((24, 24, 26), 1.0, z, CAR))
    easel.front((x - 0.26, x + 0.26), z, (0.46, 0.58), easel.ink((226, 222, 190), 1.0, z, CAR))
    for place in (x - 0.68, x + 0.68):
        easel.front((place - 0.16, place + 0.16), z, (0.66, 0.8), easel.ink(color, 1.0, z, CAR))


def _wheels(easel: Easel, x: Number, along: Callable[[Number], Number], length: Number, z: Number) -> None:
    rubber, rim = easel.ink((22, 22, 24), 1.0, z, CAR), easel.ink((140, 142, 146), 1.0, z, CAR)
    for metres in (0.8, length - 0.85):
        for radius, ink in ((0.33, rubber), (0.16, rim)):
            ring = [easel.point(x, 0.33 + radius * up, along(metres + radius * ahead)) for ahead, up in CIRCLE]
            easel.polygon(ring, ink)


def _develop(easel: Easel, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mean over the dots, rough surfaces, shadows on the ground, lens and sensor: uint8 c h w."""
    height, width = mask.shape
    light = easel.town.light
    picture = Image.merge("RGB", easel.canvas.split()[:3])
    values = np.asarray(picture.reduce(DOTS), np.float32)
    rough = (rng.integers(0, 256, (height, width), np.uint8).astype(np.float32) - 127.5) / 127.5
    lumps = (np.asarray(_smooth(rng, (width, height), 40), np.float32) - 127.5) / 127.5
    values *= (1 + ROUGHNESS[mask] * (0.6 * rough + lumps))[..., None]
    shade = np.asarray(easel.shade.filter(ImageFilter.BoxBlur(0.7)), np.float32) / 255
    ground = (mask == ROAD) | (mask == PAVEMENT) | (mask == MARKING)
    values *= np.where(ground, shade, 1)[..., None]
    if light.blur:
        picture = Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(light.blur))
        values = np.asarray(picture, np.float32)
    grain = rng.integers(-light.noise, light.noise + 1, (2, height, width, 3), np.int16).sum(0)
    values = (values - 128) * light.contrast + 128 + grain
    return np.clip(values + 0.5, 0, 255).astype(np.uint8).transpose(2, 0, 1)


ROUGHNESS = np.zeros(256, np.float32)
ROUGHNESS[[BUILDING, ROAD, PAVEMENT, TREE, MARKING]] = 0.07, 0.07, 0.09, 0.28, 0.06
"""How much the brightness of each class varies from pixel to pixel, as a share."""
