"""Image -> scores at strides 32, 16 and 8, summed from coarse to fine and enlarged: the fully convolutional network.

Long, Shelhamer, Darrell. Fully convolutional networks for semantic segmentation. CVPR 2015.
https://arxiv.org/abs/1411.4038 (PAMI 2017: https://arxiv.org/abs/1605.06211)

`stride` 32, 16 and 8 are FCN-32s, FCN-16s and FCN-8s. With encoder=vgg16 they are the released voc-fcn32s, voc-fcn16s
and voc-fcn8s: images get a border of zeros (padding 100), pools round up, fc6 and fc7 drop half, and maps are cropped
where the release crops them. Differs from the paper: all scores are trained at once from random weights, while the
paper starts each network from the next coarser one, with its new scores at zero, and fc6 and fc7 from a classifier.
`upsampling=frozen` keeps each enlarging layer bilinear, as the release does; `learned` starts it so and learns full
kernels, while the paper learns all but the last. `padding=same` is ours: fc6 is padded, not the image, nothing is
cropped, and small images cost a quarter. `score_batchnorm` is ours: scores are normalised before they are enlarged.
With another encoder than a VGG its maps at those strides are scored as they are: no fc6, fc7, dropout, border or crop.
"""

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import BilinearDeconv, ScoreConv
from segtrial.models._encoder import VGGS, Encoder, EncoderName, make_encoder
from segtrial.models._vgg import VGG

WIDTH = 4096
"""Channels of fc6 and fc7."""

CROPS = {32: 19, 16: 27, 8: 31}
"""Rows and columns that the release drops before those of the image, by the stride of its finest scores."""

SKIP_CROPS = {16: 5, 8: 9}
"""Rows and columns of the scores of pool4 and pool3 that the release drops before those that it adds."""


class BilinearEnlarge(nn.Module):
    """What a BilinearDeconv of this stride and padding does before it has learned, without parameters."""

    def __init__(self, stride: int, padding: int):
        super().__init__()
        self.stride = stride
        self.cut = stride // 2 + padding

    def forward(self, scores: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k H W"]:
        bordered = F.pad(scores, (1, 1, 1, 1))  # beyond the border a transposed convolution sees zeros
        enlarged = F.interpolate(bordered, scale_factor=self.stride, mode="bilinear", align_corners=False)
        return enlarged[..., self.cut : -self.cut, self.cut : -self.cut]


class FCN(nn.Module):
    """`published`: with the border and the crops of the release; otherwise each layer keeps maps aligned by itself.

    The border is 99 wide, in front of a convolution that pads by 1: together the release's padding of 100.
    """

    def __init__(
        self, encoder: Encoder, num_classes: int, *, stride: int, learned: bool, batchnorm: bool, published: bool
    ):
        super().__init__()
        fused = [finer for finer in (16, 8) if finer >= stride]
        pooled = isinstance(encoder, VGG)  # its maps are what pools receive; the paper scores what they return
        enlarge = partial(BilinearDeconv, num_classes) if learned else BilinearEnlarge
        self.levels = [finer.bit_length() - 1 - pooled for finer in fused]
        self.skip_crops = [SKIP_CROPS[finer] if published else 0 for finer in fused]
        self.crop = CROPS[stride] if published else 0
        self.multiple = 1 if published else 32
        self.border = nn.ZeroPad2d(99 if published else 0)
        self.encoder = encoder
        deepest = encoder.channels[-1]
        self.head = _fully_connected(deepest, padding=0 if published else 3) if pooled else nn.Identity()
        self.score = _score(WIDTH if pooled else deepest, num_classes, batchnorm)
        self.skips = nn.ModuleList(
            nn.Sequential(
                nn.MaxPool2d(2, ceil_mode=True) if pooled else nn.Identity(),
                _score(encoder.channels[level], num_classes, batchnorm),
            )
            for level in self.levels
        )
        self.twice = nn.ModuleList(enlarge(stride=2, padding=0 if published else 1) for _ in fused)
        self.enlarge = enlarge(stride=stride, padding=0 if published else stride // 2)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        maps = self.encoder(self.border(image))
        scores = self.score(self.head(maps[-1]))  # (b, k, h/32, w/32)
        for twice, skip, level, start in zip(self.twice, self.skips, self.levels, self.skip_crops, strict=True):
            scores = twice(scores)
            scores = scores + _crop(skip(maps[level]), start, like=scores)
        return (_crop(self.enlarge(scores), self.crop, like=image),)


def _crop(maps: Tensor, start: int, *, like: Tensor) -> Tensor:
    height, width = like.shape[-2:]
    return maps[..., start : start + height, start : start + width]


def _fully_connected(in_channels: int, padding: int) -> nn.Sequential:
    """VGG's classifier, slid over the map."""
    layers = {
        "fc6": nn.Conv2d(in_channels, WIDTH, 7, padding=padding),
        "relu6": nn.ReLU(inplace=True),
        "drop6": nn.Dropout(0.5),
        "fc7": nn.Conv2d(WIDTH, WIDTH, 1),
        "relu7": nn.ReLU(inplace=True),
        "drop7": nn.Dropout(0.5),
    }
    return nn.Sequential(OrderedDict(layers))


def _score(in_channels: int, num_classes: int, batchnorm: bool) -> nn.Module:
    conv = ScoreConv(in_channels, num_classes, 1, bias=not batchnorm)
    return nn.Sequential(conv, nn.BatchNorm2d(num_classes)) if batchnorm else conv


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    stride: Literal[8, 16, 32] = 8,
    encoder: EncoderName = "resnet34",
    upsampling: Literal["frozen", "learned"] = "frozen",
    score_batchnorm: bool = False,
    padding: Literal["published", "same"] | None = None,
) -> nn.Module:
    """`padding` is a VGG's alone, and published unless chosen.

    Raises RecipeError for `padding` with another encoder.
    """
    if padding and encoder not in VGGS:
        found = f"padding={padding} with encoder={encoder}, but only a VGG has the layer fc6 that is padded for"
        raise RecipeError("model fcn", found, "Drop padding, or choose a VGG as encoder")
    network = make_encoder(encoder, in_channels)
    published = encoder in VGGS and padding != "same"
    if published:
        _round_up(network)
    return FCN(
        network,
        num_classes,
        stride=stride,
        learned=upsampling == "learned",
        batchnorm=score_batchnorm,
        published=published,
    )


def _round_up(encoder: Encoder) -> None:
    """Let pools keep the last row of an odd map, as Caffe's do."""
    for layer in encoder.modules():
        if isinstance(layer, nn.MaxPool2d):
            layer.ceil_mode = True
