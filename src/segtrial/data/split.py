"""Items -> parts: groups that must not be cut, and a val part where a folder has none.

What a group is: a clip of video (frames of one prefix whose neighbours look alike), or the left and right
picture of one subject. Without such evidence every picture is a group of its own.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from segtrial.data._parallel import all_of
from segtrial.data.pictures import opened
from segtrial.data.sample import Item
from segtrial.errors import DataError, SplitError, listing, several
from segtrial.files import last_number
from segtrial.randomness import generator, key_of

Parts = dict[str, tuple[Item, ...]]
Method = Literal["layout", "groups", "random", "stratified", "time"]

FEWEST_FRAMES = 8
"""Fewer pictures of one prefix are not looked at as a clip."""

LOOKED_AT = 16
"""Neighbouring pairs and random pairs whose thumbnails are compared."""

ALIKE = 0.6
"""Neighbours are a clip if their median difference is below this share of that of random pairs."""

GAP_SHARE = 0.1
"""Share of a single clip that is dropped between its train part and its val part."""


@dataclass(frozen=True)
class SplitOptions:
    """How to make the val part.

    `val_groups`: groups of the train part that become the val part, replacing the one that the layout has.
    `val_share`: share of the items (0 to 1) that val gets where the layout has no val part.
    `method`, `folds` and `fold` deal train and val anew, whatever the layout has: `dealing` says how. `gap` is for
    time: below 1 a share of each clip, else frames. `force` does what is refused otherwise.
    `inner` (a share) or `inner_folds` and `inner_fold` cut the train part once more: `dealing.within` says how.
    """

    val_groups: tuple[str, ...] = ()
    val_share: float = 0.2
    seed: int = 0
    method: Method = "layout"
    folds: int | None = None
    fold: int = 0
    gap: float | int | None = None
    force: bool = False
    inner: float | None = None
    inner_folds: int | None = None
    inner_fold: int = 0

    @property
    def dealt(self) -> bool:
        """Whether train and val are dealt anew."""
        return self.method != "layout" or self.folds is not None


def split(parts: Mapping[str, Sequence[Item]], options: SplitOptions, place: str) -> tuple[Parts, tuple[str, ...]]:
    """Parts with a train and a val, and notes on how val came about.

    `parts` may name items of no part "". Named `val_groups` become val; else a val that is there stays; else
    val is carved from train. A test part is never touched, and parts without a train stay as they are. Raises
    SplitError for unknown groups, for fewer than two items, and for options that contradict each other. What is to be
    dealt anew is all left in train.
    """
    _check(options, place)
    named = {name: sorted(items, key=lambda item: item.key) for name, items in parts.items() if items}
    train = sorted([*named.pop("", ()), *named.pop("train", ())], key=lambda item: item.key)
    if not train and named and not options.val_groups:
        return {name: tuple(items) for name, items in named.items()}, (f"no train part, only {listing(named)}",)
    if options.dealt:
        everything = sorted([*train, *named.pop("val", ())], key=lambda item: item.key)
        return {"train": tuple(everything), "val": ()} | {name: tuple(items) for name, items in named.items()}, ()
    if options.val_groups:
        named.pop("val", None)
        train, val, notes = _take(train, options.val_groups, place)
    elif "val" in named:
        val, notes = named.pop("val"), ()
        notes = _shared(train, val)
    else:
        train, val, notes = carve(train, options, place)
    result = {"train": tuple(train), "val": tuple(val)} | {name: tuple(items) for name, items in named.items()}
    return result, notes


def carve(items: Sequence[Item], options: SplitOptions, place: str) -> tuple[list[Item], list[Item], tuple[str, ...]]:
    """Train and val from items: whole groups, chosen by the hash of their names; one clip is cut in time."""
    if len(items) < 2:
        raise SplitError(place, f"{len(items)} image, too few for a train and a val part", "Add images")
    sizes = Counter(item.group for item in items)
    if len(sizes) == 1:
        return _cut_in_time(items, options.val_share, place)
    wanted = options.val_share * len(items)
    order = sorted(sizes, key=lambda group: key_of(options.seed, "split", group))
    chosen: set[str] = set()
    taken = 0
    for group in order:
        if taken + sizes[group] <= wanted:
            chosen.add(group)
            taken += sizes[group]
    chosen = chosen or {min(order, key=lambda group: abs(sizes[group] - wanted))}
    train = [item for item in items if item.group not in chosen]
    val = [item for item in items if item.group in chosen]
    named = listing(sorted(chosen), most=4)
    groups = f", in {len(chosen)} of {several(len(sizes), 'group')} ({named})" if _grouped(sizes) else ""
    held = f"{len(val)} of {len(items)} images are val (scored, never trained on){groups}"
    note = f"no val part: {held}, chosen by the hash of the name"
    return train, val, (note,)


def with_groups(items: Sequence[Item], place: str) -> tuple[list[Item], tuple[str, ...]]:
    """The items with their groups found from names and looks, and a note if there are any."""
    by_side = _sides(items)
    if by_side:
        subjects = len(set(by_side.values()))
        note = f"names end in L and R: the two pictures of a subject are one group ({subjects} subjects)"
        return [replace(item, group=by_side[item.key]) for item in items], (note,)
    clips = {prefix: frames for prefix, frames in _numbered(items).items() if len(frames) >= FEWEST_FRAMES}
    alike = sorted(_alike(clips, place))
    if not alike:
        return list(items), ()
    group_of = {item.key: _name(prefix) for prefix in alike for item in clips[prefix]}
    counts = listing((f"{_name(prefix)} ({len(clips[prefix])})" for prefix in alike), most=8)
    clip = several(len(alike), "clip is a group", "clips are groups")
    note = f"neighbouring frames look alike: {clip} that a split never cuts: {counts}"
    return [replace(item, group=group_of.get(item.key, item.key)) for item in items], (note,)


def _check(options: SplitOptions, place: str) -> None:
    if not 0 < options.val_share < 1:
        raise SplitError(place, f"val_share {options.val_share}", "Give a share between 0 and 1, such as 0.2")
    if options.val_groups and options.dealt:
        raise SplitError(place, "val_groups and a method or folds are given together", "Keep one")
    folds = options.folds or 0
    if options.fold and not folds:
        raise SplitError(place, f"fold {options.fold} of no folds", f"Give split.folds too, {options.fold + 1} or more")
    if folds and not (folds >= 2 and 0 <= options.fold < folds):
        raise SplitError(place, f"fold {options.fold} of {folds}", f"Count folds from 0 to {max(folds, 2) - 1}")
    if options.gap is not None and (options.method != "time" or options.gap < 0):
        raise SplitError(place, f"gap {options.gap:g}", "Give one from 0, with split.method=time")


def _take(items: Sequence[Item], groups: Sequence[str], place: str) -> tuple[list[Item], list[Item], tuple[str, ...]]:
    known = Counter(item.group for item in items)
    unknown = [group for group in groups if group not in known]
    if unknown:
        there = listing(f"{group} ({count})" for group, count in sorted(known.items()))
        raise SplitError(place, f"val_groups {listing(unknown)}: no group of train is called so", f"There are: {there}")
    if len(set(groups)) == len(known):
        raise SplitError(place, "val_groups names every group, so train would be empty", "Leave at least one out")
    train = [item for item in items if item.group not in groups]
    val = [item for item in items if item.group in groups]
    return train, val, (f"val part: {several(len(val), 'image')} of the train part's groups {listing(groups)}",)


def _shared(train: Sequence[Item], val: Sequence[Item]) -> tuple[str, ...]:
    both = sorted({item.group for item in train} & {item.group for item in val})
    if not both:
        return ()
    note = f"val has groups that train has too ({listing(both, most=4)}): its scores read too high"
    return (f"{note}; `--set split.val_groups=[GROUP]` holds a whole group out",)


def _cut_in_time(items: Sequence[Item], share: float, place: str) -> tuple[list[Item], list[Item], tuple[str, ...]]:
    """The last `share` of one clip is val; a gap before it is dropped, for neighbouring frames are near copies."""
    frames = sorted(items, key=frame_number)
    val = max(1, round(share * len(frames)))
    gap = min(round(GAP_SHARE * len(frames)), len(frames) - val - 1)
    if gap < 0:
        raise SplitError(place, "one group with too few images to cut", "Add images or groups")
    train = frames[: len(frames) - val - gap]
    note = (
        f"one single clip: its last {val} frames are val, {gap} frames before them are dropped, {len(train)} are train;"
        " scores hold for this scene only"
    )
    return train, frames[-val:], (note,)


def frame_number(item: Item) -> tuple[int, str]:
    """The last number in the item's name, or 0, and the name: the order of the frames of a clip."""
    return last_number(item.key) or 0, item.key


