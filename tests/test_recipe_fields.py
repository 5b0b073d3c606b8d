"""Every field of a recipe does something: only it is changed, and what it is for is seen to change, or to stay."""

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segtrial import hardware, training
from segtrial.data import own_augment
from segtrial.data.batches import Batches
from segtrial.data.cache import open_store
from segtrial.errors import UserError
from segtrial.modelfile import load
from segtrial.recipe import UNHASHED, Recipe, flat, from_tree, override
from segtrial.recipe_messages import keys
from segtrial.signals import StopRequest
from segtrial.training import loop, state
from segtrial.training.finish import finish
from segtrial.training.first_weights import take_over
from segtrial.training.learner import Learner
from segtrial.training.opening import open_data
from segtrial.training.planning import make_batches, make_plan, phase_shapes, with_steps
from segtrial.training.state import Progress
from segtrial.training.watch import Silent
from tests import tiny

BASE: Mapping[str, Any] = {
    "data": "toytown:scenes=6,frames=2,size=32x48",
    "model": "compact:width=8",
    "steps": 2,
    "phases": [{"share": 1, "batch": 4, "crop": 1, "scale": [0.9, 1.1]}],
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"warmup": 0, "name": "constant"},
    "threads": 1,
    "precision": "float32",
    "evaluations": 1,
    "checkpoint_seconds": 1000,
}
PHASES = [
    {"share": 0.5, "batch": 4, "crop": 1, "scale": [1, 1]},
    {"share": 0.5, "batch": 2, "crop": 1, "scale": [1, 1]},
]
FRAMES = {"data": "toytown:scenes=2,frames=8,size=32x48"}
CPU = torch.device("cpu")


# What is looked at. Each takes a recipe; what it returns is compared with what it returns for the base.


@cache
def planned(text: str) -> SimpleNamespace:
    recipe = Recipe.model_validate_json(text)
    dataset = open_data(recipe)
    stores = {part: open_store(dataset, part) for part in ("train", "val")}
    plan = make_plan(recipe, dataset, stores, CPU, Silent(), StopRequest())
    return SimpleNamespace(recipe=recipe, stores=stores, plan=plan)


def plan_of(recipe: Recipe) -> SimpleNamespace:
    return planned(recipe.model_dump_json())


def in_plan(name: str) -> Callable[[Recipe], object]:
    return lambda recipe: getattr(plan_of(recipe).plan, name)


def keys_of(part: str) -> Callable[[Recipe], object]:
    return lambda recipe: [item.key for item in open_data(recipe).parts[part]]


def can_be_planned(recipe: Recipe) -> bool:
    try:
        return bool(open_data(recipe))
    except UserError:
        return False


def shapes(recipe: Recipe) -> object:
    """Crops of large pictures."""
    return [phase.size for phase in phase_shapes(recipe, [(400, 600)])]


def steps(recipe: Recipe) -> list[int]:
    """Of each phase, for 20 images and half a second a step."""
    planned_phases = phase_shapes(recipe, [(32, 48)])
    return [phase.steps for phase in with_steps(recipe, planned_phases, 20, (0.5,) * len(planned_phases))]


def batch(recipe: Recipe) -> list[bytes]:
    """The pictures and masks of the first step."""
    made = plan_of(recipe)
    found = make_batches(recipe, made.plan, made.stores["train"], CPU).batch(0)
    return [tensor.contiguous().numpy().tobytes() for tensor in (found.images, found.targets)]


def learner_of(recipe: Recipe) -> Learner:
    learner = Learner(recipe, plan_of(recipe).plan, CPU)
    take_over(learner)
    return learner


def weights_of(network: torch.nn.Module) -> bytes:
    return b"".join(value.detach().contiguous().numpy().tobytes() for value in network.state_dict().values())


def first_weights(recipe: Recipe) -> bytes:
    return weights_of(learner_of(recipe).network)


def taught(recipe: Recipe) -> Learner:
    """A learner after two steps."""
    made, learner = plan_of(recipe), learner_of(recipe)
    batches = make_batches(recipe, made.plan, made.stores["train"], CPU)
    for step in range(2):
        learner.step(batches.batch(step))
    return learner


def learnt(recipe: Recipe) -> bytes:
    return weights_of(taught(recipe).network)


def kept(recipe: Recipe) -> bytes:
    return weights_of(taught(recipe).kept())


