"""A name and options -> a network: every file here without a leading underscore is one architecture.

Its docstring opens with a caption, then the paper and its URL, then what differs from the paper. Its one promise is

    build(num_classes: int, in_channels: int = 3, *, option: type = default, ...) -> nn.Module

whose module has `multiple` (input h and w are multiples of it) and maps a normalised float `b c h w` to a tuple of
score maps `b k h w`: the main one first, auxiliary ones after it in train mode.
"""

from importlib import import_module
from inspect import cleandoc
from pkgutil import iter_modules
from types import ModuleType

import torch
from torch import nn

from segtrial.errors import RecipeError, UnknownName
from segtrial.models._costs import costs
from segtrial.models._options import Option, Value, check, options_of
from segtrial.models._whole import Whole

LARGEST_NUMBER = 4096
"""No width or depth is larger; beyond it, only memory is asked for."""


def names() -> list[str]:
    """Every architecture, in alphabetical order."""
    return sorted(found.name for found in iter_modules(__path__) if not found.name.startswith("_"))


def options(name: str) -> dict[str, Option]:
    """What may be chosen for the architecture `name`. Raises UnknownName."""
    return options_of(_file(name).build)


def parse(spec: str) -> tuple[str, dict[str, Value]]:
    """ "unet:encoder=resnet34,skips=false" -> ("unet", {"encoder": "resnet34", "skips": False}).

    Raises UnknownName for a wrong model or option, RecipeError for a wrong value; each names what there is.
    """
    name, _, rest = spec.partition(":")
    name = name.strip()
    known = options(name)
    chosen: dict[str, Value] = {}
    for part in filter(str.strip, rest.split(",")):
        option, equals, text = part.partition("=")
        option = option.strip()
        if not equals or option in chosen:
            found = "given twice" if equals else "no value"
            raise RecipeError(f"model {spec!r}, option {option}", found, "Write name:option=value,option=value")
        if option not in known:
            raise UnknownName(f"option of model {name}", option, known)
        chosen[option] = known[option].read(f"model {name}, option {option}", text)
    return name, chosen


def build(name: str, num_classes: int, in_channels: int = 3, **options: object) -> nn.Module:
    """The network called `name`, not wrapped; `_init.initialise` gives it its first weights.

    Raises UnknownName for a wrong model or option, RecipeError for a wrong value, or for values that contradict.
    """
    file = _file(name)
    known = options_of(file.build)
    check(f"model {name}", options, known)
    for key, value in options.items():
        if type(value) is int and not known[key].choices and not 1 <= value <= LARGEST_NUMBER:
            raise RecipeError(f"model {name}, option {key}", f"{value}", f"Choose 1 to {LARGEST_NUMBER}")
    for word, value, most in (("outputs", num_classes, LARGEST_NUMBER), ("channels", in_channels, 2**16)):
        if not 1 <= value <= most:
            raise RecipeError(f"model {name}", f"{value} {word}", f"Choose 1 to {most}")
    return file.build(num_classes, in_channels, **options)


def describe(spec: str, size: tuple[int, int] | None = None, classes: int = 11, channels: int = 3) -> dict[str, object]:
    """An architecture, ready for JSON, and where `spec` chooses options, with these.

    `parameters` is the number of those that learn. With a `size` (h, w) in pixels, `costs` says what an image of that
    size costs: multiply-adds of a forward pass, and bytes that a training step keeps for each image and for the rest.
    Raises as `parse` does.
    """
    name, chosen = parse(spec)
    caption, paper, *rest = cleandoc(_file(name).__doc__ or "").split("\n\n")
    with torch.device("meta"):  # shapes only: counting costs no memory
        network = build(name, classes, channels, **chosen)
    described: dict[str, object] = {
        "name": name,
        "caption": " ".join(caption.split()),
        "paper": " ".join(paper.split()),
        "differs": "\n\n".join(" ".join(paragraph.split()) for paragraph in rest),
        "options": [
            {
                "name": key,
                "type": option.type.__name__,
                "default": option.default,
                "choices": [*option.choices, *[f"{option.prefix}NAME"] * bool(option.prefix)],
                "chosen": chosen.get(key, option.default),
            }
            for key, option in options(name).items()
        ],
        "parameters": sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad),
    }
    if size:
        described["costs"] = _costs_at(network, size, channels)
    return described


def _costs_at(network: nn.Module, size: tuple[int, int], channels: int) -> dict[str, object]:
    height, width = Whole(network, torch.zeros(channels), torch.ones(channels)).padded_size(*size)
    found = costs(network, torch.empty(1, channels, height, width, device="meta"))
    return {
        "size": list(size),
        "multiply_adds": found.multiply_adds,
        "bytes_per_image": found.saved_bytes,
        "bytes_of_weights": found.training_bytes(0),
    }


def _file(name: str) -> ModuleType:
    if name not in names():
        raise UnknownName("model", name, names())
    return import_module(f"{__name__}.{name}")
