"""Images of any size, as they are on disk -> scores of the same size: the one wrapper of law 5.

uint8 or float images  ->  pad  ->  see  ->  normalise  ->  core  ->  interpolate  ->  crop  ->  float32 scores
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Shaped, UInt8
from torch import Tensor, nn

from segtrial.colors import lightness, luma
from segtrial.errors import ImageError

Sees = Literal["image", "lightness", "luma"]
"""What of an image a core is shown: its channels, or one channel of an RGB photo: L of CIE Lab, or the grey value."""


class Whole(nn.Module):
    """A core (an architecture's network) with everything around it that training, export and serving must share.

    `mean` and `std`, one value a channel, describe what the core sees, in [0, 1]; they are part of the state dict.
    """

    mean: Tensor
    std: Tensor
    sees: Sees

    def __init__(self, core: nn.Module, mean: Float[Tensor, " c"], std: Float[Tensor, " c"], sees: Sees = "image"):
        super().__init__()
        self.core, self.sees = core, sees
        self.register_buffer("mean", mean.detach().clone().float())
        self.register_buffer("std", std.detach().clone().float())

    def forward(self, images: Shaped[Tensor, "..."]) -> Float32[Tensor, "b k h w"]:
        """The main scores, before softmax, of images `b c h w`: uint8 (0 to 255), or floating point in [0, 1].

        Raises ImageError if `images` has another rank, another number of channels, another kind of numbers, or
        no pixels. Double precision is rounded to float32. That floats lie in [0, 1] is the caller's promise: looking
        would stop a GPU.
        """
        height, width = images.shape[-2:]
        scores = self.forward_all(images)[0]
        padded = self.padded_size(height, width)
        if scores.shape[-2:] != padded:
            scores = F.interpolate(scores, padded, mode="bilinear", align_corners=False)
        return scores[..., :height, :width]

    def forward_all(self, images: Shaped[Tensor, "..."]) -> tuple[Float32[Tensor, "b k H W"], ...]:
        """All scores as the core makes them, main first; auxiliary ones follow in train mode, where there are any.

        They cover the padded image, whole or at a stride (`compact` scores every second pixel): training compares
        them with targets at that stride, which costs a quarter of comparing interpolated ones.
        """
        _check(images, self.channels)  # before any annotation does, for a message with the fix
        return tuple(each.float() for each in self.core(self._prepared(images)))

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size (h, w) that the core sees: the next multiples, and at least two of them.

        Two, because torch 2.15's bfloat16 convolution with stride 2 reads memory that nobody wrote where a map is 2
        wide and taller: the maps before an encoder's last stride must be at least 4 wide.
        """
        if self.multiple == 1:
            return height, width
        rows, columns = (torch.sym_max(2, (side + self.multiple - 1) // self.multiple) for side in (height, width))
        return self.multiple * rows, self.multiple * columns  # pyright: ignore[reportReturnType]

    @property
    def channels(self) -> int:
        """Of the images that go in."""
        return self.mean.numel() if self.sees == "image" else 3

    @property
    def multiple(self) -> int:
        """Images are padded to multiples of this, in pixels."""
        return self.core.multiple  # pyright: ignore[reportReturnType]

    def _prepared(self, images: UInt8[Tensor, "b c h w"] | Float[Tensor, "b c h w"]) -> Float32[Tensor, "b C H W"]:
        """Padded at the bottom and on the right, then normalised, channels last."""
        padded = pad(images, self.padded_size(*images.shape[-2:])) if self.multiple > 1 else images
        range_ = 255.0 if images.dtype == torch.uint8 else 1.0
        values = seen(padded.to(torch.float32, memory_format=torch.channels_last) / range_, self.sees)
        return (values - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)


def seen(images: Float32[Tensor, "b c h w"], sees: Sees) -> Float32[Tensor, "b C h w"]:
    """What of images in [0, 1] a core is shown, in [0, 1]."""
    if sees == "image":
        return images
    return lightness(images) / 100 if sees == "lightness" else luma(images)


def pad(images: Shaped[Tensor, "b c h w"], wanted: tuple[int, int]) -> Shaped[Tensor, "b c H W"]:
    """Grow `images` at the bottom and on the right to the `wanted` height and width.

    Along each axis the image is mirrored (its last row is not repeated) where it is longer than what is missing;
    otherwise its last row or column is repeated. The top left pixel stays where it is, so cropping back is `[:h, :w]`.
    While a network is exported sizes are symbols, of which nothing may be asked: then every axis is copied.
    """
    for axis, length in ((2, wanted[0]), (3, wanted[1])):
        size = images.shape[axis]
        if not isinstance(length, int) or length > size:
            images = images.index_select(axis, _sources(size, length, images.device))
    return images


def _sources(size: int, wanted: int, device: torch.device) -> Tensor:
    """For each place of an axis grown from `size` to `wanted`, the place it is copied from."""
    places = torch.arange(wanted, device=device)
    last = size - 1
    mirrored = last - (places - last).abs()  # below 0 at the end, where the image is too short
    return torch.where(mirrored[-1] >= 0, mirrored, places.clamp(max=last))


def _check(images: Tensor, channels: int) -> None:
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise ImageError("image batch", f"shape {shape}", "Pass b c h w; for one image c h w, add images[None]")
    if shape[1] != channels:
        hint = " (it looks like b h w c: permute it)" if shape[3] == channels else ""
        found = f"{shape[1]} channels in shape {shape}{hint}, but the network was made for {channels}"
        raise ImageError(
            "image batch", found, f"Convert the images to {channels} channels, or train a network on these"
        )
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ImageError("image batch", f"numbers of type {images.dtype}", "Pass uint8 (0 to 255), or float in [0, 1]")
    if 0 in shape:
        raise ImageError("image batch", f"shape {shape}", "Pass at least one image of at least one pixel")
