"""Errors of the readers -> findings: a fault's code is told from its words, and like faults are one finding."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from segtrial.errors import UserError, listing
from segtrial.inspection.finding import Finding, finding
from segtrial.inspection.records import Fault, Record

CODES = (  # what the words are, and the code they have; "*" is the kind of file: image, mask, pair, ...
    (r"empty file", "*.empty"),
    (r"not a picture", "*.format"),
    (r"truncated or damaged|damaged, or no \.npz file", "*.truncated"),
    (r"Python objects", "file.objects"),
    (r"too large to decode", "*.bomb"),
    (r"it holds \d+ frames", "*.frames"),
    (r"transparent pixels", "*.alpha"),
    (r"pixels are of kind|cannot be of kind", "*.range"),
    (r"the mask is \(.* but the image is", "mask.size"),  # of arrays
    (r"the (image|mask) is \(.*\) of ", "*.range"),
    (r"no array \w+ among|no array of|^it holds \w+, ", "file.arrays"),
    (r"broken link", "file.link"),
    (r"cannot be followed", "file.link"),
    (r"it is a (pipe|folder|device)", "file.kind"),
    (r"cannot be (opened|listed)|gone since", "file.unreadable"),
    (r"the mask is \d+x\d+ but its image .*EXIF orientation, the mask is not", "mask.exif"),
    (r"the mask is \d+x\d+ but its image .*exchanged", "mask.transposed"),
    (r"the mask is \d+x\d+ but its image", "mask.size"),
    (r"lossy or anti-aliased", "mask.lossy"),
    (r"RGB colours and ", "mask.colors"),
    (r"colours stand for no class", "mask.unknown_colors"),
    (r"values that stand for no class", "mask.unknown_values"),
    (r"which are not 0, 1, 2", "mask.holes"),
    (r"names but masks hold", "class.table"),
    (r"one class only", "mask.one_class"),
    (r"it has colours, where other masks", "mask.mixed"),
    (r"colours .* stand for several|repeated names|cannot read|no class in it|not UTF-8|colour \d+", "class.table"),
    (r"the mask of one class holds", "mask.layer"),
    (r"share one name", "pair.same_name"),
    (r"several masks each", "pair.annotators"),
    (
        r"without a mask|without an image|names? no picture and class|there is no picture|have no file in",
        "pair.missing",
    ),
    (r"no image is called|no image begins with|in several parts|there is no file", "part.list"),
    (r"looks like a mask|no picture below|and no masks", "layout.unknown"),
    (r"too few", "part.few"),
)
KINDS = {"ImageError": "image", "MaskError": "mask", "PairingError": "pair", "SplitError": "part"}


def file_of(place: str) -> str:
    """The file of a place: without the number of a line, or the name of an array, behind it."""
    return re.sub(r":\d+$|(?<=\.npz): .*$", "", place, flags=re.DOTALL)


def of_errors(root: Path | None, errors: Iterable[UserError]) -> list[Finding]:
    """Findings of what kept a data set from opening; errors that differ in the file only are one finding."""
    faults = [(error.place, error.found, error.fix, type(error).__name__) for error in errors if not error.files]
    listed = [
        finding(_code(error.found, type(error).__name__), "error", error.found, error.fix, error.files)
        for error in errors
        if error.files
    ]
    return [*_grouped(root, faults), *listed]


def of_records(root: Path | None, records: Sequence[Record]) -> list[Finding]:
    """Findings of what single files are at fault with."""
    return _grouped(root, [fault for record in records for fault in record.faults])


def relative(root: Path | None, path: str | Path) -> str:
    """A path as findings write it: below the root, else as it is."""
    place = Path(path)
    return place.relative_to(root).as_posix() if root is not None and place.is_relative_to(root) else str(path)


def _by_file(fault: Fault) -> Fault:
    """The fault with the name of an array moved from its place to what was found."""
    place, found, fix, kind = fault
    file = file_of(place)
    array = place[len(file) :].removeprefix(": ") if file.endswith(".npz") else ""
    return (file, f"{array}: {found}", fix, kind) if array else fault


def _grouped(root: Path | None, faults: Sequence[Fault]) -> list[Finding]:
    by_code: dict[tuple[str, str], list[Fault]] = {}
    for fault in dict.fromkeys(map(_by_file, faults)):
        by_code.setdefault((_code(fault[1], fault[3]), fault[2] if fault[3] == "DataError" else ""), []).append(fault)
    return [_finding(root, code, members) for (code, _), members in by_code.items()]


def _finding(root: Path | None, code: str, faults: Sequence[Fault]) -> Finding:
    files = [relative(root, place) for place, _, _, _ in faults]
    said = list(dict.fromkeys(found for _, found, _, _ in faults))
    message = said[0] if len(faults) == 1 else f"{len(faults)} files: {listing(said, most=3)}"
    return finding(code, "error", message, faults[0][2], [name for name in files if name != "."])


def _code(found: str, kind: str) -> str:
    known = next((code for words, code in CODES if re.search(words, found, re.DOTALL)), "*.fault")
    return known.replace("*", KINDS.get(kind, "data"))
