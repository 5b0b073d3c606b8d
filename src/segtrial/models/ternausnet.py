"""Image -> scores, down a classifier's layers and up steps of one convolution and one enlarging: TernausNet.

Iglovikov, Shvets. TernausNet: U-Net with VGG11 encoder pre-trained on ImageNet for image segmentation. 2018.
https://arxiv.org/abs/1801.05746 (UNet11); Shvets, Rakhlin, Kalinin, Iglovikov. Automatic instrument segmentation in
robot-assisted surgery using deep learning. 2018. https://arxiv.org/abs/1803.01207 (UNet16, AlbuNet34).

`encoder=vgg11` is UNet11, `vgg16` UNet16, `resnet34` AlbuNet34. All pool once more below the encoder; all but the
encoder is without normalisation. AlbuNet34's first stage ends behind the max-pool, so the finest map that is seen
again has stride 4. `upsampling=transposed`: a step is a 3x3 convolution and a transposed one (kernel 3 in UNet11, 4 in
the others), each with ReLU; `bilinear`: bilinear enlarging and two 3x3 convolutions with ReLU; `none`: as released,
which is transposed for UNet11 and bilinear for the others.

Differs from the released networks: scores go out for any number of classes, where UNet16 and AlbuNet34 return
log-softmax for more than one; AlbuNet34 has no unused classifier (513,000 parameters); first weights are He's, not
torch's, and the encoder starts from ImageNet only if asked to. UNet11 with bilinear enlarging was not released; the
robot-surgery version of UNet11 (kernel 4, 25,364,513 parameters) is left out. The widths are those with which the
five released variants have their published numbers of parameters.
"""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, conv_relu
from segtrial.models._encoder import Encoder, make_encoder

Upsampling = Literal["bilinear", "transposed"]

LAST = 32
"""Channels that the scores are made from."""


@dataclass(frozen=True)
class Plan:
    """What distinguishes the three networks.

    `seen`: the encoder's levels that the steps see again, coarsest first; what comes after them sees none.
    `steps`: channels in the middle and at the end of each step, the centre first. `kernel`: of the transposed
    convolutions. `upsampling`: as released.
    """

    seen: tuple[int, ...]
    steps: tuple[tuple[int, int], ...]
    kernel: Literal[3, 4]
    upsampling: Upsampling


_COMMON = ((512, 256), (512, 256), (512, 256), (256, 64))

PLANS = {
    "vgg11": Plan((4, 3, 2, 1, 0), ((512, 256), (512, 256), (512, 128), (256, 64), (128, 32)), 3, "transposed"),
    "vgg16": Plan((4, 3, 2, 1, 0), (*_COMMON, (128, 32)), 4, "bilinear"),
    "resnet34": Plan((5, 4, 3, 2), (*_COMMON, (128, 128), (128, 32)), 4, "bilinear"),
}


class TernausNet(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int, plan: Plan, upsampling: Upsampling):
        super().__init__()
        self.encoder = encoder
        self.seen = plan.seen
        self.multiple = 2 ** (plan.seen[0] + 1)
        skips = (0, *(encoder.channels[level] for level in plan.seen), 0, 0)
        before, steps = encoder.channels[plan.seen[0]], []
        for (middle, after), skip in zip(plan.steps, skips, strict=False):
            steps.append(_step(before + skip, middle, after, upsampling, plan.kernel))
            before = after
        steps.append(conv_relu(before + skips[len(steps)], LAST, batchnorm=False))
        self.centre = steps[0]
        self.up = nn.ModuleList(steps[1 : len(plan.seen) + 1])
        self.finish = nn.Sequential(*steps[len(plan.seen) + 1 :])
        self.score = ScoreConv(LAST, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        maps = self.encoder(image)
        seen = [maps[level] for level in self.seen]
        x = self.centre(F.max_pool2d(seen[0], 2))
        for up, skip in zip(self.up, seen, strict=True):
            x = up(torch.cat([x, skip], dim=1))
        return (self.score(self.finish(x)),)


def _step(in_channels: int, middle: int, out_channels: int, upsampling: Upsampling, kernel: Literal[3, 4]) -> nn.Module:
    """Maps of twice the size."""
    first = conv_relu(in_channels, middle, batchnorm=False)
    if upsampling == "bilinear":
        second = conv_relu(middle, out_channels, batchnorm=False)
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), first, second)
    enlarge = nn.ConvTranspose2d(middle, out_channels, kernel, 2, padding=1, output_padding=4 - kernel)
    return nn.Sequential(first, enlarge, nn.ReLU(inplace=True))


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: Literal["vgg11", "vgg16", "resnet34"] = "vgg11",
    upsampling: Upsampling | None = None,
) -> nn.Module:
    plan = PLANS[encoder]
    return TernausNet(make_encoder(encoder, in_channels), num_classes, plan, upsampling or plan.upsampling)
