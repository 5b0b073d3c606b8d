"""A source -> what it is, and every fault that keeps it from being trained on, not only the first."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segtrial.data import DESCRIPTION, Content, npz_pairs, open_dataset
from segtrial.data._walk import Found, hiding, walk
from segtrial.data.class_arrays import holds_arrays
from segtrial.data.description import described_pairs, read_description
from segtrial.data.pairing import Pair, find_pairs
from segtrial.data.pictures import EXTENSIONS
from segtrial.data.reading import items_of
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, ImageError, PairingError, UserError
from segtrial.inspection.faults import file_of

LEFT_OUT = "left out"
"""The part of pairs that no part of a data set has: frames in a gap, pictures on no list."""

KEPT = (".txt", ".csv", ".yaml", ".yml", ".npy")
"""Lists, tables and what stands for masks: a fault in one of them is not mended by passing it over."""

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
    content: Content = "classes" if path.suffix == ".npz" or (path.is_dir() and _holds_labels(path)) else "masks"
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
                if hidden and _is_of_all(path, error):
                    break
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
    described = _description(path)
    if described is not None:
        with suppress(UserError):
            root = described.parent / read_description(described).root
            return root if root.is_dir() else described.parent
    return path if path.is_dir() else path.parent


def _description(path: Path) -> Path | None:
    """The data.yaml of a source, if it has one."""
    described = path / DESCRIPTION if path.is_dir() else path
    return described if described.suffix in (".yaml", ".yml") and described.is_file() else None


def _pairs(path: Path) -> tuple[Pair, ...]:
    """The pairs of a source, described or found, none if there are none; what is hidden is in none."""
    described = _description(path)
    try:
        return described_pairs(described)[1] if described is not None else find_pairs(path).pairs
    except UserError:
        return ()


def _holds_labels(path: Path) -> bool:
    """Whether a folder holds arrays of pictures with a label each, and not .npz files of an image and its mask."""
    try:
        return holds_arrays(path) and not npz_pairs.recognises(path)
    except DataError:
        return False  # whoever opens it names the damage


def _is_of_all(path: Path, error: UserError) -> bool:
    """Whether nothing was understood of what is left of a folder: no fault of its own, once files are hidden."""
    of_all = error.place in (str(path), str(_root(path, None)))
    return type(error) in (PairingError, DataNotFound) and not error.files and of_all


def _are_classes(path: Path, error: UserError) -> bool:
    """Whether a folder in which no picture is a mask holds a folder for each class."""
    if type(error) not in (PairingError, DataNotFound) or error.files or not path.is_dir():
        return False
    try:
        if any(file.role for file in walk(path).pictures):
            return False
        open_dataset(path, SplitOptions(), "classes")
    except ImageError:
        return True  # and a picture is damaged
    except UserError:
        return False
    return True


def _at_fault(path: Path, error: UserError) -> frozenset[str]:
    """The paths, as `walk` writes them, of the files that an error blames."""
    root = _root(path, None)
    blamed = {str(root / file) for file in error.files}
    for one in error.parts or (error,):
        place = file_of(one.place)
        if place != str(path) and Path(place).suffix.lower() not in KEPT:
            blamed.add(place)
    return frozenset(one for one in blamed if one != str(root) and _is_there(Path(one)))


def _is_there(path: Path) -> bool:
    """Whether it is, or was: what went since the folder was listed is a picture by its name."""
    return path.is_symlink() or path.exists() or path.suffix.lower() in EXTENSIONS


def _partners(path: Path, faulty: frozenset[str]) -> frozenset[str]:
    """The other halves of the pairs that the faulty files belong to."""
    pairs = _pairs(path)
    halves = {str(one.image): str(one.target) for one in pairs} | {str(one.target): str(one.image) for one in pairs}
    return frozenset(halves[one] for one in faulty if one in halves)


def _all_items(path: Path, dataset: Dataset) -> dict[str, tuple[Item, ...]]:
    """The parts, and under LEFT_OUT the pairs of the folder that are in none."""
    there = {item.image for items in dataset.parts.values() for item in items}
    pairs = _pairs(path) if dataset.layout == "folder" else ()
    left = tuple(items_of([one for one in pairs if one.image not in there]))
    return {**dataset.parts, **({LEFT_OUT: left} if left else {})}


def _any_items(path: Path) -> dict[str, tuple[Item, ...]]:
    """The pairs of a source by part; where there are none, its pictures without masks."""
    pairs = _pairs(path)
    if not pairs:
        found = _walked(path)
        pictures = [file for file in found.pictures if file.role != "mask"] if found else []
        return {"": tuple(Item(file.key, file.key, file.path) for file in pictures)}
    parts: dict[str, list[Item]] = {}
    for one, item in zip(pairs, items_of(pairs), strict=True):
        parts.setdefault(one.part, []).append(item)
    return {part: tuple(members) for part, members in parts.items()}


def _walked(path: Path) -> Found | None:
    try:
        return None if path.suffix == ".npz" else walk(_root(path, None))
    except DataError:
        return None
