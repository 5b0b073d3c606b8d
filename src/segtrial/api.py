"""The verbs in Python: data, a model and a folder in, a finished run, scores or answers out.

Each verb composes the rooms below and adds nothing of its own. The command line calls exactly these.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from segtrial import definitions, evaluation, hub, modelfile, prediction, ranks, training
from segtrial.answers import count_pictures, read_table
from segtrial.api_compare import compare as compare  # a verb like those below
from segtrial.api_compare import report as report
from segtrial.api_explain import calibrate as calibrate
from segtrial.api_explain import explain as explain
from segtrial.api_fit import fit as fit
from segtrial.api_hub import push as push
from segtrial.api_tune import tune as tune
from segtrial.data import SplitOptions, open_dataset, own_augment
from segtrial.data.cache import Store, open_store
from segtrial.data.sample import Dataset
from segtrial.drawing import Pixels
from segtrial.errors import DataError, DataNotFound, DeviceError, RunError, nearest
from segtrial.errors import UserError as UserError  # what all verbs raise, for whoever wants to catch it
from segtrial.hardware import keep_memory, pick_device, pick_precision
from segtrial.modelfile import Loaded
from segtrial.prediction import PredictionReport
from segtrial.prediction.on_ray import place
from segtrial.recipe import BUDGETS, Recipe, budgeted, from_tree, override, read, tree_of
from segtrial.tasks import TASKS, Answer
from segtrial.training import Silent, Watch, batch_test, first_weights, opening, rate_test

Source = str | Path


@dataclass(frozen=True)
class Run:
    """A finished run: a folder that is readable without Segtrial too."""

    path: Path

    @property
    def model(self) -> Path:
        """The model file."""
        return self.path / "model.safetensors"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def evaluation(self) -> dict[str, Any]:
        """The object that `segtrial evaluate --json` prints, over the val part."""
        return json.loads((self.path / "evaluation.json").read_text())

    @property
    def scores(self) -> dict[str, float | None]:
        """Name -> value over the val part; `evaluation` has intervals and definitions."""
        return self.evaluation["scores"]

    def predict(self, images: Iterable[Source], out: Source, **options: Any) -> PredictionReport:
        """Answer for image files and folders; see `segtrial.predict`."""
        return predict(self.path, images, out, **options)

    def push_to_hub(self, repository: str, license: str, **options: Any) -> dict[str, Any]:
        """Publish the model and its card as owner/name; see `segtrial.push`."""
        return push(self.path, repository, license, **options)


def train(
    model: str | None = None,
    data: Source | None = None,
    out: Source = "runs/first",
    *,
    epochs: float | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    start: Source | None = None,
    task: str | None = None,
    recipe: Source | Mapping[str, Any] | None = None,
    budget: str | None = None,
    settings: Iterable[str] = (),
    augment: Callable[..., Any] | None = None,
    fit_batch: bool = False,
    watch: Watch | None = None,
) -> Run:
    """Train into the run folder `out`, or continue what was begun there, and write its report.

    `model` is NAME or NAME:option=value,...; `data` a folder, a data.yaml or "toytown"; at most one of `epochs`,
    `steps` and `minutes`. `start` is a model or run of yours whose weights are taken over where they fit. `task`
    is what the network answers: see `segtrial.tasks`. `recipe` (a YAML file, a preset's name, a run folder or a
    mapping) holds what is not given here, and `budget` picks one of its `budgets`; `settings` such as
    "optimizer.lr=0.01" have the last word. `augment(image, mask, rng)` changes each crop, see
    `segtrial.data.own_augment`. `fit_batch` takes the largest batches that fit the memory. Raises UserError for
    what the caller can mend, and Interrupted (state saved; the same call continues) on SIGINT or SIGTERM.
    """
    words = {"model": model, "data": _text(data), "start": _text(start), "seed": seed, "task": task}
    wanted = make_recipe(words, {"epochs": epochs, "steps": steps, "minutes": minutes}, recipe, settings, budget)
    wanted = _with_function(wanted, augment)
    opening.check_choices(wanted)  # a wrong name is said before the data is read
    if fit_batch:
        wanted = batch_test.fit_batches(wanted, Path(out), watch)
    run = Run(training.train(wanted, Path(out), watch or Silent()))
    if ranks.is_first_launched() and not run.report.exists():
        from segtrial.reports import run_report  # matplotlib: a second to load, and no other verb needs it

        run_report.write(run.path)
    return run


def find_lr(
    model: str | None = None,
    data: Source | None = None,
    out: Source = "runs/first",
    *,
    seed: int | None = None,
    start: Source | None = None,
    recipe: Source | Mapping[str, Any] | None = None,
    budget: str | None = None,
    settings: Iterable[str] = (),
    task: str | None = None,
    augment: Callable[..., Any] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Try learning rates on a network that is thrown away, and suggest one: see `segtrial.training.rate_test`.

    What is given is as in `train`. Writes find_lr.json, which is what is returned, and find_lr.svg into the folder
    `out`, in which a run may then begin; its report shows the curve. Raises as `train` does.
    """
    words = {"model": model, "data": _text(data), "start": _text(start), "seed": seed, "task": task}
    wanted = _with_function(make_recipe(words, {}, recipe, settings, budget), augment)
    opening.check_choices(wanted)
    found = rate_test.find_rate(wanted, Path(out), watch or Silent())
    if ranks.is_first_launched():
        from segtrial.reports import rates

        rates.write(Path(out))
    return found


