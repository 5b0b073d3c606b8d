"""A Ray cluster: what it is asked for, what a node does, and the same bits however many nodes and drivers are lost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from segtrial.comparison import on_ray, places
from segtrial.comparison.cells import Cell
from segtrial.comparison.on_ray import OnRay
from segtrial.errors import DeviceError
from segtrial.files import sha256_file
from segtrial.plain_yaml import to_yaml
from segtrial.recipe import from_tree
from segtrial.signals import StopRequest
from segtrial.training.watch import Silent
from tests.comparison import trial
from tests.three_nodes import three_nodes as three_nodes


def cluster_of(*nodes: dict[str, float]) -> SimpleNamespace:
    """As much of the package `ray` as is asked before a run; one more node is down."""
    there = [{"Alive": True, "Resources": node} for node in nodes]
    return SimpleNamespace(
        nodes=lambda: [*there, {"Alive": False, "Resources": {"CPU": 99.0, "GPU": 9.0}}],
        cluster_resources=lambda: {name: sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU")},
    )


def recipe(**changes: object):
    return from_tree({**trial.BASE, **changes})


def test_as_many_run_as_the_cluster_holds():
    cpus = OnRay(cluster_of({"CPU": 8.0}, {"CPU": 4.0}))
    assert cpus.room({"a": recipe(threads=3)}) == 4
    assert cpus.room({"a": recipe(threads=64)}) == 1
    gpus = OnRay(cluster_of({"CPU": 8.0, "GPU": 2.0}, {"CPU": 4.0, "GPU": 1.0}))
    assert gpus.room({"a": recipe(device="auto", threads=1)}) == 3
    assert gpus.room({"a": recipe(device="cpu", threads=1)}) == 12


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"threads": 9}, "9 threads, and no node more than 8 CPUs"), ({"device": "cuda"}, "no node has")],
)
def test_what_no_node_can_run_is_refused_before_it_waits_for_ever(changes, said, tmp_path):
    cell = Cell("a, seed 0", "a", 0, tmp_path / "a" / "0", recipe(**changes), "val")
    with pytest.raises(DeviceError, match=said):
        OnRay(cluster_of({"CPU": 8.0}, {"CPU": 4.0}))([cell], 1, Silent(), StopRequest(), {})


def test_a_node_runs_the_cell_where_the_command_was_given(tmp_path):
    log = tmp_path / "0.log"
    program = "import os, sys; print(os.getcwd(), os.environ['OMP_NUM_THREADS'], input()); sys.exit(3)"
    done = on_ray._remote_function()(("-c", program), "the cell\n", str(tmp_path), str(log), {"OMP_NUM_THREADS": "5"})
    assert (done, log.read_text()) == (3, f"{tmp_path} 5 the cell\n")


def test_a_node_that_does_not_see_the_folder_says_so(tmp_path):
    said = on_ray._remote_function()(("-c", ""), "", str(tmp_path), str(tmp_path / "gone" / "0.log"), {})
    assert said == f"{socket.gethostname()} does not see {tmp_path / 'gone'}"


def test_without_ray_or_a_cluster_it_says_so_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match=r"pip install 'segtrial\[ray\]'"), places.place("ray", tmp_path):
        pass

    def init(**options: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray does
        raise ConnectionError("Could not find any running Ray instance.\nMore")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(DeviceError, match="Could not find any running") as caught, places.place("ray", tmp_path):
        pass
    assert "ray start --head" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_ray_says_does_not_mix_with_the_result(monkeypatch, tmp_path, capsys):
    fake = SimpleNamespace(
        is_initialized=lambda: False, init=lambda **_: None, shutdown=lambda: print("(raylet) so did another")
    )
    monkeypatch.setitem(sys.modules, "ray", fake)
    with places.place("ray", tmp_path):
        print("(raylet) a node died")
    print("the result")
    assert capsys.readouterr() == ("the result\n", "(raylet) a node died\n(raylet) so did another\n")


# Slow: a cluster.


def under_way(out: Path) -> list[Path]:
    """Runs that have begun and not ended."""
    return [run for run in out.glob("runs/*/*") if (run / "plan.json").exists() and not ended(run)]


def ended(run: Path) -> bool:
    return (run / "evaluation.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_nodes_and_drivers_lost_the_result_is_that_of_one_machine(cache, tmp_path, three_nodes):
    """Eight cells: a driver is killed, a node is lost, Ctrl-C is pressed; no cell is lost, and none is run twice."""
    eight = {"base": {**trial.BASE, "steps": 60, "checkpoint_seconds": 0, "model": "compact:width=8"}, "seeds": 4}
    here, out, file = tmp_path / "here", tmp_path / "there", tmp_path / "trial.yaml"
    trial.compared(here, **eight)
    file.write_text(to_yaml(trial.request(**eight)))
    words = [sys.executable, "-m", "segtrial", "compare", str(file), "--out", str(out), "--on", "ray"]
    environment = {**os.environ, "RAY_ADDRESS": three_nodes.address}
    done: dict[Path, int] = {}

    def begun(runs: int) -> subprocess.Popen:
        """A driver that has so many runs under way."""
        driver = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert any("at a time" in line for line in driver.stderr), "its plan"
        while len(under_way(out)) < runs:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        for run in filter(ended, out.glob("runs/*/*")):
            stamp = (run / "evaluation.json").stat().st_mtime_ns
            assert done.setdefault(run, stamp) == stamp, "run twice"
        return driver

    driver = begun(3)
    driver.kill()
    driver.communicate()
    driver = begun(3)
    three_nodes.lose_one()
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=120)[1]
    assert driver.returncode == 130
    assert "The same command continues" in said
    driver = begun(2)
    three_nodes.lose_one()
    said = driver.communicate(timeout=400)
    assert driver.returncode == 0, said
    assert all((run / "evaluation.json").stat().st_mtime_ns == before for run, before in done.items())
    assert (out / "comparison.json").read_bytes() == (here / "comparison.json").read_bytes()
    counts = {str(path.relative_to(here)): sha256_file(path) for path in here.rglob("*.npz")}
    assert counts == {str(path.relative_to(out)): sha256_file(path) for path in out.rglob("*.npz")}
    assert len(counts) == 8
    assert [pair["n_seeds"] for pair in json.loads((out / "comparison.json").read_text())["pairs"]] == [4]
