"""TernausNet against the same networks written down layer by layer, on torchvision's trunks."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from segtrial.models._init import initialise
from segtrial.models.ternausnet import TernausNet, build

Weights = Iterator[tuple[Tensor, Tensor]]


def made(**options: str) -> TernausNet:
    network = build(3, **options)
    assert isinstance(network, TernausNet)
    initialise(network, seed=0)
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.2, 0.2)
    return network.eval()


def behind_the_encoder(network: TernausNet) -> Weights:
    """Weight and bias of each layer, in order."""
    values = [p for name, p in network.named_parameters() if not name.startswith("encoder.")]
    return zip(values[::2], values[1::2], strict=True)


def conv(x: Tensor, weights: Weights) -> Tensor:
    return F.relu(F.conv2d(x, *next(weights), padding=1))


def kernel_3(x: Tensor, weights: Weights) -> Tensor:
    return F.relu(F.conv_transpose2d(conv(x, weights), *next(weights), stride=2, padding=1, output_padding=1))


def kernel_4(x: Tensor, weights: Weights) -> Tensor:
    return F.relu(F.conv_transpose2d(conv(x, weights), *next(weights), stride=2, padding=1))


def bilinear(x: Tensor, weights: Weights) -> Tensor:
    enlarged = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    return conv(conv(enlarged, weights), weights)


@pytest.mark.parametrize(
    ("options", "step"),
    [
        ({}, kernel_3),
        ({"encoder": "vgg16"}, bilinear),
        ({"encoder": "vgg16", "upsampling": "transposed"}, kernel_4),
    ],
    ids=["UNet11", "UNet16", "UNet16-transposed"],
)
@torch.no_grad()
def test_a_vgg_is_seen_again_at_every_size(options: dict[str, str], step: Callable[[Tensor, Weights], Tensor]):
    network = made(**options)
    with torch.device("meta"):
        trunk = getattr(torchvision.models, options.get("encoder", "vgg11"))().features
    trunk.load_state_dict(network.encoder.features.state_dict(), assign=True)
    image, maps = torch.randn(1, 3, 64, 96), []
    x = image
    for layer in trunk:
        if isinstance(layer, nn.MaxPool2d):
            maps.append(x.clone())
        x = layer(x)
    weights = behind_the_encoder(network)
    for seen in reversed(maps):
        x = torch.cat([step(x, weights), seen], dim=1)
    expected = F.conv2d(conv(x, weights), *next(weights))
    torch.testing.assert_close(network(image)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("upsampling", "step"), [(None, bilinear), ("transposed", kernel_4)], ids=["released", "transposed"]
)
@torch.no_grad()
def test_albunet34_sees_a_resnet_again_up_to_stride_4(upsampling, step):
    network = made(encoder="resnet34", upsampling=upsampling)
    trunk = torchvision.models.resnet34().eval()
    assert trunk.load_state_dict(network.encoder.state_dict(), strict=False).missing_keys == ["fc.weight", "fc.bias"]
    image, maps = torch.randn(1, 3, 64, 128), []
    x = trunk.maxpool(trunk.relu(trunk.bn1(trunk.conv1(image))))
    for stage in (trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4):
        x = stage(x)
        maps.append(x)
    weights = behind_the_encoder(network)
    x = step(F.max_pool2d(x, 2), weights)  # the centre: in at stride 64, out at 32
    for seen in reversed(maps):
        x = step(torch.cat([x, seen], dim=1), weights)
    x = step(x, weights)  # stride 1
    expected = F.conv2d(conv(x, weights), *next(weights))
    assert expected.shape == (1, 3, 64, 128)
    torch.testing.assert_close(network(image)[0], expected, rtol=1e-4, atol=1e-5)


def test_scores_are_raw_for_several_classes():
    scores, *_ = made()(torch.randn(1, 3, 64, 64))
    assert not torch.allclose(scores.exp().sum(dim=1), torch.ones(1, 64, 64), atol=0.1)  # as of log-softmax
