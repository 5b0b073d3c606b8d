"""Image -> scores at stride 32, enlarged: the fully convolutional network, FCN-32s.

Long, Shelhamer, Darrell. Fully convolutional networks for semantic segmentation. CVPR 2015.
https://arxiv.org/abs/1411.4038

Differs from the paper: the encoder is a ResNet, not VGG-16, so the 4096-channel layers fc6 and fc7 with their dropout
and the padding of 100 pixels are gone. Scores are enlarged 32 times by bilinear interpolation; the released networks
do the same with a transposed convolution that is set to the bilinear kernel and never learned.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, resize
from segtrial.models._resnet import ResNet


class FCN32s(nn.Module):
    multiple = 32

    def __init__(self, encoder: ResNet, num_classes: int):
        super().__init__()
        self.encoder = encoder
        self.score = ScoreConv(encoder.channels[-1], num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        *_, deepest = self.encoder(image)
        return (resize(self.score(deepest), like=image),)


def build(
    num_classes: int, in_channels: int = 3, *, encoder: Literal["resnet18", "resnet34"] = "resnet34"
) -> nn.Module:
    return FCN32s(ResNet(int(encoder.removeprefix("resnet")), in_channels), num_classes)
