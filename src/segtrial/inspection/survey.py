"""Items -> Records: one pass over all files, in threads; what did not change comes from a cache."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from segtrial.data._parallel import each
from segtrial.data.cache import default_cache
from segtrial.data.reading import stamp
from segtrial.data.sample import Item
from segtrial.errors import DataError, RunError
from segtrial.files import sha256, write_atomic
from segtrial.inspection.records import Looker, Record, record_from_json

SCHEMA = 1
"""Another number makes every record be made again: raise it when records hold something else."""

Progress = Callable[[int, int], None]
Known = Mapping[str, tuple[str, Record]]


def survey(
    parts: Mapping[str, Sequence[Item]],
    looker: Looker,
    place: str,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """One record an item, part by part in order of keys. Never raises DataError: faults are in the records.

    `place` is what is inspected: with the rule by which masks are read, it names the cache's file in `cache`.
    """
    file = (cache or default_cache()) / "inspect" / f"{_name(place, looker)}.json"
    known = _load(file)
    places = [(part, item) for part, items in parts.items() for item in items]
    stamps = [_stamp(item) for _, item in places]
    kept = [_kept(known, item, mark, part) for (part, item), mark in zip(places, stamps, strict=True)]
    fresh = each(looker, [one for one, record in zip(places, kept, strict=True) if record is None])
    records: list[Record] = []
    for done, record in enumerate(kept, start=1):
        record = record or next(fresh)
        assert isinstance(record, Record)
        records.append(record)
        if progress is not None:
            progress(done, len(places))
    if None in kept:
        _save(file, stamps, records)
    return records


def _name(place: str, looker: Looker) -> str:
    rule = looker.encoding.describe() if looker.encoding else ""
    names = looker.dataset.classes.names if looker.dataset else ()
    return sha256(json.dumps([SCHEMA, place, rule, looker.classes, looker.whole, names]).encode())[:20]


def _stamp(item: Item) -> str:
    """Sizes and times of an item's files; "" for one that has none, which is looked at anew every time."""
    files = [path for path in (item.image, item.target) if path is not None]
    try:
        return " ".join(f"{path} {stamp(path)}" for path in files)
    except DataError:
        return ""


def _kept(known: Known, item: Item, mark: str, part: str) -> Record | None:
    """The record of an item that did not change, under the part and the group that it has now."""
    before, record = known.get(item.key, ("", None))
    return replace(record, part=part, group=item.group) if record is not None and mark and before == mark else None


def _load(file: Path) -> Known:
    try:
        entries = json.loads(file.read_bytes())
        return {tree["key"]: (mark, record_from_json(tree)) for mark, tree in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _save(file: Path, stamps: Sequence[str], records: Sequence[Record]) -> None:
    """Write the cache; where that cannot be done, the next run looks again."""
    entries = [[mark, record.to_json()] for mark, record in zip(stamps, records, strict=True)]
    with suppress(RunError):
        write_atomic(file, json.dumps(entries).encode())
