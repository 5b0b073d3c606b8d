"""Manifest -> tuning.json: the trials of every variant, run in rounds, and the setting that each of them chose."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrial.comparison import search
from segtrial.comparison.cells import Cell
from segtrial.comparison.manifest import Manifest
from segtrial.comparison.pool import Failure
from segtrial.comparison.search import MOST_ROUNDS, Setting, Trial
from segtrial.files import write_json
from segtrial.recipe import Recipe
from segtrial.statistics import pooled_spread

FILE = "tuning.json"


def tuned(
    manifest: Manifest, folder: Path, run: Callable[[Sequence[Cell]], list[Failure]]
) -> tuple[dict[str, Any] | None, list[Failure]]:
    """What `tuning.json` says, once every trial has been run; None and the failures if some could not be.

    A trial that diverges is no failure: it has no score. Variants that are added later get as many rounds as there
    were, so that the settings of the others stay.
    """
    tune = manifest.tuning
    assert tune is not None
    recipes = {name: variant.resolved() for name, variant in manifest.variants.items()}
    settings = {name: search.first_round(tune, recipe) for name, recipe in recipes.items()}
    rounds, known_before = 0, _read(folder)
    before = known_before["rounds"] if known_before else None
    while True:
        cells = {name: _cells(manifest, folder, name, recipes[name], tried) for name, tried in settings.items()}
        lost = run([cell for of_variant in cells.values() for each in of_variant for cell in each])
        failures = [failure for failure in lost if not failure.diverged]
        if failures:
            return None, failures
        trials = {name: _scored(manifest, settings[name], cells[name]) for name in settings}
        at_border = any(any(search.border(each)) for each in trials.values())
        if rounds == (MOST_ROUNDS if before is None else before) or (before is None and not at_border):
            break
        rounds += 1
        settings = {name: [*tried, *search.further_round(tune, trials[name])] for name, tried in settings.items()}
    told = {"schema": 1, "score": manifest.score, "seeds": list(tune.seed_list), "rounds": rounds}
    told |= {"spread": _spread(trials)}
    told |= {"variants": {name: _told(each) for name, each in trials.items()}}
    write_json(folder / FILE, told)
    return told, []


def chosen(told: Mapping[str, Any], variant: str) -> Setting:
    """The setting that a variant's runs have."""
    return Setting(**told["variants"][variant]["chosen"])


def known(manifest: Manifest, folder: Path) -> dict[str, Any] | None:
    """What tuning.json says, if every variant has been tuned before."""
    told = _read(folder)
    return told if told and set(manifest.variants) <= set(told["variants"]) else None


def _read(folder: Path) -> dict[str, Any] | None:
    return json.loads((folder / FILE).read_text()) if (folder / FILE).exists() else None


def _cells(
    manifest: Manifest, folder: Path, variant: str, resolved: Recipe, settings: Sequence[Setting]
) -> list[list[Cell]]:
    """Of each setting a cell for each tuning seed."""
    tune = manifest.tuning
    assert tune is not None
    return [
        [
            Cell(
                name=f"{variant}, trial {index}, seed {seed}",
                variant=variant,
                seed=seed,
                path=folder / "tuning" / variant / f"{index:02d}" / str(seed),
                recipe=search.trial_recipe(resolved, setting, tune, number),
                part="val",
                trial=True,
            )
            for number, seed in enumerate(tune.seed_list)
        ]
        for index, setting in enumerate(settings)
    ]


def _scored(manifest: Manifest, settings: Sequence[Setting], cells: Sequence[Sequence[Cell]]) -> list[Trial]:
    def score(cell: Cell) -> float | None:
        file = cell.path / "evaluation.json"
        return json.loads(file.read_text())["scores"][manifest.score] if file.exists() else None

    return [
        Trial(setting, tuple(score(cell) for cell in of_setting))
        for setting, of_setting in zip(settings, cells, strict=True)
    ]


def _spread(trials: Mapping[str, Sequence[Trial]]) -> float | None:
    """Of differences between runs, by the seeds of each variant's better trials."""
    better = [trial for each in trials.values() for trial in search.better_half(each)]
    return pooled_spread([[score for score in trial.scores if score is not None] for trial in better])


def _told(trials: Sequence[Trial]) -> dict[str, Any]:
    best = search.best(trials)
    setting = {name: value for name, value in best.to_json().items() if name != "scores"}
    rate, decay = search.border(trials)
    sides = {
        "lr": {-1: "lowest", 0: None, 1: "highest"}[rate],
        "weight_decay": {-1: "lowest", 0: None, 1: "highest"}[decay],
    }
    return {"trials": [trial.to_json() for trial in trials], "chosen": setting, "border": sides}
