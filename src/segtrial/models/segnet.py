"""Image -> scores, with maxima put back where pooling found them: SegNet.

Badrinarayanan, Kendall, Cipolla. SegNet: a deep convolutional encoder-decoder architecture for image segmentation.
PAMI 2017. https://arxiv.org/abs/1511.00561

As in the released network: 13 convolutions of VGG-16 and their mirror image, each 3x3 with bias, normalised and
rectified except the last, whose output is the scores. Maps of odd size are pooled to the next larger half, so no
padding is ever needed. Differs from the released network: scores go out, not their softmax; `batchnorm=false` leaves
out normalisation.

Putting back is done by enlarging and masking, not by torch's MaxUnpool2d, which no GPU does deterministically.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, conv_relu

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Channels after each convolution of VGG-16, finest stage first."""


class SegNet(nn.Module):
    multiple = 1

    def __init__(self, num_classes: int, in_channels: int, *, batchnorm: bool):
        super().__init__()
        entering = (in_channels, *(stage[-1] for stage in STAGES[:-1]))
        self.encoder = nn.ModuleList(
            _convs((before, *stage), batchnorm) for before, stage in zip(entering, STAGES, strict=True)
        )
        # The mirror image: a stage leaves with the channels that its twin entered with.
        mirrored = [(*stage, before) for before, stage in zip(entering, STAGES, strict=True)][:0:-1]
        self.decoder = nn.ModuleList([*(_convs(widths, batchnorm) for widths in mirrored), _convs((64, 64), batchnorm)])
        self.score = ScoreConv(64, num_classes, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        x, places = image, []
        for stage in self.encoder:
            x = stage(x)
            size = x.shape[-2:]
            x, place = pool(x)
            places.append((place, size))
        for stage in self.decoder:
            place, size = places.pop()
            x = stage(unpool(x, place, size))
        return (self.score(x),)


def pool(x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c H W"], UInt8[Tensor, "b c H W"]]:
    """The maximum of each 2x2 window, and which of its pixels (0 1 over 2 3) that was; they may hang over the edge."""
    pooled, index = F.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
    width = x.shape[-1]
    return pooled, (index // width % 2 * 2 + index % width % 2).to(torch.uint8)


def unpool(
    pooled: Float[Tensor, "b c H W"], place: UInt8[Tensor, "b c H W"], size: torch.Size
) -> Float[Tensor, "b c h w"]:
    """Each value at its place in its window, zero elsewhere; `size` is (h, w) before pooling."""
    height, width = size
    windows = F.interpolate(place, scale_factor=2)
    corner = torch.tensor([[0, 1], [2, 3]], dtype=torch.uint8, device=place.device)
    corners = corner.repeat(place.shape[-2:])  # (2 H, 2 W)
    spread = F.interpolate(pooled, scale_factor=2) * (windows == corners)
    return spread[..., :height, :width]


def _convs(widths: tuple[int, ...], batchnorm: bool) -> nn.Sequential:
    return nn.Sequential(*(conv_relu(a, b, batchnorm=batchnorm) for a, b in pairwise(widths)))


def build(num_classes: int, in_channels: int = 3, *, batchnorm: bool = True) -> nn.Module:
    return SegNet(num_classes, in_channels, batchnorm=batchnorm)
