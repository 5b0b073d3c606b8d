"""Images -> feature maps at strides 1, 2, 4, ..., 32: residual networks as encoders.

He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016. https://arxiv.org/abs/1512.03385

Structure and parameter names are torchvision's (without `fc`), so its weights can be loaded. Only the first weights
differ: the last normalisation of each block starts at 0, see ZeroScaleNorm.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ZeroScaleNorm

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Basic blocks in each of the four stages, by depth (paper, table 1)."""

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around which the input is carried (paper, figure 5 left)."""

    def __init__(self, in_channels: int, channels: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = ZeroScaleNorm(channels)
        self.downsample = _shortcut(in_channels, channels, stride)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d H W"]:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        return self.relu(residual.add_(self.downsample(x)))


class ResNet(nn.Module):
    """The convolutional part. Map l of its output has stride 2**l and `channels[l]` channels; map 0 is the input."""

    def __init__(self, depth: int, in_channels: int = 3):
        super().__init__()
        self.channels = (in_channels, 64, *WIDTHS)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            _stage(before, width, blocks, stride=1 if width == 64 else 2)
            for before, width, blocks in zip((64, *WIDTHS), WIDTHS, BLOCKS[depth], strict=False)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        stem = F.relu(self.bn1(self.conv1(x)), inplace=True)  # (b, 64, h/2, w/2)
        x1 = self.layer1(F.max_pool2d(stem, 3, 2, padding=1))  # (b, 64, h/4, w/4)
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        return x, stem, x1, x2, x3, self.layer4(x3)


def _stage(in_channels: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels, 1) for _ in range(blocks - 1)))


def _shortcut(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    """The identity, or a projection where the size or the number of channels changes (paper, option B)."""
    if stride == 1 and in_channels == channels:
        return nn.Sequential()
    projection = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
    return nn.Sequential(projection, nn.BatchNorm2d(channels))
