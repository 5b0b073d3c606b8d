"""Image -> scores of one dilated encoder, by a 3x3 and a 1x1 convolution: torchvision's FCN.

The network that torchvision calls fcn_resnet50 and fcn_resnet101, after Long, Shelhamer, Darrell. Fully convolutional
networks for semantic segmentation. CVPR 2015. https://arxiv.org/abs/1411.4038

Differs from the paper: no skips, no transposed convolution, no fc6 and fc7. Instead the encoder's last two stages
dilate, so that its deepest map has stride 8 (or 16, by `output_stride`), a 3x3 convolution to a quarter of the channels
with normalisation, ReLU and dropout .1 precedes the scores, and interpolation makes them as large as the image. In
training a second such head scores the last map but one; `auxiliary=false` leaves it out. Differs from torchvision: any
encoder may be chosen.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, resize
from segtrial.models._encoder import Encoder, EncoderName, make_encoder


class DilatedFCN(nn.Module):
    multiple = 32

    def __init__(self, encoder: Encoder, num_classes: int, *, auxiliary: bool):
        super().__init__()
        self.encoder = encoder
        *_, before, deepest = encoder.channels
        self.auxiliary = _head(before, num_classes) if auxiliary else None
        self.head = _head(deepest, num_classes)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"], ...]:
        *_, before, deepest = self.encoder(image)
        scores = resize(self.head(deepest), like=image)
        if self.auxiliary is None or not self.training:
            return (scores,)
        return scores, resize(self.auxiliary(before), like=image)


def _head(in_channels: int, num_classes: int) -> nn.Sequential:
    width = in_channels // 4
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
        nn.Dropout(0.1),
        ScoreConv(width, num_classes, 1),
    )


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet50",
    output_stride: Literal[8, 16] = 8,
    auxiliary: bool = True,
) -> nn.Module:
    return DilatedFCN(make_encoder(encoder, in_channels, output_stride), num_classes, auxiliary=auxiliary)
