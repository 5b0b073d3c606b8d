""" "toytown:scenes=24,size=128x192" -> generated street scenes with exact masks: the embedded default data.

Ten classes, from road (a third of the pixels) to signs (under one in a hundred). A scene is one street in one
light, its frames a drive along it: the group that a split must not cut. The last quarter of the scenes is val.
Nothing is stored or fetched: a frame is a pure function of (seed, scene, frame, size).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from segtrial.data.sample import Dataset, Item, Sample
from segtrial.data.split import SplitOptions, split
from segtrial.data.street import CLASSES, draw_frame
from segtrial.data.town import Town, build_town
from segtrial.errors import RecipeError, UnknownName
from segtrial.randomness import generator

VERSION = 1
"""Raised whenever the same options give other pictures, so that caches are built anew."""

NAME = "toytown"


@dataclass(frozen=True)
class Toytown:
    """What is generated. Raises RecipeError for numbers out of range."""

    scenes: int = 32
    """Streets, 2 to 9999; a quarter of them, at least one, is val."""
    frames: int = 6
    """Pictures per street, 1 to 99."""
    size: tuple[int, int] = (128, 192)
    """Height and width in pixels, each 32 to 1024."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, (low, high) in (
            ("scenes", self.scenes, (2, 9999)),
            ("frames", self.frames, (1, 99)),
            ("size", min(self.size), (32, 1024)),
            ("size", max(self.size), (32, 1024)),
            ("seed", self.seed, (0, 2**63)),
        ):
            if not low <= value <= high:
                raise RecipeError(f"{NAME}:{name}", f"{value}", f"Give {low} to {high}")

    def item(self, scene: int, frame: int) -> Item:
        """Where a frame comes from: its numbers, in its key."""
        return Item(f"scene{scene:04}/frame{frame:02}", f"scene{scene:04}")

    def read(self, item: Item) -> Sample:
        """The picture and mask that an item's key names."""
        scene, frame = (int(number) for number in re.findall(r"\d+", item.key))
        noise = generator(self.seed, "toytown frame", scene, frame)
        image, mask = draw_frame(_town(self.seed, scene, self.frames), frame, self.size, noise)
        return Sample(image, mask, item.key, item.group)

    def fingerprint(self, item: Item) -> str:
        """Changes with the generator and with every option that changes pictures."""
        return f"{NAME} {VERSION} {self.seed} {self.frames} {self.size} {item.key}"


@lru_cache(maxsize=4)
def _town(seed: int, scene: int, frames: int) -> Town:
    return build_town(seed, scene, frames)


def parse(source: str) -> Toytown:
    """The options in "toytown" or "toytown:scenes=24,frames=6,size=128x192,seed=0".

    Raises UnknownName for an option that is none, RecipeError for a value that cannot be.
    """
    readers = {"scenes": _whole, "frames": _whole, "size": _size, "seed": _whole}
    options = {}
    for setting in filter(None, source.removeprefix(NAME).removeprefix(":").split(",")):
        name, _, value = setting.partition("=")
        if name not in readers:
            raise UnknownName(f"{NAME} option", name, readers)
        options[name] = readers[name](name, value)
    return Toytown(**options)


def open_toytown(source: str, options: SplitOptions) -> Dataset:
    """The data set that `source` asks for; `options.val_groups` may name scenes ("scene0003") to hold out instead."""
    town = parse(source)
    train = [town.item(scene, frame) for scene in range(town.scenes) for frame in range(town.frames)]
    val: list[Item] = []
    if not (options.val_groups or options.dealt):
        first = town.scenes - max(1, town.scenes // 4)
        train, val = train[: first * town.frames], train[first * town.frames :]
    parts, notes = split({"train": train, "val": val}, options, source)
    made = f"generated: {town.scenes} streets, {town.frames} frames of {town.size[0]}x{town.size[1]} each"
    return Dataset(None, NAME, CLASSES, parts, town.read, town.fingerprint, (made, *notes))


def _whole(name: str, value: str) -> int:
    if not re.fullmatch(r"\d+", value):
        raise RecipeError(f"{NAME}:{name}", f"{value!r}", "Give a whole number")
    return int(value)


def _size(name: str, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", value)
    if match is None:
        raise RecipeError(f"{NAME}:{name}", f"{value!r}", "Give HEIGHTxWIDTH, such as 128x192")
    return int(match[1]), int(match[2])
