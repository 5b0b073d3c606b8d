"""SegNet against the counts of its released network and against torch's own unpooling."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from segtrial.models._blocks import ScoreConv
from segtrial.models._init import initialise
from segtrial.models.segnet import BasicEncoder, build, pool, unpool


@pytest.mark.parametrize(
    ("batchnorm", "oracle"), [(True, torchvision.models.vgg16_bn), (False, torchvision.models.vgg16)]
)
def test_the_trunk_is_that_of_vgg16(batchnorm, oracle):
    with torch.device("meta"):
        ours, theirs = build(11, batchnorm=batchnorm).encoder.state_dict(), oracle().features.state_dict()
    assert {k: v.shape for k, v in ours.items()} == {f"features.{k}": v.shape for k, v in theirs.items()}


def test_26_convolutions_and_nothing_after_the_last():
    with torch.device("meta"):
        network = build(11)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 26
    # the released network, encoder and decoder, read from its prototxt
    widths = [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    mirror = [512] * 5 + [256] * 3 + [128] * 2 + [64] * 1 + [64, 11]
    assert [c.out_channels for c in convolutions] == widths + mirror
    assert list(network.modules())[-1] is convolutions[-1]


SIZES = pytest.mark.parametrize("size", [(8, 6), (7, 9), (1, 5), (1, 1)], ids=str)


@SIZES
@pytest.mark.parametrize("levels", [2, 1000])
def test_unpooling_is_torchs(size, levels):
    """Also where windows hold equal maxima (2 levels), and where they hang over the edge."""
    torch.manual_seed(0)
    x = torch.randint(levels, (2, 3, *size)).float().requires_grad_()
    pooled, place = pool(x)
    theirs, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    assert torch.equal(pooled, theirs)
    ours, expected = unpool(pooled, place, x.shape[-2:]), F.max_unpool2d(theirs, index, 2, output_size=size)
    assert torch.equal(ours, expected)
    weight = torch.rand_like(ours)
    assert torch.equal(
        torch.autograd.grad((ours * weight).sum(), x)[0], torch.autograd.grad((expected * weight).sum(), x)[0]
    )


@SIZES
def test_maxima_return_to_where_they_were(size):
    torch.manual_seed(0)
    x = 1 + torch.rand(2, 3, *size)
    back = unpool(*pool(x), x.shape[-2:])
    assert torch.equal(back[back > 0], x[back > 0])
    assert torch.equal(pool(back)[0], pool(x)[0])


@pytest.mark.parametrize(("variant", "expected"), [("full", [23, 45, 90, 180, 360]), ("basic", [45, 90, 180, 360])])
def test_the_papers_odd_maps_are_45_and_23_rows_high(variant, expected):
    with torch.device("meta"):
        network = build(11, variant=variant)
        heights = []
        for stage in network.decoder:
            stage.register_forward_hook(lambda module, inputs, output: heights.append(output.shape[2]))
        network(torch.empty(1, 3, 360, 480))
    assert heights == expected


def test_the_basic_variant_has_the_layers_of_its_prototxt():
    with torch.device("meta"):
        network = build(11, variant="basic")
    kinds = [type(m) for m in network.modules() if not list(m.children())]
    encoder = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d] * 4
    assert kinds == [*encoder, *[nn.Conv2d, nn.BatchNorm2d] * 4, ScoreConv]  # no ReLU in the decoder
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [c.kernel_size for c in convs] == [(7, 7)] * 8 + [(1, 1)]
    assert [c.out_channels for c in convs] == [64] * 8 + [11]


@torch.no_grad()
def test_the_basic_variant_sees_106_pixels():
    """Paper, section 3: a pixel of the deepest map can be traced back to a window of 106 x 106."""
    encoder = BasicEncoder(1, batchnorm=False)
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1e-3)
            nn.init.zeros_(module.bias)
    image = torch.zeros(1, 1, 160, 160)
    answers = []
    for column in (34, 35, 140, 141):  # cell 5 is centred on 5 x 16 + 7.5 = 87.5, so that its window is 35 to 140
        image.zero_()[..., 80, column] = 1
        answers.append(encoder(image)[4][0, 0, 5, 5].item() > 0)
    assert answers == [False, True, True, False]


def test_the_basic_encoder_keeps_every_encoders_promise():
    with torch.device("meta"):
        encoder = BasicEncoder(3, batchnorm=True)
        maps = encoder(torch.empty(2, 3, 64, 96))
    strides = [min(2**level, 16) for level in range(6)]
    expected = [(2, wide, 64 // s, 96 // s) for wide, s in zip(encoder.channels, strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected
    layers = [layer for stage in encoder.stages() for layer in stage]
    assert [id(p) for layer in layers for p in layer.parameters()] == [id(p) for p in encoder.parameters()]
    assert len(encoder.stages()) == 4


@pytest.mark.parametrize("variant", ["full", "basic"])
@torch.no_grad()
def test_every_maximum_is_put_back_where_it_came_from(variant):
    """In the network itself: what enters a decoder stage is not zero only where the pool's input was largest."""
    network = build(3, variant=variant).eval()
    initialise(network, seed=0)
    pooled, entered = [], []
    pools = [place for place, layer in enumerate(network.encoder.features) if isinstance(layer, nn.MaxPool2d)]
    for place in pools:
        before = network.encoder.features[place - 1]
        before.register_forward_hook(lambda module, inputs, output: pooled.append(output))
    for stage in network.decoder:
        stage.register_forward_pre_hook(lambda module, inputs: entered.append(inputs[0]))
    network(torch.randn(1, 3, 45, 60))
    assert len(pooled) == len(entered)
    for x, back in zip(reversed(pooled), entered, strict=True):
        assert back.shape == x.shape
        largest = F.interpolate(F.max_pool2d(x, 2, ceil_mode=True), scale_factor=2)
        assert (x == largest[..., : x.shape[2], : x.shape[3]])[back != 0].all()
