"""Finished runs, wherever they lie -> one comparison of them in a folder: the result, its rule, pictures, leaks.

    OUT/report.yaml       the rule: variants with their recipes and runs, score, margin, part
    OUT/comparison.json   the result, as that of `segtrial compare`, with the place of every run
    OUT/pictures/         images on which variants differ most, where models and data are still there
    OUT/leaks.json        what the data share with what was trained on, where they are still there

Nothing is trained. What the runs have in common is told, not made so.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os.path import relpath
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.comparison import leaks
from segtrial.comparison.cells import Cell, plan_of
from segtrial.comparison.finished import Finished, Found, find, without_twins
from segtrial.comparison.grouping import group, named, recipe_key, require_same_answers
from segtrial.comparison.manifest import RESULT, Estimate, HeldOut, Manifest, Variant
from segtrial.comparison.plan import in_all, looks_at_val, multiply_adds, pixels_of, score_of
from segtrial.comparison.result import result_json
from segtrial.comparison.shown import write_pictures
from segtrial.errors import RecipeError, RunError, UserError, listing, nearest
from segtrial.evaluation import Counts, load_counts
from segtrial.files import folder_lock, sha256, write_atomic, write_json
from segtrial.plain_yaml import to_yaml
from segtrial.statistics import video_blocks
from segtrial.training.watch import Watch

RULE = "report.yaml"
NOT_ONE = (
    "These runs were not made as one comparison: whether their budgets, settings and data were chosen alike is for you "
    "to judge by what differs."
)
Variants = Mapping[str, Sequence[Finished]]


@dataclass(frozen=True)
class Rule:
    """How runs are compared; what is None is as their comparisons have it, or else as usual."""

    score: str | None = None
    margin: float | int = 0.005
    part: str | None = None
    block_frames: int | None = None
    baseline: str | None = None


def put_together(
    places: Iterable[str | Path], out: Path, names: Mapping[str, Path], rule: Rule, watch: Watch
) -> dict[str, Any]:
    """Compare finished runs in the folder `out`; returns the result of schema 1, that of `compare` with `runs`.

    `names` says for a variant's name one of its runs. Raises RunError for places without runs, for runs of different
    questions or scored on other images than each other, and for a folder that holds anything but an earlier report.
    """
    found = find(places)
    notes = list(found.notes)
    runs = without_twins(found.runs, [recipe_key(run) for run in found.runs], notes)
    variants = named(group(runs), names)
    require_same_answers(variants)
    cells = _cells(variants, _part(found, rule.part), notes)
    manifest = _manifest(variants, cells, _same_images(cells), _filled(rule, found, variants))
    remarks, runs_of = [*_remarks(variants, cells), *notes], _places(cells, out)
    with _held(out):
        write_atomic(out / RULE, to_yaml(_rule(manifest, runs_of)).encode())
        remarks += _drawn(out, manifest, cells, watch)
        told = {**result_json(manifest, cells, [], None, [*remarks, *leaks.remarks(out)]), "runs": runs_of}
        write_json(out / RESULT, told)
    return told


def _filled(rule: Rule, found: Found, variants: Variants) -> Rule:
    """The rule with the blocks that comparisons have; RecipeError for a baseline that is no variant."""
    if rule.baseline is not None and rule.baseline not in variants:
        fix = f"{nearest(rule.baseline, list(variants))}There are: {listing(variants)}"
        raise RecipeError("--baseline", f"no variant is called {rule.baseline!r}", fix)
    if rule.block_frames is None and len(found.block_frames) == 1:
        return replace(rule, block_frames=next(iter(found.block_frames)))
    return rule


def _part(found: Found, wanted: str | None) -> str:
    """The part that is compared on: the one asked for, else the one that comparisons hold out, else val."""
    common = set.intersection(*(run.parts for run in found.runs))
    if wanted is None:
        order = [*(found.held_out if len(found.held_out) == 1 else ()), "val", *sorted(common)]
        wanted = next((part for part in order if part in common), "val")
    lacking = [run.path for run in found.runs if wanted not in run.parts]
    if lacking:
        there = f"All have {listing(sorted(common))}: choose with --split" if common else "They have no part in common"
        raise RunError(listing(lacking, most=3), f"not scored on the part {wanted!r}", there)
    return wanted


def _cells(variants: Variants, part: str, notes: list[str]) -> list[Cell]:
    """The runs as cells, without the seeds of which a fold is missing."""
    if len({run.recipe.split.folds for runs in variants.values() for run in runs}) > 1:
        said = listing(f"{name}: {runs[0].recipe.split.folds or 'no'} folds" for name, runs in variants.items())
        raise RunError("RUNS", f"they hold out other images than each other ({said})", "Put those of one kind together")
    cells: list[Cell] = []
    for name, runs in variants.items():
        for seed in dict.fromkeys(run.recipe.seed for run in runs):
            mine = [run for run in runs if run.recipe.seed == seed]
            if len(mine) < (mine[0].recipe.split.folds or 1):
                notes.append(f"{name}, seed {seed}, lacks folds; it is not on this page.")
            else:
                cells += [_cell(name, run, part) for run in mine]
    return cells


def _cell(name: str, run: Finished, part: str) -> Cell:
    fold = run.recipe.split.fold if run.recipe.split.folds else None
    return Cell(f"{name}, seed {run.recipe.seed}", name, run.recipe.seed, run.path, run.recipe, part, fold=fold)


def _same_images(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    """Keys and groups of the images that all runs were scored on. Raises RunError if there are several such lists."""
    lists: dict[str, tuple[list[str], dict[str, str]]] = {}
    first: tuple[list[str], list[str]] = ([], [])
    for name in dict.fromkeys(cell.name for cell in cells):
        loaded = [load_counts(cell.rows, plan_of(cell).make_task()) for cell in cells if cell.name == name]
        marks = {key: mark for counts in loaded for key, mark in _marks(counts).items()}
        names, _ = lists.setdefault(sha256(repr(sorted(marks.items())).encode()), ([], marks))
        names.append(name)
        first = first if first[0] else _keys_and_groups(loaded)
    if len(lists) > 1:
        raise RunError("RUNS", _other_images(list(lists.values())), "Put runs together that were scored on the same")
    return first


def _keys_and_groups(loaded: Sequence[Counts]) -> tuple[list[str], list[str]]:
    return [key for each in loaded for key in each.keys], [group for each in loaded for group in each.groups]


def _marks(counts: Counts) -> dict[str, str]:
    """Of each image what no answer changes: its group, and how many pixels each class of its truth has."""
    rows = counts.counts
    known = rows.dtype == np.int64  # of colours nothing is known but how many pixels there are
    truth = rows[:, 0] if rows.ndim == 2 else rows.sum(axis=-1)
    marks = [each.tobytes().hex() if known else "" for each in np.ascontiguousarray(truth)]
    return {
        key: sha256(f"{group} {mark}".encode())
        for key, group, mark in zip(counts.keys, counts.groups, marks, strict=True)
    }


def _other_images(lists: Sequence[tuple[list[str], dict[str, str]]]) -> str:
    """Which runs were scored on which images, and by what the first two lists of images differ."""
    said = "; ".join(f"{listing(names, most=4)}: {len(marks)} images" for names, marks in lists)
    one, other = lists[0][1], lists[1][1]
    apart = sorted(one.keys() ^ other.keys())
    what = f"only one has {listing(apart, most=3)}"
    if not apart:
        changed = sorted(key for key in one if one[key] != other[key])
        what = f"masks or groups differ, such as of {listing(changed, most=3)}"
    return f"they were scored on other images than each other ({said}; {what})"


def _manifest(variants: Variants, cells: Sequence[Cell], images: tuple[list[str], list[str]], rule: Rule) -> Manifest:
    """The rule that a comparison of these runs would have had. Raises RecipeError for a score that they have not."""
    keys, groups = images
    first = next(iter(variants.values()))[0]
    held = HeldOut(
        part=cells[0].part,
        manifests=(),
        images=len(keys),
        groups=len(set(video_blocks(keys, groups, rule.block_frames))),
        block_frames=rule.block_frames,
    )
    told = {name: _variant(runs[0]) for name, runs in variants.items()}
    return Manifest(
        score=score_of(rule.score, first.plan),
        baseline=rule.baseline,
        margin=float(rule.margin),
        budget="steps" if len({variant.steps for variant in told.values()}) == 1 else "unequal",
        seeds=tuple(sorted({cell.seed for cell in cells})),
        folds=first.recipe.split.folds,
        threads=first.plan.threads,
        held_out=held,
        tune=None,
        variants=told,
    )


def _variant(run: Finished) -> Variant:
    fields = run.recipe.model_dump(mode="json")
    return Variant(
        asked=fields,
        recipe=fields,
        steps=run.plan.steps,
        pixels=pixels_of(run.plan.phases),
        parameters=run.plan.model["parameters"],
        multiply_adds=in_all(run.plan.phases, multiply_adds(run.recipe, run.plan)),
        data=(run.plan.manifest,),
        estimate=Estimate(seconds=0, bytes=0, peak_bytes=0),
    )


def _remarks(variants: Variants, cells: Sequence[Cell]) -> list[str]:
    """What a reader must know of runs that nobody made alike."""
    found = [] if len({run.comparison for runs in variants.values() for run in runs} - {None}) == 1 else [NOT_ONE]
    for name, runs in variants.items():
        looks = looks_at_val(runs[0].recipe) if cells[0].part == "val" else []
        if looks:
            found.append(f"{name} goes by the val part ({listing(looks)}), so its score on that reads too high.")
        steps = sorted({run.plan.steps for run in runs})
        if len(steps) > 1:
            found.append(f"The runs of {name} made different numbers of steps ({steps[0]} to {steps[-1]}).")
    images = {name: runs[0].plan.parts["train"] for name, runs in variants.items()}
    if len(set(images.values())) > 1:
        found.append(f"They learned from different numbers of images ({_each(images)}).")
    return found


def _each(values: Mapping[str, object]) -> str:
    return listing(f"{name}: {value}" for name, value in values.items())


def _drawn(out: Path, manifest: Manifest, cells: Sequence[Cell], watch: Watch) -> list[str]:
    """Draw images and look for leaks, where that can still be done; what could not be is returned in words."""
    shutil.rmtree(out / "pictures", ignore_errors=True)
    (out / leaks.FILE).unlink(missing_ok=True)
    missing = []
    tries = (
        ("Images are not shown", lambda: write_pictures(out, cells)),
        ("Leaks were not looked for", lambda: leaks.write_leaks(out, manifest, watch)),
    )
    for what, make in tries:
        try:
            make()
        except UserError as error:
            missing.append(f"{what}: {error.place}: {error.found}.")
    return missing


def _places(cells: Sequence[Cell], out: Path) -> dict[str, dict[str, list[str]]]:
    """The runs of each variant and seed, as paths from the report's folder."""
    found: dict[str, dict[str, list[str]]] = {}
    for cell in cells:
        place = Path(relpath(cell.path.resolve(), out.resolve())).as_posix()
        found.setdefault(cell.variant, {}).setdefault(str(cell.seed), []).append(place)
    return found


def _rule(manifest: Manifest, runs: Mapping[str, Any]) -> dict[str, Any]:
    """What was compared and how, for people."""
    told = manifest.model_dump(mode="json", include={"score", "baseline", "margin", "seeds"})
    held = manifest.held_out.model_dump(mode="json", include={"part", "block_frames"})
    variants = {name: {"runs": runs[name], "recipe": variant.recipe} for name, variant in manifest.variants.items()}
    return {"schema": 1, **told, **held, "variants": variants}


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder, for this process alone. Raises RunError if it holds anything but an earlier report."""
    inside = sorted(each.name for each in out.glob("*") if not each.name.startswith(".")) if out.exists() else []
    if inside and not (out / RULE).is_file():
        raise RunError(
            out, f"holds files that are no report ({listing(inside, most=5)})", "Choose an empty or new --out"
        )
    with folder_lock(out):
        yield
