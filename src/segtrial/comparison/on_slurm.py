"""Cells -> finished cells, as array jobs of Slurm: `sbatch` once, then the folder and `squeue` are looked at.

    OUT/slurm/N/cells.jsonl    a cell a line; line i is what task i of the array runs
    OUT/slurm/N/array.sh       what sbatch was given
    OUT/slurm/N/job            the number of the job, once it was accepted
    OUT/slurm/N/i.out          what Slurm said; the cell's own words are in its log
    OUT/slurm/N/i.code         the exit code of the cell's process, unless that was killed

The jobs need nobody who waits for them: whoever gives the same command later finds what is done, waits for what is
still queued, and submits the rest again.

Slurm's own pages: sbatch(1), squeue(1), and the one on job arrays (slurm.schedmd.com/job_array.html).
"""

import getpass
import json
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segtrial.comparison.cells import Cell, has_diverged, is_done
from segtrial.comparison.pool import COMMAND, LAST_LINES, LONGEST, Failure, failed
from segtrial.errors import DeviceError, Interrupted, RunError
from segtrial.files import write_atomic
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.training.watch import Watch

PLACE, FOLDER = "--on slurm", "slurm"
CELLS, SCRIPT, JOB = "cells.jsonl", "array.sh", "job"

AT_ONCE = 8
"""Tasks that Slurm is asked to run at a time, if nobody says."""

POLL_SECONDS, LATE_SECONDS = 10.0, 60.0
"""Between two looks at the queue, and from a task's leaving it until its files must be seen: a shared folder lags."""

SAVE_SECONDS = 60
"""Before its time is up a cell is told, so that it saves its state."""


def require_slurm() -> None:
    """Raise DeviceError where Slurm's commands are not."""
    for name in ("sbatch", "squeue"):
        if not shutil.which(name):
            raise DeviceError(PLACE, f"there is no {name} on this machine", "Give the command on a login node of Slurm")


@dataclass(frozen=True)
class OnSlurm:
    """A Runner for the comparison in `folder`; `options` go to sbatch, as in "--partition=gpu --time=2:00:00"."""

    folder: Path
    options: str = ""

    def room(self, recipes: Mapping[str, Recipe]) -> int:
        """Runs at a time, whatever they are; how many there are in fact is Slurm's affair."""
        return AT_ONCE

    def __call__(
        self, cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float]
    ) -> list[Failure]:
        """Submit what is neither done nor queued, and wait for all; returns the failures, in the order of the cells.

        A stop leaves the jobs in the queue. Raises RunError if sbatch refuses.
        """
        lost = {cell.name: failed(cell) for cell in cells if has_diverged(cell)}
        left = [cell for cell in cells if cell.name not in lost and not is_done(cell)]
        tasks = self._queued(left)
        known = {task.cell.name for task in tasks}
        fresh = [cell for cell in left if cell.name not in known]
        if fresh:
            tasks += self._submit(fresh, workers)
        if tasks:
            jobs = ", ".join(dict.fromkeys(task.job for task in tasks))
            watch.note(f"{len(tasks)} runs are in Slurm's queue (job {jobs}); Ctrl-C leaves them there.")
            lost |= {failure.cell.name: failure for failure in _wait(tasks, len(cells), watch, stop)}
        return [lost[cell.name] for cell in cells if cell.name in lost]

    def _queued(self, cells: Sequence[Cell]) -> "list[_Task]":
        """Those that were submitted before and are still queued or running."""
        places = sorted((self.folder / FOLDER).glob(f"*/{JOB}"), key=lambda job: int(job.parent.name))
        queue = _queue() if places and cells else frozenset()
        if queue is None:
            raise RunError(PLACE, "squeue does not answer, and jobs of before may run", "Try again when it does")
        wanted = {json.dumps(cell.to_json()): cell for cell in cells}
        found = {}
        for job in places:
            for index, line in enumerate((job.parent / CELLS).read_text().splitlines()):
                task = _Task(wanted[line], job.parent, index, job.read_text().strip()) if line in wanted else None
                if task and task.name in queue:
                    found[line] = task
        return list(found.values())

    def _submit(self, cells: Sequence[Cell], workers: int) -> "list[_Task]":
        """One array for all of these cells."""
        place = next_place(self.folder)
        place.mkdir(parents=True)
        for cell in cells:
            cell.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(place / CELLS, "".join(f"{json.dumps(cell.to_json())}\n" for cell in cells).encode())
        text = script(place, len(cells), workers, cells[0].recipe.threads or 1, self.options)
        write_atomic(place / SCRIPT, text.encode())
        answer = subprocess.run(["sbatch", "--parsable", str(place / SCRIPT)], capture_output=True, text=True)
        if answer.returncode:
            said = " ".join(answer.stderr.split())[-LONGEST:] or f"exit code {answer.returncode}"
            raise RunError(
                place / SCRIPT, f"refused by sbatch ({said})", 'Say what it lacks: --sbatch "--partition=..."'
            )
        job = answer.stdout.strip().split(";")[0]
        write_atomic(place / JOB, f"{job}\n".encode())
        return [_Task(cell, place, index, job) for index, cell in enumerate(cells)]


