"""One rank of a gradient: OUT STEPS -> OUT/RANK.npz with every seventh number of the first gradients (a script)."""

import sys

import numpy as np
import torch

from segtrial import ranks
from segtrial.recipe import Recipe
from tests.training.small import learner_on_toytown


def main(out: str, steps: int) -> None:
    """Train `steps` steps without batch normalisation and write what the optimizer was given."""
    torch.set_num_threads(1)
    recipe = Recipe(
        model="unet:batchnorm=false", steps=steps, precision="float32", optimizer={"name": "sgd", "lr": 1e-3}
    )
    with ranks.joined(torch.device("cpu")):
        learner, batches = learner_on_toytown(recipe, batch=5, size=(32, 32))
        given: list[np.ndarray] = []
        learner.optimizer.register_step_pre_hook(
            lambda *_: given.append(torch.cat([p.grad.flatten() for p in learner.network.parameters()]).numpy())
        )
        losses = [float(learner.step(batches.batch(step, ranks.rank(), ranks.world()))) for step in range(steps)]
        np.savez(f"{out}/{ranks.rank()}.npz", gradients=np.stack(given)[:, ::7], losses=np.array(losses))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
