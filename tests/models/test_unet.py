"""U-Net against the counts of its paper and against segmentation_models_pytorch."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._init import initialise
from segtrial.models.unet import UpConv, build


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("classes", "channels", "options", "expected"),
    [
        (2, 1, {"batchnorm": False}, 31_030_658),
        (2, 3, {"batchnorm": False}, 31_031_810),
        (32, 3, {"batchnorm": False}, 31_033_760),
        (2, 3, {}, 31_043_586),
        (1, 3, {"encoder": "resnet18"}, 14_328_209),
        (1, 3, {"encoder": "resnet34"}, 24_436_369),
        (32, 3, {"encoder": "resnet34"}, 24_440_864),
    ],
)
def test_parameter_count(classes, channels, options, expected):
    with torch.device("meta"):
        assert count(build(classes, channels, **options)) == expected


def test_the_plain_net_has_23_convolutions():
    with torch.device("meta"):
        network = build(2)
    assert sum(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in network.modules()) == 23  # paper, section 2


@pytest.mark.parametrize("depth", ["resnet18", "resnet34"])
def test_smps_weights_give_smps_answer(depth):
    torch.manual_seed(0)
    theirs = smp.Unet(depth, encoder_weights=None, classes=4)
    theirs(torch.randn(2, 3, 64, 64))  # moves the running statistics off 0 and 1
    ours = build(4, encoder=depth)
    values = [v for k, v in theirs.state_dict().items()]
    assert [v.shape for v in values] == [v.shape for v in ours.state_dict().values()]  # same order, too
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        expected = theirs.eval()(image)
        logits, *_ = ours.eval()(image)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


def test_the_up_convolution_is_torchs_transposed_convolution():
    torch.manual_seed(0)
    layer = UpConv(6, 4).double()
    x = torch.randn(2, 6, 5, 3, dtype=torch.float64, requires_grad=True)
    ours, theirs = layer(x), F.conv_transpose2d(x, layer.weight, layer.bias, stride=2)
    torch.testing.assert_close(ours, theirs)
    wanted = [x, layer.weight, layer.bias]
    weight = torch.randn_like(ours)
    torch.testing.assert_close(
        torch.autograd.grad((ours * weight).sum(), wanted), torch.autograd.grad((theirs * weight).sum(), wanted)
    )


@pytest.mark.parametrize("encoder", ["none", "resnet18"])
@torch.no_grad()
def test_without_skips_only_the_deepest_map_reaches_the_scores(encoder):
    image = torch.rand(1, 3, 64, 64)
    for skips in (True, False):
        network = build(3, encoder=encoder, skips=skips).eval()
        initialise(network, seed=0)
        before, *_ = network(image)
        deepest = network.down[4] if encoder == "none" else network.encoder.layer4
        deepest.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        first, *_ = network(image)
        second, *_ = network(image.flip(3))
        assert not torch.equal(first, before)
        assert torch.equal(first, second) != skips  # with its deepest map silenced, the image shows only by skips


def test_a_resnet_without_batch_normalisation_is_refused():
    with pytest.raises(RecipeError, match=r"encoder=resnet18 with batchnorm=false, but a ResNet has.*Drop batchnorm"):
        models.build("unet", 2, encoder="resnet18", batchnorm=False)
