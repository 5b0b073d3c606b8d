"""The DeepLab family against torchvision, and against sums and kernels worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models import deeplabv2, deeplabv3, deeplabv3plus
from segtrial.models._aspp import separable_relu
from segtrial.models._blocks import GaussianScoreConv, PooledNorm
from segtrial.models._init import initialise

RESNET50 = 25_557_032 - 2048 * 1000 - 1000  # torchvision's, without its classifier


class Says(nn.Module):
    """An encoder that gives the same maps whatever it sees."""

    def __init__(self, *maps: torch.Tensor):
        super().__init__()
        self.maps = maps

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.maps


def dilations(layers: nn.Module) -> list[int]:
    return [m.dilation[0] for m in layers.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]


def unsettle(network: nn.Module) -> None:
    """Give each normalisation statistics as of a trained network, so that every buffer matters."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1)


# v2


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, (6, 12, 18, 24)),
        ({"head": "aspp-s"}, (2, 4, 8, 12)),
        ({"head": "largefov"}, (12,)),
        ({"output_stride": 16}, (3, 6, 9, 12)),
    ],
)
@torch.no_grad()
def test_v2_adds_up_what_it_sees_at_each_distance(options, rates):
    network = deeplabv2.build(2, encoder="resnet18", **options).eval()
    for parameter in network.branches.parameters():
        parameter.fill_(parameter.ndim == 4)  # weights 1, biases 0
    point = torch.zeros(1, 512, 64, 64)
    point[0, 7, 30, 33] = 1
    network.encoder = Says(point)
    expected = torch.zeros(64, 64)
    for rate in rates:
        for y in (-rate, 0, rate):
            for x in (-rate, 0, rate):
                expected[30 + y, 33 + x] += 1
    (scores,) = network(torch.zeros(1, 3, 512, 512))
    assert torch.equal(scores, expected.expand(1, 2, 64, 64))


def test_v2_behind_a_vgg_has_fc6_and_fc7_in_each_branch():
    with torch.device("meta"):
        network = deeplabv2.build(21, encoder="vgg16")
        (scores,) = network.eval()(torch.empty(1, 3, 64, 96))
    assert scores.shape == (1, 21, 8, 12)
    assert dilations(network.branches) == [6, 12, 18, 24]
    widths = [[m.out_channels for m in branch if isinstance(m, nn.Conv2d)] for branch in network.branches]
    assert widths == [[1024, 1024, 21]] * 4


def test_v2_scores_start_with_a_standard_deviation_of_a_hundredth():
    network = deeplabv2.build(21, encoder="resnet18")
    initialise(network, seed=0)
    layers = [m for m in network.modules() if isinstance(m, GaussianScoreConv)]
    assert len(layers) == 4
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.01, rel=0.02)
        assert not layer.bias.any()


# v3


