"""Processes: some at a time, one for a cell, ended and continued without a trace in the result."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segtrial.comparison import pool
from segtrial.comparison.cells import Cell, run_cell
from segtrial.errors import Interrupted
from segtrial.files import sha256_file
from segtrial.plain_yaml import to_yaml
from segtrial.recipe import from_tree
from segtrial.signals import StopRequest
from segtrial.training.watch import Silent
from tests.comparison import trial

READ = "import json, os, pathlib, sys, time; cell = json.loads(sys.stdin.readline()); "
NOTE = "here = pathlib.Path(cell['path']).parent; "
"""Beginnings of stand-ins for the process of a cell."""


def cells(folder: Path, count: int) -> list[Cell]:
    recipe = from_tree(trial.BASE)
    return [Cell(f"a, seed {seed}", "a", seed, folder / "a" / str(seed), recipe, "val") for seed in range(count)]


def stand_in(monkeypatch, program: str) -> None:
    monkeypatch.setattr(pool, "COMMAND", (sys.executable, "-c", READ + NOTE + program))


def test_what_a_failed_process_said_last_is_kept(monkeypatch, tmp_path):
    program = "print('warming up'); sys.exit('segtrial: here: this. Do that') if cell['seed'] == 1 else None"
    stand_in(monkeypatch, program)
    (lost,) = pool.run_cells(cells(tmp_path, 3), 2, Silent(), StopRequest(), {})
    assert (lost.cell.seed, lost.diverged) == (1, False)
    assert lost.message.endswith("here: this. Do that")


def test_a_process_that_was_killed_is_named(monkeypatch, tmp_path):
    stand_in(monkeypatch, "os.kill(os.getpid(), 9)")
    (lost,) = pool.run_cells(cells(tmp_path, 1), 1, Silent(), StopRequest(), {})
    assert lost.message == "its process was ended by SIGKILL; the same command continues it"


def test_no_more_run_at_a_time_than_workers(monkeypatch, tmp_path):
    stand_in(
        monkeypatch,
        "mine = here / f'{os.getpid()}.on'; mine.touch(); time.sleep(.1); "
        "print(len(list(here.glob('*.on')))); mine.unlink()",
    )
    four = cells(tmp_path, 4)
    assert pool.run_cells(four, 2, Silent(), StopRequest(), {}) == []
    together = [int(cell.log.read_text()) for cell in four]
    assert max(together) == 2


def test_a_process_gets_the_threads_of_its_recipe_and_a_gpu_of_its_own(monkeypatch, tmp_path):
    (cell,) = cells(tmp_path, 1)
    monkeypatch.setattr(pool.torch.cuda, "device_count", lambda: 2)
    assert pool._environment(cell, 1) == {"OMP_NUM_THREADS": "1"}, "the recipe says cpu"
    cell = Cell(**{**cell.__dict__, "recipe": cell.recipe.model_copy(update={"device": "auto"})})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [pool._environment(cell, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert [pool._environment(cell, slot)["CUDA_VISIBLE_DEVICES"] for slot in range(2)] == ["3", "5"]


def test_asked_to_stop_it_asks_the_cells_and_waits_for_them(monkeypatch, tmp_path):
    stand_in(
        monkeypatch,
        "import signal; signal.signal(15, lambda *_: (time.sleep(.1), print('saved', flush=True), sys.exit(143))); "
        "print('on', flush=True); time.sleep(20)",
    )
    three, stop = cells(tmp_path, 3), StopRequest()

    def ask() -> None:
        while not (three[1].log.exists() and three[0].log.read_text() and three[1].log.read_text()):
            time.sleep(0.02)
        stop.signal = signal.SIGINT

    asking = threading.Thread(target=ask)
    asking.start()
    with pytest.raises(Interrupted, match="1 run is left; the same command continues"):
        pool.run_cells(three, 2, Silent(), stop, {})
    asking.join()
    assert [cell.log.read_text() for cell in three[:2]] == ["on\nsaved\n"] * 2
    assert not three[2].log.exists()


def test_a_cell_survives_the_way_to_another_process(tmp_path):
    (cell,) = cells(tmp_path, 1)
    assert Cell.from_json(json.loads(json.dumps(cell.to_json()))) == cell


# Slow: processes that load torch; whole comparisons, disturbed.


@pytest.mark.slow
def test_a_process_does_what_a_call_does(cache, tmp_path):
    here, there = cells(tmp_path / "here", 1), cells(tmp_path / "there", 1)
    run_cell(here[0])
    assert pool.run_cells(there, 1, Silent(), StopRequest(), {}) == []
    for name in ("model.safetensors", "counts/val.npz", "metrics.jsonl"):
        assert sha256_file(here[0].path / name) == sha256_file(there[0].path / name)
    assert not (there[0].path / "checkpoint").exists()


LONG = {**trial.BASE, "steps": 40, "checkpoint_seconds": 0, "model": "compact:width=8"}


def command(folder: Path, out: str, *, workers: int, **changes: object) -> list[str]:
    file = folder / "trial.yaml"
    file.write_text(to_yaml(trial.request(**changes)))
    return [
        sys.executable,
        "-m",
        "segtrial",
        "compare",
        str(file),
        "--out",
        str(folder / out),
        "--workers",
        str(workers),
    ]


def counts_of(out: Path) -> dict[str, str]:
    return {str(path.relative_to(out)): sha256_file(path) for path in sorted(out.rglob("*.npz"))}


@pytest.mark.slow
def test_one_worker_and_two_leave_the_same_counts(cache, tmp_path):
    four = {"a": {}, "b": {"optimizer.lr": 0.2}, "c": {"model": "compact:width=8"}, "d": {"ema": 0.5}}
    for workers in (1, 2):
        words = command(tmp_path, str(workers), workers=workers, variants=four, seeds=1)
        assert subprocess.run(words, capture_output=True).returncode == 0
    assert len(counts_of(tmp_path / "1")) == 4
    assert counts_of(tmp_path / "1") == counts_of(tmp_path / "2")
    assert sha256_file(tmp_path / "1" / "comparison.json") == sha256_file(tmp_path / "2" / "comparison.json")


def children(parent: int) -> list[int]:
    """The processes that it started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


