"""A data set and how its pictures look -> findings: images of one part that are near copies of what train shows."""

from collections import Counter
from collections.abc import Mapping

from segtrial.data.dealing import random_order
from segtrial.data.leakage import LeakReport, Neighbour, leaks
from segtrial.data.likeness import Looks
from segtrial.data.sample import Dataset
from segtrial.errors import listing
from segtrial.inspection.finding import Finding, finding
from segtrial.inspection.parts import check_shared

NOISE = 0.05
"""Near neighbours of other groups are said from this share on: 1 in 100 photographs has one by chance."""

FEWEST = 3
"""And from this many on."""

SHOWN = 3
"""Pairs that a message shows."""

RANDOM_SHARE = 0.2
"""Share of the images that a random split would hold out."""


def check_leaks(dataset: Dataset, looks: Looks) -> list[Finding]:
    """All findings on near neighbours of other parts in train, and on what a random split would do."""
    train = looks.of(dataset.parts.get("train", ()))
    findings = []
    for part, items in dataset.parts.items():
        if part != "train" and items and train.items:
            findings += _of_part(part, leaks(train, looks.of(items)))
    random = check_random(looks)
    return findings + ([random] if random else [])


def between(dataset: Dataset, part: str, looks: Looks) -> tuple[LeakReport, list[Finding]]:
    """What one part shares with train: the numbers, and the findings on it alone."""
    report = leaks(looks.of(dataset.parts.get("train", ())), looks.of(dataset.parts.get(part, ())))
    shared = check_shared(dataset, part)
    return report, [*([shared] if shared else []), *_of_part(part, report)]


def check_against(looks: Looks, other: Looks, name: str, other_name: str, part_of: Mapping[str, str]) -> list[Finding]:
    """What `looks` (called `name`) shares with pictures of another data set, which a network may have learned from.

    `part_of` says the part that each of the others is in, by key.
    """
    report = leaks(other, looks)
    if not report.near:
        return []
    parts = Counter(part_of[one.neighbour.key] for one in report.near)
    where = listing(f"{part} {count}" for part, count in sorted(parts.items()) if part)
    share = f"{report.share:.0%}; there in {where}" if where else f"{report.share:.0%}"
    message = f"{report.sentence(name, other_name)} ({share}): {_shown(report.near)}"
    fix = f"Do not test on {name} what has learned from {other_name}, or the other way round"
    return [finding("leak.against", "warning", message, fix, _files(report.near), beside=_elsewhere(report.near))]


def _of_part(part: str, report: LeakReport) -> list[Finding]:
    in_time = [one for one in report.near if one.item.group == one.neighbour.group]
    chance = [one for one in report.near if one.item.group != one.neighbour.group]
    findings = []
    if in_time:
        message = (
            f"{len(in_time)} of {report.images} {part} images ({len(in_time) / report.images:.0%}) "
            f"{'has' if len(in_time) == 1 else 'have'} a near neighbour of the same clip or group in train: "
            f"{_shown(in_time)}; scores on {part} read too high"
        )
        fix = "Use split.method=groups, or time for a single clip: it drops a gap between the parts"
        findings.append(finding("leak.time", "warning", message, fix, _files(in_time), beside=_beside(in_time)))
    if len(chance) >= max(FEWEST, NOISE * report.images):
        message = (
            f"{len(chance)} of {report.images} {part} images ({len(chance) / report.images:.0%}) look much like one in "
            f"train: {_shown(chance)}"
        )
        fix = "Look at these pairs; if they belong together, say so with `group` in data.yaml"
        findings.append(finding("leak.near", "warning", message, fix, _files(chance), beside=_beside(chance)))
    return findings


def check_random(looks: Looks) -> Finding | None:
    """What a random split would do to clips and other groups."""
    if not any(size > 1 for size in Counter(item.group for item in looks.items).values()):
        return None
    order = random_order(looks.items)
    held = order[: max(1, round(RANDOM_SHARE * len(order)))]
    keys = {item.key for item in held}
    report = leaks(looks.of([item for item in looks.items if item.key not in keys]), looks.of(held))
    if not report.near:
        return None
    message = f"a random split would leak: {report.sentence()} ({report.share:.0%})"
    fix = "Nothing to do: a split never cuts groups unless split.method=random is forced"
    return finding("leak.random", "note", message, fix, _files(report.near), beside=_beside(report.near))


def _shown(near: tuple[Neighbour, ...] | list[Neighbour]) -> str:
    return listing((f"{one.item.key} ~ {one.neighbour.key}" for one in near), most=SHOWN)


def _files(near: tuple[Neighbour, ...] | list[Neighbour]) -> list[str]:
    return [one.item.key for one in near]


def _beside(near: tuple[Neighbour, ...] | list[Neighbour]) -> list[str]:
    return [one.neighbour.key for one in near]


def _elsewhere(near: tuple[Neighbour, ...] | list[Neighbour]) -> list[str]:
    """The neighbours' files: another data set may have the same keys."""
    return [str(one.neighbour.image.resolve()) if one.neighbour.image is not None else "" for one in near]
