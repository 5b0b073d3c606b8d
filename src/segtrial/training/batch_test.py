"""Recipe -> the same recipe with the largest batch of each phase that fits the memory.

On a GPU steps are tried, first twice as many images each time, then by bisection, until the largest is known; a tenth
is left free, since a device's free memory comes in pieces. A CPU does not say that memory ends (the system kills), so
there the batch is what the network's maps allow, which are counted on shapes.

What is found is written into the recipe, and so into the run: whoever continues it tries nothing again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from segtrial import hardware, models, ranks
from segtrial.data.batches import Batch
from segtrial.errors import DeviceError, RecipeError
from segtrial.recipe import Recipe
from segtrial.signals import StopRequest, listening
from segtrial.training.learner import Learner
from segtrial.training.opening import pick_device, plan_trial
from segtrial.training.plan import Plan, PlannedPhase
from segtrial.training.planning import make_batches, whole_learns
from segtrial.training.watch import Silent, Watch

LEFT_FREE = 0.1
"""Of the largest batch that fits a GPU, and of the free memory of a computer."""

PEAK = 1.6
"""Memory that a step takes on a CPU over that of the maps it keeps: 1.3 to 1.5 in four networks that were measured, in
both precisions. What is above 1 are the gradients of maps, and the loss."""


def fit_batches(recipe: Recipe, out: Path, watch: Watch | None = None) -> Recipe:
    """`recipe` with the largest batches that fit, at most all training images; those of the run in `out`, if any.

    Every phase is measured by itself. `accumulate` pieces are so many times as many images. Raises RecipeError under
    torchrun, DeviceError where not even two images fit, and as training does before it starts.
    """
    if ranks.launched() > 1:
        fix = "Find the batch with one process, multiply it by their number, and give it in phases"
        raise RecipeError("--fit-batch", f"{ranks.launched()} processes, of which none knows the others' memory", fix)
    begun = _begun(out)
    if begun is not None:
        return _with_batches(recipe, begun)
    watch = watch or Silent()
    device = pick_device(recipe)
    hardware.keep_memory()
    whole = whole_learns(recipe).model_copy(update={"epochs": None, "minutes": None, "steps": 1, "accumulate": 1})
    with listening() as stop:
        plan, stores = plan_trial(whole, device, watch, stop)
        images, found = max(2, len(stores["train"])), []
        most = max(2, -(-images // recipe.accumulate))
        for number, phase in enumerate(plan.phases):
            watch.bar(number, len(plan.phases), "fitting batches")
            if device.type == "cpu":
                fits = _by_counting(recipe, plan, phase, most)
            else:
                fits = _by_trying(whole, plan, phase, stores["train"], device, most, stop)
            _require_two(fits, phase, device)
            found.append(min(images, fits * recipe.accumulate))
        watch.bar(len(plan.phases), len(plan.phases), "fitting batches")
    words = (f"{count} images of {p.size[0]}x{p.size[1]}" for count, p in zip(found, plan.phases, strict=True))
    watch.note(f"The largest batches that fit: {', '.join(words)}. The learning rate is as it was; see --find-lr.")
    return _with_batches(recipe, found)


def _begun(out: Path) -> list[int] | None:
    """The batches of the run in a folder; None if there is none, or if it is damaged, which training will say."""
    try:
        plan = Plan.model_validate_json((out / "plan.json").read_bytes())
    except (OSError, ValidationError):
        return None
    return [phase.batch for phase in plan.phases]


def _with_batches(recipe: Recipe, batches: list[int]) -> Recipe:
    """A recipe of another number of phases stays as it is: it is not the one that a run was begun with."""
    if len(batches) != len(recipe.phases):
        return recipe
    phases = (phase.model_copy(update={"batch": batch}) for phase, batch in zip(recipe.phases, batches, strict=True))
    return recipe.model_copy(update={"phases": tuple(phases)})


def largest(fits: Callable[[int], bool], most: int) -> int:
    """The largest number from 2 to `most` (from 2) that fits, 0 if 2 does not; fewer are taken to fit as well.

    One image is never tried: batch normalisation may have nothing to normalise by.
    """
    good, bad = 0, most + 1
    count = 2
    while good < count:
        if not fits(count):
            bad = count
            break
        good, count = count, min(2 * count, most)
    while bad - good > 1 and good:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fits(middle) else (good, middle)
    return good


def _by_counting(recipe: Recipe, plan: Plan, phase: PlannedPhase, most: int) -> int:
    """By the maps that a training step keeps of one image in float32; half of them in bfloat16."""
    costs = models.describe(recipe.model, phase.size, plan.make_task().outputs, plan.in_channels)["costs"]
    assert isinstance(costs, dict)
    image = PEAK * costs["bytes_per_image"] * (0.5 if plan.precision == "bfloat16" else 1)
    room = (1 - LEFT_FREE) * hardware.free_bytes() - costs["bytes_of_weights"]
    return max(0, min(most, int(room / image)))


def _by_trying(
    recipe: Recipe, plan: Plan, phase: PlannedPhase, train, device: torch.device, most: int, stop: StopRequest
) -> int:
    plan = plan.model_copy(update={"phases": (phase.model_copy(update={"batch": 2, "steps": 1}),)})
    pair = make_batches(recipe, plan, train, device).batch(0)
    learner = Trying(recipe, plan, device)
    found = largest(lambda count: _takes(learner, pair, count, stop), most)
    return found if found == most else max(min(found, 2), int((1 - LEFT_FREE) * found))


class Trying(Learner):
    """A learner that says at once that a step does not fit, where a run's own looks for the batch that does."""

    def _too_small(self, images: Tensor, aims: Sequence[Any]) -> DeviceError:
        self.optimizer.zero_grad(set_to_none=True)
        return DeviceError("memory", f"{len(images)} images do not fit", "Take fewer")


def _takes(learner: Learner, pair: Batch, count: int, stop: StopRequest) -> bool:
    """Whether a step of so many images fits: images of the pair again and again, since only their number counts."""
    stop.raise_if_asked()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()  # what the last step left behind
    places = torch.arange(count, device=pair.images.device) % len(pair.images)
    others = None if pair.partners is None else pair.partners[places]
    try:
        learner.step(replace(pair, images=pair.images[places], targets=pair.targets[places], partners=others))
    except DeviceError:
        return False
    return True


def _require_two(fits: int, phase: PlannedPhase, device: torch.device) -> None:
    if fits < 2:
        found = f"not even two images of {phase.size[0]}x{phase.size[1]} fit"
        raise DeviceError(f"memory of {device}", found, "Set crop_pixels lower or choose a smaller network")
