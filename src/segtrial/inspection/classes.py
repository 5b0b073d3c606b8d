"""Records -> the share of each class, and findings: absent, rare, missing from a part, without a name."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.classes import Classes, Color
from segtrial.errors import listing, several
from segtrial.inspection.faults import relative
from segtrial.inspection.finding import Finding, finding
from segtrial.inspection.records import Record
from segtrial.inspection.understanding import LEFT_OUT

RARE = 0.01
"""Share of the pixels below which a class is called rare."""

UNEVEN = 100
"""The commonest class has this many times the pixels of the rarest: extreme."""

STRAY, FEWEST = 0.001, 5
"""Share of all pixels below which a class of one mask is taken for a slip, where there are so many masks."""

SHOWN = 12

SIDE = re.compile(r"(?i)(?<![a-z])(left|right)(?![a-z])")
LETTER = re.compile(r"(?<![a-zA-Z])[lrLR](?![a-zA-Z])")
"""Words of names that say a side."""


@dataclass(frozen=True)
class ClassShare:
    """`pixels`: share of all that count; `images`: share of the images that have the class. From 0 to 1."""

    name: str
    color: Color
    pixels: float
    images: float

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "color": list(self.color),
            "pixels": round(self.pixels, 6),
            "images": round(self.images, 6),
        }


def shares(classes: Classes, records: Sequence[Record]) -> list[ClassShare]:
    """One a class, over all parts."""
    counts = _counts(records, len(classes))
    pixels = counts.sum(axis=0) / max(1, counts.sum())
    images = (counts > 0).mean(axis=0) if len(counts) else np.zeros(len(classes))
    return [
        ClassShare(name, color, float(share), float(held))
        for name, color, share, held in zip(classes.names, classes.colors, pixels, images, strict=True)
    ]


def ignored_share(records: Sequence[Record]) -> float:
    """The share of pixels that count nowhere, from 0 to 1."""
    counted = [record.counts for record in records if record.counts]
    return sum(one[-1] for one in counted) / max(1, sum(map(sum, counted)))


def check_classes(classes: Classes, records: Sequence[Record], *, whole: bool = False) -> list[Finding]:
    """All findings on classes. `whole`: each image has one class."""
    told = [record for record in records if record.counts]
    if not told:
        return []
    counts = _counts(told, len(classes))
    return [
        *_absent(classes, counts),
        *_missing(classes, told),
        *([] if whole else _uneven(classes, counts)),
        *_unnamed(classes),
        *_sides(classes),
        *_one_sided(classes),
    ]


def _counts(records: Sequence[Record], classes: int) -> np.ndarray:
    """Pixels, images x classes."""
    told = [record.counts[:classes] for record in records if record.counts]
    return np.array(told, dtype=np.int64).reshape(len(told), classes)


def _absent(classes: Classes, counts: np.ndarray) -> list[Finding]:
    absent = [name for name, total in zip(classes.names, counts.sum(axis=0), strict=True) if total == 0]
    if not absent:
        return []
    are = "is" if len(absent) == 1 else "are"
    message = f"{len(absent)} of {len(classes)} declared classes {are} in no mask: {listing(absent, most=SHOWN)}"
    fix = "No network can learn them; merge or drop them in data.yaml (merges, drops), or leave them"
    return [finding("class.absent", "warning", message, fix, count=len(absent))]


def _missing(classes: Classes, records: Sequence[Record]) -> list[Finding]:
    """Classes that some part has and another has not."""
    names = dict.fromkeys(one.part for one in records if one.part != LEFT_OUT)
    parts = {name: [one for one in records if one.part == name] for name in names}
    has = {part: _counts(members, len(classes)).sum(axis=0) > 0 for part, members in parts.items()}
    anywhere = np.logical_or.reduce(list(has.values()))
    findings = []
    for part, there in has.items():
        missing = [name for name, gone in zip(classes.names, anywhere & ~there, strict=True) if gone]
        if missing:
            then = "no network can learn them" if part == "train" else f"{part} says nothing about them"
            message = f"{part} has no pixel of {listing(missing, most=SHOWN)}, which other parts have: {then}"
            fix = "Split so that every part has every class, or add images of them"
            findings.append(finding("class.missing", "warning", message, fix, count=len(missing)))
    return findings


def _uneven(classes: Classes, counts: np.ndarray) -> list[Finding]:
    pixels = counts.sum(axis=0)
    present = pixels[pixels > 0]
    if len(present) < 2:
        return []
    rare = [
        (pixels[i] / pixels.sum(), name) for i, name in enumerate(classes.names) if 0 < pixels[i] < RARE * pixels.sum()
    ]
    extreme = present.max() >= UNEVEN * present.min()
    if not rare or not extreme:
        return []
    shown = listing((f"{name} {100 * share:.2g} %" for share, name in sorted(rare)), most=SHOWN)
    message = (
        f"the commonest class has {present.max() / present.min():,.0f} times the pixels of the rarest; rare are {shown}"
    )
    fix = "Read the scores of each class; consider `--set loss.class_weights=median_frequency`"
    return [finding("class.imbalance", "warning", message, fix, count=len(rare))]


def _unnamed(classes: Classes) -> list[Finding]:
    bare = [name for name in classes.names if re.fullmatch(r"class_\d+", name)]
    if not bare:
        return []
    message = (
        f"{several(len(bare), 'class has', 'classes have')} no name; left and right ones among them, if there are any, "
        "are not exchanged when an image is flipped"
    )
    fix = "Write the names into classes.txt, one a line, in order; or `--write data.yaml` and edit the names there"
    return [finding("class.unnamed", "warning", message, fix, count=len(bare))]


def check_stray(root: Path | None, classes: Classes, records: Sequence[Record]) -> list[Finding]:
    """Of classes that were found in the masks: those of a few pixels of one mask, such as a slip of the pen."""
    told = [record for record in records if record.counts]
    counts = _counts(told, len(classes))
    few = (counts.sum(axis=0) < STRAY * counts.sum()) & ((counts > 0).sum(axis=0) == 1)
    stray = [index for index, is_stray in enumerate(few) if is_stray]
    if not stray or len(told) < FEWEST:
        return []
    names = listing((classes.names[index] for index in stray), most=SHOWN)
    masks = [told[int(counts[:, index].argmax())] for index in stray]
    files = [relative(root, one.mask.path) if one.mask and one.mask.path else one.key for one in masks]
    many = several(len(stray), "class has", "classes have")
    message = f"{many} a few pixels of one mask, and no other mask has them: {names}"
    fix = f"If that is a slip, and no class, add to data.yaml: `ignore: [{names}]`"
    return [finding("class.stray", "warning", message, fix, files)]


def _sides(classes: Classes) -> list[Finding]:
    if not classes.swaps:
        return []
    pairs = listing(f"{classes.names[left]}/{classes.names[right]}" for left, right in classes.swaps)
    message = f"left and right are classes of their own: {pairs}"
    return [
        finding(
            "class.sides", "note", message, "A horizontal flip exchanges them; nothing to do", count=len(classes.swaps)
        )
    ]


def _one_sided(classes: Classes) -> list[Finding]:
    """Classes of the left or the right whose other side is no class: a flip shows it all the same."""
    names = classes.names
    paired = {names[index] for pair in classes.swaps for index in pair}
    letters = any(LETTER.search(name) for name in paired)
    alone = [name for name in names if name not in paired and _says_side(name, names, letters=letters)]
    if not alone:
        return []
    are = several(len(alone), "class is", "classes are")
    message = f"{are} of one side, and the other side is no class: {listing(alone, most=SHOWN)}"
    fix = "Name the other side alike (l_eye, r_eye), or switch flips off: `--set augment.flip_horizontal=0`"
    return [finding("class.one_sided", "warning", message, fix, count=len(alone))]


def _says_side(name: str, names: Sequence[str], *, letters: bool) -> bool:
    """Whether a name says left or right. `letters`: l and r stand for them, but beside u_lip l_lip is the lower one."""
    if SIDE.search(name):
        return True
    upper = LETTER.sub("u", name).casefold()
    return letters and bool(LETTER.search(name)) and upper not in [other.casefold() for other in names]
