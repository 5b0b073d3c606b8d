"""Two sources -> what the pictures of one share with the other's, even where one of them cannot be trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrial.data.likeness import Looks, look_at
from segtrial.data.photos import read_photo
from segtrial.errors import DataError
from segtrial.inspection.finding import Finding
from segtrial.inspection.leaks import check_against
from segtrial.inspection.understanding import Understanding, understand_source


@dataclass(frozen=True)
class Against:
    """What a source was held against. `images` of it were compared, and `near` of them have a near neighbour there."""

    source: str
    layout: str
    parts: Mapping[str, int]
    images: int
    near: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "parts": dict(self.parts)}


def hold_against(understood: Understanding, source: str, other: str) -> tuple[Against, list[Finding]]:
    """What the pictures of a source that was understood share with those of `other`, all parts of both.

    Raises DataNotFound if there is no `other`, and DataError if none of its pictures can be read, or it is the source.
    """
    if Path(source).exists() and Path(source).resolve() == Path(other).resolve():
        raise DataError(other, "it is the source itself", "Name another one, such as the data of the test")
    there = understand_source(other)
    mine, theirs = _looks(understood), _looks(there)
    if not theirs.items:
        raise DataError(other, "no picture of it can be read", f"Look at it alone first: segtrial inspect {other}")
    part_of = {item.key: part for part, items in there.items.items() for item in items}
    name, other_name = _names(source, other)
    findings = check_against(mine, theirs, name, other_name, part_of)
    layout = there.dataset.layout if there.dataset is not None else "unknown"
    parts = {part or "all": len(items) for part, items in there.items.items()}
    return Against(other, layout, parts, len(mine.items), sum(one.count for one in findings)), findings


def _looks(understood: Understanding) -> Looks:
    read = understood.dataset.read if understood.dataset is not None else read_photo
    return look_at([item for items in understood.items.values() for item in items], read)


def _names(*sources: str) -> list[str]:
    """The folders' own names, unless they are the same."""
    names = [Path(one).resolve().name if Path(one).is_dir() else one for one in sources]
    return names if len(set(names)) == len(names) else list(sources)
