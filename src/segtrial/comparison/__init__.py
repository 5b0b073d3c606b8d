"""Variants x seeds -> a comparison: the whole journey of a controlled trial, top to bottom.

    request -> manifest (written first) -> plan (printed) -> trials, if asked for -> runs -> result

    DIR/comparison.yaml          the rule: variants, recipes, seeds, budget, score, margin, held-out part
    DIR/leaks.json               what the held-out part shares with what is trained on
    DIR/tuning/VARIANT/TRIAL/SEED, tuning.json
    DIR/runs/VARIANT/SEED        a run folder each (with folds: SEED/FOLD)
    DIR/pictures/                images on which variants differ most, under each of them
    DIR/comparison.json          the result, from the stored rows alone

The same call continues a comparison that was killed, and does nothing to a finished one.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from segtrial import hardware
from segtrial.comparison import leaks, trials, words
from segtrial.comparison.cells import Cell, is_done, mean_seconds
from segtrial.comparison.manifest import FILE, RESULT, Manifest, read_manifest, require_same, run_recipe
from segtrial.comparison.plan import make_manifest, threads_of
from segtrial.comparison.pool import Runner, run_cells, usual_workers
from segtrial.comparison.request import read_request, recipes_of
from segtrial.comparison.result import notes, result_json
from segtrial.comparison.search import with_setting
from segtrial.comparison.shown import write_pictures
from segtrial.files import folder_lock, remove_partials, write_json
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest, listening
from segtrial.statistics import DEFAULT_SPREAD, smallest_visible
from segtrial.training.watch import Silent, Watch

__all__ = ["compare", "plan_only", "training_seconds"]

NO_SHARES = ("psnr", "ab_rmse")
"""Scores that are no shares, so that nothing is known of their spread beforehand."""

Source = str | Path | Mapping[str, Any]
Room = Callable[[Mapping[str, Recipe]], int]

OF_CELLS = ("runs", "tuning")
"""Where cells write, which others may be at; each of them cleans up after itself."""


def compare(
    source: Source,
    out: Path,
    *,
    budget: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
    run: Runner = run_cells,
    room: Room = usual_workers,
) -> dict[str, Any]:
    """Run, or continue, the comparison that a file (or mapping) asks for, in the folder `out`; returns its result.

    `budget` picks one of the file's `budgets`. `workers` runs at a time: by default as many as `room` says of the
    recipes. `run` is who runs them: see `places`. Failed runs are in the result. Raises UserError before the first run
    for what cannot be compared, and Interrupted, all states saved, on SIGINT or SIGTERM.
    """
    watch = watch or Silent()
    with listening() as stop, _held(out):
        old, manifest, workers = _begun(source, out, budget, workers or room, watch, stop)
        if manifest != old:
            manifest.write(out)
        leaks.write_leaks(out, manifest, watch)
        remarks = leaks.remarks(out)
        for line in (*_opening(told_plan(manifest, out, workers, trials.known(manifest, out)), out), *remarks):
            watch.note(line)
        seconds = {name: variant.estimate.seconds for name, variant in manifest.variants.items()}
        ran = partial(run, workers=workers, watch=watch, stop=stop, seconds=seconds)
        tuning, failures = trials.tuned(manifest, out, ran) if manifest.tune else (None, [])
        if failures:
            return result_json(manifest, [], failures, None, remarks)
        if tuning:
            watch.note(words.visible(told_plan(manifest, out, workers, tuning)))
        cells = run_cells_of(manifest, out, tuning)
        failures = ran(cells)
        result = result_json(manifest, cells, failures, tuning, remarks)
        if not _is_written(out, result):
            lost = {failure.cell.name for failure in failures}
            write_pictures(out, [cell for cell in cells if cell.name not in lost])
            write_json(out / RESULT, result)
    return result


def _is_written(out: Path, result: Mapping[str, Any]) -> bool:
    """Whether this result lies there; it is written last, after the pictures."""
    with suppress(OSError, ValueError):
        return json.loads((out / RESULT).read_bytes()) == json.loads(json.dumps(result))
    return False


def _opening(plan: Mapping[str, Any], out: Path) -> Iterator[str]:
    """What is said first: the plan, if there is anything left to do."""
    if plan["done"] == plan["runs"]:
        yield f"All {plan['runs']} runs of {out} are finished; nothing to train."
    else:
        yield from words.plan(plan)


def plan_only(
    source: Source,
    out: Path,
    *,
    budget: str | None = None,
    workers: int | None = None,
    watch: Watch | None = None,
    room: Room = usual_workers,
) -> dict[str, Any]:
    """What `compare` would do and cost, schema 1; nothing is written. Raises UserError as it does."""
    with listening() as stop:
        _, manifest, workers = _begun(source, out, budget, workers or room, watch or Silent(), stop)
    return told_plan(manifest, out, workers, trials.known(manifest, out))


def _begun(
    source: Source, out: Path, budget: str | None, workers: int | Room, watch: Watch, stop: StopRequest
) -> tuple[Manifest | None, Manifest, int]:
    """The manifest that lies there, the one that is to lie there, and the number of runs at a time."""
    hardware.keep_memory()
    request, place = read_request(source, budget)
    recipes = recipes_of(request, place)
    old = read_manifest(out)
    if old:
        require_same(old, request, recipes, out)
    workers = workers if isinstance(workers, int) else workers(recipes)
    threads = threads_of(recipes, workers)
    seen = (out / RESULT).exists()
    return old, make_manifest(request, recipes, old, threads, watch, stop, after_results=seen), workers


def run_cells_of(manifest: Manifest, folder: Path, tuning: Mapping[str, Any] | None) -> list[Cell]:
    """The cells that are compared: seed by seed, so that whoever stops early has whole pairs."""
    found = []
    for seed in manifest.seeds:
        for name, variant in manifest.variants.items():
            resolved = variant.resolved()
            if tuning:
                resolved = with_setting(resolved, trials.chosen(tuning, name))
            for fold in manifest.fold_list:
                found.append(_cell(manifest, folder, name, resolved, seed, fold))
    return found


def _cell(manifest: Manifest, folder: Path, variant: str, resolved: Recipe, seed: int, fold: int | None) -> Cell:
    path = folder / "runs" / variant / str(seed)
    return Cell(
        name=f"{variant}, seed {seed}" + ("" if fold is None else f", fold {fold}"),
        variant=variant,
        seed=seed,
        path=path if fold is None else path / str(fold),
        recipe=run_recipe(resolved, seed, fold, manifest.folds),
        part=manifest.held_out.part,
        fold=fold,
    )


def told_plan(manifest: Manifest, folder: Path, workers: int, tuning: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is left to do and what it costs, schema 1."""
    tune = manifest.tuning
    estimates = {name: variant.estimate for name, variant in manifest.variants.items()}
    cells = run_cells_of(manifest, folder, tuning) if tuning or not tune else []
    done = {cell.name for cell in cells if is_done(cell)}
    runs = len(manifest.variants) * len(manifest.seeds) * len(manifest.fold_list)
    each = sum(estimate.seconds for estimate in estimates.values())
    left = each * runs / len(estimates) - sum(estimates[cell.variant].seconds for cell in cells if cell.name in done)
    of_variant = tune.trials * len(tune.seed_list) if tune and not tuning else 0
    trying = each * of_variant * tune.steps if tune else 0.0
    kept = sum(estimate.bytes for estimate in estimates.values()) * runs // len(estimates)
    return {
        "schema": 1,
        "runs": runs,
        "done": len(done),
        "trials": of_variant * len(estimates),
        "workers": workers,
        "threads": manifest.threads,
        "seconds": (left + trying) / workers,
        "bytes": kept + workers * max(estimate.peak_bytes for estimate in estimates.values()),
        "score": manifest.score,
        "held_out": manifest.held_out.part,
        "images": manifest.held_out.images,
        "groups": manifest.held_out.groups,
        "seeds": list(manifest.seeds),
        "folds": manifest.folds,
        **_visible(manifest, tuning),
        "variants": [_told_variant(name, manifest) for name in manifest.variants],
        "notes": notes(manifest),
    }


