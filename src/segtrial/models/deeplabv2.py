"""Image -> scores at stride 8, the sum of several fields of view: DeepLab v2.

Chen, Papandreou, Kokkinos, Murphy, Yuille. DeepLab: semantic image segmentation with deep convolutional nets, atrous
convolution, and fully connected CRFs. PAMI 2018. https://arxiv.org/abs/1606.00915

As published, scores are made and compared with the truth at stride 8, and bilinear interpolation enlarges them;
`head` is what looks at the last map: `aspp-l` four branches with dilations 6, 12, 18, 24, `aspp-s` with 2, 4, 8, 12,
`largefov` one with 12 (table 3). A branch is a dilated 3x3 convolution; behind a VGG it is the layers fc6, fc7 and
fc8, with dropout .5 after the first two.

Differs from the paper: the dense CRF that refines the scores is left out, and so is scoring the image at three sizes
and taking the maximum. Batch statistics are learned; the released ResNet-101 keeps ImageNet's. fc6
and fc7 start from random weights, not from a part of ImageNet's. Of the stages that dilate, the first block keeps the
dilation before it, as in torchvision. The pools of a VGG that stride are 2x2, not 3x3. The paper has neither other
encoders than `vgg16` and `resnet101`, nor `output_stride=16`, where every dilation is halved.
"""

from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import GaussianScoreConv
from segtrial.models._encoder import VGGS, Encoder, EncoderName, make_encoder

DILATIONS = {"aspp-l": (6, 12, 18, 24), "aspp-s": (2, 4, 8, 12), "largefov": (12,)}
"""By head, at stride 8."""

WIDTH = 1024
"""Channels of fc6 and fc7 (table 1, DeepLab-LargeFOV)."""


class DeepLabV2(nn.Module):
    def __init__(self, encoder: Encoder, branches: list[nn.Module]):
        super().__init__()
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.branches = nn.ModuleList(branches)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k H W"]]:
        *_, deepest = self.encoder(image)
        return (reduce(torch.add, [branch(deepest) for branch in self.branches]),)


def _fully_connected(in_channels: int, num_classes: int, dilation: int) -> nn.Sequential:
    """fc6, fc7 and fc8 of a VGG as convolutions."""
    fc6 = nn.Conv2d(in_channels, WIDTH, 3, padding=dilation, dilation=dilation)
    rest = nn.Conv2d(WIDTH, WIDTH, 1), nn.ReLU(inplace=True), nn.Dropout(0.5), GaussianScoreConv(WIDTH, num_classes, 1)
    return nn.Sequential(fc6, nn.ReLU(inplace=True), nn.Dropout(0.5), *rest)


def _convolution(in_channels: int, num_classes: int, dilation: int) -> nn.Module:
    return GaussianScoreConv(in_channels, num_classes, 3, padding=dilation, dilation=dilation)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet101",
    output_stride: Literal[8, 16] = 8,
    head: Literal["aspp-l", "aspp-s", "largefov"] = "aspp-l",
) -> DeepLabV2:
    seen = make_encoder(encoder, in_channels, output_stride)
    branch = _fully_connected if encoder in VGGS else _convolution
    dilations = [dilation * 8 // output_stride for dilation in DILATIONS[head]]
    return DeepLabV2(seen, [branch(seen.channels[-1], num_classes, dilation) for dilation in dilations])
