"""Frozen encoders, thawed ones, and rates by stage; a classifier's encoder in segmenters."""

import json
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial import files, modelfile, models, pretrained, training
from segtrial.api import make_recipe
from segtrial.errors import Interrupted, ModelFileError, RecipeError, RunError
from segtrial.recipe import Optimizer, Recipe, Schedule
from segtrial.recipe_parts import Encoder as Wish
from segtrial.tensorfile import load_tensors
from segtrial.training import first_weights
from segtrial.training.fine_tuning import check, empty_core, encoder_of, find_encoder, rate_factors
from tests.training.killing import digests
from tests.training.small import learner_on_toytown

DATA = "toytown:scenes=6,frames=2,size=32x32"
WORDS = (
    "threads=1", "precision=float32", "evaluations=1", "checkpoint_seconds=1000", "progress_steps=1",
    "phases=[{share: 1, batch: 2, crop: 1, scale: [1, 1]}]", "optimizer.name=adamw",
)  # fmt: skip
RESNET = "fcn:encoder=resnet18"
SMALL = "segnet:variant=basic"
"""Has an encoder of four stages, and states of a few megabytes: for whole runs."""


def bits(tensors: dict[str, Tensor]) -> dict[str, bytes]:
    return {name: value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() for name, value in tensors.items()}


def encoder_bits(network: nn.Module) -> dict[str, bytes]:
    encoder = find_encoder(network)
    assert encoder is not None
    return bits(encoder.state_dict())


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    """A finished run: a ResNet-18 that learnt to tell dark images from bright ones, which are masks of one class."""
    root = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 2)):
        for kind in ("images", "masks"):
            (root / "data" / part / kind).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 100, (64, 96, 3)) + 150 * (index % 2)
            Image.fromarray(image.astype(np.uint8)).save(root / "data" / part / "images" / f"{index}.png")
            mask = np.full((64, 96), index % 2, np.uint8)
            Image.fromarray(mask).save(root / "data" / part / "masks" / f"{index}.png")
    (root / "data" / "classes.txt").write_text("dark\nbright\n")
    words = {"model": "classifier:encoder=resnet18", "data": str(root / "data")}
    return training.train(make_recipe(words, {"steps": 3}, None, WORDS), root / "run")


@pytest.fixture(scope="module")
def taught(classifier) -> dict[str, bytes]:
    """The classifier's encoder, bit for bit."""
    return encoder_bits(modelfile.load(classifier / "model.safetensors").network.core)


@pytest.mark.parametrize("spec", [RESNET, "unet:encoder=resnet18", "deeplabv3:encoder=resnet18"])
def test_a_classifier_trained_here_gives_a_segmenter_its_encoder(classifier, taught, spec):
    given = modelfile.load(classifier / "model.safetensors")
    found = pretrained.read(str(classifier), encoder_of(Recipe(model=spec), empty_core(spec)), 3)
    assert bits(found.tensors) == taught
    assert (found.mean, found.std) == (given.header.mean, given.header.std)
    assert found.note == f"Took over 120 of 120 encoder tensors from {classifier} (left: fc.bias, fc.weight)."
    core = empty_core(spec, classes=5).to_empty(device="cpu")
    encoder_of(Recipe(model=spec), core).load_state_dict(found.tensors)
    assert encoder_bits(core) == taught


def test_a_model_with_another_encoder_is_refused(classifier):
    with pytest.raises(ModelFileError, match=r"a classifier, whose encoder is a ResNet; wanted is a VGG\. Give"):
        pretrained.read(str(classifier), encoder_of(Recipe(), empty_core("fcn:encoder=vgg11")), 3)


def trained(out: Path, *settings: str, steps: int = 4) -> Path:
    return training.train(make_recipe({"model": SMALL, "data": DATA}, {"steps": steps}, None, (*WORDS, *settings)), out)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory) -> Path:
    """The model file of a run that others start from."""
    return trained(tmp_path_factory.mktemp("earlier") / "run", "seed=1", steps=2) / "model.safetensors"


@pytest.fixture(scope="module")
def learnt(earlier) -> dict[str, bytes]:
    """Its encoder, bit for bit."""
    return encoder_bits(modelfile.load(earlier).network.core)


def interrupted(out: Path, monkeypatch, moment: str, *settings: str) -> None:
    """Begin the run and ask it to stop at a named moment."""
    monkeypatch.setattr(files, "_passages", Counter())
    monkeypatch.setenv("SEGTRIAL_FAILPOINT", f"{moment}:TERM")
    with pytest.raises(Interrupted):
        trained(out, *settings)
    monkeypatch.delenv("SEGTRIAL_FAILPOINT")


