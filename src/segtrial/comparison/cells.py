"""A cell -> a finished run folder: one variant, one seed, trained, and scored once on the held-out part.

A cell depends on nothing but itself, so a list of them may be run in any order, anywhere, by whoever sees the folder:
`pool.run_cells` does it with local processes. Killed at any moment it is continued by the same call, and two callers
never work at one cell together: the second one waits, and then finds it done.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segtrial import hardware, modelfile, training
from segtrial.data import SplitOptions, open_dataset
from segtrial.data.cache import open_store
from segtrial.errors import RunError
from segtrial.evaluation import evaluate, save_counts
from segtrial.files import complete_lines, held
from segtrial.recipe import Recipe, from_tree
from segtrial.tasks import TASKS
from segtrial.training.folder import LAST_WRITTEN
from segtrial.training.plan import Plan
from segtrial.training.watch import Silent, Watch


@dataclass(frozen=True)
class Cell:
    """One run. `part` is the one whose rows it leaves; a `trial` leaves no model behind."""

    name: str
    variant: str
    seed: int
    path: Path
    recipe: Recipe
    part: str
    trial: bool = False
    fold: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, for another process."""
        return {**self.__dict__, "path": str(self.path), "recipe": self.recipe.model_dump(mode="json")}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Cell":
        """The cell that `to_json` described."""
        return cls(**{**tree, "path": Path(tree["path"]), "recipe": from_tree(tree["recipe"], tree["name"])})

    @property
    def rows(self) -> Path:
        """The file of counts that it leaves."""
        return self.path / "counts" / f"{self.part}.npz"

    @property
    def log(self) -> Path:
        """What its process said."""
        return self.path.with_name(f"{self.path.name}.log")


def run_cell(cell: Cell, watch: Watch | None = None) -> None:
    """Train, score the held-out part, and drop what only a restart needs; does nothing to a finished cell.

    Raises as `segtrial.training.train` does.
    """
    with held(cell.path.with_name(f".{cell.path.name}.lock")):
        if is_done(cell):
            return
        training.train(cell.recipe, cell.path, watch)
        if not cell.rows.exists():
            _score_held_out(cell, watch or Silent())
        if cell.trial:
            (cell.path / "model.safetensors").unlink(missing_ok=True)
        shutil.rmtree(cell.path / "checkpoint", ignore_errors=True)


def is_done(cell: Cell) -> bool:
    """Whether a cell is finished. Raises RunError if a run of another recipe lies in its folder."""
    if not (cell.path / LAST_WRITTEN).exists():
        return False
    if plan_of(cell).recipe_hash != cell.recipe.hash:
        found = f"holds a run of another recipe than {cell.name} has now"
        raise RunError(cell.path, found, "Choose another --out, or delete that folder")
    return cell.rows.exists() and not (cell.path / "checkpoint").exists()


def has_diverged(cell: Cell) -> bool:
    """Whether its training ended at a loss that is no number: that would happen again, so it is not tried again."""
    lines = complete_lines(cell.path / "timing.jsonl")
    return not (cell.path / LAST_WRITTEN).exists() and any('"diverged"' in line for line in lines)


def plan_of(cell: Cell) -> Plan:
    """The plan in its run folder. Raises RunError if it is damaged."""
    return read_plan(cell.path)


def read_plan(run: Path) -> Plan:
    """The plan in a run folder. Raises RunError if it is damaged."""
    file = run / "plan.json"
    try:
        return Plan.model_validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(
            file, "is no plan of a run", "Delete this run's folder; the same command makes it anew"
        ) from error


def seconds_of(log: Path) -> float:
    """How long a training took by its timing.jsonl, all starts together; nothing depends on it."""
    total = longest = 0.0
    for line in complete_lines(log):
        now = json.loads(line).get("seconds", longest)
        total, longest = (total + longest, now) if now < longest else (total, now)
    return total + longest


def mean_seconds(runs: Mapping[str, Iterable[Path]]) -> dict[str, float]:
    """How long the finished runs of each variant trained on average; variants without one are left out."""
    found = {}
    for name, places in runs.items():
        taken = [seconds_of(place / "timing.jsonl") for place in places if (place / LAST_WRITTEN).exists()]
        if taken:
            found[name] = sum(taken) / len(taken)
    return found


def _score_held_out(cell: Cell, watch: Watch) -> None:
    """Rows of the kept weights on the held-out part."""
    plan = plan_of(cell)
    torch.set_num_threads(plan.threads)
    device = hardware.pick_device(cell.recipe.device)
    options = SplitOptions(**cell.recipe.split.model_dump())
    dataset = open_dataset(cell.recipe.data, options, TASKS[cell.recipe.task].content)
    loaded = modelfile.load(cell.path / "model.safetensors", str(device))
    counts = evaluate(
        loaded.network,
        open_store(dataset, cell.part),
        loaded.task,
        device=device,
        precision=getattr(torch, plan.precision),
        progress=lambda done, total: watch.bar(done, total, f"scoring {cell.part}"),
    )
    save_counts(cell.rows, counts)
