"""Learning from blended images: the loss of both targets by their shares, however the batch is cut."""

from dataclasses import replace

import pytest
import torch

from segtrial.errors import RecipeError
from segtrial.recipe import Augment, Loss, Recipe, from_tree
from tests.training.small import learner_on_toytown
from tests.training.test_learner import PLAIN, parameters

SMALL = {"model": "unet:batchnorm=false,width=8", "loss": Loss(name="cross_entropy", class_weights="none")}
RECIPE = PLAIN.model_copy(update={"augment": Augment(mixup=0.5), **SMALL})


def made(recipe: Recipe = RECIPE):
    """A learner and a blended batch all of whose pixels count."""
    learner, batches = learner_on_toytown(recipe, batch=5, size=(32, 32))
    batch = batches.batch(1)
    assert batch.share < 0.99
    targets, partners = (labels.where(labels != 255, 0) for labels in (batch.targets, batch.partners))
    return learner, replace(batch, targets=targets, partners=partners)


def test_the_loss_is_the_cross_entropy_of_shared_targets():
    """torch's own, which takes a probability of each class for a target."""
    learner, batch = made()
    logits = learner.network.train()(batch.images).detach()
    one, other = (
        torch.nn.functional.one_hot(labels.long(), logits.shape[1]).movedim(-1, 1)
        for labels in (batch.targets, batch.partners)
    )
    expected = torch.nn.functional.cross_entropy(logits, batch.share * one + (1 - batch.share) * other)
    assert float(learner.step(batch)) == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["cross_entropy", "cross_entropy + dice"])
def test_pieces_learn_like_the_whole_batch(name):
    ends = []
    for pieces in (1, 3):
        loss = Loss(name=name, class_weights="inverse_sqrt")
        learner, batch = made(RECIPE.model_copy(update={"accumulate": pieces, "loss": loss}))
        ends.append((float(learner.step(batch)), parameters(learner)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)
    assert abs(ends[0][1] - ends[1][1]).max() < 1e-6


def test_a_partner_that_is_the_image_itself_changes_nothing():
    """s L(a) + (1 - s) L(a) = L(a)."""
    ends = []
    for share in (1.0, 0.7):
        learner, batch = made()
        partners = None if share == 1 else batch.targets
        loss = learner.step(replace(batch, partners=partners, share=share))
        ends.append((float(loss), parameters(learner)))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-5)
    assert abs(ends[0][1] - ends[1][1]).max() < 1e-6


def test_colours_cannot_be_shared():
    with pytest.raises(RecipeError, match=r"augment\.mixup blends the answers too, which colorization makes"):
        from_tree({"task": "colorization", "augment": {"mixup": 0.2}})
    assert from_tree({"task": "classification", "augment": {"mixup": 0.2}}).augment.mixup == 0.2
