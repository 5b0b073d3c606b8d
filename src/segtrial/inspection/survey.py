"""Items -> Records: each file is seen once, and what was seen of it before comes from memory."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from segtrial.data.glance import GLANCES, MASK_GLANCES, Glance
from segtrial.data.memory import Kind, Seen, seen
from segtrial.data.sample import Item
from segtrial.errors import DataError, ImageError
from segtrial.inspection.records import Fault, Look, Looker, Record, Told, is_picture, look_of

Fallible = DataError | None
"""What may stand in the place of an answer: a fault, or that nothing was asked."""


def survey(parts: Mapping[str, Sequence[Item]], looker: Looker) -> list[Record]:
    """One record an item, part by part in order of keys. Never raises DataError: faults are in the records."""
    items = [item for members in parts.values() for item in members]
    images = _by_path(GLANCES, (item.image for item in items if is_picture(item.image)))
    masks = _by_path(MASK_GLANCES, (item.target for item in items if looker.reads_mask(item)))
    told: dict[Item, Told | Fallible] = {}
    for item in items:
        if looker.reads_mask(item):
            assert item.target is not None
            told[item] = looker.told_by(item, masks[item.target])
        elif looker.dataset is not None and not isinstance(_image(item, images), DataError):
            told[item] = None
    missing = [item for item, answer in told.items() if answer is None]
    told |= dict(zip(missing, seen(looker.kind, missing), strict=True))
    return [
        _record(part, item, _image(item, images), told.get(item)) for part, members in parts.items() for item in members
    ]


def _by_path(kind: Kind[Path, Seen], paths: Iterable[Path | None]) -> dict[Path, Seen | DataError]:
    different = [path for path in dict.fromkeys(paths) if path is not None]
    return dict(zip(different, seen(kind, different), strict=True))


def _image(item: Item, images: Mapping[Path, Glance | DataError]) -> Look | Fallible:
    """What an item's image is, if it is a picture file."""
    found = images.get(item.image) if item.image is not None else None
    if found is None or isinstance(found, DataError):
        return found
    assert item.image is not None
    return look_of(item.image, found) if found.fault is None else ImageError(item.image, *found.fault)


def _record(part: str, item: Item, image: Look | Fallible, told: Told | Fallible) -> Record:
    faults = tuple(_fault(one) for one in (image, told) if isinstance(one, DataError))
    look = None if isinstance(image, DataError) else image
    if not isinstance(told, Told):
        return Record(item.key, item.group, part, look, None, (), faults)
    return Record(item.key, item.group, part, look or told.image, told.mask, told.counts, faults)


def _fault(error: DataError) -> Fault:
    return error.place, error.found, error.fix, type(error).__name__
