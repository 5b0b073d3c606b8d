"""One batch is learnt by heart by what can learn, and by nothing else."""

from typing import Any

import pytest

from segtrial.errors import RunError
from segtrial.recipe import Recipe, from_tree
from segtrial.training.probe import MOST_STEPS, OneBatch, learn_one_batch
from tests import fit_runs


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Read only."""
    return fit_runs.write_data(tmp_path_factory.mktemp("probe") / "data", train=8, val=4)


def recipe(data, **changes: Any) -> Recipe:
    sgd = {"optimizer": {"name": "sgd", "lr": 0.3}}
    return from_tree({**fit_runs.HEALTHY, "data": str(data), **sgd, **changes})


def test_a_network_that_can_learn_learns_a_batch_by_heart(data, own_cache):
    found = learn_one_batch(recipe(data), seconds=20.0)
    assert found.learnt is True
    assert found.last_loss < found.first_loss / 2
    assert found.score is not None
    assert found.score >= 0.9
    assert (found.images, found.size, found.headline) == (4, (64, 64), "miou_dataset")
    assert OneBatch(**{**found.to_json(), "size": (64, 64)}) == found


@pytest.mark.parametrize(
    ("rate", "model"),
    [(1e-9, "compact:width=4"), (1e30, "unet:batchnorm=false,width=4")],
    ids=["too low", "too high"],
)
def test_a_wrong_rate_learns_nothing(rate, model, data, own_cache):
    found = learn_one_batch(recipe(data, model=model, optimizer={"name": "sgd", "lr": rate}), seconds=1.0)
    assert found.learnt is False
    assert found.last_loss > found.first_loss / 2
    assert found.steps <= MOST_STEPS


def test_a_first_loss_that_is_no_number_is_an_error(data, own_cache, monkeypatch):
    monkeypatch.setattr("segtrial.training.learner.Learner.step", lambda *_: float("nan"))
    with pytest.raises(RunError, match="the loss is nan"):
        learn_one_batch(recipe(data), seconds=1.0)


def test_nothing_is_drawn_at_random(data, own_cache, monkeypatch):
    """Augmentation, mixing, dropout and smoothing would make a batch that is learnt by heart look as if it were not."""
    seen: list[Recipe] = []

    def plan_trial(trial: Recipe, *_: object) -> None:
        seen.append(trial)
        raise RunError("here", "seen enough", "Stop")

    monkeypatch.setattr("segtrial.training.probe.plan_trial", plan_trial)
    wild: dict[str, Any] = {"augment": {"rotate": 45.0, "cutmix": 0.5}, "loss": {"label_smoothing": 0.2}}
    wild["regularise"] = {"dropout": 0.5}
    with pytest.raises(RunError, match="seen enough"):
        learn_one_batch(recipe(data, **wild))
    (trial,) = seen
    assert not any(value for value in trial.augment.model_dump().values())
    assert trial.regularise.dropout == trial.loss.label_smoothing == 0
    assert trial.phases[0].scale[0] == trial.phases[0].scale[1]
    assert trial.optimizer == recipe(data, **wild).optimizer
