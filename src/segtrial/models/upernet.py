"""Image -> scores at stride 4, from a feature pyramid whose top has seen the whole image: UPerNet.

Xiao, Liu, Zhou, Jiang, Sun. Unified perceptual parsing for scene understanding. ECCV 2018.
https://arxiv.org/abs/1807.10221

Scores are made and trained at stride 4, as in the authors' code for semantic segmentation
(semantic-segmentation-pytorch, upernet); the wrapper interpolates them. Differs from the paper: of its heads only the
one for objects is here (scenes, parts, materials and textures need labels of their own), without its 3x3 convolution of
its own, which that code leaves out as well; means of parts are mapped before they are enlarged, as in PSPNet, not
after; the ResNet has no deep stem. `auxiliary=true` adds scores from the map at stride 16 for the loss alone, which the
paper does not have, but later users of the network do. Differs from segmentation_models_pytorch (there `width` is 256)
in that no layer normalisation comes between encoder and pyramid.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import PooledNorm, ScoreConv, auxiliary_head, conv_relu, resize
from segtrial.models._encoder import Encoder, EncoderName, make_encoder
from segtrial.models.pspnet import PARTS, part_means


class UPerNet(nn.Module):
    multiple = 32

    def __init__(self, encoder: Encoder, num_classes: int, width: int, *, auxiliary: bool):
        super().__init__()
        self.encoder = encoder
        _, _, c2, c3, c4, c5 = encoder.channels
        self.context = PyramidPooling(c5, width)
        self.laterals = nn.ModuleList(conv_relu(channels, width, kernel=1, bias=False) for channels in (c4, c3, c2))
        self.smooths = nn.ModuleList(conv_relu(width, width, bias=False) for _ in self.laterals)
        self.fuse = conv_relu(4 * width, width, bias=False)
        self.auxiliary = nn.ModuleList([auxiliary_head(c4, num_classes)] if auxiliary else [])
        self.score = ScoreConv(width, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k H W"], ...]:
        _, _, c2, c3, c4, c5 = self.encoder(image)
        lateral4, lateral3, lateral2 = self.laterals
        smooth4, smooth3, smooth2 = self.smooths
        p5 = self.context(c5)  # (b, width, h/32, w/32)
        p4 = _add(lateral4(c4), p5)
        p3 = _add(lateral3(c3), p4)
        p2 = _add(lateral2(c2), p3)  # (b, width, h/4, w/4)
        levels = (smooth2(p2), smooth3(p3), smooth4(p4), p5)
        fused = self.fuse(torch.cat([resize(level, like=p2) for level in levels], dim=1))
        extra = tuple(head(c4) for head in self.auxiliary) if self.training else ()
        return self.score(fused), *extra


class PyramidPooling(nn.Module):
    """A map beside its own means over ever smaller parts (PSPNet's pyramid pooling), merged to `width` channels."""

    def __init__(self, in_channels: int, width: int):
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), PooledNorm(width), nn.ReLU(inplace=True))
            for _ in PARTS
        )
        self.merge = conv_relu(in_channels + len(PARTS) * width, width, bias=False)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        means = (level(part_means(x, parts)) for parts, level in zip(PARTS, self.levels, strict=True))
        return self.merge(torch.cat([x, *(resize(each, like=x) for each in means)], dim=1))


def _add(finer: Tensor, coarser: Tensor) -> Tensor:
    return finer + resize(coarser, like=finer)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet50",
    width: int = 512,
    auxiliary: bool = False,
) -> nn.Module:
    """`width`: channels of the pyramid. Raises RecipeError for a timm encoder without maps at strides 4 to 32."""
    return UPerNet(make_encoder(encoder, in_channels), num_classes, width, auxiliary=auxiliary)