def test_a_frozen_encoder_stays_as_it_is_through_training_resume_and_running_mean(
    earlier, learnt, tmp_path, monkeypatch
):
    start = shutil.copy(earlier, tmp_path / "earlier.safetensors")
    words = (f"encoder.weights={start}", "encoder.freeze=all")
    whole = trained(tmp_path / "whole", *words)
    network = modelfile.load(whole / "model.safetensors").network
    assert encoder_bits(network.core) == learnt
    state, _ = load_tensors(max((whole / "checkpoint").iterdir()))
    for part in ("network", "shadow"):
        assert bits({name: state[f"{part}.core.encoder.{name}"] for name in learnt}) == learnt
    plan = json.loads((whole / "plan.json").read_text())
    assert plan["encoder_weights"] == modelfile.load(start).digest
    assert plan["mean"] == list(modelfile.load(start).header.mean)
    assert any(f"Took over {len(learnt)} of {len(learnt)} encoder tensors" in note for note in plan["notes"])

    interrupted(tmp_path / "again", monkeypatch, "append.after:3", *words)
    Path(start).unlink()  # a run that has a state needs no file
    again = trained(tmp_path / "again", *words)
    assert digests(again) == digests(whole)
    assert (again / "timing.jsonl").read_text().count('"start"') == 2


def test_a_thawed_encoder_learns_from_its_epoch_on_through_resume(earlier, learnt, tmp_path, monkeypatch):
    words = (f"encoder.weights={earlier}", "encoder.freeze=2", "encoder.thaw_epoch=0.4", "encoder.lr_decay=0.5")
    whole = trained(tmp_path / "whole", *words)
    assert encoder_bits(modelfile.load(whole / "model.safetensors").network.core) != learnt
    for line in (1, 4):  # of the log: before the thaw, and after it
        interrupted(tmp_path / str(line), monkeypatch, f"append.after:{line}", *words)
        assert digests(trained(tmp_path / str(line), *words)) == digests(whole)
    again = shutil.copytree(whole, tmp_path / "again")
    (again / "evaluation.json").unlink()  # as if killed after the last step: it is scored once more from its state
    assert digests(trained(again, *words)) == digests(whole)


def test_the_best_weights_keep_the_statistics_that_they_were_scored_with(earlier, tmp_path):
    """Also where the encoder was frozen at that time, and learns at the end."""
    words = ("keep=best", "ema=0", "evaluations=4", "schedule.warmup=0", "schedule.name=constant")
    encoder = (f"encoder.weights={earlier}", "encoder.freeze=all", "encoder.thaw_epoch=0.5", "encoder.lr_factor=3000")
    run = trained(tmp_path / "run", *words, *encoder, "optimizer.lr=0.3")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    *val, kept = [line for line in lines if line["split"] == "val"]
    best = max(val, key=lambda line: line["miou_dataset"])
    assert best["epoch"] < 0.5, "frozen then"
    assert {**best, "step": 0, "epoch": 0} == {**kept, "step": 0, "epoch": 0}


def test_a_begun_run_refuses_another_file(classifier):
    recipe = Recipe(model=RESNET, steps=2, encoder=Wish(weights=str(classifier)))
    learner, _ = learner_on_toytown(recipe, batch=2, size=(32, 32))
    assert "120 of 120" in (first_weights.take_over(learner) or "")
    learner.plan = learner.plan.model_copy(update={"encoder_weights": "0" * 64})
    with pytest.raises(RunError, match=r"another file than when this run began\. Restore it"):
        first_weights.take_over(learner)


# ---- one step at a time ----------------------------------------------------------------------------------------------

PLAIN = Recipe(
    model=RESNET,
    steps=4,
    precision="float32",
    ema=0.9,
    optimizer=Optimizer(name="sgd", lr=0.01, momentum=0.0, weight_decay=0.0),
    schedule=Schedule(name="constant", warmup=0.0),
)


def learner_with(**wish):
    return learner_on_toytown(PLAIN.model_copy(update={"encoder": Wish(**wish)}), batch=2, size=(32, 32))


def stage_bits(network: nn.Module) -> list[bytes]:
    """Weights and buffers of each stage."""
    encoder = find_encoder(network)
    assert encoder is not None
    stages = [nn.ModuleList(stage).state_dict() for stage in encoder.stages()]
    return [b"".join(bits(stage).values()) for stage in stages]