def make_recipe(
    words: Mapping[str, Any],
    budget: Mapping[str, float | int | None],
    base: Source | Mapping[str, Any] | None,
    settings: Iterable[str],
    word: str | None = None,
) -> Recipe:
    """One recipe of a base, words that replace parts of it, a budget that replaces its budget, and settings.

    `word` picks one of the base's `budgets`, which lie below all that is said here.
    """
    place = "recipe" if base is None or isinstance(base, Mapping) else str(base)
    tree = budgeted(base if isinstance(base, Mapping) else {} if base is None else tree_of(base), word, place)
    tree |= {name: value for name, value in words.items() if value is not None}
    given = {name: value for name, value in budget.items() if value is not None}
    if given:
        tree = {name: value for name, value in tree.items() if name not in BUDGETS} | given
    return from_tree(override(tree, settings), place)


def _with_function(recipe: Recipe, function: Callable[..., Any] | None) -> Recipe:
    """The recipe with the function that augments; RecipeError if it names another one, or one that is not given."""
    if function is not None:
        part = recipe.augment.with_function(recipe.augment.own or own_augment.word_of(function), function)
        recipe = recipe.model_copy(update={"augment": part})
    own_augment.required(recipe.augment.own, recipe.augment.function, recipe.workers)
    return recipe


def check(recipe: Recipe) -> None:
    """Raise UserError for whatever of a recipe is wrong that its network, losses and places can tell; trains nothing.

    A device that only another machine has is not wrong.
    """
    opening.check_choices(recipe)
    with suppress(DeviceError):
        pick_device(recipe.device)
    if recipe.data != Recipe().data and not Path(recipe.data).exists():  # a preset does not know its data
        open_dataset(recipe.data, content=TASKS[recipe.task].content)
    if recipe.start:
        first_weights.started_from(recipe)
    if recipe.encoder.weights not in ("none", "imagenet"):
        first_weights.encoder_weights(recipe, channels=3)


def _text(source: Source | None) -> str | None:
    return None if source is None else str(source)


