"""One step of learning: what it must not depend on, and what it must do."""

import copy

import numpy as np
import pytest
import torch

from segtrial import models
from segtrial.data.batches import Batch
from segtrial.errors import RunError
from segtrial.models._init import initialise
from segtrial.randomness import key_of
from segtrial.recipe import Loss, Optimizer, Recipe, Schedule
from segtrial.training.goal import thinned
from tests.training.small import learner_on_toytown

CROSS_ENTROPY = Loss(name="cross_entropy", class_weights="none")
PLAIN = Recipe(
    model="unet:batchnorm=false,width=4,depth=2",
    steps=4,
    precision="float32",
    optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.0, weight_decay=0.0),
    schedule=Schedule(name="constant", warmup=0.0),
)


def parameters(learner) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in learner.network.parameters()]).numpy()


def test_accumulated_pieces_learn_like_the_whole_batch():
    ends = []
    for pieces in (1, 3):
        recipe = PLAIN.model_copy(update={"accumulate": pieces})
        learner, batches = learner_on_toytown(recipe, batch=5, size=(32, 32))
        loss = float(learner.step(batches.batch(0)))
        ends.append((loss, parameters(learner)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)
    np.testing.assert_allclose(ends[0][1], ends[1][1], atol=1e-6)


def test_two_networks_with_one_seed_see_the_same_crops():
    seen = []
    for model in (PLAIN.model, "compact:width=8"):
        _, batches = learner_on_toytown(PLAIN.model_copy(update={"model": model}), batch=3, size=(32, 32))
        seen.append([batches.batch(step) for step in range(4)])
    for one, other in zip(*seen, strict=True):
        assert one.keys == other.keys
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)


def test_the_running_mean_follows_its_recurrence():
    learner, batches = learner_on_toytown(PLAIN.model_copy(update={"ema": 0.5}), batch=2, size=(32, 32))
    mean = parameters(learner)
    for step in range(3):
        learner.step(batches.batch(step))
        decay = min(0.5, (2 + step) / (11 + step))  # (1 + t) / (10 + t) with t steps done
        mean = decay * mean + (1 - decay) * parameters(learner)
    kept = torch.cat([p.flatten() for p in learner.kept().parameters()]).numpy()
    np.testing.assert_allclose(kept, mean, atol=1e-6)


def test_a_batch_without_a_counted_pixel_changes_nothing():
    learner, batches = learner_on_toytown(PLAIN, batch=2, size=(32, 32))
    batch = batches.batch(0)
    before = parameters(learner)
    loss = learner.step(Batch(batch.images, torch.full_like(batch.targets, 255), batch.keys))
    assert float(loss) == 0
    np.testing.assert_array_equal(parameters(learner), before)


def test_gradients_are_clipped_to_the_norm_asked_for():
    learner, batches = learner_on_toytown(PLAIN.model_copy(update={"clip": 1e-3}), batch=2, size=(32, 32))
    before = parameters(learner)
    learner.step(batches.batch(0))
    moved = np.linalg.norm((parameters(learner) - before).astype(np.float64))
    assert moved == pytest.approx(0.01 * 1e-3, rel=0.02)  # plain SGD moves by lr times the clipped norm


def test_label_smoothing_and_class_weights_reach_the_loss():
    plain, smooth = (
        learner_on_toytown(PLAIN.model_copy(update={"loss": loss}), batch=2, size=(32, 32))
        for loss in (CROSS_ENTROPY, CROSS_ENTROPY.model_copy(update={"label_smoothing": 0.1}))
    )
    batch = plain[1].batch(0)
    images, targets = batch.images, batch.targets.long()
    logits = copy.deepcopy(plain[0].network).train()(images).detach()
    for (learner, _), smoothing in ((plain, 0.0), (smooth, 0.1)):
        expected = torch.nn.functional.cross_entropy(logits, targets, ignore_index=255, label_smoothing=smoothing)
        assert float(learner.step(batch)) == pytest.approx(expected.item(), rel=1e-5)


def test_the_rate_follows_the_schedule():
    learner, batches = learner_on_toytown(
        PLAIN.model_copy(update={"schedule": Schedule(name="cosine", warmup=0.5)}), batch=1, size=(32, 32)
    )
    rates = []
    for step in range(4):
        learner.step(batches.batch(step))
        rates.append(learner.optimizer.param_groups[0]["lr"])
    assert rates[0] < rates[1] < rates[2]
    assert rates[3] < rates[2]


def test_options_of_schedule_optimizer_and_first_weights_reach_the_learner():
    plain, _ = learner_on_toytown(PLAIN, batch=1, size=(32, 32))
    wish = {
        "schedule": Schedule(name="multistep", warmup=0.0, marks=(0.25,), factor=0.5),
        "optimizer": Optimizer(name="sgd", lr=0.01, momentum=0.9, nesterov=False),
        "init": "xavier",
    }
    learner, _ = learner_on_toytown(PLAIN.model_copy(update=wish), batch=1, size=(32, 32))
    rates = []
    for learner.steps_done in range(3):
        rates.append(learner.learning_rate())
    assert rates == [0.01, 0.005, 0.005]
    assert not any(group["nesterov"] for group in learner.optimizer.param_groups)
    name, options = models.parse(PLAIN.model)
    expected = models.build(name, len(learner.plan.class_weights), learner.plan.in_channels, **options)
    initialise(expected, 0, "xavier")
    drawn = torch.cat([value.flatten() for value in expected.parameters()]).detach().numpy()
    np.testing.assert_array_equal(parameters(learner), drawn)
    assert not np.array_equal(parameters(plain), drawn)


def test_thinned_targets_take_each_pixel_of_a_cell_in_turn():
    targets = torch.arange(24, dtype=torch.uint8).view(1, 4, 6)
    for strides, shape in (((2, 2), (1, 2, 3)), ((4, 6), (1, 1, 1)), ((1, 1), (1, 4, 6))):
        places = [thinned(targets, strides, number) for number in range(strides[0] * strides[1])]
        assert {place.shape for place in places} == {shape}
        assert sorted(torch.cat([place.flatten() for place in places]).tolist()) == list(range(24))


def test_scores_at_a_stride_cost_what_the_targets_there_cost():
    recipe = PLAIN.model_copy(update={"model": "compact:width=8", "loss": CROSS_ENTROPY})
    learner, batches = learner_on_toytown(recipe, batch=2, size=(64, 64))
    batch = batches.batch(0)
    scores = copy.deepcopy(learner.network).train().forward_all(batch.images)[0].detach()
    row, column = divmod(key_of(0, "grid", 0) % 4, 2)
    expected = torch.nn.functional.cross_entropy(scores, batch.targets[:, row::2, column::2].long(), ignore_index=255)
    assert float(learner.step(batch)) == pytest.approx(expected.item(), rel=1e-5)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path):
    import segtrial.training

    recipe = PLAIN.model_copy(
        update={
            "data": "toytown:scenes=6,frames=2,size=32x48",
            "steps": 30,
            "optimizer": Optimizer(name="sgd", lr=1e12),
            "threads": 1,
        }
    )
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step \d+. Lower optimizer.lr"):
        segtrial.training.train(recipe, tmp_path / "run")
