"""One rank of a gradient: OUT STEPS -> OUT/RANK.npz with every seventh number of the first gradients (a script)."""

import sys

import numpy as np
import torch
from torch import nn

from segtrial import ranks
from segtrial.recipe import Augment, Encoder, Optimizer, Recipe
from tests.training.small import learner_on_toytown

FROZEN_FIRST = Encoder(freeze="all", thaw_epoch=0.3)
"""Of ten images, five a step: thawed from the second step on."""


def main(out: str, steps: int) -> None:
    """Train `steps` steps without batch normalisation and write what the optimizer was given.

    Once with a network that learns from the start, once with one whose encoder is frozen in the first step, and once
    from blended images.
    """
    torch.set_num_threads(1)
    sgd = Optimizer(name="sgd", lr=1e-3)
    plain = Recipe(model="unet:batchnorm=false", steps=steps, precision="float32", optimizer=sgd)
    with ranks.joined(torch.device("cpu")):
        whole = gradients(plain, steps)
        thawed = gradients(plain.model_copy(update={"model": "ternausnet", "encoder": FROZEN_FIRST}), steps)
        blended = {"model": "unet:batchnorm=false,width=16", "augment": Augment(mixup=1.0)}
        mixed = gradients(plain.model_copy(update=blended), steps)
        names = [f"{kind}{what}" for kind in ("", "thawed_", "mixed_") for what in ("gradients", "losses")]
        np.savez(f"{out}/{ranks.rank()}.npz", **dict(zip(names, (*whole, *thawed, *mixed), strict=True)))


def gradients(recipe: Recipe, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Gradients (0 where there are none) and losses of the first steps."""
    learner, batches = learner_on_toytown(recipe, batch=5, size=(32, 32))
    given: list[np.ndarray] = []
    learner.optimizer.register_step_pre_hook(lambda *_: given.append(_flat(learner.network)))
    losses = [float(learner.step(batches.batch(step, ranks.rank(), ranks.world()))) for step in range(steps)]
    return np.stack(given), np.array(losses)


def _flat(network: nn.Module) -> np.ndarray:
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
    return torch.cat([part.flatten()[::7] for part in parts]).numpy()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
