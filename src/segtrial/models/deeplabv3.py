"""Image -> scores at stride 16 or 8, enlarged, from dilations in parallel and the mean of the whole image: DeepLab v3.

Chen, Papandreou, Schroff, Adam. Rethinking atrous convolution for semantic image segmentation. 2017.
https://arxiv.org/abs/1706.05587

As published: the last stage's blocks multiply their dilation by 1, 2, 4 (`multi_grid`; none: exactly if the encoder is
a ResNet, the only kind that can), branches have 256 channels, scores are enlarged bilinearly in training too.

Differs from the paper: it evaluates at `output_stride=8` what it trained at 16, here one network has one. Dropout .1
before the scores is the authors' program's; the paper names none. Of the stages that dilate, where `multi_grid` does
not set it, the first block keeps the dilation before it, as in torchvision. The paper has only ResNet-50 and
ResNet-101, and no `auxiliary` scores: those come from the stage before the last, in train mode only, at that map's
stride.

`head=torchvision` has one more 3x3 convolution before the scores, and dropout .5; with
`output_stride=8,multi_grid=false` it is torchvision's deeplabv3_resnet50, with `auxiliary=true` including its
auxiliary head (whose scores torchvision enlarges).
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._aspp import ASPP, WIDTH, dense_relu
from segtrial.models._blocks import ScoreConv, auxiliary_head, resize
from segtrial.models._encoder import RESNETS, Encoder, EncoderName, make_encoder
from segtrial.models._resnet import ResNet

MULTI_GRID = (1, 2, 4)
"""The best of those that the paper compares (section 4)."""


class DeepLabV3(nn.Module):
    """`refine` is what lies between the pyramid and the scores."""

    def __init__(self, encoder: Encoder, aspp: ASPP, refine: nn.Module, num_classes: int, *, auxiliary: bool):
        super().__init__()
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.auxiliary = nn.ModuleList([auxiliary_head(encoder.channels[-2], num_classes)] * auxiliary)
        self.aspp = aspp
        self.refine = refine
        self.score = ScoreConv(WIDTH, num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k _ _"], ...]:
        *_, before, deepest = self.encoder(image)
        scores = self.score(self.refine(self.aspp(deepest)))
        return resize(scores, like=image), *(head(before) for head in self.auxiliary if self.training)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: EncoderName = "resnet50",
    output_stride: Literal[8, 16] = 16,
    multi_grid: bool | None = None,
    head: Literal["paper", "torchvision"] = "paper",
    auxiliary: bool = False,
) -> DeepLabV3:
    """Raises RecipeError for `multi_grid` with another encoder than a ResNet."""
    seen = _encoder(encoder, in_channels, output_stride, multi_grid)
    aspp = ASPP(seen.channels[-1], output_stride, dropout=0.1 if head == "paper" else 0.5)
    refine = nn.Identity() if head == "paper" else dense_relu(WIDTH, WIDTH)
    return DeepLabV3(seen, aspp, refine, num_classes, auxiliary=auxiliary)


def _encoder(name: str, in_channels: int, output_stride: int, multi_grid: bool | None) -> Encoder:
    if multi_grid and name not in RESNETS:
        found = f"multi_grid=true with encoder={name}, which has no blocks whose dilations could differ"
        raise RecipeError("model deeplabv3", found, f"Drop multi_grid=true, or choose one of: {', '.join(RESNETS)}")
    if multi_grid is False or name not in RESNETS:
        return make_encoder(name, in_channels, output_stride)
    depth = int(name.removeprefix("resnet"))
    return ResNet(depth, in_channels, output_stride=output_stride, multi_grid=MULTI_GRID)