def _told_variant(name: str, manifest: Manifest) -> dict[str, Any]:
    variant = manifest.variants[name]
    counted = variant.model_dump(include={"steps", "parameters", "multiply_adds"})
    return {"name": name, **counted, "seconds": variant.estimate.seconds}


def _visible(manifest: Manifest, tuning: Mapping[str, Any] | None) -> dict[str, Any]:
    """The smallest difference that will be seen: from the spread of the tuning runs, before them a usual one."""
    spread, origin = tuning["spread"] if tuning else None, "of the trials"
    if spread is None and manifest.score not in NO_SHARES:
        spread, origin = DEFAULT_SPREAD, "that of published runs, before there are any of these"
    if spread is None or len(manifest.seeds) < 2:
        origin = "one seed shows no spread" if len(manifest.seeds) < 2 else "nothing is known of its spread"
        return {"smallest_visible": None, "spread": spread, "spread_from": origin}
    seen = smallest_visible(spread, len(manifest.seeds))
    return {"smallest_visible": seen, "spread": spread, "spread_from": origin}


def training_seconds(out: Path) -> dict[str, float]:
    """Mean seconds that the finished runs of each variant trained, by their logs."""
    manifest = read_manifest(out)
    assert manifest is not None, "a comparison that was run has one"
    logs = {name: (out / "runs" / name).rglob("timing.jsonl") for name in manifest.variants}
    return mean_seconds({name: [log.parent for log in found] for name, found in logs.items()})


@contextmanager
def _held(out: Path) -> Iterator[None]:
    """The folder, for this process alone; what is refused before the manifest is written leaves no trace."""
    existed, locked_before = out.exists(), (out / ".lock").exists()
    with folder_lock(out):
        try:
            if (out / FILE).exists():
                remove_partials(out, but=OF_CELLS)
            yield
        except BaseException:
            if not (out / FILE).exists():
                with suppress(OSError):
                    if not locked_before:
                        (out / ".lock").unlink()
                    if not existed:
                        out.rmdir()
            raise
