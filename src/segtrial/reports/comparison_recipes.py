"""A comparison's recipes in; what differs between its variants, and a file that asks for it again, out."""

from collections.abc import Mapping
from typing import Any

from segtrial.plain_yaml import to_yaml
from segtrial.recipe import BUDGETS, UNHASHED, flat, from_tree, leaves
from segtrial.reports.comparison_records import Comparison, Json

ASKED = ("seeds", "budget", "score", "baseline", "margin", "folds")
MOST_DIFFERING = 24
"""Fields in the table of what differs."""


def differing(found: Comparison) -> list[dict[str, Any]]:
    """Each field in which the runs of the variants differ, with the value that each of them has; seeds are none."""
    recipes = {name: _recipe(found, name) for name in found.variants}
    known = {name: leaves(recipe) for name, recipe in recipes.items() if recipe is not None}
    rows = []
    for key in dict.fromkeys(key for fields in known.values() for key in fields):
        values = {name: to_yaml(fields[key], flow=True) if key in fields else None for name, fields in known.items()}
        if len(set(values.values())) > 1:
            rows.append({"field": key, "values": values})
    return rows[:MOST_DIFFERING]


def _recipe(found: Comparison, name: str) -> Json | None:
    """What the first run of a variant was made by, without what decides nothing and what each seed has its own of."""
    runs = next(iter(found.runs[name].values()), ())
    if not runs:
        return None
    fields = {key: value for key, value in runs[0].recipe.items() if key not in {*UNHASHED, "seed"} or key == "data"}
    split = {key: value for key, value in fields.get("split", {}).items() if key != "fold"}
    return {**fields, "split": split}


def trial_file(rule: Json) -> str:
    """YAML that `segtrial compare` takes: what the rule of a comparison was made from, each field said once.

    Fields at their defaults are left out. The threads are those that its runs had.
    """
    asked = {name: flat(variant["asked"]) for name, variant in rule["variants"].items()}
    task = next(iter(asked.values()))["task"]
    usual = flat(from_tree({"task": task}).model_dump(mode="json")) | {"task": "segmentation"}
    chosen = {name: _chosen(fields | {"threads": rule["threads"]}, usual) for name, fields in asked.items()}
    first, *others = chosen.values()
    base = {key: value for key, value in first.items() if all(key in o and o[key] == value for o in others)}
    own = {name: {key: value for key, value in fields.items() if key not in base} for name, fields in chosen.items()}
    lines = ["base:", *_lines(base), "variants:", *_lines(own)]
    told = {key: rule[key] for key in ASKED if rule.get(key) is not None}
    held = rule["held_out"]
    told |= {"held_out": held["part"]} | ({"block_frames": held["block_frames"]} if held.get("block_frames") else {})
    if rule.get("tune"):
        told["tune"] = {key: value for key, value in rule["tune"].items() if value is not None}
    return "\n".join([*lines, *(f"{key}: {to_yaml(value, flow=True)}" for key, value in told.items())]) + "\n"


def _lines(fields: Mapping[str, Any]) -> list[str]:
    return [f"  {to_yaml(key, flow=True)}: {to_yaml(value, flow=True)}" for key, value in fields.items()]


def _chosen(fields: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that are not at their defaults, and the budget."""
    return {
        key: value
        for key, value in fields.items()
        if (value is not None if key in BUDGETS else key not in usual or usual[key] != value)
    }
