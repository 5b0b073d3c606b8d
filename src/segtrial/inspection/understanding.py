"""A source -> what it is, and every fault that keeps it from being trained on, not only the first."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segtrial.data import Content, open_dataset
from segtrial.data._walk import Found, hiding, walk
from segtrial.data.class_arrays import holds_arrays
from segtrial.data.pairing import find_pairs
from segtrial.data.reading import items_of
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, PairingError, UserError

LEFT_OUT = "left out"
"""The part of pairs that no part of a data set has: frames in a gap, pictures on no list."""

MOST_ROUNDS = 6
"""How often a folder is opened again without the files that were at fault."""


@dataclass(frozen=True)
class Understanding:
    """`dataset` is None where nothing could make sense of the folder; `items` are then whatever pairs were found.

    `faults` hold one error a file. `found` is what lies below the root (None for what has no files).
    """

    root: Path | None
    content: Content
    dataset: Dataset | None
    items: Mapping[str, tuple[Item, ...]]
    faults: tuple[UserError, ...]
    found: Found | None


def understand_source(source: str | Path, options: SplitOptions | None = None) -> Understanding:
    """Open `source`, and open it again without the files at fault until it opens or no file is to blame.

    Raises DataNotFound if there is nothing to inspect.
    """
    options = options or SplitOptions()
    path = Path(source)
    if not path.exists():  # toytown, or an error that says so
        dataset = open_dataset(source, options)
        return Understanding(None, "masks", dataset, dataset.parts, (), None)
    content: Content = "classes" if path.suffix == ".npz" or (path.is_dir() and holds_arrays(path)) else "masks"
    faults: list[UserError] = []
    hidden: frozenset[str] = frozenset()
    for _ in range(MOST_ROUNDS):
        with hiding(hidden):
            try:
                dataset = open_dataset(source, options, content)
                return Understanding(
                    _root(path, dataset), content, dataset, _all_items(path, dataset), tuple(faults), _walked(path)
                )
            except UserError as error:
                if _are_classes(path, error):
                    content = "classes"
                    continue
                faults.extend(error.parts or (error,))
                more = _at_fault(path, error) - hidden
                if not more:
                    break
                hidden |= more | _partners(path, more)
    with hiding(hidden):
        return Understanding(_root(path, None), content, None, _any_items(path), tuple(faults), _walked(path))


def _root(path: Path, dataset: Dataset | None) -> Path:
    if dataset is not None and dataset.root is not None:
        return dataset.root
    return path if path.is_dir() else path.parent


def _are_classes(path: Path, error: UserError) -> bool:
    """Whether a folder in which no picture is a mask holds a folder for each class."""
    if type(error) not in (PairingError, DataNotFound) or error.files or not path.is_dir():
        return False
    try:
        if any(file.role for file in walk(path).pictures):
            return False
        open_dataset(path, SplitOptions(), "classes")
    except UserError:
        return False
    return True


def _at_fault(path: Path, error: UserError) -> frozenset[str]:
    """The paths, as `walk` writes them, of the files that an error blames."""
    root = path if path.is_dir() else path.parent
    blamed = {str(root / file) for file in error.files}
    for one in error.parts or (error,):
        place = re.sub(r":\d+$", "", one.place)
        if place != str(path) and place.startswith(str(root)) and Path(place).suffix.lower() not in (".txt", ".csv"):
            blamed.add(place)
    return frozenset(one for one in blamed if one != str(root) and _is_there(Path(one)))


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _partners(path: Path, faulty: frozenset[str]) -> frozenset[str]:
    """The other halves of the pairs that the faulty files belong to."""
    try:
        pairs = find_pairs(path).pairs
    except UserError:
        return frozenset()
    halves = {str(one.image): str(one.target) for one in pairs} | {str(one.target): str(one.image) for one in pairs}
    return frozenset(halves[one] for one in faulty if one in halves)


def _all_items(path: Path, dataset: Dataset) -> dict[str, tuple[Item, ...]]:
    """The parts, and under LEFT_OUT the pairs of the folder that are in none."""
    there = {item.image for items in dataset.parts.values() for item in items}
    try:
        pairs = find_pairs(path).pairs if path.is_dir() and dataset.layout == "folder" else ()
    except UserError:
        pairs = ()
    left = tuple(items_of([one for one in pairs if one.image not in there]))
    return {**dataset.parts, **({LEFT_OUT: left} if left else {})}


def _any_items(path: Path) -> dict[str, tuple[Item, ...]]:
    """The pairs below a folder by part; where there are none, its pictures without masks."""
    try:
        pairs = find_pairs(path).pairs
    except UserError:
        found = _walked(path)
        pictures = [file for file in found.pictures if file.role != "mask"] if found else []
        return {"": tuple(Item(file.key, file.key, file.path) for file in pictures)}
    parts: dict[str, list[Item]] = {}
    for one, item in zip(pairs, items_of(pairs), strict=True):
        parts.setdefault(one.part, []).append(item)
    return {part: tuple(members) for part, members in parts.items()}


def _walked(path: Path) -> Found | None:
    try:
        return walk(path if path.is_dir() else path.parent)
    except DataError:
        return None
