"""A data set and a method -> its train and val dealt anew: by groups, at random, by class share, in time, in folds.

Every deal is a function of the keys, the groups and (for stratified) the masks alone; the order of the files plays
no part. A test part is never touched.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64, Int

from segtrial.data._parallel import all_of
from segtrial.data.leakage import leaks
from segtrial.data.likeness import look_at
from segtrial.data.sample import Dataset, Item
from segtrial.data.split import GAP_SHARE, SplitOptions, carve, frame_number
from segtrial.errors import SplitError, listing
from segtrial.randomness import key_of
from segtrial.shapes import IGNORE

Dealt = tuple[list[Item], list[Item], str]
"""Train, val, and a note on how they came about."""

MOST_MOVES = 400
"""Groups that are moved at most after they were dealt by class share."""

MISSING = 1e3
"""What a class that is missing from a part costs, in units that make any share matter less."""


def dealt(dataset: Dataset, options: SplitOptions) -> Dataset:
    """The data set with train and val as the options' method says. Raises SplitError where it cannot say so.

    `split.split` has left everything that is not test in train.
    """
    items = sorted(dataset.parts.get("train", ()), key=lambda item: item.key)
    if not options.dealt or not items:
        return dataset
    place = str(dataset.root or dataset.layout)
    method = "groups" if options.method == "layout" else options.method
    train, val, note = METHODS[method](items, options, dataset, place)
    if not train or not val:
        found = f"split.method={method} leaves {len(train)} images to train and {len(val)} to val"
        raise SplitError(place, found, "Give more images or groups, a smaller gap, or another method")
    parts = {**dataset.parts, "train": tuple(train), "val": tuple(val)}
    return replace(dataset, parts=parts, notes=(*dataset.notes, note))


def within(dataset: Dataset, options: SplitOptions) -> Dataset:
    """The data set to choose settings on: train cut once more by whole groups, and the val part in no part at all.

    A single clip is cut in time, as by `carve`. Raises SplitError where train cannot be cut.
    """
    if options.inner is None and options.inner_folds is None:
        return dataset
    items, place = list(dataset.parts.get("train", ())), str(dataset.root or dataset.layout)
    if options.inner_folds is None:
        train, val, _ = carve(items, replace(options, val_share=options.inner), place)
        how = f"a share of {options.inner:g}"
    else:
        again = replace(options, method="groups", folds=options.inner_folds, fold=options.inner_fold)
        train, val, _ = by_groups(items, again, dataset, place)
        how = f"fold {options.inner_fold} of {options.inner_folds}"
    left_out = len(dataset.parts.get("val", ()))
    note = f"to choose settings: {len(val)} of {len(items)} train images are val ({how}), and {left_out} are left out"
    return replace(
        dataset, parts={**dataset.parts, "train": tuple(train), "val": tuple(val)}, notes=(*dataset.notes, note)
    )


def by_groups(items: Sequence[Item], options: SplitOptions, dataset: Dataset, place: str) -> Dealt:
    """Whole groups: the share of them, or one of k folds of nearly the same size."""
    if options.folds is None:
        train, val, notes = carve(items, options, place)
        return train, val, notes[0].replace("no val part:", "whole groups:")
    sizes = Counter(item.group for item in items)
    order = sorted(sizes, key=lambda group: (-sizes[group], key_of(options.seed, "fold", group)))
    _require(len(order), options.folds, place)
    filled = [0] * options.folds
    fold_of: dict[str, int] = {}
    for group in order:
        fold_of[group] = min(range(options.folds), key=lambda fold: filled[fold])
        filled[fold_of[group]] += sizes[group]
    return _sides(items, fold_of, options, f"fold {options.fold} of {options.folds} by {_groups(sizes)}")


def at_random(items: Sequence[Item], options: SplitOptions, dataset: Dataset, place: str) -> Dealt:
    """Single images by the hash of their keys, whatever their groups: refused where there are any, unless forced."""
    order = random_order(items, options.seed)
    if options.folds is None:
        held = {item.key for item in order[: max(1, round(options.val_share * len(order)))]}
    else:
        held = {item.key for item in order[options.fold :: options.folds]}
    train, val = [item for item in items if item.key not in held], [item for item in items if item.key in held]
    note = f"random split: {len(val)} of {len(items)} images are val, chosen by the hash of the name"
    if len({item.group for item in items}) == len(items) or not train or not val:
        return train, val, note
    report = leaks(look_at(train, dataset.read), look_at(val, dataset.read))
    said = f"{report.sentence()}, and {report.in_groups} are of groups that train has too"
    if options.force:
        return train, val, f"WARNING: {note}, by split.force; {said}: every score on val reads too high"
    fix = (
        "Use split.method=groups (whole groups), or time for a single clip; split.force=true does it all the same, and "
        "says so in every report"
    )
    raise SplitError(place, f"split.method=random cuts groups: {said}, so scores would read too high", fix)


def random_order(items: Sequence[Item], seed: int = 0) -> list[Item]:
    """The items by the hash of their keys: a random split takes the first ones for val."""
    return sorted(items, key=lambda item: key_of(seed, "random split", item.key))


def by_class_share(items: Sequence[Item], options: SplitOptions, dataset: Dataset, place: str) -> Dealt:
    """Whole groups, so that all parts have each class in near the same share, and lack none where that can be."""
    groups = sorted({item.group for item in items}, key=lambda group: key_of(options.seed, "stratified", group))
    wanted = [options.val_share, 1 - options.val_share] if options.folds is None else [1.0] * options.folds
    _require(len(groups), len(wanted), place)
    shares = np.asarray(wanted) / sum(wanted)
    part_of = deal(_masses(items, groups, dataset, place), shares)
    fold_of = dict(zip(groups, part_of.tolist(), strict=True))
    what = "" if options.folds is None else f"fold {options.fold} of {options.folds}, "
    sizes = Counter(item.group for item in items)
    return _sides(items, fold_of, options, f"{what}stratified by class share over {_groups(sizes)}")


def in_time(items: Sequence[Item], options: SplitOptions, dataset: Dataset, place: str) -> Dealt:
    """A stretch of each clip is val; what is nearer to it than the gap is dropped."""
    clips: dict[str, list[Item]] = defaultdict(list)
    for item in items:
        clips[item.group].append(item)
    long = {group for group, frames in clips.items() if len(frames) >= max(3, options.folds or 0)}
    if not long:
        found = "no group has enough images to be cut in time"
        raise SplitError(place, f"split.method=time: {found}", "Use split.method=groups, or declare clips as groups")
    train, val, gaps = [], [], []
    for group, frames in sorted(clips.items()):
        first, second, gap = _cut(frames, options) if group in long else (frames, [], 0.0)
        train, val, gaps = [*train, *first], [*val, *second], [*gaps, gap]
    stretch = "the last frames" if options.folds is None else f"stretch {options.fold} of {options.folds}"
    dropped = len(items) - len(train) - len(val)
    note = (
        f"in time: {stretch} of each of {len(long)} clips are val ({len(val)} images), {dropped} within "
        f"{max(gaps):g} frames of them are dropped, {len(train)} are train; scores hold for these scenes only"
    )
    return sorted(train, key=lambda item: item.key), sorted(val, key=lambda item: item.key), note


METHODS: dict[str, Callable[[Sequence[Item], SplitOptions, Dataset, str], Dealt]] = {
    "groups": by_groups,
    "random": at_random,
    "stratified": by_class_share,
    "time": in_time,
}


def times_of(frames: Sequence[Item]) -> Float64[np.ndarray, " n"]:
    """The frame numbers that end the names, or places in the order of the names where numbers are not distinct."""
    numbers = [frame_number(item)[0] for item in frames]
    if len(set(numbers)) == len(numbers):
        return np.asarray(numbers, dtype=np.float64)
    order = sorted(range(len(frames)), key=lambda index: frames[index].key)
    return np.argsort(order).astype(np.float64)


def deal(masses: Float64[np.ndarray, "n k"], shares: Float64[np.ndarray, " p"]) -> Int[np.ndarray, " n"]:
    """The part of each of n groups, so that part p gets `shares[p]` of each column of `masses`, as near as can be.

    Lowers sum over parts p and columns c of (shares[p] - got[p, c])^2 / shares[p], where the columns add up to 1:
    the largest groups first, each to where it lowers that most, then by single moves, and by exchanges of two groups
    where something is missing still. A column that is missing from a part costs MISSING, if it is in as many groups as
    there are parts. After the idea of Sechidis, Tsoumakas, Vlahavas. On the stratification of multi-label data. ECML
    2011, section 4, for amounts and whole groups.
    """
    total = masses.sum(0)
    rows = masses[:, total > 0] / total[total > 0]  # n k, columns add up to 1
    there = (rows > 0).astype(np.float64)
    spread = there.sum(0) >= len(shares)
    left = np.repeat(shares[:, None], rows.shape[1], axis=1)  # p k: what a part still lacks
    has = np.zeros_like(left)  # p k: groups of a part that have the column
    part_of = np.full(len(rows), -1, dtype=np.int64)

    def move(group: int, part: int) -> None:
        for other, sign in ((part_of[group], -1), (part, 1)):
            if other >= 0:
                left[other] -= sign * rows[group]
                has[other] += sign * there[group]
        part_of[group] = part

    for group in np.argsort(-np.square(rows).sum(1), kind="stable"):
        move(int(group), int(np.argmax(_gain(rows[group : group + 1], left, shares)[0])))
    for _ in range(MOST_MOVES):
        leaving = (2 * np.einsum("nk,nk->n", rows, left[part_of]) + np.square(rows).sum(1)) / shares[part_of]
        emptied = (there * spread * (has[part_of] == 1)).sum(1)
        change = (leaving + MISSING * emptied)[:, None] - _gain(rows, left, shares)  # n p
        change -= MISSING * (there * spread) @ (has == 0).T
        change[np.arange(len(rows)), part_of] = 0
        group, part = np.unravel_index(int(change.argmin()), change.shape)
        if change[group, part] < -1e-9:
            move(int(group), int(part))
        elif pair := _exchange(part_of, there * spread, has):
            one, other = pair
            parts = int(part_of[one]), int(part_of[other])
            move(one, parts[1])
            move(other, parts[0])
        else:
            break
    return part_of


def _exchange(
    part_of: Int[np.ndarray, " n"], there: Float64[np.ndarray, "n k"], has: Float64[np.ndarray, "p k"]
) -> tuple[int, int] | None:
    """The two groups whose exchange mends most of what is missing from parts; None if none mends anything.

    Tried are those of which one has what the other's part lacks: where no single move helps they are few, since each is
    the last one of its part that has something.
    """
    wanted = there.any(0)
    best, found = 0, None
    for part, column in np.argwhere(wanted & (has == 0)):
        others = np.flatnonzero(part_of == part)
        for one in np.flatnonzero((there[:, column] > 0) & (part_of != part)):
            gains = there[one] - there[others]  # of the part; the other one loses as much
            theirs = has[part_of[one]]
            lost = (wanted & (has[part] == 0)).sum() + (wanted & (theirs == 0)).sum()
            left = (wanted & (has[part] + gains == 0)).sum(1) + (wanted & (theirs - gains == 0)).sum(1)
            if len(others) and (mended := int(lost - left.min())) > best:
                best, found = mended, (int(one), int(others[left.argmin()]))
    return found


def _gain(
    rows: Float64[np.ndarray, "n k"], left: Float64[np.ndarray, "p k"], shares: Float64[np.ndarray, " p"]
) -> Float64[np.ndarray, "n p"]:
    """By how much each part's squared lack falls with each group."""
    return (2 * rows @ left.T - np.square(rows).sum(1, keepdims=True)) / shares


