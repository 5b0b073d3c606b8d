"""Recipe with ranges -> the best recipe and what it is worth: a whole search, top to bottom.

    wish -> rule (written first) -> trials, by as many workers as there are -> runs of the best recipe -> result

    DIR/tuning.yaml              the rule: recipe, ranges, score, parts
    DIR/study.db                 what Optuna keeps, unless --storage says where
    DIR/trials/NNNN/SEED         a run folder for each trial, without weights
    DIR/final/HASH/SEED          the best recipe, trained on all of train and scored on the held-out part
    DIR/best.yaml, tuning.json

Trials are scored on a part carved from train. The same call continues a search that was killed, also in several shells
at once; a trial that was running goes on from its last saved state.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from segtrial import hardware
from segtrial.comparison.cells import Cell, is_done
from segtrial.comparison.pool import Failure, Runner, run_cells
from segtrial.errors import UserError
from segtrial.files import held, remove_partials
from segtrial.signals import StopRequest, listening
from segtrial.training.watch import Silent, Watch
from segtrial.tuning import storage as storages
from segtrial.tuning.attempt import Attempt, trained
from segtrial.tuning.helpers import helping
from segtrial.tuning.result import best_recipe, final_cells, result_json, write
from segtrial.tuning.rule import FILE, asked, make_rule, read_rule, require_same
from segtrial.tuning.search import best_of, search
from segtrial.tuning.study import LOCK, Study
from segtrial.tuning.wish import Wish, read_wish

__all__ = ["tune"]

OF_CELLS = ("trials", "final")
"""Where runs write, which others may be at; each of them cleans up after itself."""

SEEN = "Another setting was scored on the held-out part before trials were added, so that part is no longer unseen."


def tune(
    source: str | Path | Mapping[str, Any],
    out: Path,
    *,
    trials: int | None = None,
    storage: str | None = None,
    workers: int = 1,
    budget: str | None = None,
    final: bool = True,
    watch: Watch | None = None,
    attempted: Attempt = trained,
    run: Runner = run_cells,
) -> dict[str, Any]:
    """Search, or go on searching, in the folder `out`; returns what tuning.json says.

    `trials` replaces the number in the file. `storage` is as in `segtrial.tuning.storage`. `workers` trials run at a
    time. Without `final` the held-out part stays closed. `attempted` is who tries a trial, `run` who runs cells. Raises
    UserError before the first trial for what could not be one, and Interrupted, all states saved, on SIGINT or SIGTERM.
    """
    watch = watch or Silent()
    hardware.keep_memory()
    with listening() as stop:
        wish, place = read_wish(source, budget)
        wanted = trials or wish.trials
        study, words = _begun(wish, place, out, storage, workers, watch, stop)
        try:
            with helping(study.rule, out, words, wanted, workers - 1):
                search(study, wanted, attempted, watch, stop)
            ran = partial(run, workers=workers, watch=watch, stop=stop, seconds={}) if final else None
            return _ended(study, place, wish.seeds, watch, ran)
        finally:
            storages.close(study.storage)


def _begun(
    wish: Wish, place: str, out: Path, storage: str | None, workers: int, watch: Watch, stop: StopRequest
) -> tuple[Study, str | None]:
    """The trials by the rule that lies there, or is now written, and where they are kept."""
    base, space = asked(wish, place)
    old = read_rule(out)
    fresh = None if old else make_rule(wish, base, space, storages.label_of(storage), workers, watch, stop)
    with held(out / LOCK, stop.raise_if_asked):
        remove_partials(out, but=OF_CELLS)
        rule = old or read_rule(out) or fresh
        assert rule is not None
        require_same(rule, wish, base, space, out)
        words = storages.words_of(rule.storage, storage, out)
        new = not (out / FILE).exists()
        if new:
            rule.write(out)
        try:
            return Study(rule, out, storages.opened(words, out)), words
        except UserError:
            if new:
                (out / FILE).unlink()
            raise


def _ended(
    study: Study, place: str, seeds: int, watch: Watch, run: Callable[[Sequence[Cell]], list[Failure]] | None
) -> dict[str, Any]:
    """The result, once `run` has trained the best recipe on `seeds` seeds and scored it on the held-out part."""
    best = best_of(study.told())
    recipe = best_recipe(study.rule, best["setting"]) if best else None
    cells = final_cells(study.rule, study.folder, recipe, seeds) if recipe else []
    places = {cell.path.parent for cell in cells}
    seen = any(folder not in places for folder in (study.folder / "final").glob("*"))
    failures: list[Failure] = []
    if run and cells:
        said = f"training it on all of train and scoring it on {study.rule.held_out}"
        watch.note(f"The best recipe on {len(cells)} seeds: {said}.")
        failures = run(cells)
    else:
        cells = [cell for cell in cells if is_done(cell)]
    told = result_json(study, place, cells, failures, [SEEN] if seen else [])
    write(study.folder, told, recipe)
    return told
