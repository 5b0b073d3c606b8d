"""FCN against the arithmetic of the released Caffe networks, and against torchvision's variant of it."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models import fcn
from segtrial.models._blocks import BilinearDeconv, ScoreConv
from segtrial.models._init import initialise
from segtrial.models.fcn import BilinearEnlarge

EVERY_STRIDE = pytest.mark.parametrize("stride", [32, 16, 8])


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """fc6 and fc7 of 32 channels: 4096 take seconds to make. The published counts are in counts.csv."""
    monkeypatch.setattr(fcn, "WIDTH", 32)


def made(classes: int = 3, **options) -> nn.Module:
    network = fcn.build(classes, **options).eval()
    initialise(network, seed=0)
    return network


def released_kernel(size: int) -> torch.Tensor:
    """What the release's surgery.upsample_filt makes, for an even size."""
    factor, center = (size + 1) // 2, (size + 1) // 2 - 0.5
    side = torch.tensor([1 - abs(place - center) / factor for place in range(size)])
    return side[:, None] * side


@pytest.mark.parametrize("stride", [2, 8, 16, 32])
@pytest.mark.parametrize("padded", [True, False])
@torch.no_grad()
def test_enlarging_is_the_released_deconvolution_frozen_or_not_yet_learned(stride, padded):
    torch.manual_seed(0)
    scores, padding = torch.randn(2, 3, 5, 4), stride // 2 * padded
    kernel = released_kernel(2 * stride).expand(3, 1, -1, -1)
    expected = F.conv_transpose2d(scores, kernel, stride=stride, padding=padding, groups=3)
    learned = BilinearDeconv(3, stride, padding)
    initialise(learned, seed=0)
    torch.testing.assert_close(BilinearEnlarge(stride, padding)(scores), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(learned(scores), expected, atol=1e-6, rtol=1e-5)


def caffe(network: nn.Module, image: torch.Tensor, stride: int) -> torch.Tensor:
    """voc-fcn32s, 16s or 8s as their net.py write them, with the weights of `network`, on a VGG of depth 11."""
    weights = dict(network.named_parameters())

    def conv(x: torch.Tensor, name: str, **padding: int) -> torch.Tensor:
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], **padding)

    def deconv(x: torch.Tensor, factor: int) -> torch.Tensor:
        kernel = released_kernel(2 * factor).expand(x.shape[1], 1, -1, -1)
        return F.conv_transpose2d(x, kernel, stride=factor, groups=x.shape[1])

    def crop(x: torch.Tensor, start: int, like: torch.Tensor) -> torch.Tensor:
        cropped = x[..., start:, start:][..., : like.shape[2], : like.shape[3]]
        assert cropped.shape[2:] == like.shape[2:]
        return cropped

    pools, x = [], image
    for stage in ((0,), (3,), (6, 8), (11, 13), (16, 18)):
        for index in stage:
            x = conv(x, f"encoder.features.{index}", padding=1 if index else 100).relu()
        x = F.max_pool2d(x, 2, ceil_mode=True)  # Caffe rounds up
        pools.append(x)
    x = conv(conv(x, "head.fc6").relu(), "head.fc7").relu()
    x = conv(x, "score")
    for place, (finer, start) in enumerate({16: 5, 8: 9}.items()):
        if finer >= stride:
            x = deconv(x, 2)
            x = x + crop(conv(pools[3 - place], f"skips.{place}.1"), start, like=x)
    return crop(deconv(x, stride), {32: 19, 16: 27, 8: 31}[stride], like=image)


@EVERY_STRIDE
@pytest.mark.parametrize("size", [(64, 64), (27, 50), (1, 1)], ids=str)
@torch.no_grad()
def test_on_a_vgg_it_is_the_released_network(stride, size):
    network, image = made(stride=stride, encoder="vgg11"), torch.randn(1, 3, *size)
    scores, *_ = network(image)
    torch.testing.assert_close(scores, caffe(network, image, stride), rtol=1e-4, atol=1e-5)


