"""Image -> scores, by adding what all levels of a feature pyramid say at stride 4: FPN.

Lin, Dollar, Girshick, He, Hariharan, Belongie. Feature pyramid networks for object detection. CVPR 2017.
https://arxiv.org/abs/1612.03144 (the pyramid); Kirillov, Girshick, He, Dollar. Panoptic feature pyramid networks.
CVPR 2019. https://arxiv.org/abs/1901.02446, section 3 (the semantic branch).

Differs from the papers: 3x3 convolutions of the branch have no bias, since group normalisation follows; the encoder is
a choice, not one of ResNet-50, ResNet-101 and ResNeXt-101; there is no detection. `smooth=false` leaves out the 3x3
convolution after each sum of the pyramid, as segmentation_models_pytorch does, which also drops a fifth of the merged
channels in training and enlarges with align_corners=True.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, resize
from segtrial.models._encoder import Encoder, EncoderName, make_encoder

PYRAMID, BRANCH = 256, 128
"""Channels of the pyramid, and of the semantic branch."""


class FPN(nn.Module):
    multiple = 32

    def __init__(self, encoder: Encoder, num_classes: int, *, smooth: bool):
        super().__init__()
        self.encoder = encoder
        coarse_to_fine = encoder.channels[:1:-1]  # strides 32, 16, 8, 4
        self.laterals = nn.ModuleList(nn.Conv2d(channels, PYRAMID, 1) for channels in coarse_to_fine)
        self.smooths = nn.ModuleList(
            nn.Conv2d(PYRAMID, PYRAMID, 3, padding=1) if smooth else nn.Identity() for _ in coarse_to_fine
        )
        self.branches = nn.ModuleList(_branch(doublings) for doublings in (3, 2, 1, 0))
        self.score = ScoreConv(BRANCH, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        _, _, c2, c3, c4, c5 = self.encoder(image)
        lateral5, lateral4, lateral3, lateral2 = self.laterals
        p5 = lateral5(c5)  # (b, 256, h/32, w/32)
        p4 = lateral4(c4) + F.interpolate(p5, scale_factor=2)
        p3 = lateral3(c3) + F.interpolate(p4, scale_factor=2)
        p2 = lateral2(c2) + F.interpolate(p3, scale_factor=2)  # (b, 256, h/4, w/4)
        s5, s4, s3, s2 = (
            branch(smooth(level))
            for branch, smooth, level in zip(self.branches, self.smooths, (p5, p4, p3, p2), strict=True)
        )
        return (resize(self.score(s5 + s4 + s3 + s2), like=image),)


def _branch(doublings: int) -> nn.Sequential:
    """One level of the pyramid to stride 4: one convolution for each doubling, and one where there is none."""
    layers: list[nn.Module] = []
    for channels in (PYRAMID, BRANCH, BRANCH)[: max(1, doublings)]:
        layers += [nn.Conv2d(channels, BRANCH, 3, padding=1, bias=False), nn.GroupNorm(32, BRANCH)]
        layers.append(nn.ReLU(inplace=True))
        layers += [nn.Upsample(scale_factor=2, mode="bilinear")] * (doublings > 0)
    return nn.Sequential(*layers)


def build(
    num_classes: int, in_channels: int = 3, *, encoder: EncoderName = "resnet50", smooth: bool = True
) -> nn.Module:
    """Raises RecipeError for a timm encoder without maps at strides 4, 8, 16 and 32."""
    return FPN(make_encoder(encoder, in_channels), num_classes, smooth=smooth)
