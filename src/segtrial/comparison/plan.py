"""Request -> Manifest: budgets become steps, each variant's cost is measured, and the held-out part is fixed.

    steps          every variant makes as many optimizer steps
    minutes        a variant's minutes become steps by timing a few of them: once, for all of its seeds
    multiply-adds  every variant gets the steps for which its forward passes cost what those of the first variant cost

What is measured here by the clock decides no result but the step counts of `minutes`, which the manifest keeps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import torch

from segtrial import hardware, models
from segtrial.comparison.manifest import Estimate, Grown, HeldOut, Manifest, Variant, run_recipe
from segtrial.comparison.request import Request
from segtrial.data.cache import Store
from segtrial.data.sample import Dataset
from segtrial.errors import DataError, DataNotFound, RecipeError, RunError, listing, nearest
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest
from segtrial.statistics import video_blocks
from segtrial.training.opening import open_data, open_parts, pick_device, plan_trial
from segtrial.training.plan import Plan, PlannedPhase
from segtrial.training.planning import manifest as manifest_of
from segtrial.training.planning import measured_seconds, with_steps
from segtrial.training.watch import Watch

START_SECONDS = 5.0
"""Of a run that are no training: the program loads, and the data are opened."""

FORWARD_SHARE = 1 / 3
"""Of a training step's time: a forward pass alone, since a backward pass costs twice as much (Kaplan et al., 2020)."""

STATE_BYTES, WEIGHT_BYTES, SMALL_BYTES = 2 * 16, 4, 500_000
"""On disk, of each parameter: two saved states with weights, their running mean and two moments; the model. And of each
run: logs, counts, examples."""


