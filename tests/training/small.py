"""A tiny learner on generated streets, for tests of the loop."""

import torch

from segtrial.data import open_dataset
from segtrial.data.batches import Batches
from segtrial.data.cache import open_store
from segtrial.recipe import Phase, Recipe
from segtrial.signals import StopRequest
from segtrial.training.learner import Learner
from segtrial.training.planning import make_batches, make_plan
from segtrial.training.watch import Silent

DATA = "toytown:scenes=6,frames=2,size=32x48"


def small_recipe(recipe: Recipe, batch: int, size: tuple[int, int]) -> Recipe:
    """`recipe` on DATA in one phase of `batch` crops of about `size`."""
    phase = Phase(share=1.0, batch=batch, crop=size[0] / 32, scale=(0.8, 1.2))
    return recipe.model_copy(update={"data": DATA, "phases": (phase,), "threads": 1})


def learner_on_toytown(recipe: Recipe, *, batch: int, size: tuple[int, int]) -> tuple[Learner, Batches]:
    """A learner at step 0 and its batches."""
    recipe = small_recipe(recipe, batch, size)
    dataset = open_dataset(recipe.data)
    stores = {part: open_store(dataset, part) for part in ("train", "val")}
    device = torch.device("cpu")
    plan = make_plan(recipe, dataset, stores, device, Silent(), StopRequest())
    return Learner(recipe, plan, device), make_batches(recipe, plan, stores["train"], device)
