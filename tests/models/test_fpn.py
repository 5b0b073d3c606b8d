"""FPN against segmentation_models_pytorch."""

import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import nn

from segtrial.models.fpn import build
from tests.models.peers import pixels_as_areas


@torch.no_grad()
def test_smps_weights_give_smps_answer():
    torch.manual_seed(0)
    theirs = smp.FPN("resnet34", encoder_weights=None, classes=4)
    theirs.encoder(torch.randn(2, 3, 64, 64))  # moves the running statistics off 0 and 1
    ours = build(4, encoder="resnet34", smooth=False)
    values = list(theirs.state_dict().values())
    assert [v.shape for v in values] == [v.shape for v in ours.state_dict().values()]  # same order, too
    ours.load_state_dict(dict(zip(ours.state_dict(), values, strict=True)))
    image = torch.randn(1, 3, 96, 64)
    with pixels_as_areas():
        expected = theirs.eval()(image)
    scores, *_ = ours.eval()(image)
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_each_sum_of_the_pyramid_is_smoothed():
    torch.manual_seed(0)
    network = build(2, encoder="resnet18").eval()
    seen = []
    for smooth in network.smooths:
        smooth.register_forward_hook(lambda module, inputs, output: seen.append((module, inputs[0], output)))
    network(torch.rand(1, 3, 64, 64))
    assert [tuple(x.shape) for _, x, _ in seen] == [(1, 256, size, size) for size in (2, 4, 8, 16)]  # strides 32 to 4
    for module, x, output in seen:
        assert module.kernel_size == (3, 3)
        torch.testing.assert_close(output, F.conv2d(x, module.weight, module.bias, padding=1))


@pytest.mark.parametrize(("level", "doublings"), list(enumerate([3, 2, 1, 0])))
def test_every_level_reaches_stride_4_by_doubling(level, doublings):
    branch = build(2, encoder="resnet18").branches[level]  # Panoptic FPN, figure 3
    assert sum(isinstance(layer, nn.Upsample) for layer in branch) == doublings
    assert sum(isinstance(layer, nn.Conv2d) for layer in branch) == max(1, doublings)
    assert branch(torch.rand(1, 256, 16 >> doublings, 16 >> doublings)).shape == (1, 128, 16, 16)
