"""Recipe + data + machine -> Plan: shares become pixels and steps, minutes become steps by a short measurement."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from segtrial import hardware, models, ranks, tasks
from segtrial.class_weights import class_weights
from segtrial.colors import ab_sums
from segtrial.data import own_augment
from segtrial.data.augment import Augmentation
from segtrial.data.batches import Batches
from segtrial.data.cache import Store
from segtrial.data.sample import Dataset, Sample
from segtrial.errors import DataError, RecipeError, SplitError
from segtrial.files import sha256
from segtrial.models._whole import Sees, seen
from segtrial.randomness import generator
from segtrial.recipe import Recipe
from segtrial.shapes import IGNORE
from segtrial.signals import StopRequest
from segtrial.training.fine_tuning import empty_core
from segtrial.training.first_weights import encoder_weights, fitting_start, origin
from segtrial.training.learner import Learner
from segtrial.training.plan import Plan, PlannedPhase
from segtrial.training.watch import Watch

CROP_MULTIPLE = 32
"""Pixels; crops are at least two of them (see `Whole.padded_size`), or one where the images are no larger. The same
for every network, so that two variants with one seed see the same crops."""

STATE_BYTES = 16
"""Of each parameter, whatever the batch: weight, gradient, running mean and at least one moment, in float32."""

SAMPLES_MEASURED = 2000
"""Mean, spread and class shares come from at most this many training images, drawn by seed 0."""


def make_plan(
    recipe: Recipe,
    dataset: Dataset,
    stores: Mapping[str, Store],
    device: torch.device,
    watch: Watch,
    stop: StopRequest,
) -> Plan:
    """The plan of a new run. A budget in minutes is turned into steps here, once, by timing a few of them."""
    train, task = stores["train"], tasks.make(recipe.task, dataset.classes)
    whole = task.content == "classes"
    measured = image_statistics(train, len(dataset.classes), task.sees, whole=whole)
    if task.content == "masks":
        for part in ("train", "val"):
            _require_counted(stores[part], f"{recipe.data}, {part}")
    channels = len(measured.mean)
    model = model_summary(recipe.model, task.outputs, channels)
    encoder = encoder_weights(recipe, channels)
    start = fitting_start(recipe, task.outputs, channels) if recipe.start else None
    outside = start.header if start and start.header.in_channels == channels else encoder
    hardware.require_memory(STATE_BYTES * model["parameters"], device, recipe.model)
    plan = Plan(
        schema=1,
        recipe=recipe.model_dump(mode="json"),
        recipe_hash=recipe.hash,
        manifest=manifest(stores),
        start=start.digest if start else None,
        encoder_weights=encoder.digest if encoder else None,
        steps=0,
        evaluate_at=(),
        phases=phase_shapes(recipe, train.sizes),
        seconds_per_step=None,
        device=device.type,
        precision=str(hardware.pick_precision(recipe.precision, device)).removeprefix("torch."),
        threads=torch.get_num_threads(),
        world=ranks.world(),
        model=model,
        task=task.name,
        mean_color=mean_color(train) if task.sees != "image" else None,
        classes=dataset.classes.to_json(),
        in_channels=channels,
        mean=outside.mean if outside else measured.mean,  # weights from outside expect the images they were made with
        std=outside.std if outside else measured.std,
        class_pixels=measured.pixels,
        class_weights=tuple(class_weights(recipe.loss.class_weights, measured.pixels, measured.around).tolist()),
        layout=dataset.layout,
        parts={name: len(items) for name, items in dataset.parts.items()},
        notes=(origin(recipe), *([encoder.note] if encoder else []), *dataset.notes),
    )
    make_batches(recipe, plan, train, torch.device("cpu")).rehearse()
    seconds = None
    if recipe.minutes is not None:
        seconds = ranks.from_first(measured_seconds(recipe, plan, train, device, watch, stop), device)
    phases = with_steps(recipe, plan.phases, len(train), seconds)
    steps = sum(phase.steps for phase in phases)
    marks = evaluation_steps(steps, recipe.evaluations)
    resolved = {"phases": phases, "steps": steps, "evaluate_at": marks, "seconds_per_step": seconds}
    return plan.model_copy(update=resolved)


def measured_seconds(
    recipe: Recipe, plan: Plan, train: Store, device: torch.device, watch: Watch, stop: StopRequest
) -> tuple[float, ...]:
    """Seconds of one step in each phase, by a learner that is then thrown away."""
    trial = plan.model_copy(update={"steps": 10**9})  # the learning rate stays near 0: nothing can diverge
    learner, seconds = Learner(whole_learns(recipe), trial, device), []
    for index, phase in enumerate(trial.phases):
        watch.bar(index, len(trial.phases), "timing a few steps")
        phases = [phase.model_copy(update={"steps": 100})]
        batches = make_batches(recipe, trial.model_copy(update={"phases": phases}), train, device)
        steps = iter(range(100))

        def step(batches: Batches = batches, steps: Any = steps) -> None:
            stop.raise_if_asked()
            learner.step(batches.batch(next(steps), ranks.rank(), ranks.world()))

        seconds.append(median_seconds(step, device))
    return tuple(seconds)


def whole_learns(recipe: Recipe) -> Recipe:
    """The recipe without what is frozen for a while only: steps are timed as they are once it is thawed."""
    if recipe.encoder.thaw_epoch is None:
        return recipe
    encoder = recipe.encoder.model_copy(update={"freeze": "none", "thaw_epoch": None})
    return recipe.model_copy(update={"encoder": encoder})


def make_batches(recipe: Recipe, plan: Plan, train: Store, device: torch.device) -> Batches:
    """The training batches; on a GPU the images are put there once if they fit."""
    fields = recipe.augment.model_dump(exclude={"own"})
    own = own_augment.required(recipe.augment.own, recipe.augment.function, recipe.workers)
    return Batches(
        train,
        plan.batch_phases(),
        Augmentation(**fields, own=own),
        seed=recipe.seed,
        mirrored=plan.class_table().mirrored(),
        device=device if device.type == "cuda" else None,
    )


def manifest(stores: Mapping[str, Store]) -> str:
    """One hash of everything in the data set that training and evaluation read."""
    return sha256("\n".join(f"{part} {stores[part].manifest}" for part in sorted(stores)).encode())


class ImageStatistics(NamedTuple):
    """What the training images are like; values in [0, 1], one per channel or per class."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pixels: tuple[int, ...]
    """Of each class; images, where they have one class as a whole."""
    around: tuple[int, ...]
    """Counted pixels, of any class, of the images that show each class; all images, where they have one class."""


