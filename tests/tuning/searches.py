"""Searches that nobody trains for: a score that is known, and a journal whose writer dies while it writes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from segtrial.comparison.cells import Cell
from segtrial.recipe import Recipe, from_tree
from segtrial.signals import StopRequest
from segtrial.training.watch import Silent, Watch
from segtrial.tuning.attempt import Attempt, Report
from segtrial.tuning.locks import JournalLock
from segtrial.tuning.rule import Rule
from segtrial.tuning.search import search
from segtrial.tuning.study import Outcome, Study
from tests.comparison import trial

RANGES = {
    "optimizer.lr": {"low": 0.001, "high": 1.0, "log": True, "whole": False},
    "optimizer.name": ["sgd", "adam"],
    "accumulate": {"low": 1, "high": 4, "log": False, "whole": True},
}
WANTED = 14


class Killed(BaseException):
    """Nothing catches it, as nothing catches SIGKILL."""


def base(**changes: Any) -> Recipe:
    """The recipe of a tiny run."""
    return from_tree({**trial.BASE, **changes})


def rule(**changes: Any) -> Rule:
    """A rule whose trials nobody trains."""
    fields = {"study": "s", "storage": "j", "recipe": base().model_dump(mode="json"), "ranges": RANGES}
    fields |= {"prune": "halving", "score": "miou_dataset", "definition": "d", "val_share": 0.2, "held_out": "val"}
    return Rule(**{**fields, "data": "h", "images": 1, **changes})


class Dying(JournalFileBackend):
    """A journal whose writer is killed at the nth line: before it is written, within it, or after."""

    def __init__(self, path: Path, lives: int, moment: str):
        super().__init__(str(path), lock_obj=JournalLock(path))  # type: ignore[arg-type]
        self._path, self._lives, self._moment = path, lives, moment

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lives -= 1
        if self._lives < 0:
            raise Killed
        if self._lives == 0 and self._moment == "half":
            with self._path.open("ab") as file:
                file.write(b'{"op_code":')
        if self._lives == 0 and self._moment != "after":
            raise Killed
        super().append_logs(logs)
        if self._lives == 0:
            raise Killed


def study(folder: Path, backend: Callable[[Path], JournalFileBackend] | None = None, **changes: Any) -> Study:
    """A study in a journal in that folder."""
    path = folder / "j.journal"
    made = backend(path) if backend else JournalFileBackend(str(path), lock_obj=JournalLock(path))  # type: ignore[arg-type]
    return Study(rule(**changes), folder, JournalStorage(made))


def quality(recipe: Recipe) -> float:
    """A stand-in for what training comes to: best at a rate of 0.1, with adam, pieces not mattering."""
    assert recipe.optimizer.lr is not None
    return 1 / (1 + (recipe.optimizer.lr - 0.1) ** 2) - 0.1 * (recipe.optimizer.name == "sgd")


def known(rule: Rule, cell: Cell, report: Report, watch: Watch) -> Outcome:
    """An Attempt without training: three scores on the way, then the whole one; rates above 0.9 diverge."""
    whole = quality(cell.recipe)
    if (cell.recipe.optimizer.lr or 0) > 0.9:
        return Outcome("diverged", message="the loss is nan")
    for evaluation in (1, 2, 3):
        if report(evaluation, whole * (1 - 0.5**evaluation)):
            return Outcome("pruned")
    return Outcome("complete", whole)


def searched(study: Study, wanted: int = WANTED, attempt: Attempt = known) -> list[dict[str, Any]]:
    """What is told of the trials, once a search by this worker has ended."""
    search(study, wanted, attempt, Silent(), StopRequest())
    return study.told()
