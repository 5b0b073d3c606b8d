"""What every encoder promises, whatever its family."""

from itertools import product

import pytest
import torch
from torch import nn

from segtrial.models._encoder import RESNETS, VGGS, make_encoder
from segtrial.models._resnet import ResNet

EVERY_ENCODER = pytest.mark.parametrize("name", [*RESNETS, *VGGS])


STRIDES, CHANNELS = (4, 8, 16, 32), (1, 3, 4)


@EVERY_ENCODER
@pytest.mark.parametrize(
    ("output_stride", "channels"),
    [  # slow: neither a usual stride nor the usual channels
        pytest.param(*pair, marks=[pytest.mark.slow] * (pair[0] != 32 and pair[1] != 3))
        for pair in product(STRIDES, CHANNELS)
    ],
)
def test_each_level_has_its_stride_and_channels(name, output_stride, channels):
    with torch.device("meta"):  # shapes only
        encoder = make_encoder(name, channels, output_stride)
        maps = encoder(torch.empty(2, channels, 64, 96))
    strides = [min(2**level, output_stride) for level in range(6)]
    expected = [(2, wide, 64 // s, 96 // s) for wide, s in zip(encoder.channels, strides, strict=True)]
    assert [tuple(each.shape) for each in maps] == expected
    assert encoder.output_stride == output_stride


@EVERY_ENCODER
def test_stages_hold_every_parameter_once(name):
    with torch.device("meta"):
        encoder = make_encoder(name)
    layers = [layer for stage in encoder.stages() for layer in stage]
    assert [id(p) for layer in layers for p in layer.parameters()] == [id(p) for p in encoder.parameters()]
    assert len(encoder.stages()) == 5


@pytest.mark.parametrize(("name", "size"), [("resnet18", 512), ("resnet50", 512), ("vgg11", 256)])
@torch.no_grad()
def test_a_dilated_encoder_computes_what_the_strided_one_does_and_more_between(name, size):
    """Away from the border: a pixel in the middle of a large image is compared; a VGG sees 150 pixels around it."""
    torch.manual_seed(0)
    coarse, dense = make_encoder(name).eval(), make_encoder(name, output_stride=16).eval()
    for module in coarse.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)  # at 0 a residual branch says nothing
    dense.load_state_dict(coarse.state_dict())
    if name == "vgg11":
        dense.features[-1] = nn.MaxPool2d(2, 1)  # the same window; the encoder's own is 3x3, to keep the size
    if name == "resnet18":  # torchvision's first dilated block keeps the old dilation, where its stride was and after
        dense.layer4[0].conv2.dilation = dense.layer4[0].conv2.padding = (2, 2)
    image = torch.randn(1, 3, size, size)
    few, many, middle = coarse(image)[-1], dense(image)[-1], size // 64
    torch.testing.assert_close(many[..., 2 * middle, 2 * middle], few[..., middle, middle], rtol=1e-4, atol=1e-4)


def test_multi_grid_multiplies_the_dilations_of_the_last_stage():
    encoder = ResNet(50, output_stride=16, multi_grid=(1, 2, 4))
    assert [block.conv2.dilation for block in encoder.layer4] == [(2, 2), (4, 4), (8, 8)]  # DeepLab v3, figure 5
    assert [block.conv2.dilation for block in encoder.layer3] == [(1, 1)] * 6


def test_the_cifar_stem_is_four_times_finer():
    with torch.device("meta"):
        encoder = ResNet(18, stem="cifar")
        maps = encoder(torch.empty(2, 3, 32, 32))
    assert [each.shape[-1] for each in maps] == [32, 32, 32, 16, 8, 4]  # section 4.2 ends at 8; ImageNet's has 4 stages
    assert encoder.output_stride == 8