def next_place(folder: Path) -> Path:
    """The folder of the next array."""
    numbers = [int(place.name) for place in (folder / FOLDER).glob("*") if place.name.isdigit()]
    return folder / FOLDER / str(max(numbers, default=0) + 1)


def script(place: Path, count: int, workers: int, threads: int, options: str = "") -> str:
    """What sbatch is given for the `count` cells in a folder: an array of as many tasks, `workers` at a time."""
    place = place.absolute()
    asked = {
        "job-name": f"segtrial-{place.parents[1].name}",
        "array": f"0-{count - 1}%{workers}",
        "ntasks": "1",
        "cpus-per-task": str(threads),
        "chdir": str(Path.cwd()),
        "output": f"{str(place).replace('%', '%%')}/%a.out",
        "open-mode": "append",
        "signal": f"B:TERM@{SAVE_SECONDS}",
    }
    lines = [f"#SBATCH {shlex.quote(f'--{name}={value}')}" for name, value in asked.items()]
    lines += ["#SBATCH --requeue", *([f"#SBATCH {' '.join(options.split())}"] if options.strip() else [])]
    start = f'exec {shlex.join([*COMMAND, str(place / CELLS)])} "$SLURM_ARRAY_TASK_ID"'
    return "\n".join(["#!/bin/bash", *lines, f"export OMP_NUM_THREADS={threads}", start, ""])


@dataclass(frozen=True)
class _Task:
    """A cell, and its task of an array."""

    cell: Cell
    place: Path
    index: int
    job: str

    @property
    def name(self) -> str:
        """As squeue names it."""
        return f"{self.job}_{self.index}"

    @property
    def code(self) -> int | None:
        """The exit code that its process left."""
        file = self.place / f"{self.index}.code"
        return int(file.read_text()) if file.exists() else None

    def failure(self) -> Failure:
        """Why it is not done, though it is in the queue no more: in its own last words, or in those of Slurm."""
        if self.code:
            return failed(self.cell, self.code)
        out = self.place / f"{self.index}.out"
        said = out.read_text(errors="replace").strip().splitlines()[-LAST_LINES:] if out.exists() else []
        message = "\n".join(said)[-LONGEST:] or "it left Slurm's queue before it was done"
        return Failure(self.cell, f"{message}; the same command continues it")


def _wait(tasks: Sequence[_Task], total: int, watch: Watch, stop: StopRequest) -> list[Failure]:
    """The failures among these tasks, once all of them are over."""
    left, lost, missed = list(tasks), [], dict[str, float]()
    while left:
        queue = _queue()  # first, so that what left it before has written its files by now
        for task in list(left):
            failure = None
            if not is_done(task.cell):
                if queue is None or task.name in queue or not _is_late(task, missed):
                    continue
                failure = task.failure()
                lost.append(failure)
            left.remove(task)
            watch.note(f"{task.cell.name}: {'failed' if failure else 'done'}. {len(left)} are in the queue.")
            if failure:
                watch.note(f"  {failure.message}")
            watch.bar(total - len(left), total, "runs")
        until = time.monotonic() + (POLL_SECONDS if left else 0)
        while time.monotonic() < until and stop.signal is None:
            time.sleep(min(0.2, POLL_SECONDS))
        if stop.signal is not None and left:
            jobs = " ".join(dict.fromkeys(task.job for task in left))
            watch.note(
                f"{len(left)} runs stay in Slurm's queue; the same command collects them, scancel {jobs} ends them."
            )
            raise Interrupted(stop.signal, f"{len(left)} runs are left; the same command continues")
    return lost


def _is_late(task: _Task, missed: dict[str, float]) -> bool:
    """Whether a task that left the queue said why, or has been silent for so long that nothing will come."""
    silent = time.monotonic() - missed.setdefault(task.name, time.monotonic())
    return bool(task.code) or silent >= LATE_SECONDS


def _queue() -> frozenset[str] | None:
    """The tasks of ours that are queued or running, as JOB_INDEX; None if squeue does not answer now."""
    words = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    answer = subprocess.run(words, capture_output=True, text=True)
    return None if answer.returncode else frozenset(answer.stdout.split())
