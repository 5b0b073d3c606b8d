"""The largest batch that fits: found by trying or by counting, then a number of the recipe like any other."""

import json
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

import segtrial as st
from segtrial import cli, files, hardware, models
from segtrial.errors import DeviceError, Interrupted, RecipeError, RunError
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Augment
from segtrial.signals import StopRequest
from segtrial.training import batch_test
from segtrial.training.batch_test import LEFT_FREE, PEAK, Trying, _takes, fit_batches, largest
from segtrial.training.opening import plan_trial
from segtrial.training.watch import Silent
from tests.training.killing import digests
from tests.training.small import learner_on_toytown
from tests.training.test_memory import Cramped

DATA = "toytown:scenes=12,frames=2,size=32x48"
PHASES = "phases=[{share: .5, batch: 2, crop: 1, scale: [1, 1]}, {share: .5, batch: 2, crop: 2, scale: [2, 2]}]"
WORDS = (
    "threads=1", "precision=float32", "evaluations=1", "checkpoint_seconds=1000", "progress_steps=1", PHASES,
)  # fmt: skip
MODEL = "compact:width=8"


def room_for(monkeypatch, count: int, model: str = MODEL) -> None:
    """Free memory for so many images of the second phase's size, by what the network is said to keep."""
    costs = models.describe(model, (64, 96), 12, 3)["costs"]
    assert isinstance(costs, dict)
    needed = costs["bytes_of_weights"] + PEAK * costs["bytes_per_image"] * (count + 0.5)
    monkeypatch.setattr(hardware, "free_bytes", lambda: int(needed / (1 - LEFT_FREE)))


def trained(out, *more, fit_batch=True):
    return st.train(MODEL, DATA, out, steps=4, settings=(*WORDS, *more), fit_batch=fit_batch)


def batches_of(run) -> list[int]:
    return [phase["batch"] for phase in json.loads((run / "plan.json").read_text())["phases"]]


# ---- the search ------------------------------------------------------------------------------------------------------


@given(room=some.integers(0, 300), most=some.integers(2, 300))
def test_the_largest_is_found_in_few_tries_and_one_image_is_never_tried(room, most):
    tried = []

    def fits(count: int) -> bool:
        tried.append(count)
        return count <= room

    found = largest(fits, most)
    assert found == (min(room, most) if room >= 2 else 0)
    assert min(tried) >= 2
    assert max(tried) <= most
    assert len(tried) == len(set(tried)) <= 2 * most.bit_length()


@pytest.mark.parametrize("room", [2, 5, 8])
def test_steps_are_tried_until_memory_ends(room):
    mixed = Augment(mixup=1.0) if room == 5 else Augment()
    learner, batches = learner_on_toytown(Recipe(model=MODEL, steps=3, augment=mixed), batch=2, size=(32, 32))
    learner = Trying(learner.recipe, learner.plan, learner.device)
    learner.network.core = Cramped(learner.network.core, room)
    pair = batches.batch(0)
    assert largest(lambda count: _takes(learner, pair, count, StopRequest()), 20) == room
    assert all(parameter.grad is None for parameter in learner.network.parameters())


def test_a_tenth_of_a_gpu_is_left_free_and_the_cap_is_not_lowered(monkeypatch):
    recipe = Recipe(model=MODEL, data=DATA, steps=1, threads=1, precision="float32")
    plan, stores = plan_trial(recipe, torch.device("cpu"), Silent(), StopRequest())
    monkeypatch.setattr(batch_test, "_takes", lambda learner, pair, count, stop: count <= 10)
    for most, expected in ((30, 9), (10, 10), (2, 2)):
        phase, train = plan.phases[0], stores["train"]
        assert batch_test._by_trying(recipe, plan, phase, train, torch.device("cpu"), most, StopRequest()) == expected


def test_who_asks_to_stop_is_heard():
    stop = StopRequest()
    stop.signal = 2
    learner, batches = learner_on_toytown(Recipe(model=MODEL, steps=3), batch=2, size=(32, 32))
    with pytest.raises(Interrupted):
        _takes(learner, batches.batch(0), 2, stop)


# ---- the run ---------------------------------------------------------------------------------------------------------


def test_what_memory_allows_becomes_the_recipes_number(tmp_path, monkeypatch, own_cache):
    room_for(monkeypatch, 5)
    run = trained(tmp_path / "run")
    first, second = batches_of(run.path)
    assert second == 5
    assert second < first <= 12 * 2  # smaller crops: more of them, but no more than there are images
    text = (run.path / "recipe.yaml").read_text()
    assert f"batch: {first}\n" in text
    assert f"batch: {second}\n" in text
    phases = PHASES.replace("batch: 2", f"batch: {first}", 1).replace("batch: 2", f"batch: {second}")
    plain = trained(tmp_path / "plain", phases, fit_batch=False)
    assert digests(plain.path) == digests(run.path)


def test_pieces_of_a_batch_are_so_many_times_as_many(tmp_path, monkeypatch, own_cache):
    room_for(monkeypatch, 3)
    run = trained(tmp_path / "run", "accumulate=2")
    assert batches_of(run.path)[1] == 6


def test_a_killed_run_keeps_its_batches_though_the_memory_is_another_by_then(tmp_path, monkeypatch, own_cache):
    room_for(monkeypatch, 4)
    whole = trained(tmp_path / "whole")
    monkeypatch.setattr(files, "_passages", Counter())
    monkeypatch.setenv("SEGTRIAL_FAILPOINT", "append.after:2:TERM")
    with pytest.raises(Interrupted):
        trained(tmp_path / "again")
    monkeypatch.delenv("SEGTRIAL_FAILPOINT")
    room_for(monkeypatch, 9)
    assert digests(trained(tmp_path / "again").path) == digests(whole.path)
    assert trained(tmp_path / "again").path  # and nothing is tried for a finished one
    with pytest.raises(RunError, match=r"holds a run of another recipe .*seed: 0 -> 1"):
        trained(tmp_path / "again", "seed=1")
    with pytest.raises(RunError, match=r"holds a run of another recipe .*phases"):
        trained(tmp_path / "again", fit_batch=False)


def test_the_command_line_says_what_was_found(tmp_path, monkeypatch, own_cache, capsys):
    room_for(monkeypatch, 3)
    words = ["train", "--model", MODEL, "--data", DATA, "--out", str(tmp_path / "run"), "--steps", "2", "--fit-batch"]
    assert cli.main([*words, *(word for setting in WORDS for word in ("--set", setting))]) == 0
    assert "images of 32x64, 3 images of 64x96. The learning rate is as it was" in capsys.readouterr().err


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_where_not_even_two_images_fit_that_is_said(tmp_path, monkeypatch, own_cache):
    monkeypatch.setattr(hardware, "free_bytes", lambda: 1000)
    with pytest.raises(DeviceError, match=r"memory of cpu: not even two images of 32x64 fit\. Set crop_pixels lower"):
        trained(tmp_path / "run")


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RecipeError, match=r"--fit-batch: 2 processes.*multiply it by their number"):
        fit_batches(Recipe(model=MODEL, data=DATA, steps=1), tmp_path / "run")
