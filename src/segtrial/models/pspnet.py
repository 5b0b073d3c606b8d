"""Image -> scores at stride 8, enlarged, that know the means of the image's parts: the pyramid scene parsing network.

Zhao, Shi, Qi, Wang, Jia. Pyramid scene parsing network. CVPR 2017. https://arxiv.org/abs/1612.01105

As published: means over the whole image and over 2x2, 3x3 and 6x6 parts, each thinned to a quarter of the channels,
enlarged bilinearly and joined with the map they come from; auxiliary scores from the stage before the last, in train
mode only; dropout .1. `stem=deep` is the authors' ResNet, which begins with three 3x3 convolutions; `imagenet` has the
usual 7x7 one, for which there are pretrained weights (none: deep, or what another encoder has).

Differs from the authors' program: enlarging sees pixels as areas (align_corners=False), so sides need not be 8n + 1;
auxiliary scores are compared with the truth at their own stride, not enlarged. Of the stages that dilate, the first
block keeps the dilation before it, as in torchvision. The paper has only ResNets from depth 50.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import PooledNorm, ScoreConv, auxiliary_head, conv_relu, resize
from segtrial.models._encoder import RESNETS, Encoder, EncoderName, make_encoder
from segtrial.models._resnet import ResNet

PARTS = (1, 2, 3, 6)
"""Parts along each side of the image, by level of the pyramid (section 3.2)."""

WIDTH = 512
"""Channels that the scores are made from."""


class PSPNet(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int, *, auxiliary: bool):
        super().__init__()
        *_, before, deepest = encoder.channels
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.auxiliary = nn.ModuleList([auxiliary_head(before, num_classes)] * auxiliary)
        self.pyramid = Pyramid(deepest)
        self.fuse = conv_relu(2 * deepest, WIDTH, bias=False).append(nn.Dropout(0.1))
        self.score = ScoreConv(WIDTH, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k _ _"], ...]:
        *_, before, deepest = self.encoder(image)
        scores = self.score(self.fuse(self.pyramid(deepest)))
        return resize(scores, like=image), *(head(before) for head in self.auxiliary if self.training)


class Pyramid(nn.Module):
    """A map joined with the means of its parts: twice the channels."""

    def __init__(self, channels: int):
        super().__init__()
        thin = channels // len(PARTS)
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, thin, 1, bias=False), PooledNorm(thin), nn.ReLU(inplace=True))
            for _ in PARTS
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2*c h w"]:
        means = (level(part_means(x, parts)) for parts, level in zip(PARTS, self.levels, strict=True))
        return torch.cat([x, *(resize(each, like=x) for each in means)], dim=1)


def part_means(x: Float[Tensor, "b c h w"], parts: int) -> Float[Tensor, "b c n n"]:
    """torch's adaptive average pooling, as two matrix products: its own has no deterministic gradient on a GPU."""
    rows, columns = (_shares(size, parts, x) for size in x.shape[-2:])
    return rows @ x @ columns.transpose(0, 1)


def _shares(size: int, parts: int, like: Tensor) -> Tensor:
    """(parts, size): how much each pixel of an axis counts in the mean of each part; parts overlap where they must."""
    part, pixel = torch.arange(parts, device=like.device)[:, None], torch.arange(size, device=like.device)
    inside = (pixel >= part * size // parts) & (pixel < ((part + 1) * size + parts - 1) // parts)
    return inside.to(like.dtype) / inside.sum(1, keepdim=True)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet50",
    output_stride: Literal[8, 16] = 8,
    stem: Literal["deep", "imagenet"] | None = None,
    auxiliary: bool = True,
) -> PSPNet:
    """Raises RecipeError for a `stem` with another encoder than a ResNet."""
    return PSPNet(_encoder(encoder, in_channels, output_stride, stem), num_classes, auxiliary=auxiliary)


def _encoder(name: str, in_channels: int, output_stride: int, stem: Literal["deep", "imagenet"] | None) -> Encoder:
    if name in RESNETS:
        depth = int(name.removeprefix("resnet"))
        return ResNet(depth, in_channels, output_stride=output_stride, stem=stem or "deep")
    if stem:
        found = f"stem={stem} with encoder={name}, which has a beginning of its own"
        raise RecipeError("model pspnet", found, f"Drop stem={stem}, or choose one of: {', '.join(RESNETS)}")
    return make_encoder(name, in_channels, output_stride)
