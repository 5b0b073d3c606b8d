"""Feature maps -> feature maps: the small layers that several architectures share."""

from abc import ABC, abstractmethod

import torch
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


class OwnStart(nn.Module, ABC):
    """A part that brings first weights of its own, which `_init.initialise` asks for."""

    @abstractmethod
    def start(self, seed: int) -> None:
        """Overwrite every parameter and every buffer that training changes: a pure function of `seed`."""


class OwnDepth(nn.Module, ABC):
    """A part that brings stochastic depth of its own."""

    @abstractmethod
    def set_stochastic_depth(self, rate: float) -> bool:
        """Let its residual blocks be skipped, the last one with probability `rate`; False if it has none to skip."""


class Residual(nn.Module):
    """A block around which its input is carried: what its layers make passes `drop_path` before the two are added.

    `drop_path` has no tensors. It is the identity until stochastic depth is asked for.
    """

    drop_path: nn.Module

    def __init__(self):
        super().__init__()
        self.drop_path = nn.Identity()


class DropPath(nn.Module):
    """Stochastic depth: while training, zero for a share `rate` of the images, the others divided by what is left.

    Huang et al. Deep networks with stochastic depth. ECCV 2016. https://arxiv.org/abs/1603.09382. They divide nothing
    and multiply by 1 - rate in eval mode; here eval mode is as if there were none.
    """

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        if not self.training:
            return x
        kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.rate
        return x * (kept.to(x.dtype) / (1 - self.rate))


class ScoreConv(nn.Conv2d):
    """A convolution whose output is scores. It starts so that scores are as large as the features they come
    from, while He's rule (2 / fan out) would make them about features/classes times larger.

    Of many features the bias is added apart: the gradient that torch 2.15 takes on a CPU in bfloat16 of a convolution
    with a bias, more than 2048 channels in and fewer than 16 out writes past its memory.
    """

    MOST_FEATURES = 2048

    def forward(self, input: Float[Tensor, "b _ _ _"]) -> Float[Tensor, "b _ _ _"]:
        if self.bias is None or self.in_channels <= self.MOST_FEATURES:
            return super().forward(input)
        scores = self._conv_forward(input, self.weight, None)
        return scores + self.bias.view(-1, 1, 1).to(scores.dtype)


class BilinearDeconv(nn.ConvTranspose2d):
    """A transposed convolution that enlarges `stride` times and starts as bilinear interpolation, each channel by
    itself, with zeros beyond the border. With padding stride // 2 an output is `stride` times as large."""

    def __init__(self, channels: int, stride: int, padding: int = 0):
        super().__init__(channels, channels, 2 * stride, stride, padding, bias=False)

    def first_weight(self) -> Float[Tensor, "c c k k"]:
        stride, channels = self.stride[0], self.in_channels
        side = 1 - (torch.arange(2 * stride) - (stride - 0.5)).abs() / stride
        return torch.eye(channels)[:, :, None, None] * (side[:, None] * side)


class GaussianScoreConv(ScoreConv):
    """Scores that start as DeepLab's do: normal weights of standard deviation .01, whatever they come from."""


class PooledNorm(nn.BatchNorm2d):
    """Batch normalisation of means over an image. Where a channel has one value only (one image, one mean), which
    torch refuses to train on, the running statistics serve and stay as they are."""

    def forward(self, input: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        if self.training and input.numel() == self.num_features:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


def conv_relu(
    in_channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    dilation: int = 1,
    batchnorm: bool = True,
    bias: bool = True,
) -> nn.Sequential:
    """A convolution that keeps the size, batch normalisation if asked for, ReLU."""
    padding = kernel // 2 * dilation
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel, 1, padding, dilation, bias=bias)]
    if batchnorm:
        layers.append(nn.BatchNorm2d(out_channels))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def auxiliary_head(in_channels: int, num_classes: int) -> nn.Sequential:
    """Scores from a map inside the encoder, for the loss alone, as in PSPNet (section 4; 256 channels: its authors)."""
    return conv_relu(in_channels, 256, bias=False).extend([nn.Dropout(0.1), ScoreConv(256, num_classes, 1)])


def resize(maps: Float[Tensor, "b c h w"], *, like: Float[Tensor, "b _ H W"]) -> Float[Tensor, "b c H W"]:
    """Bilinear interpolation to the size of `like`, pixels seen as areas (align_corners=False)."""
    return F.interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)
