"""Images -> feature maps, by a network of timm's, which starts as timm starts it.

Wightman. PyTorch image models. https://github.com/huggingface/pytorch-image-models

Importing this file imports timm, which takes seconds. Parameter names are timm's, behind `body.`.
"""

import difflib
import textwrap
from collections.abc import Iterator, Sequence
from functools import cache, partial
from typing import Any

import timm
import torch
from jaxtyping import Float
from timm.layers import DropPath
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._blocks import OwnDepth, OwnStart
from segtrial.models._encoder import TIMM, Encoder

NEEDED = (4, 8, 16, 32)
"""Strides of maps without which no pyramid is built."""

_REFUSALS = (AssertionError, AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
"""How timm says that it cannot build what was asked for, or that images of this size do not fit."""


class TimmEncoder(Encoder, OwnStart, OwnDepth):
    """timm's network `name`, of which the maps after the layers at `indices` of its feature_info are taken.

    `make(**more)` builds the network as it is held here; `more` goes to timm.create_model (pretrained=True, ...).
    `norm` keeps the network's last norm, and applies it to every map.
    """

    def __init__(self, name: str, in_channels: int, indices: Sequence[int], norm: bool, **arguments: Any):
        super().__init__()
        self.name = name
        self.indices = list(indices)
        self.norm = norm
        self.in_channels = in_channels
        self.make = partial(_pruned, name, self.indices, norm, in_chans=in_channels, **arguments)
        self.body = self.make()

    def maps(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        return _maps(self.body, image, self.indices, self.norm)

    def start(self, seed: int) -> None:
        """timm's own first weights, drawn on the CPU from torch's generator, which is put back afterwards."""
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            first = self.make()
        self.body.load_state_dict(first.state_dict())

    def set_stochastic_depth(self, rate: float) -> bool:
        """Build the network again, at the weights it has, with timm's own rule: it knows which blocks there are."""
        try:
            with torch.random.fork_rng(devices=[]):
                body = self.make(drop_path_rate=rate)
        except _REFUSALS:  # a network without residual blocks does not know the word
            return False
        if not any(isinstance(module, DropPath) and module.drop_prob for module in body.modules()) and rate:
            return False
        body.load_state_dict(self.body.state_dict())
        self.body = body
        return True

    def stages(self) -> tuple[tuple[nn.Module, ...], ...]:
        """One for each map that timm knows of: the layers since the map before; what comes after all is in the last.

        Where timm names layers that are not there (MViTv2, Twins), one for each part of the network.
        """
        ends = _ends(self.body)
        found: list[list[nn.Module]] = [[]]
        for name, layer in _layers(self.body, ends):
            if sum(1 for _ in layer.parameters()):
                found[-1].append(layer)
            if name in ends:
                found.append([])
        *stages, rest = found
        stages[-1] += rest
        return tuple(tuple(stage) for stage in stages if stage)


class TimmPyramid(TimmEncoder):
    """A network with maps at strides 4, 8, 16 and 32 at least.

    Raises RecipeError for a name that timm does not know, for a network without these maps (a vision transformer), for
    one that takes images of one size only, and for one that cannot keep `output_stride`.
    """

    def __init__(self, name: str, in_channels: int = 3, output_stride: int = 32):
        strides = _strides(name)
        if not set(NEEDED) <= set(strides):
            found = f"it has maps at strides {_listed(strides)}; {_listed(NEEDED)} are needed"
            fix = f"A vision transformer serves model linear (linear:encoder={TIMM}{name}); else choose another encoder"
            raise RecipeError(f"encoder {TIMM}{name}", found, fix)
        last = {stride: index for index, stride in enumerate(strides)}
        levels = [level for level in range(6) if 2**level in last]
        indices = tuple(last[2**level] for level in levels)
        arguments = {} if output_stride == 32 else {"output_stride": output_stride}
        wanted = tuple(min(2**level, output_stride) for level in levels)
        widths = _widths(name, in_channels, indices, wanted, norm=False, **arguments)
        super().__init__(name, in_channels, indices, norm=False, **arguments)
        self.levels = levels
        self.output_stride = output_stride
        wide = dict(zip(levels, widths, strict=True))
        self.channels = tuple(wide.get(level, 0) for level in range(6))

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        maps = dict(zip(self.levels, self.maps(image), strict=True))
        return tuple(maps[level] if level in maps else _nothing(image, 2**level) for level in range(6))


class TimmViT(TimmEncoder):
    """A vision transformer: map 5 joins the patches of its last `layers` layers, all other maps have 0 channels.

    The stride of map 5, `output_stride`, is the size of a patch. Raises RecipeError for a name that timm does not know,
    and for a network that is no plain vision transformer, or takes images of one size only.
    """

    def __init__(self, name: str, in_channels: int = 3, layers: int = 1):
        strides = _strides(name)
        if len(set(strides)) > 1 or len(strides) < layers:
            found = f"it has maps at strides {_listed(strides)}, so it is no plain vision transformer"
            raise RecipeError(
                f"encoder {TIMM}{name}", found, f"Choose another, or another model (fpn:encoder=...{name})"
            )
        indices = tuple(range(len(strides) - layers, len(strides)))
        widths = _widths(name, in_channels, indices, strides[-layers:], norm=True)
        super().__init__(name, in_channels, indices, norm=True)
        self.output_stride = strides[0]
        self.channels = (0, 0, 0, 0, 0, sum(widths))

    def forward(self, image: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b _ _ _"], ...]:
        none = (_nothing(image, min(2**level, self.output_stride)) for level in range(5))
        return *none, torch.cat(self.maps(image), dim=1)


@cache
def _strides(name: str) -> tuple[int, ...]:
    """Of the maps that timm knows of in this network, from the image inwards."""
    known = [*timm.list_models(), *timm.list_models(include_tags=True)]
    if name not in known:
        near = _listed(difflib.get_close_matches(name, known)) or "whatever timm.list_models() lists"
        raise RecipeError(f"encoder {TIMM}{name}", "timm has no network of this name", f"Nearest: {near}")
    with torch.device("meta"):  # shapes only
        return tuple(int(info["reduction"]) for info in _infos(_created(name)))


@cache
def _widths(
    name: str, in_channels: int, indices: tuple[int, ...], strides: tuple[int, ...], norm: bool, **arguments: int
) -> tuple[int, ...]:
    """Channels of the maps at `indices`, once it is certain that they have these `strides` on images of any size."""
    height, width = 2 * max(strides), 3 * max(strides)
    place = f"encoder {TIMM}{name}"
    fix = f"Choose another encoder{', or output_stride 32' if arguments else ''}"
    try:
        with torch.device("meta"), torch.no_grad():
            network = _pruned(name, indices, norm, in_chans=in_channels, **arguments).eval()
            maps = _maps(network, torch.empty(1, in_channels, height, width), indices, norm)
    except _REFUSALS as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        found = f"timm cannot make maps at strides {_listed(strides)} of it ({type(error).__name__}: {reason})"
        raise RecipeError(place, found, fix) from error
    if [tuple(each.shape[-2:]) for each in maps] != [(height // stride, width // stride) for stride in strides]:
        found = f"its maps are not at strides {_listed(strides)}, but {_listed(height / m.shape[-2] for m in maps)}"
        raise RecipeError(place, found, fix)
    return tuple(each.shape[1] for each in maps)


def _pruned(name: str, indices: Sequence[int], norm: bool, **arguments: Any) -> nn.Module:
    """Without its head, and without layers that no map needs."""
    network: Any = _created(name, **arguments)
    network.prune_intermediate_layers(list(indices), prune_norm=not norm, prune_head=True)
    return network


def _created(name: str, **arguments: Any) -> nn.Module:
    try:
        return timm.create_model(name, dynamic_img_size=True, **arguments)
    except TypeError:  # only networks with position codes or windows know this word
        return timm.create_model(name, **arguments)


def _maps(network: Any, image: Tensor, indices: Sequence[int], norm: bool) -> list[Tensor]:
    return network.forward_intermediates(
        image, indices=list(indices), norm=norm, output_fmt="NCHW", intermediates_only=True
    )


def _infos(network: Any) -> list[dict[str, Any]]:
    return list(network.feature_info)


def _ends(body: nn.Module) -> list[str]:
    """Names of the layers that end a stage."""
    there = dict(body.named_modules())
    named = [str(info["module"]) for info in _infos(body)]
    return [name for name in named if name and name in there] or [name for name, _ in body.named_children()]


def _layers(module: nn.Module, ends: Sequence[str], prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The parts of `module` by name, its own parameters first; a part in which one of `ends` lies is taken apart."""
    yield prefix, nn.ParameterList(module.parameters(recurse=False))
    for child, layer in module.named_children():
        name = prefix + child
        if name not in ends and any(end.startswith(f"{name}.") for end in ends):
            yield from _layers(layer, ends, f"{name}.")
        else:
            yield name, layer


def _nothing(image: Tensor, stride: int) -> Tensor:
    return image[:, :0, ::stride, ::stride]


def _listed(items: Any) -> str:
    return ", ".join(str(item) for item in dict.fromkeys(items))
