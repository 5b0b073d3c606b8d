"""Image -> scores at stride 4, enlarged: DeepLab v3 with a decoder that sees a finer map again, DeepLab v3+.

Chen, Zhu, Papandreou, Schroff, Adam. Encoder-decoder with atrous separable convolution for semantic image
segmentation. ECCV 2018. https://arxiv.org/abs/1802.02611

As published: dilations 6, 12, 18 at stride 16 and twice these at stride 8; the map at stride 4 thinned to 48 channels;
two 3x3 convolutions with 256; separable convolutions in the pyramid and the decoder unless `separable=false`.

Differs from the paper: its best encoder, the modified Xception, is not among ours. Within separable convolutions there
is normalisation and ReLU, and before the decoder dropout .1, as in the authors' program; the paper names neither. Of
the encoder's stages that dilate, the first block keeps the dilation before it, as in torchvision.

Not segmentation_models_pytorch's network of that name, which has dilations 12, 24, 36 at stride 16, one convolution
after the maps meet and one before, no normalisation within separable convolutions, and dropout .5.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._aspp import ASPP, WIDTH, dense_relu, separable_relu
from segtrial.models._blocks import ScoreConv, conv_relu, resize
from segtrial.models._encoder import Encoder, EncoderName, make_encoder

FINE_WIDTH = 48
"""Channels that the map at stride 4 is thinned to (section 4.1, table 1)."""


class DeepLabV3Plus(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int, *, separable: bool):
        super().__init__()
        wide = separable_relu if separable else dense_relu
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.aspp = ASPP(encoder.channels[-1], encoder.output_stride, separable=separable)
        self.thin = conv_relu(encoder.channels[2], FINE_WIDTH, kernel=1, bias=False)
        self.refine = nn.Sequential(wide(WIDTH + FINE_WIDTH, WIDTH), wide(WIDTH, WIDTH))
        self.score = ScoreConv(WIDTH, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        _, _, fine, *_, deepest = self.encoder(image)
        fine = self.thin(fine)  # (b, 48, h/4, w/4)
        context = resize(self.aspp(deepest), like=fine)  # (b, 256, h/4, w/4)
        scores = self.score(self.refine(torch.cat([context, fine], dim=1)))
        return (resize(scores, like=image),)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet50",
    output_stride: Literal[8, 16] = 16,
    separable: bool = True,
) -> DeepLabV3Plus:
    return DeepLabV3Plus(make_encoder(encoder, in_channels, output_stride), num_classes, separable=separable)
