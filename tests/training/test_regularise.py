"""Dropout before the scores and skipped blocks: laws of their draws, and nothing of them once training is over."""

import math
import shutil
from collections import Counter
from typing import Any

import pytest
import torch
from torch import nn

from segtrial import files, modelfile, models, training
from segtrial.api import make_recipe
from segtrial.errors import Interrupted, RecipeError
from segtrial.models._blocks import DropPath, Residual, ScoreConv
from segtrial.models._init import initialise
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Optimizer, Regularise, Schedule
from segtrial.training.fine_tuning import empty_core
from segtrial.training.regularise import check, drop_before_scores, skip_blocks
from tests.training.killing import digests
from tests.training.small import learner_on_toytown

SIGMAS = 5
"""How far a mean of seeded draws may lie from its expectation."""

RESNET = "fcn:encoder=resnet18"


def core_of(spec: str) -> nn.Module:
    name, options = models.parse(spec)
    core = models.build(name, 4, 3, **options)
    initialise(core, 0)
    return core


def recipe_with(model: str = "compact:width=8", **wish) -> Recipe:
    return Recipe(
        model=model,
        steps=4,
        precision="float32",
        ema=0.9,
        optimizer=Optimizer(name="sgd", lr=0.01),
        schedule=Schedule(name="constant", warmup=0.0),
        regularise=Regularise(**wish),
    )


# ---- what is dropped -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_a_dropped_path_keeps_its_expectation_and_is_whole_or_nothing(rate):
    torch.manual_seed(0)
    draws = 20_000
    seen = DropPath(rate).train()(torch.full((draws, 2, 1, 3), 2.0))
    assert torch.equal(seen, seen[:, :1, :, :1].expand_as(seen))  # an image goes or stays as a whole
    assert seen.unique().tolist() == pytest.approx([0, 2 / (1 - rate)])
    spread = 2 * math.sqrt(rate / (1 - rate) / draws)
    assert seen[:, 0, 0, 0].mean().item() == pytest.approx(2, abs=SIGMAS * spread)


@pytest.mark.parametrize("whole_channels", [False, True])
def test_scores_are_unbiased_and_values_or_channels_are_dropped(whole_channels):
    """A scoring convolution is linear, so the mean of its scores over the draws is the score without any."""
    torch.manual_seed(0)
    rate, draws, channels = 0.3, 1000, 5
    core = nn.Sequential(nn.Dropout(0.9), ScoreConv(channels, 1, 1, bias=False))  # the first is turned off
    weight, maps = torch.rand(channels), torch.rand(channels, 2, 2)
    core[1].weight.data = weight.view(1, channels, 1, 1)
    drop_before_scores(core, rate, whole_channels=whole_channels)
    scores = core.train()(maps.expand(draws, channels, 2, 2)).detach()
    expected = core.eval()(maps[None]).detach()
    torch.testing.assert_close(expected[0, 0], torch.einsum("c,chw->hw", weight, maps))
    spread = ((weight[:, None, None] * maps).square().sum(0) * rate / (1 - rate) / draws).sqrt()
    assert ((scores.mean(0)[0] - expected[0, 0]).abs() < SIGMAS * spread).all()
    # Two pixels of a channel share their fate if it goes as a whole, else their scores are independent.
    torch.manual_seed(1)
    one = core.train()(torch.cat([torch.ones(draws, 1, 2, 2), torch.zeros(draws, channels - 1, 2, 2)], 1))
    same = (one[:, 0, 0, 0] == one[:, 0, 1, 1]).float().mean().item()
    alike = 1.0 if whole_channels else rate**2 + (1 - rate) ** 2
    assert same == pytest.approx(alike, abs=1e-9 if whole_channels else SIGMAS * 0.5 / math.sqrt(draws))


@pytest.mark.parametrize("spec", [RESNET, "compact:width=8", "segformer"])
def test_blocks_survive_by_the_linear_rule(spec):
    core, rate, images = core_of(spec), 0.6, 64
    assert skip_blocks(core, rate)
    blocks = [module for module in core.modules() if isinstance(module, Residual)]
    assert [block.drop_path.rate for block in blocks] == pytest.approx(
        [rate * number / len(blocks) for number in range(1, len(blocks) + 1)]
    )
    dropped = [0] * len(blocks)
    passed = [0] * len(blocks)

    def count(number):
        def hook(module, inputs, output):
            passed[number] += len(output)
            dropped[number] += int((output.flatten(1) == 0).all(1).sum())

        return hook

    for number, block in enumerate(blocks):
        block.drop_path.register_forward_hook(count(number))
    for module in core.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # else branches start at nothing by themselves
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            core.train()(torch.rand(images, 3, 64, 64))
    for number, (lost, total) in enumerate(zip(dropped, passed, strict=True), 1):
        share = rate * number / len(blocks)  # Huang et al., equation 4: 1 - l/L (1 - p_L) survive
        assert lost / total == pytest.approx(share, abs=SIGMAS * math.sqrt(share * (1 - share) / total)), number


def test_each_image_draws_for_itself():
    torch.manual_seed(0)
    kept = DropPath(0.5).train()(torch.ones(64, 1, 1, 1)).flatten() > 0
    assert 0 < kept.sum() < 64


