"""timm's networks as encoders, against timm itself."""

import pytest
import timm
import torch
from torch import nn

from segtrial.errors import RecipeError
from segtrial.models._encoder import make_encoder
from segtrial.models._init import initialise
from segtrial.models._timm import TimmViT
from segtrial.models.fpn import build

FAST = ("resnet10t", "mobilenetv3_small_050")
SLOW = ("convnext_atto", "edgenext_xx_small", "efficientnet_b0.ra_in1k", "dla34", "densenet121", "pvt_v2_b0")
WINDOWED = "swin_tiny_patch4_window7_224"  # timm's own takes 224 x 224 only


def some_networks(*slow: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in slow)])


def first(name: str, seed: int = 0) -> nn.Module:
    encoder = make_encoder(name)
    initialise(encoder, seed)
    return encoder


@some_networks(*SLOW)
@torch.no_grad()
def test_maps_are_timms_features(name):
    ours = first(f"timm/{name}").eval()
    theirs = timm.create_model(name, features_only=True, feature_cls="getter", out_indices=ours.indices).eval()
    theirs.model.load_state_dict(ours.body.state_dict())
    image = torch.randn(1, 3, 64, 96)
    maps = {64 // each.shape[2]: each for each in ours(image) if each.shape[1]}
    for stride, expected in zip(theirs.feature_info.reduction(), theirs(image), strict=True):
        torch.testing.assert_close(maps.pop(stride), expected)
    assert not maps


@some_networks(*SLOW, WINDOWED)
def test_each_level_has_its_stride_and_channels_and_each_parameter_its_stage(name):
    with torch.device("meta"):
        encoder = make_encoder(f"timm/{name}", 4)
        maps = encoder(torch.empty(2, 4, 96, 64))
    assert [tuple(m.shape) for m in maps] == [(2, c, 96 >> i, 64 >> i) for i, c in enumerate(encoder.channels)]
    assert all(encoder.channels[2:])
    stages = encoder.stages()
    held = [id(p) for stage in stages for layer in stage for p in layer.parameters()]
    assert held == [id(p) for p in encoder.parameters()]
    assert 4 <= len(stages) <= 6


@pytest.mark.parametrize(
    "name",
    [
        "mvitv2_tiny",  # timm names layers of it that are not there; so also of the next
        "twins_svt_small",
        pytest.param("twins_pcpvt_small", marks=pytest.mark.slow),
        pytest.param("convnext_atto", marks=pytest.mark.slow),
        "qwen3_vit_88m",  # its layers lie in a part that has parameters of its own
        "test_vit",
        pytest.param("vit_tiny_patch16_224", marks=pytest.mark.slow),
    ],
)
def test_every_parameter_is_in_exactly_one_stage(name):
    vit = "vit" in name and name != "mvitv2_tiny"
    with torch.device("meta"):
        encoder = TimmViT(name) if vit else make_encoder(f"timm/{name}")
    stages = encoder.stages()
    held = [id(p) for stage in stages for layer in stage for p in layer.parameters()]
    assert sorted(held) == sorted(id(p) for p in encoder.parameters())
    assert len(stages) >= 2
    assert all(stages)


def test_a_network_that_can_keeps_the_output_stride():
    with torch.device("meta"):
        encoder = make_encoder("timm/resnet10t", output_stride=8)
        maps = encoder(torch.empty(2, 3, 64, 96))
    assert [m.shape[2] for m in maps] == [64, 32, 16, 8, 8, 8]
    assert encoder.output_stride == 8


def test_first_weights_are_timms_and_depend_on_the_seed_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    network = build(2, encoder="timm/mobilenetv3_small_050")
    initialise(network, seed=3)
    before = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    nn.init.zeros_(network.encoder.body.conv_stem.weight)
    network.encoder.body.bn1.running_mean.fill_(7)
    torch.set_rng_state(state)
    initialise(network, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in network.encoder.state_dict().items())
    fan_out = 16 * 3 * 3  # of timm's rule for convolutions in networks of this family: normal, 2 / fan out
    assert before["body.conv_stem.weight"].std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    initialise(network, seed=4)
    assert not torch.equal(network.encoder.body.conv_stem.weight, before["body.conv_stem.weight"])


def test_a_pyramid_learns_with_timms_encoder():
    network = build(2, encoder="timm/convnext_atto").train()
    initialise(network, seed=0)
    scores, *_ = network(torch.randn(2, 3, 64, 64))
    scores.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize(
    ("name", "stride", "message"),
    [
        ("resnet10", 32, "encoder timm/resnet10: timm has no network of this name. Nearest: resnet10t, "),
        ("hf-hub:timm/resnet18", 32, "timm has no network of this name"),
        ("test_vit", 32, "maps at strides 16; 4, 8, 16, 32 are needed.*linear:encoder=timm/test_vit"),
        ("efficientformerv2_s0", 32, "timm cannot make maps at strides 4, 8, 16, 32 of it"),  # 224 x 224 only
        ("edgenext_xx_small", 16, "timm cannot.*'output_stride'.*Choose another encoder, or output_stride 32"),
    ],
)
def test_what_timm_cannot_give_is_refused(name, stride, message):
    with pytest.raises(RecipeError, match=message):
        make_encoder(f"timm/{name}", output_stride=stride)
