"""Feature maps -> feature maps: the small layers that several architectures share."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ZeroScaleNorm(nn.BatchNorm2d):
    """Batch normalisation whose scale starts at 0: a residual branch that ends in it starts as the identity.

    Goyal et al. Accurate, large minibatch SGD. 2017, section 5.1. https://arxiv.org/abs/1706.02677
    """

    def reset_parameters(self) -> None:
        super().reset_parameters()
        nn.init.zeros_(self.weight)


class ScoreConv(nn.Conv2d):
    """A convolution whose output is scores. It starts so that scores are as large as the features they come
    from, while He's rule (2 / fan out) would make them about features/classes times larger."""


def conv_relu(in_channels: int, out_channels: int, *, batchnorm: bool = True, bias: bool = True) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, batch normalisation if asked for, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)]
    if batchnorm:
        layers.append(nn.BatchNorm2d(out_channels))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def resize(maps: Float[Tensor, "b c h w"], *, like: Float[Tensor, "b _ H W"]) -> Float[Tensor, "b c H W"]:
    """Bilinear interpolation to the size of `like`, pixels seen as areas (align_corners=False)."""
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)