def evaluate(
    model: Source,
    data: Source | None = None,
    split: str = "val",
    *,
    device: str = "auto",
    precision: str | None = None,
    extras: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Scores of a run folder or model file on one part of `data`, or on "all", as `evaluate --json` prints them.

    What is not given, a run says itself: its data, its split, its precision. `extras` adds the calibration error and
    the boundary F-score, for tasks that have them. Raises UserError for a part that is
    not there, for classes or channels that are not the model's, and for bad images and masks.
    """
    watch = watch or Silent()
    place = pick_device(device)
    keep_memory()
    loaded = load(model, device=str(place))
    wanted = _recipe_of(Path(model))
    precision = precision or (wanted.precision if wanted else "auto")
    counts = evaluation.evaluate(
        loaded.network,
        stores(model, loaded, data, (split,), watch)[0],
        loaded.task,
        extras=extras,
        device=place,
        precision=pick_precision(precision, place),
        progress=lambda done, total: watch.bar(done, total, f"evaluating {split}"),
    )
    return {**evaluation.result_json(counts, loaded.task), "split": split}


def stores(model: Source, loaded: Loaded, data: Source | None, splits: Iterable[str], watch: Watch) -> list[Store]:
    """Parts of `data`, or "all" of it, decoded, for a model; without `data`, of what its run was trained on.

    Raises UserError for a part that is not there, for classes that are not the model's, and for bad images and masks.
    """
    wanted = _recipe_of(Path(model))
    source = data if data is not None else wanted.data if wanted else None
    if source is None:
        raise DataError("--data", f"not given, and {model} is no run folder", "Name a folder of images and masks")
    own = wanted if wanted and str(source) == wanted.data else None  # a run's split says nothing of other data
    options = SplitOptions(**own.split.model_dump()) if own else SplitOptions()
    dataset = open_dataset(source, options, loaded.task.content)
    everything = tuple(sorted((item for items in dataset.parts.values() for item in items), key=lambda item: item.key))
    dataset = replace(dataset, parts={**dataset.parts, "all": everything})
    for split in splits:
        _require_part(dataset, source, split)
    loaded.require_classes(str(source), dataset.classes)
    bars = ((split, partial(watch.bar, what=f"decoding {split}")) for split in splits)
    return [open_store(dataset, split, progress=bar) for split, bar in bars]


def _require_part(dataset: Dataset, source: Source, split: str) -> None:
    if not dataset.parts.get(split):
        there = sorted(name for name, items in dataset.parts.items() if items)
        fix = f"{nearest(split, there)}There are: {', '.join(there)}"
        raise DataNotFound(source, f"no part is called {split!r}", fix)


def explain_metric(
    answers: Source, data: Source | None = None, split: str = "val", *, watch: Watch | None = None
) -> dict[str, Any]:
    """The same answers under the mean IoU of every tool, as `explain-metric --json` prints them.

    `answers` is a run folder, a file of counts, or a folder of label pictures that answer to the images of `split` in
    `data`. Raises UserError for anything else.
    """
    path, shown = Path(answers), watch or Silent()
    if data is None:
        return definitions.explain(*read_table(path, split))
    dataset = open_dataset(data)
    _require_part(dataset, data, split)
    bar = partial(shown.bar, what="counting pixels")
    return definitions.explain(count_pictures(path, dataset, dataset.parts[split], bar), dataset.classes.names)


def predict(
    model: Source,
    images: Iterable[Source],
    out: Source,
    *,
    overlay: bool = True,
    confidence: bool = True,
    save: Iterable[str] | None = None,
    tile: str | int = "auto",
    overlap: int | None = None,
    tta: str = "none",
    max_pixels: int | None = None,
    resume: bool = True,
    device: str = "auto",
    on: str = "local",
    watch: Watch | None = None,
) -> PredictionReport:
    """Answer for image files, folders, globs and lists: label PNGs with the model's palette, and more, in `out`.

    `save` names what is written: labels, overlay, confidence (these, if it is None), probabilities, polygons, areas.
    `tile` is "auto", "none" or a side in pixels, `overlap` what tiles share, `tta` the views that are averaged; see
    `segtrial.prediction`. Images that cannot be read are skipped and listed in the report with the reason. With
    `resume`, answers that this model gave for the same pictures before are kept. `on` "ray" has the nodes of a cluster
    answer. Raises UserError as `segtrial.prediction.predict_files` does.
    """
    watch = watch or Silent()
    keep_memory()
    with place(on, _load_on, str(model), device) as elsewhere:
        loaded = _load_on(str(model), device)
        return prediction.predict_files(
            loaded,
            list(images),
            Path(out),
            overlay=overlay,
            confidence=confidence,
            save=None if save is None else list(save),
            tiling=prediction.tiling(str(tile), overlap, loaded.header.image_sizes.largest),
            tta=tta,
            max_pixels=max_pixels,
            resume=resume,
            progress=lambda done, total: watch.bar(done, total, "predicting"),
            strip_progress=lambda done, total: watch.bar(done, total, "rows of tiles"),
            elsewhere=elsewhere,
        )


def answer(model: Source | Loaded, image: Pixels) -> Answer:
    """A model's answer for one image in memory, `c h w`: uint8, or float32 in [0, 1].

    `values` are class indices `h w`; of other tasks a mask for each class `k h w`, the colours `3 h w` in [0, 1], or
    the probability of each class `k`; see `segtrial.tasks.Answer`. Where there are many images, give what `load`
    returns. Raises ImageError if the channels are not the network's, and UserError as `load` does.
    """
    loaded = model if isinstance(model, Loaded) else load(model)
    precision = pick_precision("auto", loaded.network.mean.device)  # as `predict` computes it
    return prediction.answer(loaded.network, loaded.task, image, precision=precision)


def _load_on(model: str, device: str) -> Loaded:
    """A model on a device of the machine that this runs on."""
    return load(model, device=str(pick_device(device)))


def export(
    model: Source,
    data: Source | None = None,
    out: Source = "model.onnx",
    *,
    format: str = "onnx",
    precision: str = "fp32",
    most_lost: float | int = 0.5,
    force: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Write a run's network or a model file for another engine, once its file has answered for the val part of `data`.

    Returns what `segtrial export --json` prints. If the file's mIoU falls by more than `most_lost` points (hundredths),
    nothing is written unless `force`, and `written` is False. See `segtrial.exporting`. Raises UserError as `evaluate`
    does, for packages that are missing, and for a network that cannot be exported.
    """
    from segtrial import exporting
    from segtrial.exporting.wish import Wish

    watch = watch or Silent()
    wish = Wish(format, Path(out), precision, most_lost, force)
    keep_memory()
    loaded = load(model)
    splits = ("val", "train") if precision == "int8" else ("val",)
    part, *more = stores(model, loaded, data, splits, watch)
    return exporting.export(loaded, wish, part, more[0] if more else None, partial(watch.bar, what="proving"))


def load(model: Source, device: str = "cpu") -> Loaded:
    """The network (in eval mode), classes and header of a model file, a run folder or a repository on the hub.

    The latter is called owner/name or owner/name@revision; of it only model.safetensors is fetched: see
    `segtrial.hub`. No code is executed. Raises UserError for what cannot be had, or is not sound.
    """
    wanted = hub.id_of(str(model))
    return modelfile.load(hub.fetch(wanted) if wanted else model_path(Path(model)), device)


def model_path(model: Path) -> Path:
    """The model file of a run folder, or the file that is one. Raises RunError for a folder without."""
    if not model.is_dir():
        return model
    if not Run(model).model.exists():
        raise RunError(model, "no model.safetensors in it", "Name a model file or a run folder that has finished")
    return Run(model).model


def _recipe_of(model: Path) -> Recipe | None:
    """What a run folder was made by; None for a model file."""
    path = model / "recipe.yaml"
    return from_tree(read(path), str(path)) if path.is_file() else None
