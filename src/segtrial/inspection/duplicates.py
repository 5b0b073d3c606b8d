"""A data set and how its pictures look -> findings: one picture several times, across parts, or with other masks."""

from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from segtrial.data.likeness import Looks, copies, pixel_digest
from segtrial.data.memory import Progress
from segtrial.data.sample import Dataset
from segtrial.errors import DataError, listing, several
from segtrial.inspection.finding import Finding, Severity, finding

Pair = tuple[int, int]
"""Places of the first picture and of a later one like it."""

SHOWN = 3
"""Pairs that a message shows."""

KEEP_ONE = "Keep one of each"
KEEP_IN_ONE = "Keep one of each, in one part only"


def check_duplicates(
    dataset: Dataset, looks: Looks, *, whole: bool = False, progress: Progress | None = None
) -> list[Finding]:
    """All findings on pictures that are there more than once. `whole`: a picture has one class, and no mask.

    Equal are pictures with the same bytes or the same pixels; near are copies that were encoded anew, resized, relit
    or mirrored (`likeness.copies`). Frames of one clip are no near copies of each other: that is for `leaks`.
    """
    part_of = {item.key: part for part, items in dataset.parts.items() for item in items}
    order = sorted(range(len(looks.items)), key=lambda place: part_of[looks.items[place].key] != "train")
    looks = looks[order]  # what is there twice is named in the other part
    keys = [item.key for item in looks.items]
    parts = [part_of[key] for key in keys]
    alike = copies(looks, progress)
    marks = _marks(dataset, looks, alike)
    equal = _repeats(marks)
    near = _followers((one, other) for one, other, _ in alike if marks[one] != marks[other])
    near = [pair for pair in near if pair[1] not in {later for _, later in equal}]
    findings = []
    kinds: tuple[tuple[list[Pair], str, Severity, bool, str], ...] = (
        (equal, "duplicate.across", "error", True, "with the same pixels"),
        (equal, "duplicate.inside", "warning", False, "with the same pixels"),
        (near, "duplicate.near", "warning", True, "encoded anew, resized or mirrored"),
        (near, "duplicate.similar", "note", False, "encoded anew, resized or mirrored"),
    )
    for pairs, code, severity, far, like in kinds:
        some = [pair for pair in pairs if (parts[pair[0]] != parts[pair[1]]) == far]
        if some:
            again = several(len(some), "image is there again", "images are there again")
            message = f"{again} {'in another part' if far else 'in their part'}, {like}"
            shown = listing((f"{keys[later]} = {keys[first]}" for first, later in some), most=SHOWN)
            fix = KEEP_IN_ONE if far else KEEP_ONE
            files, beside = [keys[later] for _, later in some], [keys[first] for first, _ in some]
            findings.append(finding(code, severity, f"{message}: {shown}", fix, files, beside=beside))
    return findings + _other_masks(dataset, looks, equal, whole=whole)


def _marks(dataset: Dataset, looks: Looks, alike: Iterable[tuple[int, int, bool]]) -> list[Hashable]:
    """What equal pictures have in common: the digest of their bytes, or of their pixels where two look alike."""
    marks: list[Hashable] = [digest or place for place, digest in enumerate(looks.digests)]
    pixels: dict[Hashable, str] = {}
    for one, other, mirrored in alike:
        for place in (one, other) if not mirrored and marks[one] != marks[other] else ():
            if marks[place] not in pixels:
                pixels[marks[place]] = _digest(dataset, looks, place)
    return [pixels.get(mark, mark) for mark in marks]


def _digest(dataset: Dataset, looks: Looks, place: int) -> str:
    try:
        return pixel_digest(looks.items[place], dataset.read)
    except DataError as error:
        return str(error)  # names the file: equal to nothing


def _repeats(marks: Sequence[Hashable]) -> list[Pair]:
    """(first, later) for everything whose mark was there before."""
    first: dict[Hashable, int] = {}
    pairs = [(first.setdefault(mark, place), place) for place, mark in enumerate(marks)]
    return [pair for pair in pairs if pair[0] != pair[1]]


def _followers(pairs: Iterable[Pair]) -> list[Pair]:
    """Each later picture once, with the earliest one that pairs lead to."""
    leader: dict[int, int] = {}
    for first, later in sorted(pairs, key=lambda pair: (pair[1], pair[0])):
        leader.setdefault(later, leader.get(first, first))
    return [(first, later) for later, first in leader.items()]


def _other_masks(dataset: Dataset, looks: Looks, equal: Sequence[Pair], *, whole: bool) -> list[Finding]:
    """Equal pictures that are said to show different things."""
    found: list[tuple[Pair, float]] = []
    for first, later in equal:
        try:
            one, other = (dataset.read(looks.items[place]).target for place in (first, later))
        except DataError:
            continue  # whoever looks at the masks names the damaged one
        share = float(np.mean(one != other)) if one.shape == other.shape else 1.0
        if share:
            found.append(((first, later), share))
    if not found:
        return []
    keys = [item.key for item in looks.items]
    again = several(len(found), "image is there again", "images are there again")
    shown = listing((f"{keys[later]} and {keys[first]}" for (first, later), _ in found), most=SHOWN)
    files = [keys[later] for (_, later), _ in found]
    beside = [keys[first] for (first, _), _ in found]
    if whole:
        message = f"{again} under another class: {shown}"
        return [
            finding("duplicate.classes", "warning", message, "Keep the one whose class is right", files, beside=beside)
        ]
    most = max(share for _, share in found)
    message = f"{again} with another mask, up to {most:.1%} of the pixels differ: {shown}"
    return [finding("duplicate.masks", "error", message, "Keep the one whose mask is right", files, beside=beside)]
