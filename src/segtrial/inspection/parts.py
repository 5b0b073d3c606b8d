"""A data set's parts and groups -> findings: too few images, clips cut or shared, and official parts that leak."""

from collections import Counter
from collections.abc import Mapping, Sequence

from segtrial.data.camvid import LEAK
from segtrial.data.sample import Dataset, Item
from segtrial.errors import listing, several
from segtrial.inspection.finding import Finding, finding

FEWEST = 20
"""Fewer images in a part give no interval worth having."""

HOLD_OUT = "`--set split.val_groups=[GROUP]` holds whole groups out"


def check_parts(dataset: Dataset) -> list[Finding]:
    """All findings on parts that need no look at the pictures."""
    shared = [found for name in dataset.parts if (found := check_shared(dataset, name)) is not None]
    return [*_few(dataset.parts), *shared, *_clip(dataset), *_groups(dataset.parts), *_notes(dataset)]


def _few(parts: Mapping[str, Sequence[Item]]) -> list[Finding]:
    few = [f"{name} has {len(items)}" for name, items in parts.items() if 0 < len(items) < FEWEST]
    if not few:
        return []
    fix = "Scores on so few images have wide intervals: read these, and repeat over several seeds or folds"
    return [
        finding("part.few", "warning", f"parts with fewer than {FEWEST} images: {listing(few)}", fix, count=len(few))
    ]


def check_shared(dataset: Dataset, name: str) -> Finding | None:
    """Groups that train shares with the part `name`: video sequences, patients. None for train itself."""
    items = dataset.parts.get(name, ())
    trained = {item.group for item in dataset.parts.get("train", ())} if name != "train" else set()
    files = [item.key for item in items if item.group in trained]
    if not files:
        return None
    if dataset.layout == "camvid" and name == "val":
        message, fix = LEAK.split(". ")
        return finding("leak.official", "warning", message, fix, files)
    if _is_cut(dataset):
        return None
    both = sorted({item.group for item in items} & trained)
    many = several(len(files), f"image of {name} is", f"images of {name} are")
    message = f"{many} of groups that train has too ({listing(both, most=4)}): scores on {name} read too high"
    return finding("leak.group", "warning", message, HOLD_OUT, files)


def _is_cut(dataset: Dataset) -> bool:
    """Whether val was cut from one single clip, with a gap in time."""
    return any(note.startswith("one single clip") for note in dataset.notes)


def _clip(dataset: Dataset) -> list[Finding]:
    """One single group: whatever is held out is of the same scene."""
    sizes = Counter(item.group for items in dataset.parts.values() for item in items)
    if len(sizes) != 1 or sizes.total() < 2:
        return []
    message = f"all images are one clip ({next(iter(sizes))}): a random split of it leaks"
    gap = "The split leaves a gap in time; " if _is_cut(dataset) else ""
    fix = f"{gap}Scores hold for this scene only: add clips of other scenes"
    return [finding("part.one_clip", "warning", message, fix, count=sizes.total())]


def _groups(parts: Mapping[str, Sequence[Item]]) -> list[Finding]:
    sizes = Counter(item.group for items in parts.values() for item in items)
    many = {group: size for group, size in sizes.items() if size > 1}
    if len(sizes) < 2 or not many:
        return []
    shown = listing((f"{group} ({size})" for group, size in many.items()), most=6)
    message = f"{several(len(many), 'group')} of images that belong together (a sequence, a patient): {shown}"
    fix = "The split never cuts them; another rule is `group` in data.yaml"
    return [finding("part.groups", "note", message, fix, count=sum(many.values()))]


def _notes(dataset: Dataset) -> list[Finding]:
    """What the reader says it understood."""
    fix = "Nothing to do if this is right; else say it in data.yaml"
    return [finding("layout.read", "note", note, fix, count=1) for note in dataset.notes]