def finished(recipe: Recipe) -> bytes:
    """The model of a run that ends after two steps."""
    learner = taught(recipe)
    finish(learner, plan_of(recipe).stores, None, Progress(), {}, Silent(), StopRequest())
    return weights_of(learner.kept())


def passes(recipe: Recipe) -> list[int]:
    """Images that go through the network at once, in the first step."""
    made, learner = plan_of(recipe), learner_of(recipe)
    seen: list[int] = []
    learner.network.core.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    learner.step(make_batches(recipe, made.plan, made.stores["train"], CPU).batch(0))
    return seen


def rates(recipe: Recipe) -> list[float]:
    """At ten steps, evaluated after each of them without getting better."""
    learner, found = learner_of(recipe), []
    learner.plan = learner.plan.model_copy(update={"steps": 10})
    for learner.steps_done in range(10):
        learner.hear([0.5] * learner.steps_done)
        found.append(learner.learning_rate())
    return found


def looped(recipe: Recipe) -> dict[str, object]:
    """What the loop did, with val scores that fall from evaluation to evaluation."""
    made, learner, said = plan_of(recipe), learner_of(recipe), iter(range(99, 0, -1))
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "validate", lambda *_: {"loss": 1.0, "miou_dataset": next(said) / 100})
        loader = Batches.loader

        def alone(self: Batches, *given: Any, workers: int, **more: Any) -> Any:
            asked.append(workers)
            return loader(self, *given, workers=0, **more)

        patch.setattr(Batches, "loader", alone)
        progress, _ = loop.run_steps(learner, made.stores, None, Silent(), StopRequest())
    return {
        "steps": learner.steps_done,
        "scores": progress.scores,
        "workers": asked,
        "end": weights_of(learner.network),
    }


def of_loop(name: str) -> Callable[[Recipe], object]:
    return lambda recipe: looped(recipe)[name]


def device(recipe: Recipe) -> str:
    try:
        return str(hardware.pick_device(recipe.device))
    except UserError as error:
        return error.found


def own_function(recipe: Recipe) -> str | None:
    """What is said where no function is given."""
    try:
        return str(own_augment.required(recipe.augment.own, recipe.augment.function, recipe.workers))
    except UserError as error:
        return error.found


@cache
def ran(text: str) -> dict[str, object]:
    """A whole run: what it wrote, and what it set."""
    saves: list[int] = []
    folder = Path(tempfile.mkdtemp(dir=os.environ["SEGTRIAL_CACHE"])) / "run"  # removed when the tests end
    with pytest.MonkeyPatch.context() as patch:
        save = state.save
        patch.setattr(state, "save", lambda *given: (saves.append(given[1].steps_done), save(*given)))
        before = torch.are_deterministic_algorithms_enabled()
        try:
            out = training.train(Recipe.model_validate_json(text), folder)
            deterministic = torch.are_deterministic_algorithms_enabled()
        finally:
            torch.use_deterministic_algorithms(before)
            torch.set_num_threads(1)
    plan = json.loads((out / "plan.json").read_text())
    return {
        "path": out,
        "model": (out / "model.safetensors").read_bytes(),
        "weights": weights_of(load(out / "model.safetensors").network),
        "lines": len((out / "metrics.jsonl").read_text().splitlines()),
        "threads": plan["threads"],
        "manifest": plan["manifest"],
        "saves": saves,
        "deterministic": deterministic,
    }


def of_run(name: str) -> Callable[[Recipe], object]:
    return lambda recipe: ran(recipe.model_dump_json())[name]


# The table: for each field, a value, what is looked at, and what else must be so for the field to matter.


@dataclass(frozen=True)
class Case:
    value: Any
    seen: Callable[[Recipe], object]
    given: Mapping[str, Any] = field(default_factory=dict)
    same: bool = False


def phases(**changed: Sequence[Any]) -> list[dict[str, Any]]:
    """PHASES with a field changed in each."""
    return [phase | {name: values[i] for name, values in changed.items()} for i, phase in enumerate(PHASES)]


TWO = {"phases": PHASES}
BASIC = {"model": "segnet:variant=basic", "phases": [{"share": 1, "batch": 2, "crop": 1, "scale": [1, 1]}]}
FALLING = {"schedule": {"name": "step", "warmup": 0}}
OFTEN = {"steps": 6, "evaluations": 6}
MIXED = {"phases": [{"share": 1, "batch": 8, "crop": 1, "scale": [1, 1]}]}

