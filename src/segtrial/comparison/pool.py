"""Cells -> finished cells, some at a time: in local processes, or in whatever else starts them.

Each cell has a process of its own, so one that dies harms no other. They end when this process does, however that
ends; those that are left then are continued by the next call.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Protocol, runtime_checkable

import torch

from segtrial import hardware
from segtrial.comparison.cells import Cell, has_diverged, is_done
from segtrial.comparison.words import duration
from segtrial.errors import Interrupted, several
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.training.watch import Watch

COMMAND = (sys.executable, "-m", "segtrial.comparison")
"""What runs one cell: `__main__`."""

POLL_SECONDS = 0.05
LAST_LINES, LONGEST = 3, 600
"""Of what a failed process said: lines and letters that are kept."""


@dataclass(frozen=True)
class Failure:
    """A cell that did not finish, and why, in the words that its process said last."""

    cell: Cell
    message: str
    diverged: bool = False


@runtime_checkable
class Runner(Protocol):
    """Whoever runs cells: here, or on other machines that see the same folder. Returns those that failed."""

    def __call__(
        self, cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float]
    ) -> list[Failure]: ...


@runtime_checkable
class Running(Protocol):
    """A cell that is being worked at, here or elsewhere; `slot` is one of as many numbers as run at a time."""

    @property
    def cell(self) -> Cell: ...

    @property
    def slot(self) -> int: ...

    @property
    def started(self) -> float:
        """By `time.monotonic`."""
        ...

    def has_ended(self) -> bool: ...

    def outcome(self) -> Failure | None:
        """Of one that has ended: how it failed, if it did."""
        ...

    def ask_to_stop(self) -> None:
        """Let it save its state and end; asked again, it does nothing."""
        ...

    def kill(self) -> None:
        """End it at once: it loses the steps since its last saved state, and no more."""
        ...


def run_cells(
    cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float]
) -> list[Failure]:
    """Run what is not done yet of `cells` in processes of this machine, as `run_each` says."""
    return run_each(_Process.start, cells, workers, watch, stop, seconds)


def run_each(
    start: Callable[[Cell, int], Running],
    cells: Sequence[Cell],
    workers: int,
    watch: Watch,
    stop: StopRequest,
    seconds: Mapping[str, float],
) -> list[Failure]:
    """Start what is not done yet of `cells`, `workers` at a time; returns the failures, in the order of the cells.

    `seconds` says what a cell of each variant is expected to take. Raises Interrupted once the running cells have saved
    their state, when a signal asked to stop.
    """
    lost = {cell.name: failed(cell) for cell in cells if has_diverged(cell)}
    waiting = deque(cell for cell in cells if cell.name not in lost and not is_done(cell))
    progress = Progress(len(cells) - len(waiting), len(cells), workers, dict(seconds), watch)
    running: list[Running] = []
    slots = list(range(workers))
    try:
        while (waiting and stop.signal is None) or running:
            while waiting and slots and stop.signal is None:
                cell = waiting.popleft()
                cell.path.parent.mkdir(parents=True, exist_ok=True)
                running.append(start(cell, slots.pop(0)))
            for one in [one for one in running if one.has_ended()]:
                running.remove(one)
                slots.append(one.slot)
                failure = one.outcome()
                if stop.signal is None:
                    lost |= {one.cell.name: failure} if failure else {}
                    progress.ended(one, failure, running, waiting)
            if stop.signal is not None:
                for one in running:
                    one.ask_to_stop()
            time.sleep(POLL_SECONDS)
    finally:
        for one in running:
            one.kill()
    if stop.signal is not None:
        left = several(len(waiting), "run is", "runs are")
        raise Interrupted(stop.signal, f"{left} left; the same command continues")
    return [lost[cell.name] for cell in cells if cell.name in lost]


@dataclass
class _Process:
    """A cell and its process on this machine."""

    cell: Cell
    slot: int
    process: subprocess.Popen
    log: BinaryIO
    started: float = field(default_factory=time.monotonic)
    asked: bool = False

    @classmethod
    def start(cls, cell: Cell, slot: int) -> "_Process":
        log = cell.log.open("ab")
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | _environment(cell, slot),
            start_new_session=True,  # Ctrl-C in a terminal goes to this process alone, which then asks each cell once
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone already; its exit code will say why
            process.stdin.write(json.dumps(cell.to_json()).encode() + b"\n")
            process.stdin.flush()
        return cls(cell, slot, process, log)

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def outcome(self) -> Failure | None:
        code = self._end()
        return failed(self.cell, code) if code else None

    def ask_to_stop(self) -> None:
        if not self.asked:
            self.asked = True
            self.process.terminate()

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def _end(self) -> int:
        """The exit code, its files closed."""
        code = self.process.wait()
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.log.close()
        return code


def _environment(cell: Cell, slot: int) -> dict[str, str]:
    """As many threads as the recipe says, and a GPU of its own where there are several."""
    found = {"OMP_NUM_THREADS": str(cell.recipe.threads)}
    if cell.recipe.device in ("auto", "cuda") and (gpus := gpus_here()):
        found["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return found


def usual_workers(recipes: Mapping[str, Recipe]) -> int:
    """Runs at a time on this machine: one for each GPU, or as many as the cores hold at the recipes' threads."""
    first = next(iter(recipes.values()))
    if first.device in ("auto", "cuda") and (gpus := gpus_here()):
        return len(gpus)
    return max(1, hardware.threads() // first.threads) if first.threads else 1


def gpus_here() -> list[str]:
    """The names of the GPUs that this process may use, as CUDA_VISIBLE_DEVICES takes them."""
    chosen = [word.strip() for word in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if word.strip()]
    count = torch.cuda.device_count()
    return chosen[:count] if chosen else [str(index) for index in range(count)]


def failed(cell: Cell, code: int = 2) -> Failure:
    """Why a cell's process ended with that code."""
    said = cell.log.read_text(errors="replace").strip().splitlines() if cell.log.exists() else []
    message = "\n".join(line.removeprefix("segtrial: ") for line in said[-LAST_LINES:])[-LONGEST:]
    if code < 0 or code > 128:
        name = signal.Signals(-code if code < 0 else code - 128).name
        message = f"its process was ended by {name}; the same command continues it"
    return Failure(cell, message or f"its process ended with exit code {code} and said nothing", has_diverged(cell))


@dataclass
class Progress:
    """Tells the watcher what is done, what runs, what is left, and for how long."""

    done: int
    total: int
    workers: int
    seconds: dict[str, float]
    watch: Watch
    _took: dict[str, list[float]] = field(default_factory=dict)

    def ended(self, one: Running, failure: Failure | None, running: Sequence[Running], waiting: Sequence[Cell]) -> None:
        """`one` is over; `running` are still at it, and `waiting` have not begun."""
        self.done += 1
        variant, took = one.cell.variant, time.monotonic() - one.started
        if failure is None:  # a failed one says nothing of how long a whole one takes
            self._took.setdefault(variant, []).append(took)
            self.seconds[variant] = sum(self._took[variant]) / len(self._took[variant])
        how = "failed" if failure else "done"
        left = sum(self.seconds.get(cell.variant, took) for cell in waiting)
        left += sum(
            max(0.0, self.seconds.get(each.cell.variant, took) - time.monotonic() + each.started) for each in running
        )
        self.watch.note(
            f"{one.cell.name}: {how} after {duration(took)}. {self.done} of {self.total} ended, {len(running)} "
            f"running, {len(waiting)} waiting, about {duration(left / self.workers)} left."
        )
        if failure:
            self.watch.note(f"  {failure.message}")
        self.watch.bar(self.done, self.total, "runs")
