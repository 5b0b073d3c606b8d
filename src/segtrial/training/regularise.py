"""Recipe + network -> the same network, which leaves parts of itself out at random while it trains.

Nothing here has a tensor, and in eval mode every bit is as it was: a model file needs to know nothing of it. Draws are
made anew for each image of a batch, and are keyed by (seed, step, rank), see `randomness.seed_network`.
"""

from contextlib import suppress
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from segtrial import models
from segtrial.errors import RecipeError, UserError
from segtrial.models._blocks import DropPath, OwnDepth, Residual, ScoreConv
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Regularise
from segtrial.training.fine_tuning import empty_core


def apply(recipe: Recipe, core: nn.Module) -> None:
    """Give `core` what the recipe says. Raises RecipeError if blocks are to be skipped and it has none."""
    wish = recipe.regularise
    if wish.dropout is not None:
        drop_before_scores(core, wish.dropout, whole_channels=wish.dropout_of == "channels")
    if wish.stochastic_depth is not None and not skip_blocks(core, wish.stochastic_depth) and wish.stochastic_depth:
        fix = f"Leave it out, or choose one of: {', '.join(_with_blocks())}"
        raise RecipeError("regularise.stochastic_depth", f"{recipe.model} has no residual blocks to skip", fix)


def check(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network has what `recipe.regularise` speaks of."""
    if recipe.regularise != Regularise():
        apply(recipe, empty_core(recipe.model))


def drop_before_scores(core: nn.Module, rate: float, *, whole_channels: bool) -> None:
    """While training, drop values of what each ScoreConv sees with probability `rate` below 1; other dropout is off.

    What stays is divided by 1 - rate. `whole_channels`: all of a channel of an image goes or stays, since neighbours
    in a map say nearly the same (Tompson et al. Efficient object localization using convolutional networks. CVPR 2015,
    section 3.2, https://arxiv.org/abs/1411.4280).

    Srivastava et al. Dropout. JMLR 2014. https://jmlr.org/papers/v15/srivastava14a.html
    """
    drop = F.dropout2d if whole_channels else F.dropout

    def before(scoring: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return drop(inputs[0], rate, scoring.training)

    for module in core.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
        elif isinstance(module, ScoreConv) and rate:
            module.register_forward_pre_hook(before)


def skip_blocks(core: nn.Module, rate: float) -> bool:
    """While training, let block l of L skip each image with probability rate l / L; False if there is no block.

    The linear decay of Huang et al. Deep networks with stochastic depth. ECCV 2016, equation 4,
    https://arxiv.org/abs/1603.09382; blocks are counted from the image inwards. timm's networks count from 0, as timm
    does: their first block is never skipped. A transformer's block skips attention and Mix-FFN by draws of their own.
    """
    blocks = [module for module in core.modules() if isinstance(module, Residual)]
    for number, block in enumerate(blocks, 1):
        block.drop_path = DropPath(rate * number / len(blocks)) if rate else nn.Identity()
    own = [module for module in core.modules() if isinstance(module, OwnDepth)]
    done = [part.set_stochastic_depth(rate) for part in own]
    return bool(blocks) or any(done)


@cache
def _with_blocks() -> list[str]:
    """A word for each network that has blocks to skip: the name alone, or with an encoder that has some."""
    found = []
    for name in models.names():
        for spec in (name, f"{name}:encoder=resnet34"):
            with suppress(UserError), torch.device("meta"):  # not every network has that encoder
                core = empty_core(spec)
                if skip_blocks(core, 0.5):
                    found.append(spec)
                    break
    return found