def centre_of_what_moves(network: nn.Module, module: nn.Module, pixel: tuple[int, int], size: int) -> torch.Tensor:
    """Where the output answers to one pixel of the output of `module`: the mean place, weighted by the answer."""

    def poke(_module, _inputs, output):
        poked = output.clone()
        poked[..., pixel[0], pixel[1]] += 1
        return poked

    image = torch.zeros(1, 3, size, size)
    before, *_ = network(image)
    with module.register_forward_hook(poke):
        after, *_ = network(image)
    answer = (after - before).abs().sum((0, 1))
    places = torch.arange(size).float()
    return torch.stack([(answer.sum(1) * places).sum(), (answer.sum(0) * places).sum()]) / answer.sum()


@EVERY_STRIDE
@pytest.mark.parametrize(("encoder", "padding"), [("vgg11", "published"), ("vgg11", "same"), ("resnet18", None)])
@torch.no_grad()
def test_each_score_lands_on_the_pixels_that_it_was_made_from(stride, encoder, padding):
    """By hand: cell j of a map of stride s is centred on pixel s j + (s - 1) / 2 of what the encoder saw. That begins
    99 pixels before the image if published, and fc6, 7 cells wide and not padded, is centred 3 cells further."""
    network = made(1, stride=stride, encoder=encoder, padding=padding)
    border, fc6 = (99, 3) if padding == "published" else (0, 0)
    scored = [(32, network.score, fc6), *((16 // 2**i, skip, 0) for i, skip in enumerate(network.skips))]
    for own, module, shift in scored:
        cell = (64 + border) // own - shift
        expected = own * (cell + shift) + (own - 1) / 2 - border
        centre = centre_of_what_moves(network, module, (cell, cell), 128)
        torch.testing.assert_close(centre, torch.tensor([expected, expected]), atol=0.01, rtol=0)


@EVERY_STRIDE
def test_it_scores_the_strides_that_its_name_says(stride):
    with torch.device("meta"):
        network = fcn.build(7, stride=stride, encoder="resnet50")
        seen = []
        for module in [network.score, *network.skips]:
            module.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[1:]))
        network(torch.empty(1, 3, 64, 96))
    every = [(2048, 2, 3), (1024, 4, 6), (512, 8, 12)]
    assert [tuple(shape) for shape in seen] == every[: {32: 1, 16: 2, 8: 3}[stride]]


def test_report_3s_head_is_a_convolution_a_normalisation_and_a_deconvolution():
    with torch.device("meta"):
        network = fcn.build(7, stride=32, encoder="resnet18", upsampling="learned", score_batchnorm=True)
    encoder = sum(p.numel() for p in network.encoder.parameters())
    head = sum(p.numel() for p in network.parameters()) - encoder
    assert head == 512 * 7 + 2 * 7 + 7 * 7 * 64 * 64
    assert [type(layer) for layer in network.score] == [ScoreConv, nn.BatchNorm2d]
    assert isinstance(network.enlarge, nn.ConvTranspose2d)


def test_dropout_is_one_half_twice_and_only_where_fc6_is():
    with torch.device("meta"):
        rates = [m.p for m in fcn.build(2, encoder="vgg16").modules() if isinstance(m, nn.Dropout)]
        assert not any(isinstance(m, nn.Dropout) for m in fcn.build(2).modules())
    assert rates == [0.5, 0.5]


@pytest.mark.parametrize("padding", ["published", "same"])
def test_padding_is_refused_where_nothing_would_be_padded(padding):
    with pytest.raises(RecipeError, match=f"padding={padding} with encoder=resnet34, but only a VGG.*choose a VGG"):
        models.build("fcn", 2, padding=padding)


MANY_FEATURES = """
import torch
from segtrial.models._blocks import ScoreConv
for _ in range(3):
    conv = ScoreConv(4096, 11, 1)
    features = torch.randn(8, 4096, 6, 8).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        scores = conv(features)
    scores.float().square().mean().backward()
"""


def test_scores_of_many_features_leave_the_memory_whole():
    """torch's own convolution ends this program with "free(): invalid pointer" where bfloat16 is multiplied by AMX."""
    done = subprocess.run([sys.executable, "-c", MANY_FEATURES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_scores_of_many_features_are_those_of_a_convolution():
    torch.manual_seed(0)
    conv, features = ScoreConv(2049, 3, 1), torch.randn(2, 2049, 3, 4)
    torch.testing.assert_close(conv(features), F.conv2d(features, conv.weight, conv.bias))