def _grouped(sizes: Mapping[str, int]) -> bool:
    return max(sizes.values()) > 1


def _sides(items: Sequence[Item]) -> dict[str, str]:
    """key -> subject, if names end in L and R after a digit and at least half the subjects have both; else {}."""
    subjects: dict[str, list[str]] = defaultdict(list)
    for item in items:
        match = re.fullmatch(r"(.*\d)[_-]?([LR])", item.key)
        if match is None:
            return {}
        subjects[match[1]].append(item.key)
    if 2 * sum(len(keys) == 2 for keys in subjects.values()) < len(subjects):
        return {}
    return {key: _name(subject) for subject, keys in subjects.items() for key in keys}


def _numbered(items: Sequence[Item]) -> dict[str, list[Item]]:
    """Items in the order of their frame numbers, by what stands before the number."""
    clips: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        match = re.fullmatch(r"(.*?)[_\-. ]?[a-z]?(\d+)", item.key, re.DOTALL)
        if match:
            clips[match[1]].append(item)
    return {prefix: sorted(frames, key=frame_number) for prefix, frames in clips.items()}


def _name(prefix: str) -> str:
    """A group's name: what stands before the number, without the folders ("" is called clip)."""
    return prefix.rsplit("/", 1)[-1].rstrip("_-. ") or prefix.rstrip("/").rsplit("/", 1)[-1] or "clip"


