"""A folder in, what it is and what is wrong with it out: the data doctor.

source -> understanding.py (open it, and again without what is broken) -> survey.py (a record of every file, seen once)
-> images.py masks.py classes.py parts.py (records -> findings) -> Inspection; describe.py writes data.yaml from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segtrial.classes import Classes
from segtrial.data.cache import default_cache
from segtrial.data.likeness import look_at
from segtrial.data.masks import Encoding
from segtrial.data.memory import Progress, remembering
from segtrial.data.reading import Fingerprint, Reader
from segtrial.data.sample import Dataset
from segtrial.errors import UserError
from segtrial.files import sha256
from segtrial.inspection import classes, faults, images, masks, parts
from segtrial.inspection.against import Against, hold_against
from segtrial.inspection.classes import ClassShare
from segtrial.inspection.duplicates import check_duplicates
from segtrial.inspection.finding import Finding, by_severity, finding, has_errors
from segtrial.inspection.guess import FARTHEST, Guess, guess
from segtrial.inspection.leaks import check_leaks
from segtrial.inspection.records import Looker, Record
from segtrial.inspection.survey import survey
from segtrial.inspection.understanding import Understanding, understand_source

GUESSABLE = ("mask.colors", "mask.lossy", "mask.holes", "mask.unknown_colors")
"""Errors that a description mends, whose classes can be found by looking at the masks."""

MOST_COMPARED = 20_000
"""Images: all pairs of more would take minutes."""


@dataclass(frozen=True)
class Inspection:
    """What a source is. `guessed` are classes that no table names; `records` hold a few numbers of every file."""

    source: str
    understood: Understanding
    classes: Classes | None
    encoding: Encoding | None
    shares: tuple[ClassShare, ...]
    records: tuple[Record, ...]
    findings: tuple[Finding, ...]
    guessed: bool = False
    against: Against | None = None

    @property
    def dataset(self) -> Dataset | None:
        """None if it cannot be trained on as it is."""
        return self.understood.dataset

    @property
    def layout(self) -> str:
        """The name of the reader that understood it, "unknown" if none did."""
        return self.dataset.layout if self.dataset is not None else "unknown"

    @property
    def parts(self) -> Mapping[str, int]:
        """Images of each part that was looked at."""
        return {name or "all": len(items) for name, items in self.understood.items.items()}

    @property
    def failed(self) -> bool:
        """Whether any finding is an error."""
        return has_errors(self.findings)

    def to_json(self) -> dict[str, Any]:
        """The object that `inspect --json` prints, schema 1."""
        told = {
            "schema": 1,
            "layout": self.layout,
            "classes": [share.to_json() for share in self.shares],
            "parts": dict(self.parts),
            "findings": [one.to_json() for one in self.findings],
        }
        return told if self.against is None else {**told, "against": self.against.to_json()}


def inspect(
    source: str | Path,
    *,
    against: str | Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
    processes: int | None = 1,
) -> Inspection:
    """Look at everything in `source` and say what it is and what is wrong. Raises DataNotFound if there is nothing.

    `against`: another source, whose pictures should not be in this one, such as the data of a test.
    `cache`: where what was seen is kept for the next time (default: the user's cache folder). `progress(done, total)`
    is called while files are looked at, and while they are compared. `processes` look at thousands of them; None is
    one for each core, for programs whose main file may be imported again (`if __name__ == "__main__":`). The answer
    does not depend on them.
    """
    place = str(Path(source).resolve()) if Path(source).exists() else str(source)
    file = (cache or default_cache()) / "inspect" / f"{sha256(place.encode())[:20]}.jsonl"
    with remembering(file, processes, progress):
        return _inspected(source, against, progress)


def _inspected(source: str | Path, against: str | Path | None, progress: Progress | None) -> Inspection:
    """As `inspect`, of what is remembered or looked at now."""
    understood = understand_source(source)
    known, encoding = _known(understood)
    whole = understood.content == "classes"
    looker = Looker(understood.dataset, encoding, len(known) if known else 0, whole)
    records = survey(understood.items, looker)
    found = faults.of_errors(understood.root, understood.faults)
    guessed: Guess | None = None
    if understood.dataset is None and any(one.code in GUESSABLE for one in found):
        guessed = guess(records)
        if guessed is not None:
            looker = Looker(None, guessed.encoding, len(guessed.classes))
            records = survey(understood.items, looker)
            known, encoding = guessed.classes, _tightened(guessed.encoding, records)
            found = [_mended(one) for one in found]
            found += classes.check_stray(understood.root, guessed.classes, records)
    found += _findings(understood, known, encoding, records, whole=whole)
    compared = understood.dataset or _as_guessed(understood, known, encoding, records)
    if compared is not None:
        found += _alike(compared, progress, whole=whole)
    held = None
    if against is not None:
        held, shared = hold_against(understood, str(source), str(against))
        found += shared
    shares = tuple(classes.shares(known, records)) if known is not None else ()
    return Inspection(
        str(source),
        understood,
        known,
        encoding,
        shares,
        tuple(records),
        tuple(by_severity(found)),
        guessed is not None,
        held,
    )


def _as_guessed(
    understood: Understanding, known: Classes | None, encoding: Encoding | None, records: list[Record]
) -> Dataset | None:
    """What a description would make of a folder whose classes were guessed, to look for copies in: its sound pairs."""
    if known is None or encoding is None:
        return None
    sound = {record.key for record in records if not record.faults}
    parts = {
        part: tuple(item for item in items if item.key in sound and item.image and item.target)
        for part, items in understood.items.items()
    }
    reader = Reader(encoding, 3)
    return Dataset(understood.root, "unknown", known, parts, reader, Fingerprint.of(reader))


def _known(understood: Understanding) -> tuple[Classes | None, Encoding | None]:
    """The classes of a data set that opened, and its masks' encoding if they are picture files."""
    dataset = understood.dataset
    if dataset is None:
        return None, None
    encoding = getattr(dataset.read, "encoding", None)
    return dataset.classes, encoding if isinstance(encoding, Encoding) else None


def _findings(
    understood: Understanding,
    known: Classes | None,
    encoding: Encoding | None,
    records: list[Record],
    *,
    whole: bool,
) -> list[Finding]:
    root = understood.root
    names = known.names if known is not None else ()
    colors = encoding is not None and encoding.colors is not None
    found = [*faults.of_records(root, records), *images.check_images(root, records)]
    found += images.check_names(root, records, understood.found)
    if not whole:
        found += masks.check_masks(root, records, names, colors=colors, opened=understood.dataset is not None)
    if known is not None:
        found += classes.check_classes(known, records, whole=whole)
    if understood.dataset is not None:
        found += parts.check_parts(understood.dataset)
    return found


def _alike(dataset: Dataset, progress: Progress | None, *, whole: bool) -> list[Finding]:
    """Findings on pictures that look like others: copies, and near neighbours in other parts."""
    items = [item for members in dataset.parts.values() for item in members]
    if len(items) > MOST_COMPARED:
        message = f"{len(items)} images are too many to look for copies and near neighbours"
        fix = f"Inspect parts of the data with at most {MOST_COMPARED} images"
        return [finding("duplicate.skipped", "note", message, fix, count=len(items))]
    looks = look_at(items, dataset.read)
    return [*check_duplicates(dataset, looks, whole=whole, progress=progress), *check_leaks(dataset, looks)]


def _tightened(encoding: Encoding, records: list[Record]) -> Encoding:
    """The encoding with the tolerance that the masks need, and no more."""
    if encoding.colors is None:
        return encoding
    worst = max((record.mask.worst for record in records if record.mask is not None), default=0.0)
    return replace(encoding, tolerance=min(FARTHEST, float(int(worst) + 1)) if worst else 0.0)


def _mended(one: Finding) -> Finding:
    """The finding with the fix that a written description is."""
    if one.code not in GUESSABLE:
        return one
    return replace(one, fix=f"{masks.WRITE}; then edit the names of the classes there. Or: {one.fix}")


__all__ = ["Finding", "Inspection", "Record", "UserError", "finding", "inspect"]
