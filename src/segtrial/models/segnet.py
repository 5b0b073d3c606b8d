"""Image -> scores, with maxima put back where pooling found them: SegNet.

Badrinarayanan, Kendall, Cipolla. SegNet: a deep convolutional encoder-decoder architecture for image segmentation.
PAMI 2017. https://arxiv.org/abs/1511.00561

As in the released networks: `variant=full` is the 13 convolutions of VGG-16 and their mirror image, each 3x3 with bias,
normalised and rectified except the last, whose output is the scores. `variant=basic` is SegNet-Basic: four 7x7
convolutions to 64 channels, normalised, rectified and pooled, and four in the decoder, normalised but not rectified,
then 1x1 scores. Maps of odd size are pooled to the next larger half, so no padding is ever needed. Differs from the
released networks: scores go out, not their softmax; images are normalised by their mean and deviation, which the full
release does not and SegNet-Basic's does otherwise (LRN); shifts of batch normalisation start at 0, not .001;
`batchnorm=false` leaves it out. Differs from the paper: it has no biases in SegNet-Basic, the release has.

Putting back is done by enlarging and masking, not by torch's MaxUnpool2d, which no GPU does deterministically.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, conv_relu
from segtrial.models._encoder import Encoder
from segtrial.models._vgg import CONVOLUTIONS, VGG, WIDTHS


class BasicEncoder(Encoder):
    """SegNet-Basic's four stages. Maps 0 to 3 are what the pools receive, map 4 is what the last pool returns."""

    channels = (64, 64, 64, 64, 64, 0)
    output_stride = 16

    def __init__(self, in_channels: int, batchnorm: bool):
        super().__init__()
        layers: list[nn.Module] = []
        for before in (in_channels, 64, 64, 64):
            layers += [*_conv7x7(before, batchnorm), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        maps, x = [], image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return *maps, x, x[:, :0]

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        size = len(self.features) // 4
        return tuple(tuple(self.features[start : start + size]) for start in range(0, 4 * size, size))


class SegNet(nn.Module):
    """`decoder` holds what comes after each putting back, coarsest first."""

    multiple = 1

    def __init__(self, encoder: VGG | BasicEncoder, decoder: Iterable[nn.Module], score: ScoreConv):
        super().__init__()
        self.encoder = encoder
        self.decoder = nn.ModuleList(decoder)
        self.score = score

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        x, places = image, []
        for layer in self.encoder.features:
            if isinstance(layer, nn.MaxPool2d):
                size = x.shape[-2:]
                x, place = pool(x)
                places.append((place, size))
            else:
                x = layer(x)
        for stage in self.decoder:
            place, size = places.pop()
            x = stage(unpool(x, place, size))
        return (self.score(x),)


def pool(x: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b c H W"], UInt8[Tensor, "b c H W"]]:
    """The maximum of each 2x2 window, and which of its pixels (0 1 over 2 3) that was; they may hang over the edge."""
    x = _even(x)
    pooled, index = F.max_pool2d(x, 2, return_indices=True)
    row = index // x.shape[-1]
    column = index - row * x.shape[-1]  # not %, which ONNX's exporter takes only by numbers known beforehand
    return pooled, (row % 2 * 2 + column % 2).to(torch.uint8)


def _even(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
    """With a last row and column of -inf where there is an odd one: what ceil_mode means, in words that every engine to
    which networks are exported understands in the same way."""
    height, width = x.shape[-2:]
    if isinstance(height, int) and height % 2 == width % 2 == 0:
        return x
    # Rounded up and doubled, not height % 2: while a network is exported sizes are formulas, and these stay short.
    below, right = (2 * ((side + 1) // 2) - side for side in (height, width))
    return F.pad(x, (0, right, 0, below), value=-torch.inf)


def unpool(
    pooled: Float[Tensor, "b c H W"], place: UInt8[Tensor, "b c H W"], size: torch.Size
) -> Float[Tensor, "b c h w"]:
    """Each value at its place in its window, zero elsewhere; `size` is (h, w) before pooling."""
    rows, columns = (torch.arange(side, device=place.device) for side in size)
    corners = (rows % 2 * 2)[:, None] + columns % 2  # (h, w)
    return _doubled(pooled, rows, columns) * (_doubled(place, rows, columns) == corners.to(torch.uint8))


def _doubled(x: Shaped[Tensor, "b c H W"], rows: Tensor, columns: Tensor) -> Shaped[Tensor, "b c h w"]:
    """Each value four times, cut to as many `rows` and `columns`."""
    height, width = rows.shape[0], columns.shape[0]
    if isinstance(height, int):
        return F.interpolate(x, scale_factor=2)[..., :height, :width]
    return x.index_select(2, rows // 2).index_select(3, columns // 2)  # sizes that are formulas are not cut


def _conv7x7(in_channels: int, batchnorm: bool) -> list[nn.Module]:
    conv = nn.Conv2d(in_channels, 64, 7, padding=3)
    return [conv, nn.BatchNorm2d(64)] if batchnorm else [conv]


def _convs(widths: Iterable[int], batchnorm: bool) -> nn.Sequential:
    return nn.Sequential(*(conv_relu(a, b, batchnorm=batchnorm) for a, b in pairwise(widths)))


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    variant: Literal["full", "basic"] = "full",
    batchnorm: bool = True,
) -> nn.Module:
    if variant == "basic":
        decoder = (nn.Sequential(*_conv7x7(64, batchnorm)) for _ in range(4))
        return SegNet(BasicEncoder(in_channels, batchnorm), decoder, ScoreConv(64, num_classes, 1))
    # The mirror image: a stage leaves with the channels that its twin entered with; the last one ends in the scores.
    twins = zip(WIDTHS, WIDTHS[1:], CONVOLUTIONS[16][1:], strict=False)
    mirrored = [[*[width] * count, before] for before, width, count in twins][::-1]
    decoder = (_convs(widths, batchnorm) for widths in [*mirrored, [64, 64]])
    return SegNet(VGG(16, in_channels, batchnorm=batchnorm), decoder, ScoreConv(64, num_classes, 3, padding=1))
