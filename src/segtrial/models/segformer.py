"""Image -> scores, by a transformer without position codes and a decoder of linear layers only: SegFormer.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo. SegFormer: simple and efficient design for semantic segmentation with
transformers. NeurIPS 2021. https://arxiv.org/abs/2105.15203

Scores are made at stride 4 and enlarged bilinearly. Differs from the paper: Mix-FFN widens 4 times in every stage and
the merging layer of the decoder is normalised and rectified, both as in the released code; dropout before the scores
drops single values, not whole channels.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, resize
from segtrial.models._encoder import Encoder
from segtrial.models._mit import MixTransformer, channels_first, channels_last

WIDTHS = {"mit_b0": 256, "mit_b1": 256, "mit_b2": 768, "mit_b3": 768, "mit_b4": 768, "mit_b5": 768}
"""Channels of the decoder."""


class SegFormer(nn.Module):
    multiple = 32

    def __init__(self, encoder: Encoder, num_classes: int, width: int):
        super().__init__()
        self.encoder = encoder
        self.linears = nn.ModuleList(nn.Linear(channels, width) for channels in encoder.channels[:1:-1])
        self.fuse = nn.Sequential(
            nn.Conv2d(4 * width, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        )
        self.dropout = nn.Dropout(0.1)
        self.score = ScoreConv(width, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        _, _, *maps = self.encoder(image)
        finest = maps[0]  # (b, _, h/4, w/4)
        unified = [
            resize(channels_first(linear(channels_last(each))), like=finest)
            for linear, each in zip(self.linears, reversed(maps), strict=True)
        ]
        fused = self.fuse(torch.cat(unified, dim=1))
        return (resize(self.score(self.dropout(fused)), like=image),)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: Literal["mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5"] = "mit_b0",
) -> nn.Module:
    return SegFormer(MixTransformer(encoder, in_channels), num_classes, WIDTHS[encoder])
