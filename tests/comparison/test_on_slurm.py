"""Slurm, of which there is a stand-in: what it is told, what is made of its answers, and the same bits in the end."""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from segtrial.comparison import on_slurm, places
from segtrial.comparison.cells import Cell
from segtrial.comparison.on_slurm import OnSlurm
from segtrial.errors import DeviceError, Interrupted, RecipeError, RunError
from segtrial.plain_yaml import to_yaml
from segtrial.recipe import from_tree
from segtrial.signals import StopRequest
from segtrial.training.watch import Silent
from tests.comparison import slurm, trial

READ = (
    "import json, os, pathlib, sys, time; index = int(sys.argv[2]); left = pathlib.Path(sys.argv[1]); "
    "cell = json.loads(left.read_text().splitlines()[index]); left = left.with_name(f'{index}.code'); "
    "run = pathlib.Path(cell['path']); log = run.with_name(run.name + '.log').open('a'); "
    "done = lambda: (run.mkdir(), (run / 'done').touch())\n"
)
"""The beginning of a stand-in for the process of a cell."""


@pytest.fixture
def put(monkeypatch, tmp_path):
    """`put(program)`: the commands are there, and a cell's process is that program."""
    monkeypatch.setenv("PATH", slurm.put(tmp_path / "bin"))
    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(on_slurm, "LATE_SECONDS", 0.3)
    monkeypatch.setattr(on_slurm, "is_done", lambda cell: (cell.path / "done").exists())
    return lambda program: monkeypatch.setattr(on_slurm, "COMMAND", (sys.executable, "-S", "-c", READ + program))


def cells(folder: Path, count: int) -> list[Cell]:
    recipe = from_tree(trial.BASE)
    return [Cell(f"a, seed {seed}", "a", seed, folder / "runs" / str(seed), recipe, "val") for seed in range(count)]


def arrays(folder: Path) -> list[list[str]]:
    """Of each array the names of its cells."""
    files = sorted((folder / "slurm").glob("*/cells.jsonl"))
    return [[json.loads(line)["name"] for line in file.read_text().splitlines()] for file in files]


def run(folder: Path, some: list[Cell], workers: int = 4, stop: StopRequest | None = None, options: str = ""):
    return OnSlurm(folder, options)(some, workers, Silent(), stop or StopRequest(), {})


def test_each_cell_is_a_task_of_one_array_and_so_many_run_at_a_time(put, tmp_path):
    put("(run.parent / f'{index}.on').touch(); time.sleep(.15); print(len(list(run.parent.glob('*.on'))), file=log); "
        "(run.parent / f'{index}.on').unlink(); done()")  # fmt: skip
    five = cells(tmp_path, 5)
    assert run(tmp_path, five, workers=2) == []
    assert arrays(tmp_path) == [[cell.name for cell in five]]
    assert max(int(cell.log.read_text()) for cell in five) == 2
    assert run(tmp_path, [*five, *cells(tmp_path, 6)[5:]]) == []
    assert arrays(tmp_path)[1:] == [["a, seed 5"]], "what is done is not submitted again"


def test_a_failed_cell_is_told_in_its_own_words_or_else_in_those_of_slurm(put, tmp_path):
    put("says = lambda code, *words: (log.write('\\n'.join(words)), left.write_text(code)); "
        "index == 0 and says('2', 'warming up', 'segtrial: here: this. Do that'); index == 2 and says('143'); "
        "index == 1 and os.kill(os.getpid(), 9); index == 3 and done()")  # fmt: skip
    spoken, killed, stopped = run(tmp_path, cells(tmp_path, 4))
    assert (spoken.cell.seed, killed.cell.seed, stopped.cell.seed) == (0, 1, 2)
    assert spoken.message == "warming up\nhere: this. Do that"
    assert killed.message.splitlines()[-1] == "slurmstepd: error: ended by 137; the same command continues it"
    assert stopped.message == "its process was ended by SIGTERM; the same command continues it"


def test_a_stop_leaves_the_jobs_and_the_same_call_collects_them(put, tmp_path):
    put("while not (run.parent / 'go').exists(): time.sleep(.02)\ndone()")
    three, stop = cells(tmp_path, 3), StopRequest()
    threading.Timer(0.4, lambda: setattr(stop, "signal", signal.SIGINT)).start()
    with pytest.raises(Interrupted, match="3 runs are left; the same command continues"):
        run(tmp_path, three, stop=stop)
    threading.Timer(0.4, (tmp_path / "runs" / "go").touch).start()
    assert run(tmp_path, [*three, *cells(tmp_path, 4)[3:]]) == []
    assert arrays(tmp_path) == [[cell.name for cell in three], ["a, seed 3"]], "nothing is submitted twice"