def _masses(items: Sequence[Item], groups: Sequence[str], dataset: Dataset, place: str) -> Float64[np.ndarray, "n k"]:
    """Pixels of each class in each group, and last its images. Decodes every mask once."""
    classes = len(dataset.classes.names)

    def pixels(item: Item) -> np.ndarray:
        target = dataset.read(item).target
        return np.bincount(target[target != IGNORE].astype(np.int64), minlength=classes)[:classes]

    row_of = {group: row for row, group in enumerate(groups)}
    masses = np.zeros((len(groups), classes + 1))
    for item, counts in zip(items, all_of(place, pixels, items), strict=True):
        masses[row_of[item.group], :classes] += counts
        masses[row_of[item.group], classes] += 1
    return masses


def _cut(frames: Sequence[Item], options: SplitOptions) -> tuple[list[Item], list[Item], float]:
    """Train, val and the gap in frames. Frames of train are further than the gap from every frame of val."""
    times = times_of(frames)
    order = np.argsort(times)
    count = len(frames)
    if options.folds is None:
        held = order[count - max(1, round(options.val_share * count)) :]
    else:
        held = order[count * options.fold // options.folds : count * (options.fold + 1) // options.folds]
    gap = GAP_SHARE if options.gap is None else options.gap
    gap = float(gap) if gap >= 1 else gap * float(np.ptp(times))
    away = np.maximum(times[held].min() - times, times - times[held].max())  # below 0 inside the stretch
    far = away > gap
    return [frames[n] for n in np.flatnonzero(far).tolist()], [frames[n] for n in held.tolist()], gap


def _sides(items: Sequence[Item], fold_of: dict[str, int], options: SplitOptions, how: str) -> Dealt:
    """Val is the chosen fold (the first of two parts where there are no folds), train the rest."""
    fold = 0 if options.folds is None else options.fold
    train = [item for item in items if fold_of[item.group] != fold]
    val = [item for item in items if fold_of[item.group] == fold]
    return train, val, f"{how}: {len(val)} of {len(items)} images are val"


def _groups(sizes: Counter[str]) -> str:
    """`5 groups (a, b, ...)`, or `5 images` where each is its own."""
    if max(sizes.values()) == 1:
        return f"{len(sizes)} images"
    return f"{len(sizes)} groups ({listing(sorted(sizes), most=4)})"


def _require(groups: int, parts: int, place: str) -> None:
    if groups < parts:
        found = f"{groups} groups cannot be dealt to {parts} parts"
        raise SplitError(place, found, "Ask for fewer folds, or use split.method=time, which cuts clips in time")
