"""Two processes train like one: the same gradient, the same counts, and the same end after a rank is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.training.killing import digests, train_words

pytestmark = pytest.mark.slow  # .ci/run runs this file beside the fast suite
ROOT = Path(__file__).parents[2]


def launch(ranks: int, *words: str, cache: Path) -> subprocess.Popen:
    """`torchrun` with `ranks` processes on this machine's loopback address."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "SEGTRIAL_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.Popen(
        [*launcher, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(process: subprocess.Popen) -> str:
    """The output of a process that must end well."""
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first_steps(tmp_path_factory, cache) -> dict[int, list]:
    """What each rank wrote of the first two steps, for one rank and for two."""
    found = {}
    for ranks in (1, 2):
        folder = tmp_path_factory.mktemp("ranks")
        finished(launch(ranks, str(ROOT / "tests/training/gradient_of_rank.py"), str(folder), "2", cache=cache))
        found[ranks] = [np.load(folder / f"{rank}.npz") for rank in range(ranks)]
    return found


@pytest.mark.parametrize("kind", ["", "thawed_", "mixed_"])
def test_two_ranks_have_the_gradient_of_one(first_steps, kind):
    for files in first_steps.values():
        assert (
            len({tuple(file[f"{kind}losses"]) for file in files}) == 1
        )  # every rank knows the loss of the whole batch
    (alone,), (first, second) = ([file[f"{kind}gradients"] for file in files] for files in first_steps.values())
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, alone, atol=1e-6, rtol=0)
    assert np.abs(alone).max() > 1e-2  # so that 1e-6 says something
    silent = (alone == 0).mean(axis=1)
    assert (silent[0] > silent[1] + 0.2) == (kind == "thawed_")  # before the thaw, the encoder has none


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, cache):
    """Digests of a run of two ranks."""
    out = tmp_path_factory.mktemp("two") / "run"
    finished(launch(2, "-m", "segtrial", *train_words(out), cache=cache))
    return digests(out)


def rank_process(launcher: int, rank: int) -> int | None:
    """The process of a rank that a launcher started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if parent == launcher and f"RANK={rank}".encode() in environment:
            return int(folder.name)
    return None


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the rank's process in /proc")
def test_a_killed_rank_ends_the_run_and_the_same_command_continues_it(tmp_path, cache, undisturbed, rank):
    out = tmp_path / "run"
    process = launch(2, "-m", "segtrial", *train_words(out), cache=cache)
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)
    victim = rank_process(process.pid, rank)
    assert victim is not None
    os.kill(victim, signal.SIGKILL)
    try:
        process.communicate(timeout=200)
    finally:
        process.terminate()
    assert process.returncode != 0
    finished(launch(2, "-m", "segtrial", *train_words(out), cache=cache))
    starts = (out / "timing.jsonl").read_text().count('"start"')
    assert starts == 2
    assert digests(out) == undisturbed
