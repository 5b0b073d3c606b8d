"""Variants' data -> leaks.json: what the held-out part shares with what is trained on, looked at before the first run.

The same checks as those of `segtrial inspect`, and only those. Once written, pages are made without the data.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from segtrial.comparison.manifest import Manifest, run_recipe
from segtrial.data.leakage import LeakReport
from segtrial.data.likeness import Looks, look_at
from segtrial.data.sample import Dataset, Item
from segtrial.files import write_json
from segtrial.inspection import MOST_COMPARED, Finding, leaks
from segtrial.recipe import Recipe
from segtrial.training.opening import open_data
from segtrial.training.watch import Watch

FILE = "leaks.json"
PAIRS = 3
"""Pairs of pictures that are kept of each side."""


def write_leaks(folder: Path, manifest: Manifest, watch: Watch) -> dict[str, Any]:
    """What `leaks.json` says, schema 1; looked at anew only where it is not there, or variants were added."""
    known = read_leaks(folder)
    if known is not None and known["variants"] == list(manifest.variants):
        return known
    told = found(manifest, watch)
    write_json(folder / FILE, told)
    return told


def read_leaks(folder: Path) -> dict[str, Any] | None:
    """What an earlier process found; None where none did."""
    try:
        return json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError):
        return None


def remarks(folder: Path) -> list[str]:
    """What must stand beside the verdict: that the data leak, if they do."""
    told = read_leaks(folder)
    return [told["sentence"]] if told and told["leaks"] else []


def found(manifest: Manifest, watch: Watch) -> dict[str, Any]:
    """What is shared between train and the held-out part, for each way in which the variants' data are split.

    Raises UserError if the data cannot be opened.
    """
    part = manifest.held_out.part
    told: dict[str, Any] = {"schema": 1, "part": part, "variants": list(manifest.variants), "limit": None}
    told |= {"leaks": False, "random": None, "sides": []}
    looks: dict[str, Looks] = {}
    for names, fold, recipe in _sides(manifest):
        dataset = open_data(recipe)
        items = _items(dataset)
        if len(items) > MOST_COMPARED:
            return told | {"sentence": f"{len(items):,} images are too many to look for near neighbours."}
        if recipe.data not in looks:
            looks[recipe.data] = look_at(items, dataset.read, partial(watch.bar, what="looking for leaks"))
            told["random"] = told["random"] or _random(leaks.check_random(looks[recipe.data]))
        report, findings = leaks.between(dataset, part, looks[recipe.data])
        told["limit"] = report.limit
        told["sides"].append({"variants": names, "fold": fold, **_side(report, len(dataset.parts["train"]), findings)})
    told["leaks"] = any(each["findings"] for each in told["sides"])
    return told | {"sentence": sentence(told)}


def _sides(manifest: Manifest) -> list[tuple[list[str], int | None, Recipe]]:
    """Names of variants, fold, and a recipe, of each different way of splitting each different data set."""
    sides: dict[tuple[str, str], tuple[list[str], int | None, Recipe]] = {}
    for name, variant in manifest.variants.items():
        for fold in manifest.fold_list:
            recipe = run_recipe(variant.resolved(), 0, fold, manifest.folds)
            key = (recipe.data, recipe.split.model_dump_json())
            sides.setdefault(key, ([], fold, recipe))[0].append(name)
    return list(sides.values())


def _items(dataset: Dataset) -> list[Item]:
    return [item for members in dataset.parts.values() for item in members]


def _random(finding: Finding | None) -> str | None:
    return finding.message if finding else None


def _side(report: LeakReport, train: int, findings: Sequence[Finding]) -> dict[str, Any]:
    same = [one for one in report.near if one.item.group == one.neighbour.group]
    pairs = [[one.item.key, one.neighbour.key, round(one.distance, 4)] for one in report.near[:PAIRS]]
    return {
        "train": train,
        "images": report.images,
        "in_groups": report.in_groups,
        "near_same_group": len(same),
        "near_other_group": len(report.near) - len(same),
        "pairs": pairs,
        "findings": [one.to_json() for one in findings],
    }


def sentence(told: Mapping[str, Any]) -> str:
    """What was found, in words: of all sides together, and what that means for the verdict."""
    part, sides = told["part"], told["sides"]
    total, near, groups = (
        sum(side[what] for side in sides for what in fields)
        for fields in (("images",), ("near_same_group", "near_other_group"), ("in_groups",))
    )
    alike = f"{near or 'None'} of the {total} {part} images" if total != 1 else f"The {part} image"
    said = f"{alike} {'have' if near > 1 else 'has'} a near neighbour in train"
    shared = f"{groups} are of clips or groups that train has too" if groups else "no clip or group is in both"
    if not told["leaks"]:
        return f"{said}, and {shared}."
    return (
        f"The data leak: {said[0].lower()}{said[1:]}, and {shared}. Scores on {part} read too high, and a difference "
        "may be one in how well training images are remembered."
    )
