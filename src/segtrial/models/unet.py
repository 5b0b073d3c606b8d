"""Image -> scores, down a contracting path and up an expanding one that sees the finer maps again: U-Net.

Ronneberger, Fischer, Brox. U-Net: convolutional networks for biomedical image segmentation. MICCAI 2015.
https://arxiv.org/abs/1505.04597

The published network is `padding=valid,batchnorm=false,dropout=0.5`: 23 convolutions without padding (572 pixels in,
388 scores out), finer maps cropped. So that there is a score for every pixel, the image is mirrored at its borders by
the 92 pixels that are lost on each side, as in the paper's figure 2, and by 2 more (whose scores are then cropped),
with which the sizes before each pooling are even, and its windows where `padding=same` has them.

Differs from the paper, by default: convolutions are padded, so that scores are as large as the image and nothing is
cropped; batch normalisation after each 3x3 convolution; no dropout. Always: the image is scored whole, not in tiles;
scores go out, not their softmax; the loss's weight map is no part of the network; dropout is elementwise after the
two deepest stages, the text saying only "at the end of the contracting path"; first weights have variance 2 / fan out
(He's rule for ReLU, used for every `activation`), the paper's 2 / fan in. The paper has neither `upsampling=bilinear`
(bilinear enlarging and a 1x1 convolution in place of the up-convolution), nor another `activation`, `width` (channels
of the finest stage) or `depth` (stages), nor `skips=false`, which leaves the finer maps out: an encoder-decoder.

With `encoder` that network takes the place of the contracting path, and the expanding path is the light one of
segmentation_models_pytorch: widths 256, 128, 64, 32, 16; nearest-neighbour enlarging; convolutions without bias, each
followed by batch normalisation. As there, a VGG gets two more convolutions below, and its map at full size is not
passed on; a map that an encoder lacks is left out.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import ScoreConv, conv_relu
from segtrial.models._encoder import RESNETS, TIMM, VGGS, Encoder, make_encoder
from segtrial.models._options import OneOf, options_of

LIGHT_WIDTHS = (256, 128, 64, 32, 16)
"""Channels of the expanding path behind an encoder, coarsest first."""

Contracting = Annotated[str, OneOf(("none", *RESNETS, *VGGS), prefix=TIMM)]
Padding = Literal["same", "valid"]
Upsampling = Literal["transposed", "bilinear"]
Activation = Literal["relu", "leaky_relu", "elu", "gelu"]


@dataclass(frozen=True)
class Plain:
    """What may be chosen for the network of 2015 alone, not with an encoder."""

    batchnorm: bool
    padding: Padding
    upsampling: Upsampling
    dropout: float
    activation: Activation
    width: int
    depth: int


class PlainUNet(nn.Module):
    """The network of 2015."""

    def __init__(self, num_classes: int, in_channels: int, plain: Plain, *, skips: bool):
        super().__init__()
        self.multiple = 2 ** (plain.depth - 1)
        self.skips = skips
        self.mirror, self.crop = nn.Identity(), nn.Identity()
        if plain.padding == "valid":
            self.mirror, self.crop = Mirror(pixels_lost(plain.depth) + 2), nn.ZeroPad2d(-2)
        widths = [plain.width * 2**stage for stage in range(plain.depth)]  # 64, 128, ..., 1024 (paper, figure 1)
        stages = [_double(*both, plain) for both in pairwise([in_channels, *widths])]
        if plain.dropout:
            for stage in stages[-2:]:
                stage.append(nn.Dropout(plain.dropout))
        self.down = nn.ModuleList(stages)
        finer = widths[-2::-1]
        self.enlarge = nn.ModuleList(_enlarge(2 * width, width, plain.upsampling) for width in finer)
        self.up = nn.ModuleList(_double(width * (1 + skips), width, plain) for width in finer)
        self.score = ScoreConv(plain.width, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        x = self.down[0](self.mirror(image))
        passed = []
        for down in self.down[1:]:
            passed.append(x)
            x = down(F.max_pool2d(x, 2))
        for enlarge, up in zip(self.enlarge, self.up, strict=True):
            x = enlarge(x)
            skip = [_middle(passed.pop(), like=x)] if self.skips else []
            x = up(_join(*skip, x))
        return (self.crop(self.score(x)),)


class UpConv(nn.ConvTranspose2d):
    """The paper's 2x2 up-convolution. Each input pixel makes one 2x2 patch of its own, so it equals a 1x1 convolution
    to 4 times the channels whose results are laid out as patches; that is twice as fast (the backward pass, on a CPU).
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__(in_channels, out_channels, kernel_size=2, stride=2)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d 2*h 2*w"]:
        assert self.bias is not None
        kernel = self.weight.flatten(1).t()[..., None, None]  # (4 out, in, 1, 1), the patch's pixels fastest
        return F.pixel_shuffle(F.conv2d(x, kernel, self.bias.repeat_interleave(4)), 2)


