"""What a recipe lowers: sums of losses as they are written, over outputs at their strides, however a batch is cut."""

import numpy as np
import pytest
import torch

from segtrial import api, class_weights, losses
from segtrial.classes import Classes
from segtrial.errors import RecipeError, UnknownName
from segtrial.recipe import Optimizer, Recipe, Schedule, from_tree
from segtrial.recipe_parts import Loss
from segtrial.shapes import IGNORE
from segtrial.tasks import make
from segtrial.training.goal import Goal
from tests.training.small import learner_on_toytown

TASK = make("segmentation", Classes.numbered(4))
EVERY_LOSS = sorted(losses.LOSSES["classes"])
PLAIN = {
    "optimizer": Optimizer(name="sgd", lr=0.01, momentum=0.0, weight_decay=0.0),
    "schedule": Schedule(name="constant", warmup=0.0),
    "precision": "float32",
}


def whole(height: int, width: int) -> tuple[int, int]:
    return height, width


def some(classes: int = 4, size: tuple[int, int] = (6, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    targets = torch.randint(0, classes, (3, *size), generator=generator, dtype=torch.uint8)
    targets[:, :2, :3] = IGNORE
    return torch.randn(3, classes, *size, generator=generator), targets


def test_a_sum_is_the_sum_of_its_losses():
    scores, targets = some()
    weights = torch.tensor([1.0, 2.0, 0.5, 3.0])
    goal = Goal(TASK, Loss(name="cross_entropy + 0.5*dice + 2*focal:gamma=1"), weights, whole)
    table = losses.LOSSES["classes"]
    expected = (
        table["cross_entropy"].mean(scores, targets, weights)
        + 0.5 * table["dice"].mean(scores, targets, weights)
        + 2 * table["focal"].using(gamma=1.0).mean(scores, targets, weights)
    )
    found = goal.loss((scores,), targets, 0, goal.weights((scores,), targets, 0))
    torch.testing.assert_close(found, expected)


def test_auxiliary_outputs_have_the_recipes_weight_and_their_own_stride():
    scores, targets = some()
    coarse = torch.randn(3, 4, 3, 4)  # stride 2
    weights = torch.ones(4)
    goal = Goal(TASK, Loss(name="cross_entropy", auxiliary=0.25), weights, whole)
    cross_entropy = losses.LOSSES["classes"]["cross_entropy"]
    for place, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        seen = targets[:, row::2, column::2]
        expected = cross_entropy.mean(scores, targets, weights) + 0.25 * cross_entropy.mean(coarse, seen, weights)
        found = goal.loss((scores, coarse), targets, place, goal.weights((scores, coarse), targets, place))
        torch.testing.assert_close(found, expected)


def test_scores_of_padded_images_are_compared_where_the_image_is():
    """An image of 6x8 in a network that sees 8x8, at stride 2: the last row of scores lies outside."""
    _, targets = some()
    scores = torch.randn(3, 4, 4, 4)
    goal = Goal(TASK, Loss(name="cross_entropy"), torch.ones(4), lambda height, width: (8, 8))
    found = goal.loss((scores,), targets, 0, goal.weights((scores,), targets, 0))
    expected = losses.LOSSES["classes"]["cross_entropy"].mean(scores[:, :, :3], targets[:, ::2, ::2], torch.ones(4))
    torch.testing.assert_close(found, expected)


def test_one_score_for_a_padded_image_is_compared_with_a_pixel_of_the_image():
    _, targets = some()
    scores = torch.randn(3, 4, 1, 1)
    goal = Goal(TASK, Loss(name="cross_entropy"), torch.ones(4), lambda height, width: (64, 64))
    for place in (3, 1000, 4095):
        assert goal.weights((scores,), targets, place).shape == (1, 1)
        assert goal.loss((scores,), targets, place, torch.ones(1, 1)).isfinite()
    counted = sum(int(goal.weights((scores,), targets, place)) for place in range(48))
    assert counted == int((targets != IGNORE).sum())  # over the steps each pixel of the image takes its turn


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_pieces_of_a_batch_learn_like_the_whole(name):
    """Through the learner, with a network that scores at stride 2 and batch normalisation that could tell."""
    ends = []
    for pieces in (1, 3):
        recipe = Recipe(model="unet:batchnorm=false,width=4,depth=2", steps=4, loss=Loss(name=name), **PLAIN)
        recipe = recipe.model_copy(update={"accumulate": pieces})
        learner, batches = learner_on_toytown(recipe, batch=5, size=(32, 32))
        loss = float(learner.step(batches.batch(0)))
        ends.append((loss, torch.cat([p.detach().flatten() for p in learner.network.parameters()]).numpy()))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-4)
    np.testing.assert_allclose(ends[0][1], ends[1][1], atol=1e-6)


@pytest.mark.parametrize("name", EVERY_LOSS)
def test_every_loss_goes_down(name):
    recipe = Recipe(model="compact:width=8", steps=25, loss=Loss(name=name), **PLAIN | {"optimizer": Optimizer()})
    learner, batches = learner_on_toytown(recipe, batch=4, size=(32, 32))
    batch = batches.batch(0)
    seen = [float(learner.step(batch)) for _ in range(25)]
    assert seen[-1] < 0.95 * seen[0]


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        ("dise", UnknownName, "Did you mean 'dice'"),
        ("", RecipeError, "has an empty part. Write losses joined by"),
        ("cross_entropy+", RecipeError, "'cross_entropy.' has an empty part"),
        ("focal:gamma=1,gamma=2", RecipeError, "sets an option of focal twice"),
        ("1e308*dice", RecipeError, "or too large. Choose up to 1000"),
        ("tversky:alpha=1e308", RecipeError, "Choose a number from 0 to 1000"),
        ("focal:gama=1", UnknownName, "Did you mean 'gamma'"),
        ("dice:smooth=1", RecipeError, "dice has no option 'smooth'. Write dice alone"),
        ("focal:gamma=-1", RecipeError, "gamma=-1. Choose a number from 0 to 100"),
        ("cross_entropy:logit_adjustment=2", RecipeError, "logit_adjustment=2. Choose a number from 0 to 1"),
        ("ohem:share=0", RecipeError, "share=0. Choose a number above 0, at most 1"),
        ("focal:gamma=x", RecipeError, "gamma=x is no number. Write"),
        ("focal:gamma=nan", RecipeError, "is no number"),
        ("0*dice", RecipeError, "not above 0, or too large"),
        ("-1*dice", RecipeError, "not above 0"),
        ("a*dice", RecipeError, "the factor 'a' is no number"),
        ("dice + 2*dice", RecipeError, "names a loss twice. Add their factors up"),
        ("cross_entropy:label_smoothing=0.1", RecipeError, "Set loss.label_smoothing instead"),
    ],
)
def test_a_wrong_loss_is_explained(name, error, match):
    with pytest.raises(error, match=match.replace("(", r"\(")):
        losses.terms(name)


def test_label_smoothing_is_the_cross_entropys():
    (term,) = losses.terms("cross_entropy", label_smoothing=0.1)
    scores, targets = some()
    expected = losses.cross_entropy(scores, targets, label_smoothing=0.1)
    torch.testing.assert_close(term.loss.total(scores, targets), expected)
    with pytest.raises(RecipeError, match=r"0\.1 without cross_entropy in 'dice'"):
        losses.terms("dice", label_smoothing=0.1)


def test_a_wrong_loss_is_said_before_the_data_is_read(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'dice'"):
        api.train(data=tmp_path / "nothing", out=tmp_path / "run", settings=["loss.name=dise"])
    assert not (tmp_path / "run").exists()


def test_factors_may_have_exponents():
    assert [term.factor for term in losses.terms("1e+1*dice+2E-1*focal+3*ohem + cross_entropy")] == [10, 0.2, 3, 1]


@pytest.mark.parametrize("name", class_weights.NAMES)
def test_every_class_weighting_can_be_chosen(name):
    assert from_tree({"loss": {"class_weights": name}}).loss.class_weights == name
