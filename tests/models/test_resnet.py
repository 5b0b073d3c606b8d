"""ResNet encoders against torchvision."""

import pytest
import torch
import torchvision

from segtrial.models._init import initialise
from segtrial.models._resnet import ResNet

ORACLES = {depth: getattr(torchvision.models, f"resnet{depth}") for depth in (18, 34, 50, 101)}

EVERY_DEPTH = pytest.mark.parametrize("depth", ORACLES)


@pytest.mark.parametrize(("depth", "count"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032)])
def test_parameter_count(depth, count):
    encoder = ResNet(depth)
    classifier = encoder.channels[-1] * 1000 + 1000  # torchvision's fc
    assert sum(p.numel() for p in encoder.parameters()) + classifier == count


@EVERY_DEPTH
def test_torchvisions_weights_give_torchvisions_answer(depth):
    torch.manual_seed(0)
    theirs = ORACLES[depth]().eval()
    for module in theirs.modules():  # statistics as of a trained network, so that every buffer matters
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    ours = ResNet(depth).eval()
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert missing.missing_keys == []
    assert missing.unexpected_keys == ["fc.weight", "fc.bias"]
    image = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        expected = theirs(image)
        logits = theirs.fc(ours(image)[-1].mean((2, 3)))
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_each_block_starts_as_its_shortcut():
    encoder = ResNet(18)
    initialise(encoder, seed=0)
    x = torch.rand(1, 64, 8, 8)  # not negative, as after ReLU
    assert torch.equal(encoder.eval().layer1(x.clone()), x)
