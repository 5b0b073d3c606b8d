"""Feature map -> the same place seen at five scales: atrous spatial pyramid pooling (ASPP), as of DeepLab v3.

Chen, Papandreou, Schroff, Adam. Rethinking atrous convolution for semantic image segmentation. 2017, section 3.3.
https://arxiv.org/abs/1706.05587
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import PooledNorm, conv_relu

WIDTH = 256
"""Channels of each branch, and of the result."""

RATES = {16: (6, 12, 18), 8: (12, 24, 36)}
"""Dilations of the three 3x3 branches, by the stride of the map: "doubled when output_stride = 8" (section 3.3)."""


class ASPP(nn.Module):
    """A 1x1 branch, three dilated 3x3 ones and the mean of the whole image; joined, thinned out, dropped out."""

    def __init__(self, in_channels: int, output_stride: int, *, separable: bool = False, dropout: float = 0.1):
        super().__init__()
        wide = separable_relu if separable else dense_relu
        self.branches = nn.ModuleList([conv_relu(in_channels, WIDTH, kernel=1, bias=False)])
        self.branches.extend(wide(in_channels, WIDTH, dilation=rate) for rate in RATES[output_stride])
        whole = nn.Conv2d(in_channels, WIDTH, 1, bias=False)
        self.whole = nn.Sequential(whole, PooledNorm(WIDTH), nn.ReLU(inplace=True))
        self.project = conv_relu(5 * WIDTH, WIDTH, kernel=1, bias=False).append(nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        whole = self.whole(x.mean((2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])  # (b, 256, h, w)
        return self.project(torch.cat([*(branch(x) for branch in self.branches), whole], dim=1))


def dense_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution, batch normalisation, ReLU."""
    return conv_relu(in_channels, out_channels, dilation=dilation, bias=False)


def separable_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution of each channel by itself, then a 1x1 one; batch normalisation and ReLU after each.

    DeepLab v3+, section 3.1, with the normalisation of its section 3.2 between the two, as in the authors' program.
    """
    depthwise = nn.Conv2d(in_channels, in_channels, 3, 1, dilation, dilation, groups=in_channels, bias=False)
    between = nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True)
    return nn.Sequential(depthwise, *between, *conv_relu(in_channels, out_channels, kernel=1, bias=False))