@pytest.mark.slow
def test_ctrl_c_stops_everything_and_the_same_command_goes_on(cache, tmp_path):
    words = command(tmp_path, "out", workers=2, base=LONG, seeds=1)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").rglob("metrics.jsonl")):
        time.sleep(0.05)
    running = children(process.pid)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "The same command continues" in said
    assert running
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()], "no process is left behind"
    assert subprocess.run(words, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_twenty_times_it_ends_with_the_same_result(cache, tmp_path):
    """Driver and cells, at random: no cell is lost or run twice."""
    eight = {"base": LONG, "seeds": 4}
    whole, out, draw = tmp_path / "whole", tmp_path / "killed", random.Random(0)
    trial.compared(whole, **eight)
    words = command(tmp_path, "killed", workers=2, **eight)
    done: dict[Path, int] = {}
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(20):
        time.sleep(draw.uniform(0.5, 8))
        if process.poll() is not None:
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(draw.uniform(0.5, 8))
        running = children(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(draw.choice([process.pid, *running, *running, *running]), signal.SIGKILL)
        for file in (out / "runs").glob("*/*/evaluation.json"):
            assert done.setdefault(file, file.stat().st_mtime_ns) == file.stat().st_mtime_ns, "run twice"
    assert process.wait(300) in (0, 3, -signal.SIGKILL)
    while (code := subprocess.run(words, capture_output=True).returncode) == 3:
        pass
    assert code == 0
    assert all(file.stat().st_mtime_ns == before for file, before in done.items())
    assert (out / "comparison.json").read_bytes() == (whole / "comparison.json").read_bytes()
    assert counts_of(out) == counts_of(whole)
    assert len(counts_of(out)) == 8
    assert not [path for path in out.rglob("*.partial") if path.is_file()]
