"""The verb that searches in Python: a recipe with ranges in, the best recipe and what it is worth out."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from segtrial.errors import RecipeError, install
from segtrial.recipe import Recipe
from segtrial.training.watch import Watch


def tune(
    recipe: str | Path | Mapping[str, Any],
    out: str | Path,
    *,
    trials: int | None = None,
    storage: str | None = None,
    workers: int = 1,
    budget: str | None = None,
    final: bool = True,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Search, or go on searching, for the best recipe in the folder `out`; returns what `segtrial tune --json` prints.

    `recipe` is a YAML file, a preset's name or a mapping with `base` and `ranges`: see `segtrial.tuning.wish`; `budget`
    picks one of its `budgets`, `trials` replaces its number of trials. `storage` is a journal file or a URL of a
    database; none: study.db in `out`. Without `final` the held-out part stays closed. Writes best.yaml, tuning.json and
    tuning.html. Raises UserError and Interrupted as `train` does; runs that failed are in the result.
    """
    tuning = _package()
    from segtrial.reports import tuning_report

    told = tuning.tune(
        recipe, Path(out), trials=trials, storage=storage, workers=workers, budget=budget, final=final, watch=watch
    )
    tuning_report.write(Path(out))
    return told


def searched(recipe: str | Path | Mapping[str, Any], budget: str | None = None) -> Recipe:
    """The base of what `tune` is asked for. Raises UserError if that is wrong, or a range of it; tries nothing."""
    _package()
    from segtrial.tuning.rule import asked
    from segtrial.tuning.wish import read_wish

    return asked(*read_wish(recipe, budget))[0]


def _package() -> ModuleType:
    try:
        from segtrial import tuning
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        raise RecipeError("segtrial tune", "needs Optuna, which is not installed", install("tune")) from error
    return tuning