def threads_of(recipes: Mapping[str, Recipe], workers: int) -> int:
    """CPU threads of each run: what the recipes say, else the cores shared out among the workers."""
    asked = next(iter(recipes.values())).threads
    return asked or max(1, hardware.threads() // workers)


def make_manifest(
    request: Request,
    recipes: Mapping[str, Recipe],
    old: Manifest | None,
    threads: int,
    watch: Watch,
    stop: StopRequest,
    *,
    after_results: bool = False,
) -> Manifest:
    """The manifest of a new comparison, or of one that grows; nothing is measured where nothing is new.

    Raises UserError for data, networks and budgets that cannot be compared, and for data that changed.
    """
    opened = Opened(watch, stop)
    new = {name: recipe for name, recipe in recipes.items() if old is None or name not in old.variants}
    first = next(iter(recipes.values()))
    part = old.held_out.part if old else held_out_part(opened.dataset(first), request, first)
    for name, recipe in recipes.items():
        require_honest(name, recipe, part)
    held = _one_held_out(recipes, part, request, opened)
    if old is not None:
        _require_unchanged(old, held, recipes, opened)
        threads = old.threads
    variants = dict(old.variants) if old else {}
    budget = old.budget if old else request.budget or ("minutes" if first.minutes is not None else "steps")
    score = old.score if old else None
    for number, (name, recipe) in enumerate(new.items()):
        watch.bar(number, len(new), "timing a few steps of each variant")
        measured = measure(recipe.model_copy(update={"threads": threads}), part, watch, stop)
        score = score or score_of(request.score, measured.plan)
        reference = next(iter(variants.values()), None)
        variants[name] = _variant(name, recipe, measured, budget, reference, request.folds, opened)
    watch.bar(len(new), len(new), "timing a few steps of each variant")
    assert score is not None
    _require_equal_steps(variants, budget)
    grown = _grown(old, new, request, after_results=after_results)
    return Manifest(
        score=score,
        baseline=request.baseline,
        margin=request.margin,
        budget=budget,
        seeds=tuple(dict.fromkeys([*(old.seeds if old else ()), *request.seed_list])),
        folds=request.folds,
        threads=threads,
        held_out=held,
        tune=request.tune.model_dump(mode="json") if request.tune else None,
        variants={name: variants[name] for name in [*(old.variants if old else {}), *new]},
        grown=(*(old.grown if old else ()), *grown),
    ).with_cells()


class Opened:
    """Data sets and their parts, each opened once."""

    def __init__(self, watch: Watch, stop: StopRequest):
        self._watch, self._stop = watch, stop
        self._datasets: dict[str, Dataset] = {}
        self._stores: dict[tuple[str, str], Store] = {}

    def dataset(self, recipe: Recipe) -> Dataset:
        """The recipe's data set."""
        return _once(self._datasets, _source(recipe), partial(open_data, recipe))

    def store(self, recipe: Recipe, part: str) -> Store:
        """A part of it, decoded."""

        def opens() -> Store:
            return open_parts(self.dataset(recipe), (part,), self._watch, self._stop)[part]

        return _once(self._stores, (_source(recipe), part), opens)

    def manifest(self, recipe: Recipe) -> str:
        """One hash of its train and val part, as a run's plan has it."""
        return manifest_of({part: self.store(recipe, part) for part in ("train", "val")})


def _once(known: dict, key: object, make: Any) -> Any:
    if key not in known:
        known[key] = make()
    return known[key]


def _source(recipe: Recipe) -> str:
    return f"{recipe.task} {recipe.data} {recipe.split.model_dump_json()}"


def held_out_part(dataset: Dataset, request: Request, recipe: Recipe) -> str:
    """The part that is opened once: the one that is asked for, else test where there is one, else val."""
    there = [name for name, items in dataset.parts.items() if items and name != "train"]
    if request.held_out is None:
        return "test" if "test" in there and not request.folds else "val"
    if request.held_out not in there:
        fix = f"{nearest(request.held_out, there)}There are: {listing(there)}"
        raise DataNotFound(recipe.data, f"no part to hold out is called {request.held_out!r}", fix)
    return request.held_out


def require_honest(name: str, recipe: Recipe, part: str) -> None:
    """Raise RecipeError if a run would look at the held-out part before it is finished."""
    found = looks_at_val(recipe)
    if part == "val" and found:
        fix = "Hold out another part (held_out: test), or leave that out of the recipe"
        raise RecipeError(f"variant {name}", f"{listing(found)} goes by the val part, which is held out", fix)


def looks_at_val(recipe: Recipe) -> list[str]:
    """What of a recipe goes by the val part while it trains."""
    looks = {
        "keep=best": recipe.keep == "best",
        "patience": recipe.patience is not None,
        "schedule.name=plateau": recipe.schedule.name == "plateau",
    }
    return [what for what, does in looks.items() if does]


def score_of(wanted: str | None, plan: Plan) -> str:
    """The score that is compared: the one wanted, else the task's main one.

    Raises RecipeError for one that the task has not, or that is better when lower.
    """
    task = plan.make_task()
    name = wanted or task.headline
    higher = [each for each, score in task.table.items() if "lower is better" not in score.definition]
    if name not in higher:
        found = f"{name!r} is no score of {task.name} of which more is better"
        raise RecipeError("score", found, f"{nearest(name, higher)}There are: {', '.join(higher)}")
    return name


@dataclass(frozen=True)
class Measured:
    """What a few steps of a variant showed; `seconds` of one step in each phase of the plan."""

    plan: Plan
    seconds: tuple[float, ...]
    train_images: int
    held_pixels: int

    evaluations: int


def measure(recipe: Recipe, part: str, watch: Watch, stop: StopRequest) -> Measured:
    """Time a few steps of a network that is then thrown away. Raises UserError as a run does before it starts."""
    device = pick_device(recipe)
    plan, stores = plan_trial(recipe, device, watch, stop)
    train = stores["train"]
    seconds = plan.seconds_per_step or measured_seconds(recipe, plan, train, device, watch, stop)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # the runs need it, in processes of their own
    pixels = sum(height * width for height, width in stores["val"].sizes)
    return Measured(plan, seconds, len(train), pixels, recipe.evaluations + (part != "val"))


def _variant(
    name: str,
    recipe: Recipe,
    measured: Measured,
    budget: str,
    reference: Variant | None,
    folds: int | None,
    opened: Opened,
) -> Variant:
    """A variant with its budget in steps, and what that costs."""
    plan = measured.plan
    resolved, cost = recipe.model_copy(update={"threads": plan.threads}), multiply_adds(recipe, plan)
    if budget == "minutes" and recipe.minutes is None:
        raise RecipeError(f"variant {name}", "has no minutes, which are the budget", "Give minutes in base")
    if budget == "steps" and recipe.minutes is not None:
        found = "its budget is in minutes, so variants would make different numbers of steps"
        raise RecipeError(f"variant {name}", found, "Give steps or epochs, or budget: minutes")
    phases = plan.phases
    if recipe.minutes is not None:
        resolved = in_steps(resolved, phases)
    if budget == "multiply-adds" and reference is not None:
        a_step = sum(wish.share * each for wish, each in zip(recipe.phases, cost, strict=True))
        steps = max(1, round(reference.multiply_adds / a_step))
        resolved = resolved.model_copy(update={"epochs": None, "minutes": None, "steps": steps})
        phases = with_steps(resolved, phases, measured.train_images, None)
    return Variant(
        asked=recipe.model_dump(mode="json"),
        recipe=resolved.model_dump(mode="json"),
        steps=sum(phase.steps for phase in phases),
        pixels=pixels_of(phases),
        parameters=plan.model["parameters"],
        multiply_adds=in_all(phases, cost),
        data=tuple(opened.manifest(each) for each in _folded(recipe, folds)),
        estimate=_estimate(measured, phases),
    )


def pixels_of(phases: Sequence[PlannedPhase]) -> int:
    """Of all crops of all steps together."""
    return sum(phase.steps * phase.batch * phase.size[0] * phase.size[1] for phase in phases)


def in_all(phases: Sequence[PlannedPhase], a_step: Sequence[float]) -> int:
    """The sum over all steps of what one of each phase costs."""
    return round(sum(phase.steps * each for phase, each in zip(phases, a_step, strict=True)))


def in_steps(recipe: Recipe, phases: Sequence[PlannedPhase]) -> Recipe:
    """The recipe with the steps of these planned phases as its budget."""
    total = sum(phase.steps for phase in phases)
    kept = [
        wish.model_copy(update={"share": phase.steps / total})
        for wish, phase in zip(recipe.phases, phases, strict=True)
        if phase.steps
    ]
    return recipe.model_copy(update={"epochs": None, "minutes": None, "steps": total, "phases": tuple(kept)})


def multiply_adds(recipe: Recipe, plan: Plan) -> list[float]:
    """Of the forward pass of one step, in each phase of the plan."""
    outputs, channels = plan.make_task().outputs, plan.in_channels
    return [phase.batch * _of_an_image(recipe.model, phase.size, outputs, channels) for phase in plan.phases]


@cache
def _of_an_image(model: str, size: tuple[int, int], outputs: int, channels: int) -> float:
    """Counted once for all variants with that network."""
    costs = cast(dict[str, Any], models.describe(model, size, outputs, channels)["costs"])
    return float(costs["multiply_adds"])


def _estimate(measured: Measured, phases: Sequence[PlannedPhase]) -> Estimate:
    training = sum(phase.steps * each for phase, each in zip(phases, measured.seconds, strict=True))
    last = phases[-1]
    a_pixel = measured.seconds[-1] / (last.batch * last.size[0] * last.size[1])
    looking = measured.evaluations * measured.held_pixels * a_pixel * FORWARD_SHARE
    parameters = measured.plan.model["parameters"]
    kept = WEIGHT_BYTES * parameters + SMALL_BYTES
    return Estimate(seconds=START_SECONDS + training + looking, bytes=kept, peak_bytes=kept + STATE_BYTES * parameters)


def _folded(recipe: Recipe, folds: int | None) -> list[Recipe]:
    return [run_recipe(recipe, 0, fold, folds) for fold in range(folds)] if folds else [recipe]


def _one_held_out(recipes: Mapping[str, Recipe], part: str, request: Request, opened: Opened) -> HeldOut:
    """The held-out part, which must be the same for all variants. Raises DataError."""
    found: dict[str, HeldOut] = {}
    for name, recipe in recipes.items():
        stores = [opened.store(each, part) for each in _folded(recipe, request.folds)]
        keys = [key for store in stores for key in store.keys]
        groups = video_blocks(keys, [group for store in stores for group in store.groups], request.block_frames)
        found[name] = HeldOut(
            part=part,
            manifests=tuple(store.manifest for store in stores),
            images=len(keys),
            groups=len(set(groups)),
            block_frames=request.block_frames,
        )
    first = next(iter(found.values()))
    other = [name for name, held in found.items() if held != first]
    if other:
        what = f"the {part} part of {listing(other)} is not that of {next(iter(found))}"
        raise DataError("variants", what, "Let them differ in what they train on, and hold the same images out")
    return first


def _require_unchanged(old: Manifest, held: HeldOut, recipes: Mapping[str, Recipe], opened: Opened) -> None:
    """Raise RunError if the data are not those that the comparison was begun with."""
    fix = "Restore them, or compare into a new --out"
    for name, variant in old.variants.items():
        now = tuple(opened.manifest(each) for each in _folded(recipes[name], old.folds))
        if now != variant.data:
            raise RunError(recipes[name].data, f"the data of {name} changed since this comparison began", fix)
    if held != old.held_out:
        raise RunError("variants", "the held-out images changed since this comparison began", fix)


def _require_equal_steps(variants: Mapping[str, Variant], budget: str) -> None:
    if budget == "steps" and len({variant.steps for variant in variants.values()}) > 1:
        said = listing(f"{name}: {variant.steps}" for name, variant in variants.items())
        fix = "Give all of them the same steps, or budget: minutes, or budget: multiply-adds"
        raise RecipeError("budget", f"variants make different numbers of steps ({said})", fix)


def _grown(old: Manifest | None, new: Mapping[str, Recipe], request: Request, *, after_results: bool) -> list[Grown]:
    if old is None:
        return []
    seeds = tuple(seed for seed in request.seed_list if seed not in old.seeds)
    return [Grown(variants=tuple(new), seeds=seeds, after_results=after_results)] if new or seeds else []