@pytest.mark.parametrize(("freeze", "count"), [("none", 0), (1, 1), (3, 3), ("all", 5)])
def test_the_first_stages_are_frozen_and_no_others(freeze, count):
    learner, batches = learner_with(freeze=freeze)
    encoder = find_encoder(learner.network.core)
    assert encoder is not None
    with torch.no_grad():
        for network in (learner.network, learner.shadow):  # a mean -0 + .1 (-0 - -0) would be +0
            network.core.get_parameter("encoder.bn1.bias").fill_(-0.0)
    before = stage_bits(learner.network.core)
    learner.steps_done = 90  # the mean is slow by then
    for step in range(2):
        learner.step(batches.batch(step))
        learner.rows(batches.batch(step))
    for network in (learner.network, learner.shadow):
        same = [one == other for one, other in zip(before, stage_bits(network.core), strict=True)]
        assert same == [True] * count + [False] * (5 - count)
    frozen = {id(p) for stage in encoder.stages()[:count] for module in stage for p in module.parameters()}
    known = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
    assert not frozen & known


@pytest.mark.parametrize("name", ["sgd", "adam", "muon"])
def test_bits_move_only_after_the_epoch(name):
    learner, batches = learner_on_toytown(
        PLAIN.model_copy(
            update={
                "model": SMALL,
                "encoder": Wish(freeze="all", thaw_epoch=0.4),
                "optimizer": Optimizer(name=name, lr=0.01),
            }
        ),
        batch=2,
        size=(32, 32),
    )
    images = learner.plan.parts["train"]
    before, moved = stage_bits(learner.network.core), []
    for step in range(4):
        learner.step(batches.batch(step))
        moved.append(stage_bits(learner.network.core) != before)
    # step s comes after 2 s images; it learns if these are at least .4 of all
    assert moved == [2 * step >= 0.4 * images for step in range(4)]
    assert moved[0] != moved[-1]


def test_each_stage_moves_by_its_own_rate():
    learner, batches = learner_with(lr_factor=0.5, lr_decay=0.1)
    before = {name: value.detach().clone() for name, value in learner.network.named_parameters()}
    gradients = {}
    learner.optimizer.register_step_pre_hook(  # the step leaves them as they are; they are let go of afterwards
        lambda *_: gradients.update({n: p.grad for n, p in learner.network.named_parameters()})
    )
    learner.step(batches.batch(0))
    depth = {"encoder.conv1": 4, "encoder.bn1": 4} | {f"encoder.layer{stage}": 4 - stage for stage in range(1, 5)}
    seen = Counter()
    for name, after in learner.network.named_parameters():
        place = next((start for start in depth if name.startswith(f"core.{start}.")), None)
        factor = 1.0 if place is None else 0.5 * 0.1 ** depth[place]
        assert torch.equal(after, before[name].add(gradients[name], alpha=-0.01 * factor)), name
        seen[place] += 1
    assert set(seen) == {None, *depth}
    assert learner.learning_rate() == 0.01


def test_equal_rates_are_none():
    assert rate_factors(PLAIN, empty_core(RESNET)) == {}


def test_a_network_of_another_making_is_trained_as_it_is():
    learner, batches = learner_with()
    given = type(learner.network)(models.build("compact", 10, width=8), torch.zeros(3), torch.ones(3))
    other = type(learner)(learner.recipe, learner.plan, learner.device, given)
    assert other.network is given
    before = [p.detach().clone() for p in given.parameters()]
    other.step(batches.batch(0))
    assert not all(torch.equal(one, two) for one, two in zip(before, given.parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "wish", "message"),
    [
        ("compact", {"freeze": "all"}, r"compact has no encoder of its own.*fcn, .*segformer, .*unet:encoder=resnet34"),
        ("unet", {"weights": "imagenet"}, r"unet has no encoder of its own to fine-tune"),
        ("compact", {"lr_factor": 0.1}, r"compact has no encoder"),
        (RESNET, {"freeze": 6}, r"encoder\.freeze: 6, but the encoder of \S+ has 5 stages\. Choose 1 to 5, or all"),
    ],
)
def test_what_the_network_does_not_have_is_refused(model, wish, message):
    with pytest.raises(RecipeError, match=message):
        check(Recipe(model=model, encoder=Wish(**wish)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (RESNET, r"`--set encoder\.weights=imagenet` takes those of resnet18\.tv_in1k .*/timm/resnet18\.tv_in1k/"),
        ("compact", r"`--set encoder.weights=imagenet` needs a network with an encoder, such as unet:encoder=resnet34"),
        ("segformer", r"there are no ImageNet weights for its encoder"),
    ],
)
def test_the_first_line_says_where_weights_come_from_and_what_imagenet_needs(model, message):
    said = first_weights.origin(Recipe(model=model))
    assert said.startswith("Weights start from none: all are random, drawn from seed 0. `--from MODEL`")
    assert re.search(message, said)