def test_while_squeue_is_silent_nobody_is_given_up_and_nothing_is_submitted_twice(put, tmp_path):
    put("while not (run.parent / 'go').exists(): time.sleep(.02)\ntime.sleep(.5); done()")
    mute, (one,) = tmp_path / "bin" / "mute", cells(tmp_path, 1)
    threading.Timer(0.3, lambda: (mute.touch(), (tmp_path / "runs" / "go").touch())).start()
    assert run(tmp_path, [one]) == []
    with pytest.raises(RunError, match="squeue does not answer"):
        run(tmp_path, cells(tmp_path, 2))
    assert len(arrays(tmp_path)) == 1


def test_what_sbatch_refuses_is_told_in_its_words(put, tmp_path):
    put("done()")
    with pytest.raises(RunError, match=r"refused by sbatch \(sbatch: error: invalid partition specified: none\)"):
        run(tmp_path, cells(tmp_path, 1), options="--partition=none")
    assert run(tmp_path, cells(tmp_path, 1)) == []


def test_the_script_reads_as_it_was_meant(monkeypatch, tmp_path):
    """As a shell reads words, and so does Slurm; its own wildcards are not taken from the path."""
    place = tmp_path / "it's 100%" / "slurm" / "1"
    lines = on_slurm.script(place, 8, 3, 2, '--partition=gpu\n  --comment="a b"').splitlines()
    asked = [word for line in lines if line.startswith("#SBATCH ") for word in shlex.split(line)[1:]]
    path = str(place).replace("%", "%%")
    wanted = {"--array=0-7%3", "--cpus-per-task=2", f"--output={path}/%a.out", f"--chdir={Path.cwd()}"}
    assert wanted < set(asked)
    assert asked[-2:] == ["--partition=gpu", "--comment=a b"], "the last word is the user's"
    assert shlex.split(lines[-1]) == ["exec", *on_slurm.COMMAND, str(place / "cells.jsonl"), "$SLURM_ARRAY_TASK_ID"]


def test_where_there_is_no_slurm_it_says_so_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="there is no sbatch on this machine"), places.place("slurm", tmp_path):
        pass


@pytest.mark.parametrize(("words", "said"), [(("slrum",), "Did you mean 'slurm'"), (("ray", "-p gpu"), "--sbatch")])
def test_words_that_make_no_sense_are_refused(words, said, tmp_path):
    with pytest.raises(RecipeError, match=said), places.place(words[0], tmp_path, *words[1:]):
        pass


# Slow: processes that load torch.


@pytest.mark.slow
def test_slurm_leaves_the_result_that_this_machine_does(cache, tmp_path):
    here, out = tmp_path / "here", tmp_path / "there"
    trial.compared(here)
    file = tmp_path / "trial.yaml"
    file.write_text(to_yaml(trial.request()))
    words = [sys.executable, "-m", "segtrial", "compare", str(file), "--out", str(out), "--on", "slurm"]
    words += ["--workers", "2", "--sbatch", "--partition=gpu"]
    environment = {**os.environ, "PATH": slurm.put(tmp_path / "bin")}

    planned = subprocess.run([*words, "--plan"], env=environment, capture_output=True, text=True)
    assert planned.returncode == 0, planned.stderr
    assert "#SBATCH --array=0-3%2" in planned.stdout
    assert "#SBATCH --partition=gpu" in planned.stdout
    assert not out.exists()

    driver = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    while not list((tmp_path / "bin" / "queue").glob("*")):
        assert driver.poll() is None, driver.communicate()[1]
        time.sleep(0.05)
    driver.kill()  # the jobs need nobody who waits for them
    driver.communicate()
    while list((tmp_path / "bin" / "queue").glob("*")):
        time.sleep(0.2)
    done = {path: path.stat().st_mtime_ns for path in out.rglob("evaluation.json")}
    assert len(done) == 4
    collected = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert collected.returncode == 0, collected.stderr
    assert done == {path: path.stat().st_mtime_ns for path in out.rglob("evaluation.json")}
    assert (out / "comparison.json").read_bytes() == (here / "comparison.json").read_bytes()
    assert len(list((out / "slurm").glob("*"))) == 1
