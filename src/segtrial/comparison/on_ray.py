"""Cells -> finished cells, on the nodes of a Ray cluster that see the comparison's folder.

Ray only says where a cell runs: its task starts the process that `pool` starts, on a node with as many free CPUs as the
recipe has threads, and a free GPU if the recipe may use one. The process ends with whoever started it, so a cell whose
node or driver is lost saves its state if it can, and is continued from there. The folder alone says what is done.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from segtrial.clusters import PLACE, most
from segtrial.comparison.cells import Cell
from segtrial.comparison.pool import COMMAND, Failure, failed, run_each
from segtrial.errors import DeviceError, RunError
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.training.watch import Watch

LOST_NODES = 3
"""A cell that loses more nodes than this is given up: it may be what brings them down."""


@dataclass(frozen=True)
class OnRay:
    """A Runner on the cluster that the package `ray` is connected to."""

    ray: Any

    def room(self, recipes: Mapping[str, Recipe]) -> int:
        """Runs at a time: one for each GPU of the cluster, or as many as its CPUs hold at the recipes' threads."""
        first, there = next(iter(recipes.values())), self.ray.cluster_resources()
        if self._gpus(first):
            return int(there["GPU"])
        return max(1, int(there.get("CPU", 1)) // (first.threads or 1))

    def __call__(
        self, cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float]
    ) -> list[Failure]:
        """As `pool.run_each`. Raises DeviceError if no node has what a cell needs, RunError if one lacks the folder."""
        for recipe in {cell.recipe.threads: cell.recipe for cell in cells}.values():
            self._require_room(recipe)
        return run_each(self._start, cells, workers, watch, stop, seconds)

    def _require_room(self, recipe: Recipe) -> None:
        found, wanted = most(self.ray, "CPU"), recipe.threads or 1
        if found < wanted:
            fix = "Give base fewer threads"
            raise DeviceError(PLACE, f"a run has {wanted} threads, and no node more than {found:.0f} CPUs", fix)
        if recipe.device == "cuda" and not self._gpus(recipe):
            raise DeviceError(PLACE, "the recipes ask for cuda, and no node has a GPU", "Write device: auto, or cpu")

    def _gpus(self, recipe: Recipe) -> int:
        """How many GPUs a cell gets: one, if it may use it and there are any."""
        return int(recipe.device in ("auto", "cuda") and most(self.ray, "GPU") >= 1)

    @cached_property
    def _task(self) -> Any:
        return self.ray.remote(_remote_function())

    def _start(self, cell: Cell, slot: int) -> "_Task":
        here, log = Path.cwd(), cell.log.absolute()
        environment = {name: value for name, value in os.environ.items() if name.startswith("SEGTRIAL_")}
        environment["OMP_NUM_THREADS"] = str(cell.recipe.threads)
        where = self._task.options(
            num_cpus=cell.recipe.threads or 1, num_gpus=self._gpus(cell.recipe), max_retries=LOST_NODES, name=cell.name
        )
        line = json.dumps(cell.to_json()) + "\n"
        return _Task(self.ray, cell, slot, where.remote(COMMAND[1:], line, str(here), str(log), environment))


def _remote_function() -> Callable[..., int | str]:
    """What a node does for a cell. A function within one travels whole, so the node's own process loads no torch."""

    def run(words: tuple[str, ...], line: str, here: str, log: str, environment: dict[str, str]) -> int | str:
        import os
        import socket
        import subprocess
        import sys
        import time

        for folder in (here, os.path.dirname(log)):
            if not os.path.isdir(folder):
                return f"{socket.gethostname()} does not see {folder}"
        with (
            open(log, "ab") as said,
            subprocess.Popen(
                [sys.executable, *words],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                cwd=here,
                env=os.environ | environment,
                start_new_session=True,
            ) as process,
        ):
            assert process.stdin is not None
            try:
                process.stdin.write(line.encode())
                process.stdin.flush()
                while process.poll() is None:
                    time.sleep(0.1)
            except BrokenPipeError:  # it is gone already; its exit code will say why
                pass
            except KeyboardInterrupt:  # the driver asks to stop
                process.terminate()
            return process.wait()

    return run


@dataclass
class _Task:
    """A cell, and the task that runs it."""

    ray: Any
    cell: Cell
    slot: int
    answer: Any
    started: float = field(default_factory=time.monotonic)
    asked: bool = False

    def has_ended(self) -> bool:
        return bool(self.ray.wait([self.answer], timeout=0)[0])

    def outcome(self) -> Failure | None:
        try:
            code = self.ray.get(self.answer)
        except self.ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1:]
            message = f"Ray gave it up ({''.join(said):.300}); the same command continues it"
            return Failure(self.cell, message)
        if isinstance(code, str):
            fix = "Every node must see the comparison's folder, and where the command was given, at the same path"
            raise RunError(PLACE, code, f"{fix}; the same command continues")
        return failed(self.cell, code) if code else None

    def ask_to_stop(self) -> None:
        if not self.asked:
            self.asked = True
            self.ray.cancel(self.answer)

    def kill(self) -> None:
        """Its process is only asked to: a node is not ours, and the lock keeps everybody else from the cell."""
        self.ask_to_stop()
