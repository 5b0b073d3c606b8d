"""Image -> feature maps at strides 1, 2, 4, 8, 16, 32: what every encoder promises, and its name -> an encoder."""

from abc import ABC, abstractmethod
from typing import Annotated

from jaxtyping import Float
from torch import Tensor, nn

from segtrial.models._options import OneOf

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
VGGS = tuple(f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn"))
TIMM = "timm/"
"""`timm/NAME`: whatever timm can give feature maps of."""

EncoderName = Annotated[str, OneOf((*RESNETS, *VGGS), prefix=TIMM)]
ResNetName = Annotated[str, OneOf(RESNETS)]


class Encoder(nn.Module, ABC):
    """Its output has six maps: map l has `channels[l]` channels and stride min(2**l, output_stride).

    A level that the network does not have is a map with 0 channels. Input height and width are multiples of
    `output_stride`; the network is known by the name `encoder` in whatever it serves, so that its weights move
    from one architecture to another by name.
    """

    channels: tuple[int, ...]
    output_stride: int

    @abstractmethod
    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]: ...

    @abstractmethod
    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Every layer with weights, from the image inwards: what is frozen first comes first."""


def make_encoder(name: str, in_channels: int = 3, output_stride: int = 32) -> Encoder:
    """The encoder called `name`: one of RESNETS or VGGS, or timm/NAME, at `output_stride` 4, 8, 16 or 32.

    Raises RecipeError for a timm name that timm does not know, or cannot give maps of at that stride.
    """
    if name.startswith(TIMM):
        from segtrial.models._timm import TimmPyramid  # timm takes seconds to import

        return TimmPyramid(name.removeprefix(TIMM), in_channels, output_stride)
    if name in RESNETS:
        from segtrial.models._resnet import ResNet

        return ResNet(int(name.removeprefix("resnet")), in_channels, output_stride=output_stride)
    from segtrial.models._vgg import VGG

    depth, _, norm = name.removeprefix("vgg").partition("_")
    return VGG(int(depth), in_channels, batchnorm=norm == "bn", output_stride=output_stride)
