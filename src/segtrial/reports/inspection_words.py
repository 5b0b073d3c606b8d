"""An inspection in, short sentences about it out: the same on a page and in a terminal."""

from collections import Counter

from segtrial.data.pictures import EXTENSIONS
from segtrial.errors import listing
from segtrial.inspection import Inspection

ARRAYS = (".npz", ".npy")

MOST = 4
"""Sizes and kinds that are named, the commonest first."""


def looks(inspection: Inspection) -> list[tuple[str, str]]:
    """Sizes (height x width), channels and bit depths of the images, and the kinds of mask: label, words."""
    images = [record.image for record in inspection.records if record.image is not None]
    masks = [record.mask for record in inspection.records if record.mask is not None]
    made = _made_from(inspection)
    rows = (
        ("sizes", Counter(f"{look.size[0]}x{look.size[1]}" for look in images)),
        ("images", Counter(f"{look.format} {look.mode} {look.channels}x{look.bits} bits".strip() for look in images)),
        ("masks", Counter(f"{look.format} {look.mode}" if look.path else made for look in masks)),
    )
    told = [
        (label, listing((f"{what} ({count})" for what, count in counts.most_common()), most=MOST))
        for label, counts in rows
        if counts
    ]
    return [(label, f"{words}, height x width" if label == "sizes" else words) for label, words in told]


def _made_from(inspection: Inspection) -> str:
    """How masks come that are no picture of their own."""
    items = (item for members in inspection.understood.items.values() for item in members)
    source = next((item.target for item in items if item.target is not None), None)
    if source is None:
        return "generated"
    kind = source.suffix.lower()
    if kind in EXTENSIONS:
        return "a file for each class or object"
    return "arrays" if kind in ARRAYS else "drawn from outlines"


def verdict(inspection: Inspection) -> str:
    """Whether it can be trained on, in a few words."""
    counts = Counter(one.severity for one in inspection.findings)
    if inspection.dataset is None:
        return "Needs a description to be trained on" if inspection.guessed else "Cannot be trained on as it is"
    if counts["error"]:
        return "1 error to mend before training" if counts["error"] == 1 else "Errors to mend before training"
    return "Can be trained on, with warnings to read first" if counts["warning"] else "Can be trained on"
