"""Image -> one score per class for all of it: a residual network as an image classifier.

He, Zhang, Ren, Sun. Deep residual learning for image recognition. CVPR 2016. https://arxiv.org/abs/1512.03385

Its scores are a map of one pixel, the coarsest there is, and the same answer goes out for every pixel. On images whose
mask is one class everywhere, a run is the training of a classifier; its encoder has the names that fcn, unet and
deeplab use, so one of them can start from it. Differs from the paper: the last normalisation of each block starts at 0;
a bottleneck strides in its 3x3 convolution, as in torchvision; shortcuts are projected where the size changes, also
with `stem=cifar`, which is the 3x3 stem of section 4.2 in front of the four stages for ImageNet, not of that section's
three narrow ones. `dropout` is ours: that part of the averaged features is dropped.
"""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import ScoreConv
from segtrial.models._encoder import Encoder, ResNetName
from segtrial.models._resnet import ResNet


class Classifier(nn.Module):
    def __init__(self, encoder: Encoder, num_classes: int, *, dropout: float):
        super().__init__()
        self.multiple = encoder.output_stride
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.fc = ScoreConv(encoder.channels[-1], num_classes, 1)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k 1 1"]]:
        *_, deepest = self.encoder(image)
        return (self.fc(self.dropout(deepest.mean((2, 3), keepdim=True))),)


def build(
    num_classes: int,
    in_channels: int = 3,
    *,
    encoder: ResNetName = "resnet18",
    stem: Literal["imagenet", "cifar"] = "imagenet",
    dropout: float = 0.0,
) -> nn.Module:
    """Raises RecipeError for a `dropout` outside [0, 1)."""
    if not 0 <= dropout < 1:
        raise RecipeError("model classifier, option dropout", f"{dropout}", "Choose at least 0 and less than 1")
    network = ResNet(int(encoder.removeprefix("resnet")), in_channels, stem=stem)
    return Classifier(network, num_classes, dropout=dropout)