def image_statistics(store: Store, num_classes: int, sees: Sees = "image", *, whole: bool = False) -> ImageStatistics:
    """Mean and standard deviation of each channel that a network sees, and how many pixels each class has.

    With `whole` an image has one class, and counts once, however large it is.
    """
    total = squares = np.zeros(store.channels if sees == "image" else 1)
    pixels, around, values = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64), 0
    for sample in _measured(store):
        unit = seen(_unit(sample.image), sees)[0].double().numpy()
        total = total + unit.sum((1, 2))
        squares = squares + (unit**2).sum((1, 2))
        values += unit[0].size
        shown = np.bincount(sample.target.ravel(), minlength=IGNORE + 1)[:num_classes]
        shown = np.minimum(shown, 1) if whole else shown
        pixels += shown
        around += np.where(shown > 0, shown.sum(), 0)
    mean = total / values
    around = np.full_like(around, pixels.sum()) if whole else around
    std = np.sqrt(np.maximum(squares / values - mean**2, 1e-4))  # a constant channel is left at scale 1/100
    return ImageStatistics(_rounded(mean), _rounded(std), tuple(pixels.tolist()), tuple(around.tolist()))


def _require_counted(store: Store, place: str) -> None:
    if not any((sample.target != IGNORE).any() for sample in _measured(store)):
        found = f"no pixel of the {min(len(store), SAMPLES_MEASURED):,} masks looked at counts: all are ignored"
        raise DataError(place, found, "Correct the masks, or `classes` and `ignore` of data.yaml")


def mean_color(store: Store) -> tuple[float, float]:
    """Mean a and b of the photos."""
    sums = sum(ab_sums(_unit(sample.image))[0] for sample in _measured(store))
    assert isinstance(sums, torch.Tensor)
    a, b = (sums[:2] / sums[2]).tolist()
    return round(a, 4), round(b, 4)


