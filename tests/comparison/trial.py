"""A comparison of tiny networks on generated streets, and a runner without processes: for tests of what is around."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrial import comparison
from segtrial.comparison.cells import Cell, has_diverged, is_done, run_cell
from segtrial.comparison.pool import Failure
from segtrial.errors import UserError
from segtrial.signals import StopRequest
from segtrial.training.watch import Watch

BASE: Mapping[str, Any] = {
    "data": "toytown:scenes=8,frames=1,size=32x32",
    "model": "compact:width=4",
    "steps": 2,
    "phases": [{"share": 1, "batch": 2, "crop": 1, "scale": [0.9, 1.1]}],
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "constant", "warmup": 0},
    "ema": 0.9,
    "threads": 1,
    "precision": "float32",
    "device": "cpu",
    "evaluations": 1,
    "checkpoint_seconds": 1000,
}
VARIANTS: Mapping[str, Any] = {"slow": {}, "fast": {"optimizer.lr": 0.5}}


def request(**changes: Any) -> dict[str, Any]:
    """What is asked for, with changes."""
    return {"base": dict(BASE), "variants": dict(VARIANTS), "seeds": 2} | changes


def run_here(
    cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float | int]
) -> list[Failure]:
    """A Runner: every cell in this process, one after the other."""
    failures = []
    for cell in cells:
        if is_done(cell):
            continue
        try:
            run_cell(cell)
        except UserError as error:
            failures.append(Failure(cell, str(error), has_diverged(cell)))
    return failures


def compared(out: Path, **changes: Any) -> dict[str, Any]:
    """The result of a comparison whose cells run here."""
    return comparison.compare(request(**changes), out, workers=1, run=run_here)
