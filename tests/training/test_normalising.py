"""Batch normalisation measured anew: torch's own `update_bn` agrees, what is frozen stays, every image counts once."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from segtrial import modelfile, training
from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.recipe import Recipe, from_tree
from segtrial.recipe_parts import Encoder, Regularise
from segtrial.signals import StopRequest
from segtrial.training import Silent
from segtrial.training.normalising import (
    LARGEST,
    TOGETHER,
    _images_wanted,
    batches_of,
    measure,
    middles,
    statistics_put_back,
)
from tests.training.small import DATA, learner_on_toytown

NO_DROPOUT = Regularise(dropout=0.0)


def taught(**fields):
    """A learner after a step on toytown, and the training images."""
    recipe = Recipe(steps=2, regularise=NO_DROPOUT, **fields)
    learner, batches = learner_on_toytown(recipe, batch=2, size=(32, 32))
    learner.step(batches.batch(0))
    return learner, open_store(open_dataset(learner.recipe.data), "train")


def norms(network):
    return {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}


@pytest.mark.parametrize("keep", ["ema", "last"])
def test_it_is_what_torch_measures(keep):
    learner, train = taught(model="unet:width=4,depth=2", keep=keep, precision="float32")
    theirs, before = copy.deepcopy(learner.kept()), copy.deepcopy(learner.kept().state_dict())
    batches = batches_of(train.sizes, _images_wanted(learner.plan, train.sizes))
    assert len(batches) > 0
    update_bn([torch.from_numpy(np.stack([train[i].image for i in batch])) for batch in batches], theirs)
    assert measure(learner, train, Silent(), StopRequest())
    ours = learner.kept()
    for name, module in norms(theirs).items():
        torch.testing.assert_close(norms(ours)[name].running_mean, module.running_mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norms(ours)[name].running_var, module.running_var, rtol=1e-4, atol=1e-5)
        assert not torch.equal(module.running_var, before[f"{name}.running_var"])
    moved = {name for name, value in ours.state_dict().items() if not torch.equal(value, before[name])}
    assert all("running_" in name or "num_batches" in name for name in moved), "no weight moves"
    assert all(module.momentum == 0.1 for module in norms(ours).values()), "as it was"


def test_what_is_frozen_keeps_its_own():
    learner, train = taught(model="fcn:encoder=resnet18", encoder=Encoder(freeze="all"))
    before = copy.deepcopy(learner.kept().state_dict())
    names = learner._frozen.names
    measured = measure(learner, train, Silent(), StopRequest())
    after = learner.kept().state_dict()
    assert all(torch.equal(after[name], before[name]) for name in names)
    assert measured == any(not torch.equal(after[name], before[name]) for name in after)


def test_heads_for_the_loss_alone_see_no_image_and_keep_their_own():
    learner, train = taught(model="pspnet:encoder=resnet18", keep="last")
    before = copy.deepcopy(learner.kept().state_dict())
    assert measure(learner, train, Silent(), StopRequest())
    moved = {name for name, value in learner.kept().state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in moved} == {"encoder", "pyramid", "fuse"}, moved


def test_training_goes_on_as_if_nothing_had_been_measured():
    learner, train = taught(model="unet:width=4,depth=2", keep="last")
    before = copy.deepcopy(learner.network.state_dict())
    with statistics_put_back(learner):
        assert measure(learner, train, Silent(), StopRequest())
        assert any(not torch.equal(value, before[name]) for name, value in learner.network.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in learner.network.state_dict().items())


def test_how_often_val_is_scored_does_not_change_what_is_learnt(tmp_path):
    """Its pooled branch answers a single image with running statistics while it learns."""
    fields = {"model": "deeplabv3:encoder=resnet18", "data": DATA, "steps": 3, "keep": "last", "threads": 1}
    phases = [{"share": 1, "batch": 1, "crop": 1.0, "scale": [1, 1]}]
    weights = []
    for evaluations in (1, 3):
        wish = from_tree({**fields, "phases": phases, "evaluations": evaluations})
        run = training.train(wish, tmp_path / str(evaluations))
        weights.append(dict(modelfile.load(run / "model.safetensors").network.named_parameters()))
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.parametrize("model", ["unet:width=4,depth=2,batchnorm=false", "compact"])
def test_it_says_whether_there_was_anything_to_measure(model):
    learner, train = taught(model=model)
    assert measure(learner, train, Silent(), StopRequest()) == (model == "compact")


SIZES = st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 3000)), min_size=1, max_size=60)


@given(sizes=SIZES, wanted=st.integers(TOGETHER, 200))
def test_every_image_is_taken_at_most_once_and_never_alone(sizes, wanted):
    batches = batches_of(sizes, wanted)
    taken = [index for batch in batches for index in batch]
    assert len(set(taken)) == len(taken) <= min(wanted, len(sizes))
    assert all(2 <= len(batch) <= TOGETHER for batch in batches)
    assert len(taken) >= min(wanted, len(sizes)) - 1, "only one that is left over is left out"


def test_the_images_lie_evenly_over_all():
    (one, two) = batches_of([(10, 10)] * 1000, 16)
    steps = np.diff(sorted(one + two))
    assert steps.min() >= 66
    assert steps.max() <= 67


def test_large_images_go_two_by_two():
    assert [len(batch) for batch in batches_of([(4000, 3000)] * 8, 8)] == [2, 2, 2, 2]


def test_how_many_images_are_wanted():
    """A twentieth of the pixels that were learnt from, from 8 images to 2^24 pixels, sides beyond 1,024 left out."""
    learner, _ = taught(model="compact")
    phase = learner.plan.phases[0].model_copy(update={"batch": 10, "size": (100, 100)})

    def wanted(steps, *sizes):
        plan = learner.plan.model_copy(update={"phases": (phase.model_copy(update={"steps": steps}),)})
        return _images_wanted(plan, sizes)

    assert wanted(100, (50, 100)) == 100  # .05 x 10,000,000 pixels, of 5,000 each
    assert wanted(1, (50, 100)) == 8
    assert wanted(10**6, (360, 480)) == 97  # 16,777,216 / 172,800
    assert wanted(10**6, (4096, 2048)) == 16


def test_the_middle_of_each_image_is_taken():
    images = [np.arange(60, dtype=np.uint8).reshape(1, 6, 10), np.arange(60, 88, dtype=np.uint8).reshape(1, 4, 7)]
    found = middles(images).numpy()
    np.testing.assert_array_equal(found[0], images[0][:, 1:5, 1:8])
    np.testing.assert_array_equal(found[1], images[1])
    tall = middles([np.zeros((3, LARGEST + 9, 5), np.uint8)] * 2)
    assert tall.shape == (2, 3, LARGEST, 5)
