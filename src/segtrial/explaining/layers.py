"""A network and the name of one of its layers -> that layer's maps, cut loose so that gradients end there."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from segtrial.errors import RecipeError, listing, nearest
from segtrial.models._encoder import Encoder
from segtrial.models.compact import Compact
from segtrial.models.segnet import SegNet
from segtrial.models.unet import PlainUNet


def default_layer(core: nn.Module) -> str:
    """The layer whose output is the encoder's last map: coarse, and made of the whole image's content."""
    if isinstance(core, Compact):
        return f"stages.{len(core.stages) - 1}"
    if isinstance(core, PlainUNet):
        return f"down.{len(core.down) - 1}"
    if isinstance(core, SegNet):  # which pools by itself
        last = max(place for place, layer in enumerate(core.encoder.features) if not isinstance(layer, nn.MaxPool2d))
        return f"encoder.features.{last}"
    for name, module in core.named_modules():
        if isinstance(module, Encoder):
            return name
    raise RecipeError("--layer", "not given, and this network has no encoder", f"Choose one: {_some(core)}")


@contextmanager
def cut_at(core: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Inside, the maps that the layer `name` made last, as leaves of a graph that begins with them.

    The rest of the network sees copies, so that it may change them in place. Raises RecipeError for a layer that there
    is not.
    """
    there = dict(core.named_modules())
    if not name or name not in there:
        fix = f"{nearest(name, list(there))}There are: {_some(core)}"
        raise RecipeError("--layer", f"{name!r} is no layer of this network", fix)
    leaves: list[Tensor] = []

    def cut(module: nn.Module, given: Any, made: Any) -> Any:
        maps = made if isinstance(made, tuple | list) else (made,)
        leaves[:] = [each.detach().requires_grad_() for each in maps]
        copies = tuple(leaf.clone() for leaf in leaves)
        return copies if isinstance(made, tuple | list) else copies[0]

    handle = there[name].register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()


def channels_first(maps: Tensor, size: tuple[int, int], name: str) -> Tensor:
    """`b c h w`, also of `b h w c` as transformers have it between layers, told apart by the proportions of the image.

    Raises RecipeError for what is no map.
    """
    if maps.ndim == 4 and _fits(maps.shape[2:], size):
        return maps
    if maps.ndim == 4 and _fits(maps.shape[1:3], size):
        return maps.movedim(3, 1)
    found = f"{name!r} makes numbers of shape {tuple(maps.shape)}, which is no map of the image"
    raise RecipeError("--layer", found, "Choose a layer whose output is a map, or leave it out")


def _fits(sides: torch.Size, size: tuple[int, int]) -> bool:
    """Whether sides (h, w) are those of an image of `size` at some stride, which sizes may have been rounded up by."""
    strides = [full / side for full, side in zip(size, sides, strict=True)]
    return min(strides) >= 0.9 and max(strides) <= 1.5 * min(strides)


def _some(core: nn.Module) -> str:
    """Names of layers down to the second floor."""
    return listing(name for name, _ in core.named_modules() if name and name.count(".") < 2)