class Mirror(nn.Module):
    """Images grown by `border` pixels on each side, which mirror it (the outermost pixel is not repeated).

    Images of at least 2 x 2 are mirrored as often as it takes.
    """

    def __init__(self, border: int):
        super().__init__()
        self.border = border

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c H W"]:
        for axis in (2, 3):
            last = image.shape[axis] - 1
            places = torch.arange(-self.border, last + 1 + self.border, device=image.device)
            image = image.index_select(axis, last - (places % (2 * last) - last).abs())
        return image


def pixels_lost(depth: int) -> int:
    """How many more pixels than scores there are on each side, where convolutions are not padded.

    At stride s (1 the finest, S = 2**(depth - 1) the coarsest) two 3x3 convolutions take 2s pixels from each side,
    going down and, except at S, up again: 2 (1 + 2 + ... + S) + 2 (1 + ... + S/2) = 6S - 4.

    Two more on each side make h + 12 S - 4 pixels of h, a multiple of S: stages enter with a multiple of S less 4, of
    S/2 less 4, and so on, so that all can be halved. The pools' windows that make stride s begin 2 + 4 + ... + s =
    2s - 2 pixels into the border, which is 6S - 2 wide: at multiples of s of the image, as with padding.
    """
    return 6 * 2 ** (depth - 1) - 4


class EncoderUNet(nn.Module):
    """Any encoder and the light expanding path; `centre`: two more convolutions between them."""

    def __init__(self, encoder: Encoder, num_classes: int, *, skips: bool, centre: bool):
        super().__init__()
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.skips = skips
        deepest, *passed = encoder.channels[:0:-1]  # the map at full size is not passed
        self.centre = _light(deepest, deepest) if centre else nn.Sequential()
        self.up = nn.ModuleList(
            _light(before + skips * skip, width)
            for before, skip, width in zip((deepest, *LIGHT_WIDTHS), (*passed, 0), LIGHT_WIDTHS, strict=False)
        )
        self.score = ScoreConv(LIGHT_WIDTHS[-1], num_classes, 3, padding=1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        _, *passed, deepest = self.encoder(image)
        x = self.centre(deepest)
        for up in self.up:
            skip = [passed.pop()] if self.skips and passed else []
            x = up(_join(F.interpolate(x, scale_factor=2), *skip))
        return (self.score(x),)


def _join(first: Tensor, *others: Tensor) -> Tensor:
    return torch.cat([first, *others], dim=1) if others else first


def _middle(x: Tensor, *, like: Tensor) -> Tensor:
    """The middle of `x`, as large as `like`."""
    height, width = like.shape[-2:]
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


def _double(in_channels: int, channels: int, plain: Plain) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, channels, plain), _conv(channels, channels, plain))


def _conv(in_channels: int, channels: int, plain: Plain) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, 3, padding=1 if plain.padding == "same" else 0)]
    if plain.batchnorm:
        layers.append(nn.BatchNorm2d(channels))
    return nn.Sequential(*layers, _activation(plain.activation))


def _activation(name: Activation) -> nn.Module:
    match name:
        case "relu":
            return nn.ReLU(inplace=True)
        case "leaky_relu":
            return nn.LeakyReLU(inplace=True)
        case "elu":
            return nn.ELU(inplace=True)
        case "gelu":
            return nn.GELU()


def _enlarge(in_channels: int, channels: int, upsampling: Upsampling) -> nn.Module:
    if upsampling == "transposed":
        return UpConv(in_channels, channels)
    # The 1x1 convolution could as well come second: it would cost four times as much.
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1), nn.Upsample(scale_factor=2, mode="bilinear"))


def _light(in_channels: int, channels: int) -> nn.Sequential:
    return nn.Sequential(conv_relu(in_channels, channels, bias=False), conv_relu(channels, channels, bias=False))


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: Contracting = "none",
    skips: bool = True,
    batchnorm: bool = True,
    padding: Padding = "same",
    upsampling: Upsampling = "transposed",
    dropout: float = 0.0,
    activation: Activation = "relu",
    width: int = 64,
    depth: int = 5,
) -> nn.Module:
    """Raises RecipeError for an option of the plain net together with an encoder, and for a number out of range."""
    plain = Plain(batchnorm, padding, upsampling, dropout, activation, width, depth)
    if encoder == "none":
        _check_ranges(plain)
        return PlainUNet(num_classes, in_channels, plain, skips=skips)
    defaults = options_of(build)
    changed = [f"{name}={value}".lower() for name, value in vars(plain).items() if value != defaults[name].default]
    if changed:
        found = f"encoder={encoder} with {', '.join(changed)}, which only the plain net can have"
        raise RecipeError("model unet", found, f"Drop {', '.join(changed)}, or choose encoder=none")
    return EncoderUNet(make_encoder(encoder, in_channels), num_classes, skips=skips, centre=encoder in VGGS)


def _check_ranges(plain: Plain) -> None:
    for option, fits, wanted in (
        ("dropout", 0 <= plain.dropout < 1, "0 or more, below 1"),
        ("depth", 2 <= plain.depth <= 8, "2 to 8"),
    ):
        if not fits:
            raise RecipeError(f"model unet, option {option}", str(getattr(plain, option)), f"Choose {wanted}")
