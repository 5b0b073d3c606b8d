"""Recipe + network -> what of its encoder is frozen, until when, and how fast the rest of it learns.

Frozen is without gradients and in eval mode: neither weights nor running statistics move, and dropout is off. When
it ends is a function of the step, so that a resumed run thaws where the undisturbed one did.
"""

from functools import cache

import torch
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._encoder import Encoder
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Encoder as Wish
from segtrial.training.plan import Plan


class Frozen:
    """The part of an encoder that stays bitwise as it is, until it is thawed; nothing, where nothing was asked for."""

    def __init__(self, network: nn.Module, modules: tuple[nn.Module, ...]):
        self._modules = modules
        self._parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
        tensors = {id(value) for module in modules for value in module.state_dict(keep_vars=True).values()}
        self.names = frozenset(n for n, value in network.state_dict(keep_vars=True).items() if id(value) in tensors)
        """Of its weights and running statistics in the network's state dict."""

    def hold(self) -> None:
        """Turn learning off. Again after each `network.train()`, which turns half of it on."""
        for module in self._modules:
            module.eval()
        for parameter in self._parameters:
            parameter.requires_grad_(False)

    def thawed(self) -> "Frozen":
        """Turn learning on; returns nothing frozen."""
        for parameter in self._parameters:
            parameter.requires_grad_(True)
        return Frozen(nn.Module(), ())


def thaws(recipe: Recipe, plan: Plan, step: int) -> bool:
    """Whether `step`, and every one after it, lets the whole network learn."""
    epoch = recipe.encoder.thaw_epoch
    return epoch is not None and plan.epoch(step) >= epoch


def frozen_modules(recipe: Recipe, core: nn.Module) -> tuple[nn.Module, ...]:
    """What the recipe freezes. Raises RecipeError if the network has no encoder, or not as many stages."""
    freeze = recipe.encoder.freeze
    if freeze == "none":
        return ()
    encoder = encoder_of(recipe, core)
    if freeze == "all":
        return (encoder,)
    stages = encoder.stages()
    if freeze > len(stages):
        found = f"{freeze}, but the encoder of {recipe.model} has {len(stages)} stages"
        raise RecipeError("encoder.freeze", found, f"Choose 1 to {len(stages)}, or all")
    return tuple(module for stage in stages[:freeze] for module in stage)


def rate_factors(recipe: Recipe, core: nn.Module) -> dict[nn.Parameter, float]:
    """What the learning rate of each of the encoder's parameters is multiplied by; empty if all learn alike."""
    wish = recipe.encoder
    if wish.lr_factor == wish.lr_decay == 1:
        return {}
    encoder = encoder_of(recipe, core)
    factors = dict.fromkeys(encoder.parameters(), wish.lr_factor)
    for depth, stage in enumerate(reversed(encoder.stages())):
        for module in stage:
            factors |= dict.fromkeys(module.parameters(), wish.lr_factor * wish.lr_decay**depth)
    return factors


def check(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network has what `recipe.encoder` speaks of."""
    if recipe.encoder != Wish():
        core = empty_core(recipe.model)
        encoder_of(recipe, core)
        frozen_modules(recipe, core)


def encoder_of(recipe: Recipe, core: nn.Module) -> Encoder:
    """The network's encoder. Raises RecipeError, with the networks that have one, if it has none."""
    found = find_encoder(core)
    if found is None:
        fix = f"Leave `encoder` out of the recipe, or choose one of: {', '.join(_with_encoder())}"
        raise RecipeError("encoder", f"{recipe.model} has no encoder of its own to fine-tune", fix)
    return found


def find_encoder(core: nn.Module) -> Encoder | None:
    """The network's encoder, if it has one."""
    found = dict(core.named_children()).get("encoder")
    return found if isinstance(found, Encoder) else None


def empty_core(spec: str, classes: int = 2, channels: int = 3) -> nn.Module:
    """The network of a `--model` word, with shapes and no memory."""
    name, options = models.parse(spec)
    with torch.device("meta"):
        return models.build(name, classes, channels, **options)


@cache
def _with_encoder() -> list[str]:
    words = []
    for name in models.names():
        encoder = models.options(name).get("encoder")
        spec = f"{name}:encoder=resnet34" if encoder and encoder.default in ("none", None) else name
        if find_encoder(empty_core(spec)):
            words.append(spec)
    return words