@torch.no_grad()
def test_torchvisions_weights_give_torchvisions_answer():
    torch.manual_seed(0)
    theirs = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=4, aux_loss=True
    ).eval()
    unsettle(theirs)
    ours = deeplabv3.build(4, head="torchvision", output_stride=8, multi_grid=False, auxiliary=True).eval()
    parts = (theirs.backbone, theirs.aux_classifier, theirs.classifier)
    values = [value for part in parts for value in part.state_dict().values()]
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    image = torch.randn(1, 3, 64, 96)
    expected = theirs(image)
    ours.training = True  # of the whole, not of its layers: auxiliary scores, nothing dropped out
    scores, auxiliary = ours(image)
    torch.testing.assert_close(scores, expected["out"], rtol=1e-5, atol=1e-5)
    enlarged = F.interpolate(auxiliary, (64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarged, expected["aux"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "last_stage", "pyramid"),
    [
        ({}, [2, 4, 8], [6, 12, 18]),  # figure 5
        ({"output_stride": 8}, [4, 8, 16], [12, 24, 36]),
        ({"multi_grid": False}, [1, 2, 2], [6, 12, 18]),
    ],
)
def test_v3_dilates_by_output_stride_and_multi_grid(options, last_stage, pyramid):
    with torch.device("meta"):
        network = deeplabv3.build(2, **options)
    assert dilations(network.encoder.layer4) == last_stage
    assert dilations(network.aspp) == pyramid
    assert network.multiple == options.get("output_stride", 16)


def test_multi_grid_is_for_resnets():
    with pytest.raises(RecipeError, match=r"multi_grid=true with encoder=vgg16.*Drop multi_grid=true, or choose.*res"):
        models.build("deeplabv3", 2, encoder="vgg16", multi_grid=True)
    with torch.device("meta"):
        assert dilations(deeplabv3.build(2, encoder="vgg11").encoder)[-2:] == [1, 1]  # stride 16 is before its pool 5


@torch.no_grad()
def test_v3_auxiliary_scores_come_in_train_mode_only():
    with torch.device("meta"):
        network = deeplabv3.build(3, encoder="resnet18", auxiliary=True)
        image = torch.empty(2, 3, 64, 96)
        assert [tuple(scores.shape) for scores in network(image)] == [(2, 3, 64, 96), (2, 3, 4, 6)]
        assert [tuple(scores.shape) for scores in network.eval()(image)] == [(2, 3, 64, 96)]
        assert len(deeplabv3.build(3, encoder="resnet18")(image)) == 1


def test_v3_learns_from_a_single_image():
    torch.manual_seed(0)
    network = deeplabv3.build(3, encoder="resnet18")
    initialise(network, seed=0)
    network(torch.randn(1, 3, 64, 64))[0].square().mean().backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
    norm = network.aspp.whole[1]
    assert norm.weight.grad.any()
    assert not norm.running_mean.any()  # one value tells nothing of the spread


def test_a_pooled_norm_is_batch_normalisation_except_for_a_single_value():
    torch.manual_seed(0)
    ours, theirs = PooledNorm(5), nn.BatchNorm2d(5)
    unsettle(ours)
    theirs.load_state_dict(ours.state_dict())
    for shape in ((2, 5, 1, 1), (1, 5, 2, 1)):
        x = torch.randn(shape)
        torch.testing.assert_close(ours(x), theirs(x))
        torch.testing.assert_close(ours.running_var, theirs.running_var)
    single = torch.randn(1, 5, 1, 1)
    torch.testing.assert_close(ours(single), theirs.eval()(single))
    torch.testing.assert_close(ours.eval()(single), theirs(single))


# v3+


def dense(before: int, after: int, kernel: int) -> int:
    return before * after * kernel**2 + 2 * after  # and the norm's scale and shift


def separable(before: int, after: int, kernel: int) -> int:
    return before * kernel**2 + 2 * before + dense(before, after, 1)


@pytest.mark.parametrize(("option", "wide"), [(True, separable), (False, dense)])
def test_v3plus_has_the_papers_layers(option, wide):
    pyramid = dense(2048, 256, 1) + 3 * wide(2048, 256, 3) + dense(2048, 256, 1) + dense(5 * 256, 256, 1)
    decoder = dense(256, 48, 1) + wide(256 + 48, 256, 3) + wide(256, 256, 3) + (256 + 1) * 21
    with torch.device("meta"):
        network = deeplabv3plus.build(21, separable=option)
    assert sum(p.numel() for p in network.parameters()) == RESNET50 + pyramid + decoder


@pytest.mark.parametrize(("output_stride", "rates"), [(16, [6, 12, 18]), (8, [12, 24, 36])])
def test_v3plus_dilates_by_output_stride(output_stride, rates):
    with torch.device("meta"):
        assert dilations(deeplabv3plus.build(2, output_stride=output_stride).aspp) == rates


@torch.no_grad()
def test_v3plus_joins_the_enlarged_pyramid_with_the_map_at_stride_4():
    torch.manual_seed(0)
    network = deeplabv3plus.build(2, encoder="resnet18").eval()
    maps = [torch.randn(1, wide, 64 // s, 96 // s) for s, wide in ((1, 3), (2, 64), (4, 64), (8, 128), (16, 256))]
    deepest = torch.randn(1, 512, 4, 6)
    network.encoder = Says(*maps, deepest)
    context = F.interpolate(network.aspp(deepest), (16, 24), mode="bilinear", align_corners=False)
    at_stride_4 = network.score(network.refine(torch.cat([context, network.thin(maps[2])], dim=1)))
    expected = F.interpolate(at_stride_4, (64, 96), mode="bilinear", align_corners=False)
    torch.testing.assert_close(network(maps[0]), (expected,))


@torch.no_grad()
def test_a_separable_convolution_has_an_outer_product_for_a_kernel():
    """Where nothing is negative and no norm does anything, ReLU is the identity."""
    torch.manual_seed(0)
    layer = separable_relu(6, 4, dilation=2).double().eval()
    for norm in (m for m in layer if isinstance(m, nn.BatchNorm2d)):
        nn.init.constant_(norm.running_var, 1 - norm.eps)
    depthwise, pointwise = (m.weight.abs_() for m in layer if isinstance(m, nn.Conv2d))
    x = torch.rand(2, 6, 9, 7, dtype=torch.float64)
    expected = F.conv2d(x, pointwise * depthwise.transpose(0, 1), padding=2, dilation=2)
    torch.testing.assert_close(layer(x), expected)
