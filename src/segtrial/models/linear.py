"""Image -> scores, by one linear map of what a vision transformer says of each patch: a linear head.

Oquab et al. DINOv2: learning robust visual features without supervision. TMLR 2024. https://arxiv.org/abs/2304.07193,
section 7.4.

The encoder is any plain vision transformer that timm has (DINOv2, DINOv3, ...) with its pretrained weights, meant to be
frozen; its patches, after the last norm, are normalised over the batch and mapped to scores, which are enlarged
bilinearly. `layers=4` joins the patches of the last four layers, as the paper's "+ms" does. Differs from the paper: the
encoder learns unless it is frozen, starts from random weights unless some are asked for, and its smallest variant is
the default, where the paper's table shows its largest; no averaging over several scales of an image.
"""

from typing import Annotated, Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._blocks import ScoreConv, resize
from segtrial.models._encoder import TIMM, Encoder
from segtrial.models._options import OneOf

DEFAULT = f"{TIMM}vit_small_patch14_dinov2"


class Linear(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int):
        super().__init__()
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.norm = nn.BatchNorm2d(encoder.channels[-1])
        self.score = ScoreConv(encoder.channels[-1], num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"]]:
        *_, patches = self.encoder(image)
        return (resize(self.score(self.norm(patches)), like=image),)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: Annotated[str, OneOf((DEFAULT,), prefix=TIMM)] = DEFAULT,
    layers: Literal[1, 4] = 1,
) -> nn.Module:
    """Raises RecipeError for an encoder that is no plain vision transformer of timm's."""
    from segtrial.models._timm import TimmViT  # timm takes seconds to import

    return Linear(TimmViT(encoder.removeprefix(TIMM), in_channels, layers), num_classes)
