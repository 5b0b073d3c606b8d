"""SegNet against the counts of its released network and against torch's own unpooling."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from segtrial.models.segnet import build, pool, unpool


@pytest.mark.parametrize(
    ("classes", "batchnorm", "expected"),
    [
        (11, True, 29_449_355),
        (12, True, 29_449_932),
        (21, True, 29_455_125),
        (32, True, 29_461_472),
        (11, False, 29_433_483),
        (32, False, 29_445_600),
    ],
)
def test_parameter_count(classes, batchnorm, expected):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(classes, batchnorm=batchnorm).parameters()) == expected


@pytest.mark.parametrize(
    ("batchnorm", "oracle"), [(True, torchvision.models.vgg16_bn), (False, torchvision.models.vgg16)]
)
def test_the_trunk_is_that_of_vgg16(batchnorm, oracle):
    with torch.device("meta"):
        ours, theirs = build(11, batchnorm=batchnorm).encoder, oracle().features
    assert [v.shape for v in ours.state_dict().values()] == [v.shape for v in theirs.state_dict().values()]


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


def test_the_papers_odd_maps_are_45_and_23_rows_high():
    with torch.device("meta"):
        network = build(11)
        heights = []
        for stage in network.decoder:
            stage.register_forward_hook(lambda module, inputs, output: heights.append(output.shape[2]))
        network(torch.empty(1, 3, 360, 480))
    assert heights == [23, 45, 90, 180, 360]
