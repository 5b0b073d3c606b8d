"""Finished cells -> comparison.json: scores of each variant, and what can be said of each pair of them.

Only stored rows are read. Nothing that a clock decides is in it, so the same comparison always ends with the same file.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from math import isclose
from typing import Any

import numpy as np

from segtrial.comparison import words
from segtrial.comparison.cells import Cell, plan_of
from segtrial.comparison.manifest import Manifest
from segtrial.comparison.pool import Failure
from segtrial.errors import RunError, listing
from segtrial.evaluation import load_counts
from segtrial.scores import Score, number_or_none
from segtrial.statistics import (
    Answer,
    Interval,
    NoInterval,
    PairResult,
    compare_all,
    compare_pair,
    compare_with_baseline,
    video_blocks,
)

HOLM = (
    "Every verdict of better or worse holds for all comparisons with the baseline at once, by Holm's method; the "
    "intervals are those of each pair by itself."
)
ONE_RUN = (
    "There is one run of each variant, which shows nothing about seeds: two runs of one recipe differ too, and by how "
    "much is not known here."
)
SAME_PIXELS = 0.05
"""Of the pixels that training looks at: a smaller difference is what crops leave over, and needs no note."""
NO_SEED = "there is no seed of which both have a finished run"


@dataclass(frozen=True, eq=False)
class _Rows:
    """The score's additive numbers of each image, over all folds, in key order."""

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    parts: np.ndarray


