"""Finished runs -> variants: one recipe whatever its seed, each with a short name made of what differs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrial.comparison.finished import Finished
from segtrial.errors import RunError, listing
from segtrial.recipe import UNHASHED, leaves

Leaves = Mapping[str, Any]


def group(runs: Sequence[Finished]) -> list[list[Finished]]:
    """Runs of one recipe together, in the order in which they were named; each group in order of seed and fold."""
    groups: dict[str, list[Finished]] = {}
    for run in runs:
        groups.setdefault(recipe_key(run), []).append(run)
    return [sorted(each, key=lambda run: (run.recipe.seed, run.recipe.split.fold)) for each in groups.values()]


def recipe_key(run: Finished) -> str:
    """Equal for two runs that differ in nothing but seed and fold. Equal data are equal wherever they lie."""
    return json.dumps(_leaves(run), sort_keys=True)


def _leaves(run: Finished) -> dict[str, Any]:
    """Dotted key -> value of all that decides a run but its seed and fold, lists by number."""
    tree = run.recipe.model_dump(mode="json", exclude={*UNHASHED, "seed"})
    del tree["split"]["fold"]  # each fold trains on other images, so its data are known by their place alone
    return {"data": run.recipe.data if run.recipe.split.folds else run.plan.manifest, **leaves(tree)}


def named(groups: Sequence[Sequence[Finished]], given: Mapping[str, Path]) -> dict[str, list[Finished]]:
    """Each group by its name: the one that is given for one of its runs, that of its comparison, or what differs.

    Raises RunError for a given name whose run is in no group, and for one name of two groups.
    """
    wanted = _given(groups, given)
    called = _called(groups)
    usual = short_names([_shown_leaves(each[0]) for each in groups])
    names = [wanted.get(number) or called.get(number) or usual[number] for number in range(len(groups))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RunError(f"--name {twice[0]}", "two variants would have this name", "Give each a name of its own")
    return {name: list(each) for name, each in zip(names, groups, strict=True)}


def _given(groups: Sequence[Sequence[Finished]], given: Mapping[str, Path]) -> dict[int, str]:
    place = {run.path.resolve(): number for number, each in enumerate(groups) for run in each}
    found: dict[int, str] = {}
    for name, path in given.items():
        inside = {number for run, number in place.items() if run.is_relative_to(path.resolve())}
        if len(inside) != 1:
            what = "no run of those that are named" if not inside else f"runs of {len(inside)} variants lie there"
            raise RunError(f"--name {name}={path}", what, "Name one of the runs of the variant: NAME=RUN")
        found[inside.pop()] = name
    return found


def _called(groups: Sequence[Sequence[Finished]]) -> dict[int, str]:
    """What comparisons call the groups, where all runs of one have one name and no other group has it."""
    names = [{run.called for run in each} for each in groups]
    return {
        number: next(iter(mine))
        for number, mine in enumerate(names)
        if len(mine) == 1 and "" not in mine and sum(bool(mine & other) for other in names) == 1
    }


def _shown_leaves(run: Finished) -> dict[str, Any]:
    """As `_leaves`, with the model and the place of the data as people call them."""
    fields = _leaves(run)
    data = fields.pop("data")
    exactly = data if run.recipe.split.folds else data[:8]
    return {"model": fields.pop("model"), **fields, "data": Path(run.recipe.data).name, "manifest": exactly}


def short_names(variants: Sequence[Leaves]) -> list[str]:
    """For each variant the fewest of its values, in the order of the fields, that no other one has together."""
    keys = list(dict.fromkeys(key for fields in variants for key in fields))
    differing = [key for key in keys if len({_text(fields.get(key)) for fields in variants}) > 1]
    if not differing:
        return [_text(fields.get("model")) for fields in variants]
    parts: list[list[str]] = [[] for _ in variants]
    alike = [list(range(len(variants)))]  # variants that have one name so far
    for key in differing:
        split = [_by_value(each, variants, key) for each in alike]
        for pieces in split:
            for piece in pieces if len(pieces) > 1 else ():
                for number in piece:
                    parts[number].append(_part(key, variants[number].get(key), differing))
        alike = [piece for pieces in split for piece in pieces if len(piece) > 1]
    return [" ".join(each) for each in parts]


def _by_value(numbers: Iterable[int], variants: Sequence[Leaves], key: str) -> list[list[int]]:
    found: dict[str, list[int]] = {}
    for number in numbers:
        found.setdefault(_text(variants[number].get(key)), []).append(number)
    return list(found.values())


def _part(key: str, value: Any, differing: Sequence[str]) -> str:
    """A value, with the shortest end of its key that says which it is; models, losses and the like speak alone."""
    *path, last = key.split(".")
    if key in ("model", "data") or last == "name":
        return _text(value)
    same = [other for other in differing if other.split(".")[-1] == last]
    return f"{last if len(same) == 1 else '.'.join([*path[-1:], last])}={_text(value)}"


def _text(value: Any) -> str:
    """As YAML writes it, numbers short."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def require_same_answers(variants: Mapping[str, Sequence[Finished]]) -> None:
    """Raise RunError unless all runs answer the same question: one task, one list of classes."""
    kinds: dict[str, list[str]] = {}
    for name, runs in variants.items():
        for run in runs:
            kind = f"{run.plan.task} of {listing(run.plan.class_table().names, most=12)}"
            kinds.setdefault(kind, []).append(name)
    if len(kinds) > 1:
        said = "; ".join(f"{listing(dict.fromkeys(names), most=4)}: {kind}" for kind, names in kinds.items())
        raise RunError("RUNS", f"they answer different questions ({said})", "Put runs of one question together")
