"""Recipe -> the device and the decoded data that training, and every trial before it, begin with."""

from collections.abc import Iterable, Mapping

import torch

from segtrial import hardware, losses, ranks
from segtrial.data import SplitOptions, albumentations_pipeline, open_dataset
from segtrial.data.cache import Store, open_store
from segtrial.data.sample import Dataset
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.tasks import TASKS
from segtrial.training import fine_tuning, regularise
from segtrial.training.plan import Plan
from segtrial.training.planning import check_parts, make_plan
from segtrial.training.watch import Watch


def pick_device(recipe: Recipe) -> torch.device:
    """The recipe's device; under torchrun each rank has a GPU of its own."""
    several = ranks.launched() > 1 and torch.cuda.is_available() and recipe.device in ("auto", "cuda")
    return hardware.pick_device(f"cuda:{ranks.local_rank()}" if several else recipe.device)


def check_network(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's network has what the recipe asks of it. Needs no data."""
    fine_tuning.check(recipe)
    regularise.check(recipe)


def check_choices(recipe: Recipe) -> None:
    """Raise UserError for a network, losses or transforms that cannot be, whatever the data."""
    fine_tuning.empty_core(recipe.model)
    check_network(recipe)
    losses.terms(recipe.loss.name, TASKS[recipe.task].losses, recipe.loss.label_smoothing)
    if recipe.augment.albumentations:
        albumentations_pipeline.pipeline(recipe.augment.albumentations)


def open_parts(dataset: Dataset, parts: Iterable[str], watch: Watch, stop: StopRequest) -> dict[str, Store]:
    """The parts of a data set, decoded once for ever. Raises Interrupted if somebody asks to stop."""

    def opened(part: str) -> Store:
        def progress(done: int, total: int) -> None:
            stop.raise_if_asked()
            watch.bar(done, total, f"decoding {part}")

        return open_store(dataset, part, progress=progress)

    return {part: opened(part) for part in parts}


def open_data(recipe: Recipe) -> Dataset:
    """The recipe's data set. Raises DataError for bad data, and SplitError for an empty part."""
    options = SplitOptions(**recipe.split.model_dump())
    dataset = open_dataset(recipe.data, options, TASKS[recipe.task].content)
    check_parts(dataset)
    return dataset


def plan_trial(
    recipe: Recipe, device: torch.device, watch: Watch, stop: StopRequest
) -> tuple[Plan, Mapping[str, Store]]:
    """The plan of something that is tried and thrown away, and the parts; threads and kernels are set as for a run."""
    torch.set_num_threads(recipe.threads or hardware.threads())
    torch.use_deterministic_algorithms(recipe.deterministic)
    check_network(recipe)
    dataset = open_data(recipe)
    stores = open_parts(dataset, ("train", "val"), watch, stop)
    return make_plan(recipe, dataset, stores, device, watch, stop), stores