def result_json(
    manifest: Manifest,
    cells: Sequence[Cell],
    failures: Sequence[Failure],
    tuning: Mapping[str, Any] | None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """The object of `comparison.json` and of `segtrial compare --json`, schema 1; `remarks` head its notes."""
    lost = {failure.cell.name for failure in failures}
    done = [cell for cell in cells if cell.name not in lost]
    table = plan_of(done[0]).make_task().table if done else {}
    score = table.get(manifest.score)
    rows = _all_rows(manifest, done, score) if score else {}
    variants = [_variant(manifest, name, rows.get(name, {}), score) for name in manifest.variants]
    pairs = _pairs(manifest, rows, score, tuning)
    equal = len({tuple(variant["seeds"]) for variant in variants}) == 1
    return {
        "schema": 1,
        "score": manifest.score,
        "baseline": manifest.baseline,
        "pairs": pairs,
        "definition": score.definition if score else None,
        "margin": manifest.margin,
        "held_out": manifest.held_out.model_dump(mode="json", include={"part", "images", "groups", "block_frames"}),
        "budget": manifest.budget,
        "ranked": equal,
        "variants": variants,
        "failures": [
            {"name": each.cell.name, "variant": each.cell.variant, "seed": each.cell.seed, "message": each.message}
            for each in failures
        ],
        "tuning": dict(tuning) if tuning else None,
        "notes": [
            *remarks,
            *notes(manifest),
            *_tuning_notes(tuning),
            *_pairing_notes(variants, manifest.baseline, equal=equal),
        ],
    }


def notes(manifest: Manifest) -> list[str]:
    """What a reader must know of how the comparison is set up."""
    found = []
    for grown in manifest.grown:
        if grown.after_results and grown.seeds:
            found.append(
                f"Seeds {listing(grown.seeds)} were added when results could have been seen: intervals hold for a "
                "number of seeds that was fixed beforehand."
            )
        if grown.after_results and grown.variants:
            found.append(f"Variants {listing(grown.variants)} were added when results could have been seen.")
    if manifest.folds:
        found.append("Folds share most of their training images, so an interval for new scenes is rather too narrow.")
    for (a, first), (b, second) in combinations(manifest.variants.items(), 2):
        if first.recipe == second.recipe:
            found.append(f"{a} and {b} have the same recipe and the same seeds, so their runs are the same.")
        elif not isclose(first.pixels, second.pixels, rel_tol=SAME_PIXELS):
            found.append(f"In its training {b} looks at {second.pixels / first.pixels:.2g} times the pixels of {a}.")
    return found


def _tuning_notes(tuning: Mapping[str, Any] | None) -> list[str]:
    if tuning is None:
        return []
    found = []
    for name, told in tuning["variants"].items():
        sides = [f"the {side} {what}" for what, side in told["border"].items() if side]
        if sides:
            found.append(f"The best setting of {name} has {listing(sides)} that was tried: one beyond may be better.")
    return found


def _pairing_notes(variants: Sequence[Mapping[str, Any]], baseline: str | None, *, equal: bool) -> list[str]:
    if len(variants) > 1 and max(variant["n"] for variant in variants) == 1:
        return [ONE_RUN, *([] if equal else [_unequal(variants)])]
    if equal and baseline is not None:
        return [HOLM] if len(variants) > 2 else []
    if equal:
        return ["The intervals of all pairs hold at once."] if len(variants) > 2 else []
    return [_unequal(variants)]


def _unequal(variants: Sequence[Mapping[str, Any]]) -> str:
    said = listing(f"{variant['name']}: {listing(variant['seeds']) or 'none'}" for variant in variants)
    return (
        f"Not all variants have all seeds ({said}): no order is given, and a pair is compared on the seeds both have, "
        "with an interval that holds for that pair alone."
    )


def _all_rows(manifest: Manifest, done: Sequence[Cell], score: Score) -> dict[str, dict[int, _Rows]]:
    """Variant -> seed -> rows, of the seeds of which all folds are there. Raises RunError if they do not pair up."""
    found: dict[str, dict[int, _Rows]] = {}
    for name in manifest.variants:
        of_variant = [cell for cell in done if cell.variant == name]
        for seed in manifest.seeds:
            folds = [cell for cell in of_variant if cell.seed == seed]
            if len(folds) == len(manifest.fold_list):
                found.setdefault(name, {})[seed] = _rows(folds, score, manifest.held_out.block_frames)
    everything = [(name, seed, rows) for name, seeds in found.items() for seed, rows in seeds.items()]
    for name, seed, rows in everything:
        if (rows.keys, rows.groups) != (everything[0][2].keys, everything[0][2].groups):
            said = f"its rows are of other images than those of {everything[0][0]}, seed {everything[0][1]}"
            raise RunError(f"{name}, seed {seed}", said, "Delete its run folder; the same command makes it anew")
    return found


def _rows(folds: Sequence[Cell], score: Score, block_frames: int | None) -> _Rows:
    counts = [load_counts(cell.rows, plan_of(cell).make_task()) for cell in folds]
    keys = [key for each in counts for key in each.keys]
    groups = video_blocks(keys, [group for each in counts for group in each.groups], block_frames)
    parts = np.concatenate([score.parts(each.counts) for each in counts])
    order = sorted(range(len(keys)), key=keys.__getitem__)
    return _Rows(tuple(keys[i] for i in order), tuple(groups[i] for i in order), parts[order])


def _variant(manifest: Manifest, name: str, rows: Mapping[int, _Rows], score: Score | None) -> dict[str, Any]:
    variant = manifest.variants[name]
    values = {}
    if score:
        values = {seed: number_or_none(float(score.value(each.parts.sum(0)))) for seed, each in rows.items()}
    known = [value for value in values.values() if value is not None]
    return {
        "name": name,
        "n": len(values),
        "mean": statistics.fmean(known) if known else None,
        "sd": statistics.stdev(known) if len(known) > 1 else None,
        "seeds": list(values),
        "values": list(values.values()),
        "parameters": variant.parameters,
        "steps": variant.steps,
        "multiply_adds": variant.multiply_adds,
    }


def _pairs(
    manifest: Manifest, rows: Mapping[str, Mapping[int, _Rows]], score: Score | None, tuning: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """The pairs in order: with a baseline those with it, else all; each by itself where seeds are not the same."""
    options = {"margin": manifest.margin, "prior_spread": tuning["spread"] if tuning else None}
    names = list(manifest.variants)
    seeds = {tuple(rows.get(name, {})) for name in names}
    together: Mapping[tuple[str, str], PairResult] = {}
    if score and len(names) > 1 and len(seeds) == 1 and seeds != {()}:
        together = _together(manifest.baseline, rows, names, score, options)
    told = []
    for a, b in pairs_of(names, manifest.baseline):
        both = [seed for seed in manifest.seeds if seed in rows.get(a, {}) and seed in rows.get(b, {})]
        found = together.get((a, b))
        if found is None and both and score:
            first, second = (_stacked(rows[name], both) for name in (a, b))
            found = compare_pair(first, second, _groups(rows), score.value, **options)
        told.append(_pair(a, b, both, found, manifest))
    return told


def pairs_of(names: Sequence[str], baseline: str | None) -> list[tuple[str, str]]:
    """Which variants are compared: each with the baseline, or all pairs."""
    if baseline is None:
        return list(combinations(names, 2))
    return [(baseline, name) for name in names if name != baseline]


def _together(
    baseline: str | None,
    rows: Mapping[str, Mapping[int, _Rows]],
    names: Sequence[str],
    score: Score,
    options: Mapping[str, Any],
) -> Mapping[tuple[str, str], PairResult]:
    """The pairs with their errors held for all of them: Holm's verdicts, or intervals that hold at once."""
    stacked = {name: _stacked(rows[name], list(rows[name])) for name in names}
    if baseline is None:
        return compare_all(stacked, _groups(rows), score.value, **options)
    found = compare_with_baseline(stacked, baseline, _groups(rows), score.value, **options)
    return {(baseline, name): result for name, result in found.items()}


def _groups(rows: Mapping[str, Mapping[int, _Rows]]) -> tuple[str, ...]:
    return next(each.groups for seeds in rows.values() for each in seeds.values())


def _stacked(rows: Mapping[int, _Rows], seeds: Sequence[int]) -> np.ndarray:
    return np.stack([rows[seed].parts for seed in seeds])


def _pair(a: str, b: str, both: Sequence[int], found: PairResult | None, manifest: Manifest) -> dict[str, Any]:
    """What is said of b against a; the verdict is that of new scenes where there are enough groups of images."""
    told: dict[str, Any] = {"a": a, "b": b, "difference": None, "interval": None, "interval_new_scenes": None}
    told |= {"probability_better": None, "verdict": "cannot tell", "n_seeds": len(both), "mde": None}
    told |= {"seeds": list(both), "seeds_needed": None, "reason": NO_SEED, "reason_new_scenes": NO_SEED}
    told |= {"speaks_of": "these images", "these_images": None, "new_scenes": None, "variance": None}
    if found is not None:
        told |= {name: getattr(found, name) for name in ("difference", "probability_better", "verdict", "mde")}
        told |= {"interval": _interval(found.interval), "interval_new_scenes": _interval(found.interval_new_scenes)}
        told |= {"reason": _why_none(found.interval), "reason_new_scenes": _why_none(found.interval_new_scenes)}
        told |= {"speaks_of": found.speaks_of, "seeds_needed": found.seeds_needed}
        told |= {"variance": asdict(found.variance) if found.variance else None}
        told |= {"these_images": _answer(found.these_images), "new_scenes": _answer(found.new_scenes)}
    return told | {"sentence": words.verdict(told, manifest.score, manifest.margin)}


def _answer(answer: Answer) -> dict[str, Any]:
    told = {name: getattr(answer, name) for name in ("verdict", "p", "mde", "seeds_needed", "reason")}
    return told | {"interval": _interval(answer.interval)}


def _why_none(found: Interval | NoInterval) -> str | None:
    return found.reason if isinstance(found, NoInterval) else None


def _interval(found: Interval | NoInterval) -> dict[str, Any] | None:
    return None if isinstance(found, NoInterval) else {"low": found.low, "high": found.high, "over": found.over}