def _alike(clips: Mapping[str, list[Item]], place: str) -> list[str]:
    """Prefixes whose neighbouring frames differ much less than random pictures do."""
    everything = [item for frames in clips.values() for item in frames]
    if not everything:
        return []
    pairs = generator(0, "thumbnails").integers(len(everything), size=(LOOKED_AT, 2)).tolist()
    randoms = [(everything[a], everything[b]) for a, b in pairs if a != b]
    neighbours = {prefix: _neighbours(frames) for prefix, frames in clips.items()}
    wanted = {item.key: item for pair in [*randoms, *(p for ps in neighbours.values() for p in ps)] for item in pair}
    try:
        thumbnails = dict(zip(wanted, all_of(place, _thumbnail, list(wanted.values())), strict=True))
    except DataError:
        return []  # whoever reads the images next names the damaged file; here it only gives no evidence

    def difference(pairs: Sequence[tuple[Item, Item]]) -> float:
        return float(np.median([np.abs(thumbnails[a.key] - thumbnails[b.key]).mean() for a, b in pairs]))

    usual = difference(randoms)
    return [prefix for prefix, pairs in neighbours.items() if difference(pairs) < ALIKE * usual]


def _neighbours(frames: Sequence[Item]) -> list[tuple[Item, Item]]:
    step = max(1, (len(frames) - 1) // LOOKED_AT)
    return [(frames[index], frames[index + 1]) for index in range(0, len(frames) - 1, step)]


def _thumbnail(item: Item) -> np.ndarray:
    """16x16 greys of an image, 0 to 255, centred on their mean."""
    assert isinstance(item.image, Path)
    with opened(item.image) as picture:
        picture.draft("L", (64, 64))  # JPEG decodes at 1/8 size; other formats ignore it
        grey = np.asarray(picture.convert("L").resize((16, 16)), dtype=np.float32)
    return grey - grey.mean()
