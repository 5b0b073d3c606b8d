"""Recipe -> the device and the decoded data that training, and every trial before it, begin with."""

from collections.abc import Iterable

import torch

from segtrial import hardware, ranks
from segtrial.data.cache import Store, open_store
from segtrial.data.sample import Dataset
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.training import fine_tuning, regularise
from segtrial.training.watch import Watch


def pick_device(recipe: Recipe) -> torch.device:
    """The recipe's device; under torchrun each rank has a GPU of its own."""
    several = ranks.launched() > 1 and torch.cuda.is_available() and recipe.device in ("auto", "cuda")
    return hardware.pick_device(f"cuda:{ranks.local_rank()}" if several else recipe.device)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network has what the recipe asks of it. Needs no data."""
    fine_tuning.check(recipe)
    regularise.check(recipe)


def open_parts(dataset: Dataset, parts: Iterable[str], watch: Watch, stop: StopRequest) -> dict[str, Store]:
    """The parts of a data set, decoded once for ever. Raises Interrupted if somebody asks to stop."""

    def opened(part: str) -> Store:
        def progress(done: int, total: int) -> None:
            stop.raise_if_asked()
            watch.bar(done, total, f"decoding {part}")

        return open_store(dataset, part, progress=progress)

    return {part: opened(part) for part in parts}
