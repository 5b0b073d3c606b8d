"""Recipe + folder -> a finished run: the whole journey of one training, top to bottom.

    open data -> plan -> learner -> loop of steps -> evaluation -> model file, counts, examples

Run again on the same folder it continues where the last saved state was, and ends with the same bits.
"""

from contextlib import nullcontext
from pathlib import Path

import torch

from segtrial import hardware, ranks
from segtrial.data.cache import Store
from segtrial.errors import RecipeError, RunError
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest, listening
from segtrial.training import first_weights
from segtrial.training.finish import finish
from segtrial.training.folder import RunFolder, opened
from segtrial.training.learner import Learner
from segtrial.training.loop import run_steps
from segtrial.training.opening import check_network, open_data, open_parts, pick_device
from segtrial.training.plan import Plan
from segtrial.training.planning import make_plan, manifest
from segtrial.training.watch import Silent, Watch

__all__ = ["Silent", "Watch", "train"]


def train(recipe: Recipe, out: Path, watch: Watch | None = None) -> Path:
    """Train by `recipe` into the run folder `out`, or continue what was begun there; returns `out`.

    Raises UserError before training for bad data, a taken folder or a missing device, and Interrupted once the
    state is saved when SIGINT or SIGTERM comes. Under torchrun, every rank calls this with the same recipe.
    """
    watch = watch if watch is not None and ranks.is_first_launched() else Silent()
    device = pick_device(recipe)
    hardware.keep_memory()
    with ranks.joined(device), listening() as stop, opened(out) if ranks.rank() == 0 else nullcontext() as folder:
        if not ranks.from_first(folder.finished if folder else None, device):
            _train(recipe, folder, device, watch, stop)
        elif folder:
            folder.plan(recipe)  # another recipe is refused even here
            watch.note(f"{out} is finished; nothing to do.")
    return out


def _train(recipe: Recipe, folder: RunFolder | None, device: torch.device, watch: Watch, stop: StopRequest) -> None:
    found = Plan.model_validate(tree) if (tree := _shared_plan(folder, recipe, device)) else None
    _require_ranks(recipe, found, device)
    torch.set_num_threads(found.threads if found else recipe.threads or hardware.threads())
    check_network(recipe)
    dataset = open_data(recipe)
    if found is None:
        for note in (first_weights.origin(recipe), *dataset.notes):
            watch.note(note)
    stores = open_parts(dataset, ("train", "val"), watch, stop)
    plan = found or make_plan(recipe, dataset, stores, device, watch, stop)
    _require_same_data(plan, stores)
    if folder and found is None:
        folder.start(plan, recipe)
        watch.note(plan.sentence())
    elif folder:
        folder.describe(recipe)
        watch.note(f"Continues the run in {folder.path}.")
    torch.use_deterministic_algorithms(recipe.deterministic)
    learner = Learner(recipe, plan, device)
    progress, best = run_steps(learner, stores, folder, watch, stop)
    finish(learner, stores, folder, progress, best, watch, stop)


def _shared_plan(folder: RunFolder | None, recipe: Recipe, device: torch.device) -> dict | None:
    plan = folder.plan(recipe) if folder else None
    return ranks.from_first(plan.to_json() if plan else None, device)


def _require_same_data(plan: Plan, stores: dict[str, Store]) -> None:
    if plan.manifest != manifest(stores):
        found = "the data set changed since this run began"
        raise RunError(plan.recipe.get("data", "data"), found, "Restore it, or train into a new --out")


def _require_ranks(recipe: Recipe, found: Plan | None, device: torch.device) -> None:
    smallest = min(phase.batch for phase in recipe.phases)
    if smallest < ranks.world():
        fix = f"Set phases with batches of at least {ranks.world()}, or start fewer processes"
        raise RecipeError("phases", f"a batch of {smallest} for {ranks.world()} ranks", fix)
    if found and (found.device, found.world) != (device.type, ranks.world()):
        here = f"{ranks.world()} x {device.type}"
        fix = "Continue it on the same, or train into a new --out"
        raise RunError("run", f"begun on {found.world} x {found.device}, now on {here}: it could not end alike", fix)
