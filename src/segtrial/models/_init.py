"""(network, seed) -> the same network with its first weights: a pure function of (seed, parameter name) (law 1).

Neither the order of construction nor torch's global generator matters. Two architectures that share a part under
one name start that part alike, so a comparison with one seed is paired in its weights too.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from segtrial.models._blocks import BilinearDeconv, GaussianScoreConv, OwnStart, ScoreConv, ZeroScaleNorm
from segtrial.randomness import key_of, torch_generator

_NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)


def initialise(network: nn.Module, seed: int, rule: Literal["kaiming", "xavier"] = "kaiming") -> None:
    """Overwrite every parameter and every running statistic of `network` (the core, not the wrapper around it).

    kaiming: convolutions are normal, variance 2 / fan out (He et al., 2015, equation 14, for ReLU); linear maps normal,
    standard deviation .02, as transformers start (timm's trunc_normal_, whose bounds of 2 lie 100 deviations out).
    xavier: both are normal, variance 2 / (fan in + fan out) (Glorot and Bengio, 2010, equation 12). The draws are the
    same, scaled otherwise.
    By either rule: ScoreConv normal, variance 1 / fan in (GaussianScoreConv .0001). BilinearDeconv: bilinear
    interpolation. Biases: 0. Norms: scale 1 (ZeroScaleNorm 0), shift 0, mean 0, variance 1. OwnStart: what it brings.

    Raises TypeError for a parameter of a layer that has no rule here.
    """
    started: set[nn.Module] = set()
    for place, module in network.named_modules():
        if isinstance(module, OwnStart):
            module.start(key_of(seed, "init", place))
            started.update(module.modules())
        if module in started:
            continue
        for name, parameter in module.named_parameters(prefix=place, recurse=False):
            _fill(parameter, module, name, seed, rule)
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()


@torch.no_grad()
def _fill(parameter: Tensor, module: nn.Module, name: str, seed: int, rule: str) -> None:
    if isinstance(module, _NORMS):
        scale = 0.0 if isinstance(module, ZeroScaleNorm) else 1.0
        parameter.fill_(scale if name.endswith("weight") else 0.0)
    elif name.endswith("bias"):
        parameter.zero_()
    elif isinstance(module, BilinearDeconv):
        parameter.copy_(module.first_weight())
    else:
        # Drawn on the CPU in float32, whatever the network lives on: the same numbers everywhere.
        drawn = torch.randn(parameter.shape, generator=torch_generator(seed, "init", name))
        parameter.copy_(drawn * _variance(module, name, rule) ** 0.5)


def _variance(module: nn.Module, name: str, rule: str) -> float:
    match module:
        case GaussianScoreConv():
            return 0.01**2
        case ScoreConv():
            return 1 / module.weight[0].numel()
        case nn.Conv2d() | nn.ConvTranspose2d() | nn.Linear() if rule == "xavier":
            return 2 / sum(_fans(module))
        case nn.Conv2d() | nn.ConvTranspose2d():
            return 2 / _fans(module)[1]
        case nn.Linear():
            return 0.02**2
    raise TypeError(f"{name}: {type(module).__name__} has no first weights. Add a rule to {__name__}")


def _fans(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> tuple[int, int]:
    """Weights that make one output value, and weights that one input value is multiplied by (strides apart)."""
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    one, other = layer.weight[0].numel(), layer.weight[:, 0].numel() // groups
    return (other, one) if isinstance(layer, nn.ConvTranspose2d) else (one, other)  # those are in x out x kernel
