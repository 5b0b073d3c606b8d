"""Image -> scores, in a few million weights that random starts and few images can fill: the default network.

He et al. Deep residual learning. CVPR 2016. https://arxiv.org/abs/1512.03385 (basic blocks); Lin et al. Feature pyramid
networks. CVPR 2017. https://arxiv.org/abs/1612.03144 (coarse to fine); Liu et al. ParseNet. 2015.
https://arxiv.org/abs/1506.04579 (the mean of the whole image as context).

Made to be trained from random weights within minutes, on processors too. Differs from a ResNet with a pyramid: two
strided convolutions instead of a 7x7 and a pooling; narrow, since few images fill no wide network; shortcuts average
before they thin out (He et al. Bag of tricks. 2019); the pyramid ends at stride 2, where it meets the stem again, so
that poles and signs keep their edges. Scores are made, and trained, at stride 2; the wrapper interpolates them.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import Residual, ScoreConv, ZeroScaleNorm

BLOCKS = (2, 2, 3, 2)
"""Residual blocks at strides 4, 8, 16 and 32."""


class Compact(nn.Module):
    multiple = 32

    def __init__(self, num_classes: int, in_channels: int, width: int):
        super().__init__()
        fine, pyramid = max(1, 2 * width // 3), 2 * width
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.stem = conv_norm_relu(in_channels, fine, 3, stride=2)
        self.down = conv_norm_relu(fine, width, 3, stride=2)
        entering = (width, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(before, after, stride=1 if after == width else 2),
                *(Block(after, after, stride=1) for _ in range(count - 1)),
            )
            for before, after, count in zip(entering, widths, BLOCKS, strict=True)
        )
        self.context = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(widths[-1], widths[-1], 1), nn.ReLU())
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, pyramid, 1, bias=False), nn.BatchNorm2d(pyramid)) for channels in widths
        )
        self.smooths = nn.ModuleList(conv_norm_relu(pyramid, pyramid, 3) for _ in widths)
        self.squeeze = conv_norm_relu(pyramid, fine, 1)
        self.fuse = conv_norm_relu(2 * fine, fine, 3)
        self.score = ScoreConv(fine, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h/2 w/2"]]:
        stem = self.stem(image)  # (b, fine, h/2, w/2)
        maps = [self.down(stem)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        x = maps[-1] + self.context(maps[-1])
        x = self.smooths[3](self.laterals[3](x))
        for level in (2, 1, 0):  # strides 16, 8, 4
            finer = self.laterals[level](maps[level + 1])
            x = self.smooths[level](finer + F.interpolate(x, finer.shape[-2:], mode="nearest"))
        x = F.interpolate(self.squeeze(x), stem.shape[-2:], mode="nearest")
        x = self.fuse(torch.cat([x, stem], dim=1))
        return (self.score(x),)


class Block(Residual):
    """Two 3x3 convolutions around a shortcut, which averages where the block thins out."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = conv_norm_relu(before, after, 3, stride=stride)
        self.second = nn.Sequential(nn.Conv2d(after, after, 3, padding=1, bias=False), ZeroScaleNorm(after))
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut.append(nn.AvgPool2d(stride))
        if before != after:
            self.shortcut.append(nn.Conv2d(before, after, 1, bias=False))
            self.shortcut.append(nn.BatchNorm2d(after))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        return F.relu(self.shortcut(x) + self.drop_path(self.second(self.first(x))))


def conv_norm_relu(before: int, after: int, kernel: int, *, stride: int = 1) -> nn.Sequential:
    """Convolution without bias, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(),  # not in place: that is slower on processors in bfloat16
    )


def build(num_classes: int, in_channels: int = 3, *, width: int = 48) -> Compact:
    """`width`: channels at stride 4; all others are in proportion. 3.9 million parameters at 48."""
    return Compact(num_classes, in_channels, width)
