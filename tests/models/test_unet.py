"""U-Net against its paper's figures and against segmentation_models_pytorch (counts: test_counts.py)."""

from collections.abc import Callable

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.functional import center_crop

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._encoder import Encoder
from segtrial.models._init import initialise
from segtrial.models.unet import EncoderUNet, UpConv, build

FIGURE_1 = [
    *(570, 568, 282, 280, 138, 136, 66, 64, 30, 28),  # after each 3x3 convolution, going down
    *(56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388),  # after each up-convolution and 3x3, going up
    388,  # the scores
]


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def test_valid_convolutions_have_the_sizes_of_figure_1():
    with torch.device("meta"):
        network = build(2, 1, padding="valid", batchnorm=False)
        sizes = []
        for layer in convolutions(network):
            layer.register_forward_hook(lambda module, inputs, output: sizes.append((inputs[0], output)))
        scores, *_ = network(torch.empty(1, 1, 384, 384))
    assert sizes[0][0].shape == (1, 1, 572, 572)
    assert [output.shape[-1] for _, output in sizes] == FIGURE_1
    assert len(sizes) == 23  # paper, section 2
    assert all(layer.padding == (0, 0) for layer in convolutions(network))
    assert scores.shape == (1, 2, 384, 384)


@pytest.mark.parametrize(
    ("options", "border", "activation"),
    [
        ({"padding": "valid", "depth": 5}, 94, F.relu),
        ({"padding": "valid", "depth": 2, "upsampling": "bilinear"}, 10, F.gelu),
        ({"padding": "same", "depth": 3, "upsampling": "bilinear"}, 0, F.leaky_relu),
        ({"padding": "same", "depth": 4}, 0, F.elu),
    ],
    ids=["valid-relu", "valid-bilinear-gelu", "bilinear-leaky-relu", "elu"],
)
@torch.no_grad()
def test_the_plain_net_is_figure_1_layer_by_layer(options, border, activation: Callable[[Tensor], Tensor]):
    network = build(3, 2, batchnorm=False, width=4, activation=activation.__name__, **options).eval()
    initialise(network, seed=0)
    torch.manual_seed(0)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.uniform_(parameter, -0.2, 0.2)

    def layers(part: str):
        values = [p for name, p in network.named_parameters() if name.startswith(part)]
        return zip(values[::2], values[1::2], strict=True)

    def double(x: Tensor, weights) -> Tensor:
        for weight, bias in (next(weights), next(weights)):
            x = activation(F.conv2d(x, weight, bias, padding=options["padding"]))
        return x

    def enlarged(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if "upsampling" in options:
            return F.conv2d(F.interpolate(x, scale_factor=2, mode="bilinear"), weight, bias)
        return F.conv_transpose2d(x, weight, bias, stride=2)

    image = torch.randn(2, 2, 32, 48)
    mirrored = np.pad(image.numpy(), [(0, 0), (0, 0), (border, border), (border, border)], mode="reflect")
    down, enlarge, up = layers("down."), layers("enlarge."), layers("up.")
    x, passed = double(torch.from_numpy(mirrored), down), []
    for _ in range(options["depth"] - 1):
        passed.append(x)
        x = double(F.max_pool2d(x, 2), down)
    for skip in reversed(passed):
        x = enlarged(x, *next(enlarge))
        x = double(torch.cat([center_crop(skip, list(x.shape[-2:])), x], dim=1), up)
    scores = F.conv2d(x, *next(layers("score.")))
    expected = center_crop(scores, [32, 48])
    torch.testing.assert_close(network(image)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
@torch.no_grad()
def test_padding_changes_nothing_far_from_the_border(depth):
    torch.manual_seed(0)
    image = torch.randn(1, 3, 256, 256)
    scores = []
    for padding in ("same", "valid"):
        network = build(2, padding=padding, width=2, depth=depth).eval()
        initialise(network, seed=0)
        scores.append(network(image)[0])
    same, valid = (each[..., 100:156, 100:156] for each in scores)
    torch.testing.assert_close(valid, same, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scores[0][..., :8, :8], scores[1][..., :8, :8], atol=1e-3)


def test_dropout_empties_half_of_the_two_deepest_maps_while_training():
    network = build(2, dropout=0.5, activation="gelu", width=8)  # GELU itself makes hardly a zero
    initialise(network, seed=0)
    share = []
    for stage in network.down:
        stage.register_forward_hook(lambda module, inputs, output: share.append((output == 0).float().mean().item()))
    torch.manual_seed(0)
    with torch.no_grad():
        network.train()(torch.randn(2, 3, 64, 64))
        assert share == pytest.approx([0, 0, 0, 0.5, 0.5], abs=0.05)
        share.clear()
        network.eval()(torch.randn(2, 3, 64, 64))
    assert share == pytest.approx([0] * 5, abs=0.01)


@pytest.mark.parametrize("encoder", ["resnet18", "resnet34", "vgg16_bn"])
def test_smps_weights_give_smps_answer(encoder):
    torch.manual_seed(0)
    theirs = smp.Unet(encoder, encoder_weights=None, classes=4)
    theirs(torch.randn(2, 3, 64, 64))  # moves the running statistics off 0 and 1
    ours = build(4, encoder=encoder)
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


class NothingAtStride2(Encoder):
    """As the convolutional networks of timm that begin at stride 4."""

    channels = (3, 0, 4, 5, 6, 7)
    output_stride = 32

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(3, each, 2**level, 2**level) for level, each in enumerate(self.channels) if level > 1
        )

    def forward(self, image):
        return image, image[:, :0, ::2, ::2], *(conv(image) for conv in self.convs)

    def stages(self):
        return tuple((conv,) for conv in self.convs)


def test_an_encoder_may_lack_a_level():
    network = EncoderUNet(NothingAtStride2(), 2, skips=True, centre=False).eval()
    assert [up[0][0].in_channels for up in network.up] == [7 + 6, 256 + 5, 128 + 4, 64, 32]
    initialise(network, seed=0)
    scores, *_ = network(torch.randn(1, 3, 64, 96))
    assert scores.shape == (1, 2, 64, 96)
    scores.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batchnorm": False}, r"with batchnorm=false, which only the plain net can have\. Drop batchnorm=false, or"),
        (
            {"padding": "valid", "depth": 4},
            "with padding=valid, depth=4, which.* Drop padding=valid, depth=4, or",
        ),
        ({"upsampling": "bilinear"}, "with upsampling=bilinear"),
        ({"dropout": 0.5}, "with dropout=0.5"),
        ({"activation": "elu"}, "with activation=elu"),
        ({"width": 32}, "with width=32"),
    ],
    ids=str,
)
def test_an_option_of_the_plain_net_is_refused_with_an_encoder(options, message):
    with pytest.raises(RecipeError, match=f"model unet: encoder=resnet18 {message}"):
        models.build("unet", 2, encoder="resnet18", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"option dropout: 1\.0\. Choose 0 or more, below 1"),
        ({"dropout": -0.1}, "option dropout"),
        ({"width": 0}, r"option width: 0\. Choose 1 to 4096"),
        ({"depth": 1}, r"option depth: 1\. Choose 2 to 8"),
        ({"depth": 9}, "option depth"),
    ],
    ids=str,
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        models.build("unet", 2, **options)
