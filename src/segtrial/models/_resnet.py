"""Images -> feature maps at strides 1, 2, 4, ..., 32: residual networks as encoders.

He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016. https://arxiv.org/abs/1512.03385

Structure and parameter names are torchvision's (without `fc`), so its weights can be loaded. Differs from the paper:
the last normalisation of each block starts at 0, see ZeroScaleNorm; a bottleneck strides in its 3x3 convolution, not
in the 1x1 before it, as in torchvision and most of what came after the paper.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import Residual, ZeroScaleNorm
from segtrial.models._encoder import Encoder

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Blocks in each of the four stages, by depth (paper, table 1); basic ones below depth 50, bottlenecks from there."""

WIDTHS = (64, 128, 256, 512)

Stem = Literal["imagenet", "deep", "cifar"]
"""imagenet: 7x7 of stride 2 and a pool. deep: three 3x3 for the 7x7, the last to 128 channels (PSPNet's).
cifar: 3x3, no stride, no pool, so that all strides are 4 times finer (paper, section 4.2)."""


class BasicBlock(Residual):
    """Two 3x3 convolutions around which the input is carried (paper, figure 5 left)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int):
        super().__init__()
        self.conv1 = _conv3x3(in_channels, channels, stride, dilation)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = _conv3x3(channels, channels, 1, dilation)
        self.bn2 = ZeroScaleNorm(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.drop_path(self.bn2(self.conv2(residual)))
        return self.relu(residual.add_(self.downsample(x)))


class Bottleneck(Residual):
    """1x1 to fewer channels, 3x3, 1x1 to four times as many, around which the input is carried (figure 5 right)."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, dilation: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels, stride, dilation)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.bn3 = ZeroScaleNorm(4 * channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, 4 * channels, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.drop_path(self.bn3(self.conv3(residual)))
        return self.relu(residual.add_(self.downsample(x)))


class ResNet(Encoder):
    """The convolutional part of a ResNet of `depth` 18, 34, 50 or 101; map 0 is the input itself.

    A stage that would pass `output_stride` dilates instead of striding. `multi_grid` multiplies the dilations of the
    last stage's blocks (DeepLab v3, section 3.2).
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 3,
        *,
        output_stride: int = 32,
        multi_grid: Sequence[int] = (),
        stem: Stem = "imagenet",
    ):
        super().__init__()
        block = BasicBlock if depth < 50 else Bottleneck
        first = 128 if stem == "deep" else 64
        self.output_stride = output_stride // 4 if stem == "cifar" else output_stride
        self.channels = (in_channels, first, *(width * block.expansion for width in WIDTHS))
        self.conv1 = _stem(stem, in_channels)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity() if stem == "cifar" else nn.MaxPool2d(3, 2, padding=1)
        stages, dilation = [], 1
        for level, (width, blocks) in enumerate(zip(WIDTHS, BLOCKS[depth], strict=True), start=2):
            stride, before = (1 if level == 2 else 2), dilation
            if 2**level > output_stride:
                stride, dilation = 1, 2 * dilation
            dilations = [before, *[dilation] * (blocks - 1)]  # as in torchvision: the first block keeps the old one
            if level == 5 and multi_grid:
                dilations = [dilation * rate for rate, _ in zip(multi_grid, range(blocks), strict=False)]
            stages.append(_stage(block, self.channels[level - 1], width, stride, dilations))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        stem = self.relu(self.bn1(self.conv1(image)))  # (b, 64, h/2, w/2)
        x1 = self.layer1(self.maxpool(stem))  # (b, _, h/4, w/4)
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        return image, stem, x1, x2, x3, self.layer4(x3)

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        return (self.conv1, self.bn1), (self.layer1,), (self.layer2,), (self.layer3,), (self.layer4,)


def _stem(stem: Stem, in_channels: int) -> nn.Module:
    if stem == "imagenet":
        return nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
    if stem == "cifar":
        return _conv3x3(in_channels, 64, 1, 1)
    first, second = _conv3x3(in_channels, 64, 2, 1), _conv3x3(64, 64, 1, 1)
    norms = nn.BatchNorm2d(64), nn.BatchNorm2d(64)
    return nn.Sequential(
        first, norms[0], nn.ReLU(inplace=True), second, norms[1], nn.ReLU(inplace=True), _conv3x3(64, 128, 1, 1)
    )


def _stage(
    block: type[BasicBlock | Bottleneck], in_channels: int, width: int, stride: int, dilations: Sequence[int]
) -> nn.Sequential:
    out = width * block.expansion
    first, *others = dilations
    return nn.Sequential(block(in_channels, width, stride, first), *(block(out, width, 1, rate) for rate in others))


def _conv3x3(in_channels: int, channels: int, stride: int, dilation: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, channels, 3, stride, padding=dilation, dilation=dilation, bias=False)


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """The identity, or a projection where the size or the number of channels changes (paper, option B)."""
    if stride == 1 and in_channels == channels:
        return nn.Sequential()
    projection = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels))
