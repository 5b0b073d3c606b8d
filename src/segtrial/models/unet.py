"""Image -> scores, down a contracting path and up an expanding one that sees the finer maps again: U-Net.

Ronneberger, Fischer, Brox. U-Net: convolutional networks for biomedical image segmentation. MICCAI 2015.
https://arxiv.org/abs/1505.04597

Differs from the paper: convolutions are padded, so scores are as large as the image and no skip is cropped; no
dropout; batch normalisation after each 3x3 convolution unless `batchnorm=false`. With `encoder=resnet18` or
`resnet34` a ResNet takes the place of the contracting path, and the expanding path is the light one of
segmentation_models_pytorch (widths 256, 128, 64, 32, 16; nearest-neighbour enlarging). `skips=false` leaves the
finer maps out: an encoder-decoder.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import ScoreConv, conv_relu
from segtrial.models._resnet import ResNet

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of the plain net, finest first (paper, figure 1)."""

LIGHT_WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the expanding path behind a ResNet, coarsest first."""


class UpConv(nn.ConvTranspose2d):
    """The paper's 2x2 up-convolution. Each input pixel makes one 2x2 patch of its own, so it equals a 1x1 convolution
    to 4 times the channels whose results are laid out as patches; that is twice as fast (the backward pass, on a CPU).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 2*h 2*w"]:
        assert self.bias is not None
        kernel = self.weight.flatten(1).t()[..., None, None]  # (4 out, in, 1, 1), the patch's pixels fastest
        return F.pixel_shuffle(F.conv2d(x, kernel, self.bias.repeat_interleave(4)), 2)


class PlainUNet(nn.Module):
    """The network of 2015."""

    multiple = 16

    def __init__(self, num_classes: int, in_channels: int, *, skips: bool, batchnorm: bool):
        super().__init__()
        self.skips = skips
        self.down = nn.ModuleList(
            _double(before, width, batchnorm) for before, width in zip((in_channels, *WIDTHS), WIDTHS, strict=False)
        )
        finer = WIDTHS[-2::-1]
        self.enlarge = nn.ModuleList(UpConv(2 * width, width) for width in finer)
        self.up = nn.ModuleList(_double(width * (1 + skips), width, batchnorm) for width in finer)
        self.score = ScoreConv(WIDTHS[0], num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        x = self.down[0](image)
        passed = []
        for down in self.down[1:]:
            passed.append(x)
            x = down(F.max_pool2d(x, 2))
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            skip = [passed.pop()] if self.skips else []
            x = up(torch.cat([*skip, enlarge(x)], dim=1))
        return (self.score(x),)


class ResNetUNet(nn.Module):
    """A ResNet and the light expanding path."""

    multiple = 32

    def __init__(self, encoder: ResNet, num_classes: int, *, skips: bool):
        super().__init__()
        self.encoder = encoder
        self.skips = skips
        passed = (*encoder.channels[-2:0:-1], 0)  # the image itself is not passed
        self.up = nn.ModuleList(
            nn.Sequential(conv_relu(before + skips * skip, width, bias=False), conv_relu(width, width, bias=False))
            for before, skip, width in zip((encoder.channels[-1], *LIGHT_WIDTHS), passed, LIGHT_WIDTHS, strict=False)
        )
        self.score = ScoreConv(LIGHT_WIDTHS[-1], num_classes, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        _, *passed, x = self.encoder(image)
        for up in self.up:
            skip = [passed.pop()] if self.skips and passed else []
            x = up(_join(F.interpolate(x, scale_factor=2), skip))
        return (self.score(x),)


def _join(x: Tensor, skip: Sequence[Tensor]) -> Tensor:
    return torch.cat([x, *skip], dim=1) if skip else x


def _double(in_channels: int, channels: int, batchnorm: bool) -> nn.Sequential:
    first = conv_relu(in_channels, channels, batchnorm=batchnorm)
    return nn.Sequential(first, conv_relu(channels, channels, batchnorm=batchnorm))


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: Literal["none", "resnet18", "resnet34"] = "none",
    skips: bool = True,
    batchnorm: bool = True,
) -> nn.Module:
    """Raises RecipeError for a ResNet without batch normalisation."""
    if encoder == "none":
        return PlainUNet(num_classes, in_channels, skips=skips, batchnorm=batchnorm)
    if not batchnorm:
        found = f"encoder={encoder} with batchnorm=false, but a ResNet has batch normalisation inside"
        raise RecipeError("model unet", found, "Drop batchnorm=false, or choose encoder=none")
    return ResNetUNet(ResNet(int(encoder.removeprefix("resnet")), in_channels), num_classes, skips=skips)
