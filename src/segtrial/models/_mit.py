"""Images -> feature maps at strides 4, 8, 16, 32: the mix transformer, SegFormer's encoder.

Xie, Wang, Yu, Anandkumar, Alvarez, Luo. SegFormer: simple and efficient design for semantic segmentation with
transformers. NeurIPS 2021. https://arxiv.org/abs/2105.15203

Parameter names are those of the released weights. Between layers a map is `b h w c`, which is how channels_last lies
in memory: linear layers and norms read it as it is, and a convolution sees it transposed without a copy.
"""

from typing import NamedTuple

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import DropPath, Residual
from segtrial.models._encoder import Encoder

HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
"""By stage: heads of attention; keys and values are thinned out so many times in height and width."""

EXPANSION = 4
"""Of the channels within Mix-FFN, in every stage, as in the released code."""

DROP_PATH = 0.1
"""Share of the images that skip the last block's branches; from 0 at the first block it grows linearly."""


class Size(NamedTuple):
    """Of one variant: channels and blocks of each of the four stages (paper, table 6)."""

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]


SIZES = {
    "mit_b0": Size((32, 64, 160, 256), (2, 2, 2, 2)),
    "mit_b1": Size((64, 128, 320, 512), (2, 2, 2, 2)),
    "mit_b2": Size((64, 128, 320, 512), (3, 4, 6, 3)),
    "mit_b3": Size((64, 128, 320, 512), (3, 4, 18, 3)),
    "mit_b4": Size((64, 128, 320, 512), (3, 8, 27, 3)),
    "mit_b5": Size((64, 128, 320, 512), (3, 6, 40, 3)),
}


class MixTransformer(Encoder):
    """One of SIZES; maps 0 and 1 have 0 channels."""

    output_stride = 32

    def __init__(self, name: str, in_channels: int = 3):
        super().__init__()
        widths, depths = SIZES[name]
        self.channels = (0, 0, *widths)
        rates = iter(DROP_PATH * block / (sum(depths) - 1) for block in range(sum(depths)))
        before = (in_channels, *widths)
        self.patch_embed1 = OverlapPatchEmbed(before[0], widths[0], 7, 4)
        self.patch_embed2 = OverlapPatchEmbed(before[1], widths[1], 3, 2)
        self.patch_embed3 = OverlapPatchEmbed(before[2], widths[2], 3, 2)
        self.patch_embed4 = OverlapPatchEmbed(before[3], widths[3], 3, 2)
        self.block1, self.block2, self.block3, self.block4 = (
            nn.Sequential(*(Block(width, heads, reduction, next(rates)) for _ in range(depth)))
            for width, heads, reduction, depth in zip(widths, HEADS, REDUCTIONS, depths, strict=True)
        )
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width, eps=1e-6) for width in widths)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        x, maps = image, [image[:, :0], image[:, :0, ::2, ::2]]
        for embed, blocks, norm in self.stages():
            x = channels_first(norm(blocks(embed(x))))
            maps.append(x)
        return tuple(maps)

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        return (
            (self.patch_embed1, self.block1, self.norm1),
            (self.patch_embed2, self.block2, self.norm2),
            (self.patch_embed3, self.block3, self.norm3),
            (self.patch_embed4, self.block4, self.norm4),
        )


class OverlapPatchEmbed(nn.Module):
    """Overlapping patches, each to one vector: a strided convolution, normalised (section 3.1)."""

    def __init__(self, in_channels: int, width: int, kernel: int, stride: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b H W d"]:
        return self.norm(channels_last(self.proj(x)))


class Block(Residual):
    """Attention, then Mix-FFN, each normalised before and added to its input."""

    def __init__(self, width: int, heads: int, reduction: int, drop_path: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = EfficientAttention(width, heads, reduction)
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MixFFN(width)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class EfficientAttention(nn.Module):
    """Self-attention whose keys and values come from a map thinned out by a strided convolution (section 3.1)."""

    def __init__(self, width: int, heads: int, reduction: int):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width)
        self.kv = nn.Linear(width, 2 * width)
        self.proj = nn.Linear(width, width)
        thins = reduction > 1
        self.sr = nn.Conv2d(width, width, reduction, reduction) if thins else nn.Identity()
        self.norm = nn.LayerNorm(width) if thins else nn.Identity()

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        thinned = self.norm(channels_last(self.sr(channels_first(x))))
        keys, values = self.kv(thinned).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(self._split(self.q(x)), self._split(keys), self._split(values))
        return self.proj(mixed.transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        return x.flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (b, heads, h w, c / heads)


class MixFFN(nn.Module):
    """Two linear layers with a depthwise 3x3 convolution between, from which places are known (equation 3)."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Linear(width, EXPANSION * width)
        self.dwconv = DepthwiseConv(EXPANSION * width)
        self.fc2 = nn.Linear(EXPANSION * width, width)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        return self.fc2(F.gelu(self.dwconv(self.fc1(x))))


class DepthwiseConv(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        return channels_last(self.dwconv(channels_first(x)))


def channels_first(x: Float[Tensor, "b h w c"]) -> Float[Tensor, "b c h w"]:
    return x.permute(0, 3, 1, 2)


def channels_last(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w c"]:
    return x.permute(0, 2, 3, 1)
