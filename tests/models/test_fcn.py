"""FCN-32s against the released network's way of enlarging scores."""

import torch
import torch.nn.functional as F

from segtrial.models._blocks import resize
from segtrial.models._resnet import ResNet
from segtrial.models.fcn import build


def bilinear_kernel(stride: int) -> torch.Tensor:
    """What the released network's surgery.upsample_filt makes: a pyramid of 2 x stride pixels."""
    side = 1 - (torch.arange(2 * stride, dtype=torch.float64) - (stride - 0.5)).abs() / stride
    return side[:, None] * side


def test_enlarging_equals_the_released_frozen_deconvolution():
    torch.manual_seed(0)
    scores = torch.randn(1, 1, 5, 6, dtype=torch.float64)
    theirs = F.conv_transpose2d(scores, bilinear_kernel(32)[None, None], stride=32, padding=16)
    ours = resize(scores, like=theirs)
    inside = (..., slice(16, -16), slice(16, -16))  # beyond the outer centres theirs fades to 0; ours repeats
    torch.testing.assert_close(ours[inside], theirs[inside])


def test_scores_come_from_stride_32_alone():
    network = build(3, encoder="resnet18").eval()
    seen = []
    network.score.register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        scores, *_ = network(torch.rand(1, 3, 64, 96))
    assert seen[0].shape == (1, 3, 2, 3)
    assert torch.equal(scores, resize(seen[0], like=scores))


def test_the_head_adds_one_score_per_class_and_feature():
    with torch.device("meta"):
        network, encoder = build(7, encoder="resnet34"), ResNet(34)
    extra = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in encoder.parameters())
    assert extra == 512 * 7 + 7