def _measured(store: Store) -> Iterator[Sample]:
    """The images that stand for all."""
    chosen = range(len(store))
    if len(store) > SAMPLES_MEASURED:
        chosen = sorted(generator(0, "statistics").choice(len(store), SAMPLES_MEASURED, replace=False).tolist())
    return (store[index] for index in chosen)


def _unit(image: np.ndarray) -> torch.Tensor:
    """`1 c h w` in [0, 1]."""
    return torch.tensor(image)[None].float() / (255 if image.dtype == np.uint8 else 1)


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(value), 6) for value in values)


def phase_shapes(recipe: Recipe, sizes: Sequence[tuple[int, int]]) -> tuple[PlannedPhase, ...]:
    """The phases in pixels, steps still 0: crops are a fraction of the median image, in multiples of CROP_MULTIPLE."""
    height, width = (float(np.median([size[axis] for size in sizes])) for axis in (0, 1))
    planned = []
    for phase in recipe.phases:
        shrink = min(1.0, (recipe.crop_pixels / (height * width * phase.crop**2)) ** 0.5)
        size = tuple(
            max(min(2, math.ceil(side / CROP_MULTIPLE)), round(side * phase.crop * shrink / CROP_MULTIPLE))
            * CROP_MULTIPLE
            for side in (height, width)
        )
        planned.append(PlannedPhase(steps=0, batch=phase.batch, size=(size[0], size[1]), scale=phase.scale))
    return tuple(planned)


def with_steps(
    recipe: Recipe, phases: Sequence[PlannedPhase], images: int, seconds_per_step: Sequence[float] | None
) -> tuple[PlannedPhase, ...]:
    """The phases with their step counts: each takes its share of the minutes, epochs or steps."""
    counts = []
    for index, (wish, phase) in enumerate(zip(recipe.phases, phases, strict=True)):
        if recipe.minutes is not None:
            assert seconds_per_step is not None
            amount = wish.share * recipe.minutes * 60 / seconds_per_step[index]
        elif recipe.epochs is not None:
            amount = wish.share * recipe.epochs * images / phase.batch
        else:
            assert recipe.steps is not None
            amount = wish.share * recipe.steps
        counts.append(amount)
    whole = _rounded_sum(counts)
    if sum(whole) < 1:
        raise RecipeError("budget", "less than one training step", "Give more minutes, epochs or steps")
    return tuple(phase.model_copy(update={"steps": steps}) for phase, steps in zip(phases, whole, strict=True))


def _rounded_sum(amounts: Sequence[float]) -> list[int]:
    ends = [round(sum(amounts[: index + 1])) for index in range(len(amounts))]  # so that the parts add up to the whole
    return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def evaluation_steps(steps: int, evaluations: int) -> tuple[int, ...]:
    """The steps after which val is scored, apart from the last: evenly spread."""
    marks = {round(steps * part / evaluations) for part in range(1, evaluations)}
    return tuple(sorted(marks - {0, steps}))


def check_parts(dataset: Dataset) -> None:
    """Raise SplitError unless there is something to train on and something to validate with."""
    for part in ("train", "val"):
        if not dataset.parts.get(part):
            found = f"the {part} part is empty (parts: { {name: len(items) for name, items in dataset.parts.items()} })"
            raise SplitError(
                dataset.root or dataset.layout, found, "Give more images, or set split.val_groups or split.val_share"
            )


def median_seconds(step: Callable[[], Any], device: torch.device, warm: int = 2, timed: int = 5) -> float:
    """Median seconds of one call after a warm-up, the device's queue included."""
    seconds = []
    for index in range(warm + timed):
        start = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if index >= warm:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def model_summary(spec: str, outputs: int, channels: int) -> dict[str, Any]:
    """Name, full options and parameter count of a `--model` word."""
    name, options = models.parse(spec)
    core = empty_core(spec, outputs, channels)
    full = {key: option.default for key, option in models.options(name).items()} | options
    return {
        "name": name,
        "options": full,
        "parameters": sum(p.numel() for p in core.parameters()),
        "multiple": core.multiple,
    }
