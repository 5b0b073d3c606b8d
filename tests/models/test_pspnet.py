"""The pyramid scene parsing network against torch's own pooling; its parameter counts are in counts.csv."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._init import initialise
from segtrial.models.pspnet import Pyramid, build, part_means


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_means_of_parts_are_torchs_adaptive_pooling(parts):
    torch.manual_seed(0)
    for height, width in ((1, 1), (2, 5), (6, 12), (7, 4), (13, 9)):
        x = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
        ours, theirs = part_means(x, parts), F.adaptive_avg_pool2d(x, parts)
        torch.testing.assert_close(ours, theirs)
        sent = torch.randn_like(ours)
        torch.testing.assert_close(torch.autograd.grad(ours, x, sent), torch.autograd.grad(theirs, x, sent))


@torch.no_grad()
def test_the_pyramid_is_the_map_and_its_enlarged_means():
    torch.manual_seed(0)
    pyramid = Pyramid(8).eval()
    x = torch.randn(2, 8, 12, 7)
    expected = [x]
    for parts, (thin, norm, _) in zip((1, 2, 3, 6), pyramid.levels, strict=True):
        means = norm(thin(F.adaptive_avg_pool2d(x, parts))).relu()
        expected.append(F.interpolate(means, (12, 7), mode="bilinear", align_corners=False))
    torch.testing.assert_close(pyramid(x), torch.cat(expected, dim=1))


@torch.no_grad()
def test_auxiliary_scores_come_in_train_mode_only():
    with torch.device("meta"):
        network = build(3, encoder="resnet18")
        image = torch.empty(2, 3, 64, 96)
        assert [tuple(scores.shape) for scores in network(image)] == [(2, 3, 64, 96), (2, 3, 8, 12)]
        assert [tuple(scores.shape) for scores in network.eval()(image)] == [(2, 3, 64, 96)]
        assert len(build(3, encoder="resnet18", auxiliary=False)(image)) == 1


def test_the_stem_is_deep_unless_the_usual_one_is_asked_for():
    with torch.device("meta"):
        deep, usual = build(2).encoder, build(2, stem="imagenet").encoder
    kernels = [(m.kernel_size[0], m.out_channels) for m in deep.conv1 if isinstance(m, nn.Conv2d)]
    assert kernels == [(3, 64), (3, 64), (3, 128)]
    assert usual.conv1.kernel_size == (7, 7)


def test_stems_are_for_resnets():
    with pytest.raises(RecipeError, match=r"stem=deep with encoder=vgg16.*Drop stem=deep, or choose one of: resnet18"):
        models.build("pspnet", 2, encoder="vgg16", stem="deep")
    with torch.device("meta"):
        assert build(2, encoder="vgg16").encoder.output_stride == 8


def test_it_learns_from_a_single_image():
    torch.manual_seed(0)
    network = build(3, encoder="resnet18")
    initialise(network, seed=0)
    sum(scores.square().mean() for scores in network(torch.randn(1, 3, 64, 64))).backward()
    assert all(p.grad.isfinite().all() for p in network.parameters())
