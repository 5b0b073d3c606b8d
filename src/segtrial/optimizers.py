"""A network and a name -> an optimizer.

Parameters of one dimension (biases; scales and shifts of norms) are never decayed, whatever the optimizer. Each
group remembers its first rate as `initial_lr`, so that a loop sets `lr = initial_lr * learning_rate_factor(...)` before
every step.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.adamw import adamw

from segtrial.errors import UnknownName

Number = float | int


@dataclass(frozen=True)
class Defaults:
    """What an optimizer takes where nothing else is asked for."""

    lr: float
    weight_decay: float
    momentum: float
    """Share of the old mean gradient that is kept: momentum of sgd, rmsprop and muon, beta 1 of adam and adamw."""


DEFAULTS = {
    "sgd": Defaults(lr=0.05, weight_decay=1e-4, momentum=0.9),
    "adam": Defaults(lr=1e-3, weight_decay=0.0, momentum=0.9),
    "adamw": Defaults(lr=3e-3, weight_decay=0.02, momentum=0.9),
    "rmsprop": Defaults(lr=1e-3, weight_decay=0.0, momentum=0.0),
    "muon": Defaults(lr=0.03, weight_decay=0.1, momentum=0.9),
}
"""For networks that start from random weights. sgd, adam and rmsprop add the decay to the gradient (L2); adamw and
muon shrink the weights by lr * weight_decay a step, apart from the gradient (Loshchilov and Hutter, 2019)."""

REST_LR, REST_DECAY = 0.1, 0.2
"""Muon's rate and decay times these are AdamW's, for what Muon does not take: .003 and .02 at the defaults."""

WIDEST = 1024
"""Rows or columns: whichever are fewer, Muon takes a matrix up to this."""

ITERATIONS = 4
"""Newton-Schulz iterations of a step. Jordan takes 5; after 4 the singular values of a gradient are near 1 as well."""


def build(
    name: str,
    model: nn.Module,
    lr: Number | None = None,
    weight_decay: Number | None = None,
    momentum: Number | None = None,
    nesterov: bool = True,
    precision: torch.dtype = torch.bfloat16,
    factors: Mapping[nn.Parameter, float] | None = None,
) -> torch.optim.Optimizer:
    """The optimizer `name` for every parameter of `model` that learns; None takes the value of DEFAULTS.

    `precision` is the type that muon multiplies matrices in; the others never ask. A parameter in `factors` has its
    rate multiplied by what stands there. Raises UnknownName.

    sgd: its momentum, where there is any, is Nesterov's (Sutskever et al. 2013) unless `nesterov` is off. adam: Kingma
    and Ba 2015. adamw: Loshchilov and Hutter 2019. rmsprop: Hinton's lecture 6e, 2012. muon: see `Muon`.
    """
    if name not in DEFAULTS:
        raise UnknownName("optimizer", name, DEFAULTS)
    default = DEFAULTS[name]
    rate = float(default.lr if lr is None else lr)
    decay = float(default.weight_decay if weight_decay is None else weight_decay)
    beta = float(default.momentum if momentum is None else momentum)
    if name == "muon":
        groups = _by_factor(_muon_groups(model, rate, decay), rate, factors or {})
        optimizer = Muon(groups, rate, beta, precision)
    else:
        groups = _by_factor(_decayed_apart(_learning(model.parameters()), decay), rate, factors or {})
        optimizer = _CONSTRUCTORS[name](groups, rate, beta, nesterov)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


_CONSTRUCTORS: dict[str, Callable[[list[dict[str, Any]], float, float, bool], torch.optim.Optimizer]] = {
    "sgd": lambda groups, lr, beta, ahead: torch.optim.SGD(groups, lr=lr, momentum=beta, nesterov=ahead and beta > 0),
    "adam": lambda groups, lr, beta, _: torch.optim.Adam(groups, lr=lr, betas=(beta, 0.999)),
    "adamw": lambda groups, lr, beta, _: torch.optim.AdamW(groups, lr=lr, betas=(beta, 0.999)),
    "rmsprop": lambda groups, lr, beta, _: torch.optim.RMSprop(groups, lr=lr, momentum=beta),
}


class Muon(torch.optim.Optimizer):
    """Hidden weights move by an orthogonal matrix, everything else by AdamW.

        m <- b m + (1 - b) g
        w <- (1 - lr decay) w - lr sqrt(max(1, r/c)) orthogonal((1 - b) g + b m)

    with g the gradient of w seen as a matrix of r outputs x c inputs: an update turns all directions of a layer
    alike, where AdamW's follows the few that dominate the gradient. A group with `orthogonal` False is AdamW with
    betas (momentum, .99), eps 1e-8. Every state entry is a tensor.

    Jordan et al. Muon: an optimizer for hidden layers in neural networks. 2024. https://kellerjordan.github.io/posts/muon/
    Decay as in Liu et al. Muon is scalable for LLM training. 2025. https://arxiv.org/abs/2502.16982
    Differs from torch.optim.Muon, which torch has from 2.9 on: that one takes matrices alone, no convolutions, and one
    by one; ours multiplies equal shapes together. timm has one for convolutions, behind an import of seconds. All other
    optimizers here are torch's own.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], lr: float, momentum: float, precision: torch.dtype):
        self.precision = precision
        super().__init__(groups, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "orthogonal": False})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient. A closure is refused: the loop evaluates the loss."""
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            move = self._move_orthogonally if group["orthogonal"] else self._move_by_adamw
            move(moved, group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict()`; moments are laid out in memory as their parameters are."""
        super().load_state_dict(state_dict)
        for parameter, state in self.state.items():
            for name, value in state.items():
                if value.shape == parameter.shape:
                    state[name] = torch.empty_like(parameter).copy_(value)

    def _move_orthogonally(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
        for parameter in parameters:
            step = as_matrix(self._mean_gradient(parameter, group["momentum"]))  # r c
            by_shape.setdefault((step.shape[0], step.shape[1]), []).append((parameter, step))
        for (rows, columns), pairs in by_shape.items():
            steps = orthogonal(torch.stack([step.to(self.precision) for _, step in pairs]), ITERATIONS)  # n r c
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            for (parameter, _), step in zip(pairs, steps, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(_as_weight(step, parameter), alpha=-rate)

    def _mean_gradient(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's look ahead: the mean gradient, moved on by this gradient once more."""
        assert parameter.grad is not None
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        state["mean"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(state["mean"], momentum)

    def _move_by_adamw(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        for parameter in parameters:
            if not self.state[parameter]:
                start = {"mean": torch.zeros_like(parameter), "mean_square": torch.zeros_like(parameter)}
                self.state[parameter].update(step=torch.zeros(()), **start)
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            list(parameters),
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["mean"] for state in states],
            [state["mean_square"] for state in states],
            [],
            [state["step"] for state in states],
            amsgrad=False,
            beta1=group["momentum"],
            beta2=0.99,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def orthogonal(matrices: Float[Tensor, "n r c"], iterations: int = ITERATIONS) -> Float[Tensor, "n r c"]:
    """Each matrix with its singular values moved near 1 (to .7 to 1.2, bar the smallest), its singular vectors kept.

    A Newton-Schulz iteration of odd degree 5, p(x) = 3.4445 x - 4.7750 x^3 + 2.0315 x^5, on the matrix divided by
    its Frobenius norm. The coefficients are Jordan's (2024): they raise small values fastest and never settle at 1.
    """
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, polynomial, x, beta=3.4445)
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x


def as_matrix(weight: Float[Tensor, "r *c"]) -> Float[Tensor, "r C"]:
    """A weight as outputs x everything else; no copy for a convolution in channels_last, whose channel moves last."""
    return weight.movedim(1, -1).flatten(1) if weight.ndim > 2 else weight


def _as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    shape = weight.movedim(1, -1).shape
    return matrix.view(shape).movedim(-1, 1) if weight.ndim > 2 else matrix


def _too_wide(weight: Tensor) -> bool:
    return min(weight.shape[0], weight[0].numel()) > WIDEST


def hidden_weights(model: nn.Module) -> list[Tensor]:
    """The weights that Muon takes: of every linear layer and ungrouped convolution, but for the ends of the network.

    The ends are the first such layer, which sees the image, and every layer with as many outputs as the last such
    layer, which makes the scores (heads, auxiliary heads). A grouped convolution is no single matrix. Matrices wider
    than WIDEST both ways (VGG's fully connected layers) are left out: orthogonalising one costs more than a step.
    """
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
    layers = [module for module in model.modules() if isinstance(module, kinds)]
    weights = [layer.weight for layer in layers if isinstance(layer, nn.Linear) or layer.groups == 1]
    inner = [weight for weight in weights[1:] if weight.shape[0] != weights[-1].shape[0] and not _too_wide(weight)]
    return list(dict.fromkeys(weight for weight in inner if weight.requires_grad))  # shared weights once


def _muon_groups(model: nn.Module, lr: float, decay: float) -> list[dict[str, Any]]:
    hidden = hidden_weights(model)
    taken = {id(weight) for weight in hidden}
    rest = [parameter for parameter in _learning(model.parameters()) if id(parameter) not in taken]
    groups = [{"params": hidden, "weight_decay": decay, "orthogonal": True}] if hidden else []
    return groups + [{**group, "lr": lr * REST_LR} for group in _decayed_apart(rest, decay * REST_DECAY)]


def _learning(parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.requires_grad]


def _decayed_apart(parameters: Sequence[nn.Parameter], decay: float) -> list[dict[str, Any]]:
    """Two groups: what is decayed, and parameters of one dimension, which are not. Empty groups are left out."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _by_factor(
    groups: Sequence[dict[str, Any]], lr: float, factors: Mapping[nn.Parameter, float]
) -> list[dict[str, Any]]:
    """Each group cut into one per factor, in the order in which the factors come up."""
    cut = []
    for group in groups:
        parts: dict[float, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(factors.get(parameter, 1.0), []).append(parameter)
        cut += [{**group, "params": params, "lr": group.get("lr", lr) * factor} for factor, params in parts.items()]
    return cut