CASES: dict[str, list[Case]] = {
    "task": [Case("colorization_rgb", learnt, {"task": "colorization"})],
    "model": [Case("compact:width=16", learnt)],
    "start": [Case("{run}", first_weights, {"seed": 1})],
    "data": [Case("{copy}", of_run("model"), {"data": "{folder}"}, same=True), Case("{other}", in_plan("manifest"))],
    "epochs": [Case(2.0, steps, {"epochs": 1.0})],
    "steps": [Case(3, steps)],
    "minutes": [Case(2.0, steps, {"minutes": 1.0})],
    "seed": [Case(1, first_weights), Case(1, batch)],
    "split.val_groups": [Case(["scene0000"], keys_of("val"))],
    "split.val_share": [Case(0.5, in_plan("parts"), {"data": "{folder}"})],
    "split.method": [Case("time", keys_of("val"), FRAMES)],
    "split.folds": [Case(3, keys_of("val"))],
    "split.fold": [Case(1, keys_of("val"), {"split": {"folds": 3}})],
    "split.gap": [Case(2, keys_of("train"), {**FRAMES, "split": {"method": "time"}})],
    "split.inner": [Case(0.5, keys_of("val")), Case(0.5, keys_of("train"))],
    "split.inner_folds": [Case(2, keys_of("val"))],
    "split.inner_fold": [Case(1, keys_of("val"), {"split": {"inner_folds": 2}})],
    "split.force": [Case(True, can_be_planned, {"split": {"method": "random"}})],
    "phases[].share": [Case(phases(share=(0.25, 0.75)), steps, {**TWO, "steps": 20})],
    "phases[].batch": [Case(phases(batch=(3, 3)), batch, TWO)],
    "phases[].crop": [Case(phases(crop=(0.5, 0.5)), shapes, TWO)],
    "phases[].scale": [Case(phases(scale=((2.0, 2.0), (2.0, 2.0))), batch, TWO)],
    "crop_pixels": [Case(40_000, shapes)],
    "augment.flip_horizontal": [Case(0.0, batch)],
    "augment.flip_vertical": [Case(1.0, batch)],
    "augment.rotate": [Case(20.0, batch)],
    "augment.shift": [Case(0.3, batch)],
    "augment.brightness": [Case(0.5, batch)],
    "augment.contrast": [Case(0.5, batch)],
    "augment.color": [Case(0.5, batch)],
    "augment.cutmix": [Case(1.0, batch, MIXED)],
    "augment.classmix": [Case(1.0, batch, MIXED)],
    "augment.copy_paste": [Case(1.0, batch, MIXED)],
    "augment.mixup": [Case(0.4, batch)],
    "augment.albumentations": [Case([{"InvertImg": {"p": 1.0}}], batch)],
    "augment.own": [Case("blur 0123abcd", own_function)],
    "loss.name": [Case("dice", learnt)],
    "loss.class_weights": [Case("median_frequency", learnt), Case("none", in_plan("class_weights"))],
    "loss.label_smoothing": [Case(0.1, learnt)],
    "loss.auxiliary": [Case(0.1, learnt, {"model": "fcn_dilated:encoder=resnet18"})],
    "optimizer.name": [Case("adam", learnt)],
    "optimizer.lr": [Case(0.01, learnt)],
    "optimizer.weight_decay": [Case(0.1, learnt)],
    "optimizer.momentum": [Case(0.5, learnt)],
    "optimizer.nesterov": [Case(False, learnt)],
    "schedule.name": [Case("poly", rates)],
    "schedule.warmup": [Case(0.3, rates)],
    "schedule.share": [Case(0.2, rates, FALLING)],
    "schedule.marks": [Case([0.3], rates, {"schedule": {"name": "multistep"}})],
    "schedule.factor": [Case(0.5, rates, FALLING)],
    "schedule.power": [Case(2.0, rates, {"schedule": {"name": "poly"}})],
    "schedule.rise": [Case(0.5, rates, {"schedule": {"name": "onecycle"}})],
    "schedule.patience": [Case(3, rates, {"schedule": {"name": "plateau"}})],
    "encoder.weights": [Case("{basic}", first_weights, {**BASIC, "seed": 1})],
    "encoder.freeze": [Case("all", learnt, BASIC), Case(2, learnt, {**BASIC, "encoder": {"freeze": 1}})],
    "encoder.thaw_epoch": [Case(0.0, learnt, {**BASIC, "encoder": {"freeze": "all"}})],
    "encoder.lr_factor": [Case(0.5, learnt, BASIC)],
    "encoder.lr_decay": [Case(0.5, learnt, BASIC)],
    "regularise.dropout": [Case(0.5, learnt)],
    "regularise.dropout_of": [Case("channels", learnt, {"regularise": {"dropout": 0.5}})],
    "regularise.stochastic_depth": [Case(0.9, learnt)],
    "init": [Case("xavier", first_weights)],
    "clip": [Case(0.001, learnt)],
    "accumulate": [Case(2, passes)],
    "ema": [Case(0.05, kept)],
    "keep": [Case("last", kept), Case("best", kept, same=True)],
    "norm_statistics": [Case("running", finished)],
    "evaluations": [Case(2, in_plan("evaluate_at"))],
    "patience": [Case(2, of_loop("scores"), OFTEN)],
    "device": [Case("cuda", device, {"device": "cpu"}), Case("auto", learnt, {"device": "cpu"}, same=True)],
    "precision": [Case("bfloat16", learnt)],
    "threads": [Case(2, of_run("threads"))],
    "deterministic": [Case(True, of_run("deterministic")), Case(True, of_run("weights"), same=True)],
    "sync_batchnorm": [Case(True, learnt, same=True)],  # one process has nobody to share with
    "workers": [Case(2, of_loop("workers")), Case(2, of_loop("end"), same=True)],
    "checkpoint_seconds": [Case(0.0, of_run("saves")), Case(0.0, of_run("model"), same=True)],
    "progress_steps": [Case(1, of_run("lines")), Case(1, of_run("model"), same=True)],
}
EVERY_CASE = [(key, case) for key, cases in CASES.items() for case in cases]


