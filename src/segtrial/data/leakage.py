"""Two sets of pictures -> the share of the second that has a near neighbour in the first, and which."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from segtrial.data.likeness import COPY, NEAR, NEAR_SHARE, Looks, look_at, nearest, usual_distance
from segtrial.data.sample import Dataset, Item
from segtrial.errors import DataNotFound


@dataclass(frozen=True)
class Neighbour:
    """A picture, the one that is most alike on the other side, and their distance (0 to 2, see `likeness`)."""

    item: Item
    neighbour: Item
    distance: float


@dataclass(frozen=True)
class LeakReport:
    """What `images` pictures share with those that a network learns from.

    `neighbours` holds each picture's most alike, nearest first; `near` those within `limit`. `in_groups` counts the
    pictures whose group is on both sides, `groups` names these groups.
    """

    images: int
    limit: float
    neighbours: tuple[Neighbour, ...]
    in_groups: int
    groups: tuple[str, ...]

    @property
    def near(self) -> tuple[Neighbour, ...]:
        """Those that are near: a score on them says how well the others are remembered."""
        return tuple(one for one in self.neighbours if one.distance <= self.limit)

    @property
    def share(self) -> float:
        """The share of the pictures that has a near neighbour, 0 to 1."""
        return len(self.near) / self.images if self.images else 0.0

    def sentence(self, part: str = "val", other: str = "train") -> str:
        """The numbers in words: `87 of 101 val images have a near neighbour in train`."""
        have = "has" if len(self.near) == 1 else "have"
        return f"{len(self.near)} of {self.images} {part} images {have} a near neighbour in {other}"

    def to_json(self) -> dict[str, Any]:
        """Plain values; `near` as [key, key of the neighbour, distance]."""
        pairs = [[one.item.key, one.neighbour.key, round(one.distance, 4)] for one in self.near]
        head = {"images": self.images, "share": self.share, "limit": self.limit, "near": pairs}
        return {**head, "in_groups": self.in_groups, "groups": list(self.groups)}


def near_limit(looks: Looks) -> float:
    """The largest distance of near neighbours in a data set: min(NEAR, NEAR_SHARE * usual), at least COPY."""
    return max(COPY, min(NEAR, NEAR_SHARE * usual_distance(looks)))


def leaks(train: Looks, other: Looks) -> LeakReport:
    """What `other` shares with `train`: two parts of one data set, or two data sets. What is usual, train says."""
    groups = {item.group for item in train.items} & {item.group for item in other.items}
    counts = Counter(item.group for item in other.items)
    limit, inside = near_limit(train), sum(counts[group] for group in groups)
    if not train.items:
        return LeakReport(len(other.items), limit, (), inside, ())
    places, distances = nearest(other.greys, train.greys)
    found = [
        Neighbour(item, train.items[place], away)
        for item, place, away in zip(other.items, places.tolist(), distances.tolist(), strict=True)
    ]
    found.sort(key=lambda one: (one.distance, one.item.key))
    return LeakReport(len(other.items), limit, tuple(found), inside, tuple(sorted(groups)))


def leak_report(
    train: Dataset,
    other: Dataset,
    parts: tuple[str, str] = ("train", "val"),
    progress: Callable[[int, int], object] | None = None,
) -> LeakReport:
    """What one part of `other` shares with one part of `train`; the two may be one data set.

    The part "all" is the whole data set. Raises DataNotFound for a part that is not there.
    """
    sides = [(train, parts[0]), (other, parts[1])]
    looks = [look_at(items_of_part(dataset, part), dataset.read, progress) for dataset, part in sides]
    return leaks(*looks)


def items_of_part(dataset: Dataset, part: str) -> Sequence[Item]:
    """The items of a part, or of all parts together. Raises DataNotFound."""
    if part == "all":
        return [item for items in dataset.parts.values() for item in items]
    if not dataset.parts.get(part):
        there = ", ".join(name for name, items in dataset.parts.items() if items)
        raise DataNotFound(dataset.root or dataset.layout, f"no part is called {part!r}", f"There are: {there}, all")
    return dataset.parts[part]
