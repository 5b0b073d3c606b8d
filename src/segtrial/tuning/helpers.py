"""A search with several workers -> processes beside this one that take trials of it, and end when this one does."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from segtrial.comparison.pool import gpus_here
from segtrial.tuning.rule import Rule

COMMAND = (sys.executable, "-m", "segtrial.tuning")
"""What takes trials: `__main__`."""


@contextmanager
def helping(rule: Rule, folder: Path, storage: str | None, wanted: int, count: int) -> Iterator[None]:
    """`count` processes at the search while the block runs. At its end they save their state and are waited for."""
    started = []
    try:
        for number in range(1, count + 1):
            started.append(_start(rule, folder, storage, wanted, number))
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()


def _start(rule: Rule, folder: Path, storage: str | None, wanted: int, number: int) -> subprocess.Popen:
    logs = folder / "workers"
    logs.mkdir(exist_ok=True)
    line = json.dumps({"folder": str(folder), "storage": storage, "wanted": wanted})
    with (logs / f"{number}.log").open("ab") as log:
        process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | _environment(rule, number),
            start_new_session=True,  # Ctrl-C in a terminal goes to this process alone, which then asks each once
        )
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it is gone already; its log says why
        process.stdin.write(line.encode() + b"\n")
        process.stdin.flush()
    return process


def _environment(rule: Rule, number: int) -> dict[str, str]:
    """As many threads as the recipe says, and a GPU of its own where there are several; this process has the first."""
    recipe = rule.base()
    found = {"OMP_NUM_THREADS": str(recipe.threads)}
    if recipe.device in ("auto", "cuda") and (gpus := gpus_here()):
        found["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
    return found
