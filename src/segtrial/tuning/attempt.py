"""A trial -> its outcome: trained on the inner part of train, its scores on the way reported, stopped if told so."""

import json
import shutil
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

from optuna.exceptions import TrialPruned

from segtrial.comparison.cells import Cell, has_diverged, is_done, read_plan, run_cell
from segtrial.errors import DeviceError, RecipeError, RunError
from segtrial.files import complete_lines
from segtrial.training.watch import Watch
from segtrial.tuning.rule import Rule
from segtrial.tuning.study import Outcome

Report = Callable[[int, float], bool]
"""Number of an evaluation, from 1, and its score -> whether the trial is to stop."""


@runtime_checkable
class Attempt(Protocol):
    """Whoever tries a trial: `trained`, or a stand-in."""

    def __call__(self, rule: Rule, cell: Cell, report: Report, watch: Watch) -> Outcome: ...


def trained(rule: Rule, cell: Cell, report: Report, watch: Watch) -> Outcome:
    """Train a trial, or go on with it. What is wrong with this recipe alone is an outcome; all else is raised."""
    try:
        if not has_diverged(cell) and not is_done(cell):
            run_cell(cell, _Listening(rule, cell, report, watch))
    except TrialPruned:
        return Outcome("pruned")
    except (DeviceError, RecipeError) as error:
        return Outcome("failed", message=str(error))
    except RunError as error:
        if not has_diverged(cell) and "the loss is" not in error.found:
            raise
        return Outcome("diverged", message=error.found)
    if has_diverged(cell):
        return Outcome("diverged", message="the loss is no number")
    score = json.loads((cell.path / "evaluation.json").read_text())["scores"][rule.score]
    return Outcome("failed", message=f"{rule.score} is undefined") if score is None else Outcome("complete", score)


def tidy(cell: Cell) -> None:
    """Drop what only a restart needs of a trial that was stopped."""
    shutil.rmtree(cell.path / "checkpoint", ignore_errors=True)


class _Listening:
    """A Watch of one run: hands every evaluation's score on once it is logged, and ends the run where it is told to."""

    def __init__(self, rule: Rule, cell: Cell, report: Report, watch: Watch):
        self._rule, self._cell, self._report, self._watch = rule, cell, report, watch
        self._number: dict[int, int] | None = None

    def note(self, text: str) -> None:
        pass

    def bar(self, done: int, total: int, what: str) -> None:
        self._watch.bar(done, total, what)

    def step(self, record: dict[str, Any]) -> None:
        """The first step after an evaluation: its score is in the log, and no state has been saved since."""
        self._watch.step(record)
        if self._number is None:
            self._number = self._numbers()
        number = self._number.get(record["step"] - 1)
        if number is None:
            return
        score = self._logged(record["step"] - 1)
        if score is not None and self._report(number, score):
            raise TrialPruned

    def _numbers(self) -> dict[int, int]:
        """Step -> number of the evaluation there. Raises RunError if the data are not those of the search."""
        plan = read_plan(self._cell.path)
        if plan.manifest != self._rule.data:
            found = "the data changed since this search began"
            raise RunError(self._cell.recipe.data, found, "Restore them, or search into a new --out")
        return {step: number for number, step in enumerate(plan.evaluate_at, 1)}

    def _logged(self, step: int) -> float | None:
        lines = map(json.loads, complete_lines(self._cell.path / "metrics.jsonl"))
        found = [line for line in lines if line["split"] == "val" and line["step"] == step]
        return found[-1][self._rule.score]