def test_every_field_has_its_case():
    """A new field? Say in CASES what changes when only it changes, on top of BASE."""
    assert sorted(CASES) == sorted(set(keys(Recipe)))


def test_what_decides_nothing_is_shown_to_decide_nothing():
    equal = {key for key, case in EVERY_CASE if case.same}
    assert set(UNHASHED) <= equal


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> dict[str, str]:
    """Where BASE and CASES say {folder}, its {copy}, {other} data, a {run}, and one of a network with an encoder."""
    root = tmp_path_factory.mktemp("places")
    for name in ("folder", "copy", "other"):
        write_flat(root / name, seed=int(name == "other"))
    made = {name: str(root / name) for name in ("folder", "copy", "other")}
    made["run"] = str(ran(recipe_of({}, made).model_dump_json())["path"])
    made["basic"] = str(ran(recipe_of({**BASIC, "steps": 1}, made).model_dump_json())["path"])
    return made


def write_flat(root: Path, seed: int) -> None:
    """Ten small pictures with masks, and no val part."""
    rng = np.random.default_rng(seed)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(10):
        mask = tiny.scene(rng)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        Image.fromarray(np.stack([mask * 90 + number] * 3, axis=2)).save(root / "images" / f"{number}.png")


def recipe_of(changes: Mapping[str, Any], places: Mapping[str, str]) -> Recipe:
    """BASE with changes by dotted key or by part; {words} are places."""
    tree = json.loads(json.dumps(BASE))
    for key, value in changes.items():
        text = json.dumps(value)
        for word, place in places.items():
            text = text.replace("{" + word + "}", place)
        below = flat({key: json.loads(text)}) if isinstance(value, dict) else {key: json.loads(text)}
        tree = override(tree, [f"{one}={json.dumps(inner)}" for one, inner in below.items()])
    return from_tree(tree)


@pytest.mark.parametrize(("key", "case"), EVERY_CASE, ids=[f"{key}-{i}" for i, (key, _) in enumerate(EVERY_CASE)])
def test_changing_one_field_changes_what_it_is_for_and_nothing_where_it_must_not(key, case, places):
    if key == "augment.albumentations":
        pytest.importorskip("albumentations")
    base = recipe_of(case.given, places)
    changed = recipe_of({**case.given, key.partition("[]")[0]: case.value}, places)
    before, after = (flat(one.model_dump(mode="json")) for one in (base, changed))
    assert [name for name in before if before[name] != after[name]] == [key.partition("[]")[0]]
    assert (case.seen(base) == case.seen(changed)) is case.same
