"""Killed anywhere and started again with the same command, a run ends with the same bits (law 3)."""

import random
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.training.killing import FAILPOINTS, Forks, digests, killed_at_random, train_words, until_done


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    warm = Forks(tmp_path_factory.mktemp("cache"))
    yield warm
    warm.close()


@pytest.fixture(scope="module")
def uninterrupted(forks, tmp_path_factory):
    """(seconds, digests) of a run that nobody disturbed, its data decoded before."""
    folder = tmp_path_factory.mktemp("whole")
    until_done(forks, train_words(folder / "first"))
    ended = until_done(forks, train_words(folder / "second"))
    assert digests(folder / "first") == digests(folder / "second")
    return ended["seconds"], digests(folder / "first")


FIRST = (
    "write.open:1", "write.before_sync:4", "write.after_sync:1", "write.after_rename:2", "write.after_rename:9",
    "append.before:3", "append.half:1", "append.after:4", "checkpoint.before_prune:3", "checkpoint.after_prune:1",
    "finish.after_model:1", "finish.before_evaluation:1",
)  # fmt: skip
"""One passage of each moment, or two; the others are slow."""


def slow(params: Sequence[str], *, but: Sequence[str]) -> list:
    """All of them, slow but for a few."""
    assert set(but) <= set(params)
    return [one if one in but else pytest.param(one, marks=pytest.mark.slow) for one in params]


@pytest.mark.parametrize("name", slow(FAILPOINTS, but=FIRST))
def test_killed_at_a_named_moment(forks, uninterrupted, tmp_path, name):
    ended = forks.run(train_words(tmp_path / "run"), failpoint=name)
    assert ended["code"] == -signal.SIGKILL, f"nothing passes {name}: {ended}"
    until_done(forks, train_words(tmp_path / "run"))
    assert digests(tmp_path / "run") == uninterrupted[1]
    assert not list((tmp_path / "run").rglob("*.partial"))


@pytest.mark.parametrize("kill", [0, 1, *(pytest.param(kill, marks=pytest.mark.slow) for kill in range(2, 20))])
def test_killed_at_a_random_moment(forks, uninterrupted, tmp_path, kill):
    killed_at_random(forks, tmp_path / "run", uninterrupted[0], random.Random(kill))
    assert digests(tmp_path / "run") == uninterrupted[1]


def test_killed_again_and_again(forks, uninterrupted, tmp_path):
    for nth in range(2, 9, 2):
        forks.run(train_words(tmp_path / "run"), failpoint=f"write.after_rename:{nth}")
    until_done(forks, train_words(tmp_path / "run"))
    assert digests(tmp_path / "run") == uninterrupted[1]


MOMENTS = ("write.after_rename:1", "append.before:1", "append.after:2", "checkpoint.before_prune:1", "write.open:4")


@pytest.mark.parametrize("moment", slow(MOMENTS, but=("write.after_rename:1", "append.after:2", "write.open:4")))
@pytest.mark.parametrize(("number", "code"), [("TERM", 143), pytest.param("INT", 130, marks=pytest.mark.slow)])
def test_asked_to_stop_it_saves_and_says_how_to_go_on(forks, uninterrupted, tmp_path, moment, number, code):
    words = train_words(tmp_path / "run", "--set", "checkpoint_seconds=1000")
    ended = forks.run(words, failpoint=f"{moment}:{number}")
    assert ended["code"] == code, ended
    assert "same command" in ended["output"]
    assert len(list((tmp_path / "run" / "checkpoint").glob("*.safetensors"))) == 1
    until_done(forks, words)
    assert digests(tmp_path / "run") == uninterrupted[1]


def test_a_damaged_newest_state_is_passed_over(forks, uninterrupted, tmp_path):
    forks.run(train_words(tmp_path / "run"), failpoint="checkpoint.after_prune:4")
    newest = max((tmp_path / "run" / "checkpoint").glob("*.safetensors"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(bytes(data))
    ended = until_done(forks, train_words(tmp_path / "run"))
    assert "damaged" in ended["output"]
    assert digests(tmp_path / "run") == uninterrupted[1]


def test_this_harness_can_fail(forks, uninterrupted, tmp_path):
    until_done(forks, train_words(tmp_path / "run", "--seed", "1"))
    assert digests(tmp_path / "run")["model.safetensors"] != uninterrupted[1]["model.safetensors"]


def test_a_finished_run_is_left_alone(forks, tmp_path):
    until_done(forks, train_words(tmp_path / "run"))
    before = {path: path.stat().st_mtime_ns for path in Path(tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert "finished" in until_done(forks, train_words(tmp_path / "run"))["output"]
    after = {path: path.stat().st_mtime_ns for path in Path(tmp_path / "run").rglob("*") if path.name != ".lock"}
    assert before == after