@pytest.mark.parametrize("name", models.names())
def test_every_network_has_scores_to_drop_before(name):
    assert any(isinstance(module, ScoreConv) for module in empty_core(name).modules())


def test_timms_own_rule_is_taken_where_it_has_one():
    core = core_of("fpn:encoder=timm/resnet10t")
    before = {name: value.clone() for name, value in core.state_dict().items()}
    state = torch.get_rng_state()
    assert skip_blocks(core, 0.3)
    assert torch.equal(torch.get_rng_state(), state)
    after = core.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    rates = [module.drop_prob for module in core.modules() if hasattr(module, "drop_prob") and module.drop_prob]
    assert rates == pytest.approx([0.1, 0.2, 0.3])  # four blocks, of which the first is never skipped
    assert skip_blocks(core, 0.0)
    assert not any(getattr(module, "drop_prob", 0) for module in core.modules())


# ---- what it leaves alone --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [RESNET, "segformer", "pspnet:encoder=resnet18"])
def test_no_tensor_is_new_and_eval_is_the_same_bit_for_bit(spec):
    plain, other = core_of(spec).eval(), core_of(spec).eval()
    drop_before_scores(other, 0.5, whole_channels=False)
    skip_blocks(other, 0.5)
    assert plain.state_dict().keys() == other.state_dict().keys()
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(plain(image)[0], other.eval()(image)[0])


def after_a_step(recipe: Recipe) -> dict[str, torch.Tensor]:
    learner, batches = learner_on_toytown(recipe, batch=3, size=(32, 32))
    learner.step(batches.batch(0))
    return learner.network.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_nothing_asked_for_changes_nothing_and_each_wish_changes_a_step():
    plain = after_a_step(recipe_with())
    assert same(plain, after_a_step(recipe_with(dropout=0.0, stochastic_depth=0.0)))
    wishes: tuple[dict[str, Any], ...] = (
        {"dropout": 0.5},
        {"dropout": 0.5, "dropout_of": "channels"},
        {"stochastic_depth": 0.9},
    )
    found = [plain, *(after_a_step(recipe_with(**wish)) for wish in wishes)]
    assert not any(same(one, other) for number, one in enumerate(found) for other in found[:number])
    assert same(found[-1], after_a_step(recipe_with(stochastic_depth=0.9)))


def test_a_number_takes_the_place_of_the_papers_own():
    """SegFormer drops paths and values by itself; at 0 a training step is the eval network, bit for bit."""
    learner, batches = learner_on_toytown(
        recipe_with("segformer", dropout=0.0, stochastic_depth=0.0), batch=2, size=(32, 32)
    )
    network, images = learner.network, batches.batch(0).images
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.track_running_stats, module.running_mean, module.running_var = False, None, None
    with torch.no_grad():
        assert torch.equal(network.train().forward_all(images)[0], network.eval().forward_all(images)[0])


WORDS = (
    "threads=1", "precision=float32", "evaluations=1", "checkpoint_seconds=1000", "progress_steps=1",
    "phases=[{share: 1, batch: 2, crop: 1, scale: [1, 1]}]", "accumulate=2",
    "regularise.dropout=0.4", "regularise.stochastic_depth=0.5",
)  # fmt: skip


def trained(out, *more):
    words = {"model": "compact:width=8", "data": "toytown:scenes=6,frames=2,size=32x48"}
    return training.train(make_recipe(words, {"steps": 4}, None, (*WORDS, *more)), out)


def test_a_killed_run_ends_with_the_same_bits_and_its_file_knows_nothing(tmp_path, monkeypatch):
    whole = trained(tmp_path / "whole")
    monkeypatch.setattr(files, "_passages", Counter())
    monkeypatch.setenv("SEGTRIAL_FAILPOINT", "append.after:3:TERM")
    with pytest.raises(Interrupted):
        trained(tmp_path / "again")
    monkeypatch.delenv("SEGTRIAL_FAILPOINT")
    assert digests(trained(tmp_path / "again")) == digests(whole)

    loaded = modelfile.load(shutil.copy(whole / "model.safetensors", tmp_path / "moved.safetensors")).network
    assert not any(isinstance(module, DropPath) for module in loaded.modules())
    image = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    exported = torch.export.export(loaded, (image,)).module()
    torch.testing.assert_close(exported(image), loaded(image), rtol=1e-5, atol=1e-5)


# ---- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["unet", "fcn:encoder=vgg11", "fpn:encoder=timm/vgg11"])
def test_a_network_without_residual_blocks_refuses_to_skip_any(model):
    with pytest.raises(
        RecipeError, match=r"has no residual blocks to skip\..*compact, .*segformer, .*unet:encoder=resnet34"
    ):
        check(recipe_with(model, stochastic_depth=0.1))
    check(recipe_with(model, dropout=0.1))


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"dropout": 1.0}, "less than 1"),
        ({"stochastic_depth": -0.1}, "greater than or equal to 0"),
        ({"dropout_of": "channels"}, "dropout_of=channels is given without dropout"),
    ],
)
def test_what_is_no_probability_is_refused(wish, message):
    with pytest.raises(ValueError, match=message):
        Regularise(**wish)
