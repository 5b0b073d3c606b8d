"""A run on a plateau: the rate falls when val has not improved, and a resumed run remembers."""

import json
from dataclasses import asdict

import pytest
import torch

from segtrial import ranks
from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.recipe import Optimizer, Recipe, Schedule
from segtrial.signals import StopRequest
from segtrial.training import loop, state
from segtrial.training.learner import Learner
from segtrial.training.planning import make_plan
from segtrial.training.state import Progress
from segtrial.training.watch import Silent
from tests.training.small import small_recipe


@pytest.fixture
def made():
    recipe = Recipe(
        model="compact:width=8",
        steps=12,
        evaluations=6,
        optimizer=Optimizer(name="sgd", lr=0.5),
        schedule=Schedule(name="plateau", patience=2, factor=0.1, warmup=0.0),
    )
    recipe = small_recipe(recipe, batch=2, size=(32, 32))
    dataset = open_dataset(recipe.data)
    stores = {part: open_store(dataset, part) for part in ("train", "val")}
    plan = make_plan(recipe, dataset, stores, torch.device("cpu"), Silent(), StopRequest())
    return Learner(recipe, plan, torch.device("cpu")), stores


def test_the_rate_falls_once_val_has_not_improved(made, monkeypatch):
    """Evaluations after steps 2, 4, 6, 8 and 10 say .3, .2, .3, .1, .1: falls after the third and the fifth."""
    learner, stores = made
    scores, rates = iter([0.3, 0.2, 0.3, 0.1, 0.1]), []
    step = learner.step

    def noted(batch):
        rates.append(learner.learning_rate())
        return step(batch)

    monkeypatch.setattr(learner, "step", noted)
    monkeypatch.setattr(loop, "validate", lambda *_: {"loss": 1.0, "miou_dataset": next(scores)})
    progress, _ = loop.run_steps(learner, stores, None, Silent(), StopRequest())
    assert rates == pytest.approx([0.5] * 6 + [0.05] * 4 + [0.005] * 2)
    assert progress.scores == (0.3, 0.2, 0.3, 0.1, 0.1)


def test_a_state_brings_the_plateau_back(made, tmp_path):
    learner, _ = made
    progress = Progress(scores=(0.3, None, 0.2), log_bytes=7)
    state.save(tmp_path, learner, progress, {})
    found, _ = state.restore(tmp_path, learner, Silent())
    assert found == progress
    learner.hear(found.scores)
    assert learner.learning_rate() == pytest.approx(0.05)
    assert ranks.world() == 1


def test_a_state_of_an_earlier_segtrial_has_no_scores():
    saved = json.loads(json.dumps(asdict(Progress(evaluated=4))))
    del saved["scores"]
    assert Progress.from_json(saved) == Progress(evaluated=4)


def test_other_schedules_hear_nothing(made):
    learner, _ = made
    other = learner.recipe.model_copy(update={"schedule": Schedule(name="constant", warmup=0.0)})
    learner.recipe = other
    learner.hear((0.3, 0.2, 0.1, 0.1))
    assert learner.learning_rate() == pytest.approx(0.5)
