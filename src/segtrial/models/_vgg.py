"""Images -> feature maps at strides 1, 2, 4, ..., 32: the convolutional part of VGG as an encoder.

Simonyan, Zisserman. Very deep convolutional networks for large-scale image recognition. ICLR 2015.
https://arxiv.org/abs/1409.1556

Structure and parameter names are torchvision's (`features.0.weight`, ...), so its weights can be loaded. Differs from
the paper where `batchnorm` adds normalisation after each convolution; the fully connected layers are left out.
"""

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._encoder import Encoder

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""3x3 convolutions in each of the five stages, by depth (paper, table 1, columns A, B, D, E)."""

WIDTHS = (64, 128, 256, 512, 512)


class VGG(Encoder):
    """Maps 0 to 4 are what the pools receive, map 5 is what the last pool returns.

    A pool that would pass `output_stride` is a 3x3 one without stride, and the convolutions after it dilate (DeepLab
    v2, section 3.1).
    """

    def __init__(self, depth: int, in_channels: int = 3, *, batchnorm: bool = False, output_stride: int = 32):
        super().__init__()
        self.channels = (*WIDTHS, WIDTHS[-1])
        self.output_stride = output_stride
        layers: list[nn.Module] = []
        dilation = 1
        for level, (width, count) in enumerate(zip(WIDTHS, CONVOLUTIONS[depth], strict=True)):
            for _ in range(count):
                layers.append(nn.Conv2d(in_channels, width, 3, padding=dilation, dilation=dilation))
                layers += [nn.BatchNorm2d(width)] * batchnorm
                layers.append(nn.ReLU(inplace=True))
                in_channels = width
            if 2 ** (level + 1) > output_stride:
                dilation *= 2
                layers.append(nn.MaxPool2d(3, 1, padding=1))
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        maps, x = [], image
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
            x = layer(x)
        return *maps, x

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        found: list[list[nn.Module]] = [[]]
        for layer in self.features:
            found[-1].append(layer)
            if isinstance(layer, nn.MaxPool2d):
                found.append([])
        return tuple(tuple(stage) for stage in found[:-1])
