"""Told trials + runs of the best recipe -> tuning.json and best.yaml: what was chosen, on what, and what it is worth.

    optimism = score that it was chosen by - mean score on the part that no trial saw

The first is the highest of many, so luck is in it: of the seed that all trials share, and of the images that they are
scored on. The second is free of that. What else differs between the two is in it as well: the images, and that the
runs at the end train on the whole train part.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrial.comparison.cells import Cell, plan_of
from segtrial.comparison.pool import Failure
from segtrial.evaluation import load_counts
from segtrial.files import write_atomic, write_json
from segtrial.recipe import Recipe
from segtrial.statistics import Estimate
from segtrial.tuning.ranges import with_point
from segtrial.tuning.rule import FILE, Rule
from segtrial.tuning.search import best_of
from segtrial.tuning.space import Numbers, Space
from segtrial.tuning.study import Study

RESULT, BEST = "tuning.json", "best.yaml"
LEVEL = 0.95
NEAR_END = 0.05
"""Of a range, on either side."""

STATES = ("complete", "pruned", "diverged", "failed")


def best_recipe(rule: Rule, setting: Mapping[str, Any]) -> Recipe:
    """The recipe to train by: that of the search with the best setting, on its own seed and its whole train part."""
    return with_point(rule.base(), setting, FILE)


def final_cells(rule: Rule, folder: Path, recipe: Recipe, seeds: int) -> list[Cell]:
    """The runs of the best recipe. Where val is held out it is scored once in each, at its end."""
    if rule.held_out == "val":
        recipe = recipe.model_copy(update={"evaluations": 1})
    return [
        Cell(
            name=f"best, seed {seed}",
            variant="best",
            seed=seed,
            path=folder / "final" / recipe.hash[:12] / str(seed),
            recipe=recipe.model_copy(update={"seed": recipe.seed + seed}),
            part=rule.held_out,
        )
        for seed in range(seeds)
    ]


def result_json(
    study: Study, source: str, cells: Sequence[Cell], failures: Sequence[Failure], notes: Sequence[str]
) -> dict[str, Any]:
    """What `tuning.json` holds, schema 1."""
    rule, trials = study.rule, study.told()
    best = best_of(trials)
    lost = {failure.cell.name for failure in failures}
    held_out = _held_out(rule, [cell for cell in cells if cell.name not in lost])
    optimism = best["score"] - held_out["mean"] if best and held_out and held_out["mean"] is not None else None
    return {
        "schema": 1,
        "recipe": source,
        "score": rule.score,
        "definition": rule.definition,
        "ranges": rule.ranges,
        "prune": rule.prune,
        "counts": {state: sum(one["state"] == state for one in trials) for state in STATES},
        "trials": trials,
        "best": {name: best[name] for name in ("number", "score", "setting")} if best else None,
        "chosen_on": {
            "data": str(rule.recipe["data"]),
            "part": f"a share of {rule.val_share:g} of train, by whole groups",
            "images": rule.images,
            "seed": study.seed,
        },
        "held_out": held_out,
        "optimism": optimism,
        "importance": study.importance(),
        "failures": [{"name": failure.cell.name, "message": failure.message} for failure in failures],
        "notes": [*notes, *(at_ends(study.space, best["setting"]) if best else ())],
    }


def at_ends(space: Space, setting: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each number that was chosen near an end of its range: a better one may lie beyond."""
    for one in space:
        if not isinstance(one, Numbers):
            continue
        share = one.share(setting[one.key])
        if not NEAR_END <= share <= 1 - NEAR_END:
            end = f"the {'lower' if share < NEAR_END else 'upper'} end of its range"
            yield f"{one.key}={setting[one.key]:g} lies at {end}; a search in a wider one may find better."


def _held_out(rule: Rule, cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The scores of the runs at the end, their mean, and its t interval over seeds."""
    if not cells:
        return None
    counts = [load_counts(cell.rows, plan_of(cell).make_task()) for cell in cells]
    tasks = [plan_of(cell).make_task() for cell in cells]
    values = [task.summary(each.counts)[rule.score] for task, each in zip(tasks, counts, strict=True)]
    known = [value for value in values if value is not None]
    several = len(known) > 1
    return {
        "part": rule.held_out,
        "images": len(counts[0].keys),
        "seeds": [cell.seed for cell in cells],
        "values": values,
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if several else None,
        "interval": _interval(known) if several else None,
    }


def _interval(values: Sequence[float]) -> dict[str, float]:
    estimate = Estimate(statistics.fmean(values), statistics.variance(values), len(values))
    low, high = estimate.interval(LEVEL)
    return {"low": float(low), "high": float(high)}


def write(folder: Path, told: Mapping[str, Any], recipe: Recipe | None) -> None:
    """Write best.yaml, and last tuning.json."""
    if recipe is not None:
        text = "".join(f"# {line}\n" for line in header(told)) + recipe.to_yaml()
        write_atomic(folder / BEST, text.encode())
    write_json(folder / RESULT, told)


def header(told: Mapping[str, Any]) -> list[str]:
    """What a reader of best.yaml must know: what it was chosen by, on what, out of how many, and what it is worth."""
    best, on, counts = told["best"], told["chosen_on"], told["counts"]
    tried = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
    lines = [
        f"Chosen by segtrial tune: trial {best['number']}, out of {sum(counts.values())} ({tried}).",
        f"Chosen on {on['data']}: {on['part']} ({on['images']} images), training seed {on['seed']}.",
        f"Chosen by {told['score']} {best['score']:.4f}, the highest of all trials.",
    ]
    return [*(" ".join(line.split()) for line in lines), worth(told)]


def worth(told: Mapping[str, Any]) -> str:
    """The score on the part that no trial saw, beside the one that was chosen by."""
    held = told["held_out"]
    if not held or held["mean"] is None:
        return "It has not been scored on a part that no trial saw."
    runs = f"{len(held['seeds'])} {'seed' if len(held['seeds']) == 1 else 'seeds'}"
    span = held["interval"]
    sure = f", 95 % interval for new training runs {span['low']:.4f} to {span['high']:.4f}" if span else ""
    said = f"On the {held['part']} part, which no trial saw: {held['mean']:.4f} ({runs}{sure})"
    return f"{said}. Chosen by minus held out: {told['optimism']:+.4f}."
