"""Costs against hand arithmetic and published figures."""

import pytest
import torch
import torchvision
from torch import nn

from segtrial.models._costs import costs
from segtrial.models._resnet import ResNet


class Two(nn.Module):
    """A 3x3 convolution and a 1x1 one with a ReLU between them."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.score = nn.Conv2d(8, 5, 1)

    def forward(self, image):
        return (self.score(self.relu(self.first(image))),)


def counted(network_of, height, width):
    with torch.device("meta"):
        return costs(network_of(), torch.empty(1, 3, height, width))


def test_by_hand():
    found = counted(Two, 10, 20)
    assert found.parameters == 3 * 8 * 9 + 8 + 8 * 5 + 5
    assert found.multiply_adds == 10 * 20 * (3 * 8 * 9 + 8 * 5)
    assert found.saved_bytes == 4 * 10 * 20 * 8  # what the ReLU leaves; the image and the weights are there anyway
    assert found.training_bytes(3) == 3 * found.saved_bytes + 20 * found.parameters


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_residual_networks_cost_what_torchvision_publishes(depth):
    published = getattr(torchvision.models, f"ResNet{depth}_Weights").IMAGENET1K_V1.meta["_ops"]  # billions, with fc
    assert counted(lambda: ResNet(depth), 224, 224).multiply_adds / 1e9 == pytest.approx(published, abs=0.003)


def test_frozen_parameters_do_not_count():
    with torch.device("meta"):
        network = Two()
        network.first.requires_grad_(False)
        assert costs(network, torch.empty(1, 3, 8, 8)).parameters == 8 * 5 + 5
