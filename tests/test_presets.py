"""Presets: names of recipes, which hold what their reports say, and over which everything else goes."""

import re

import pytest

import segtrial as st
from segtrial import api
from segtrial.api import make_recipe
from segtrial.errors import RecipeError
from segtrial.presets import PRESETS
from segtrial.recipe import OF_TASK, Recipe, from_tree, override, parse_yaml, tree_of

NO_BUDGET = {"epochs": None, "steps": None, "minutes": None}
EVERY_PRESET = pytest.mark.parametrize("name", PRESETS)


def recipe_of(name: str) -> Recipe:
    return from_tree(tree_of(name))


@EVERY_PRESET
def test_every_preset_is_a_recipe_with_networks_and_losses_that_there_are(name):
    api.check(recipe_of(name))


@EVERY_PRESET
def test_a_preset_becomes_an_explicit_recipe(name):
    text = recipe_of(name).to_yaml()
    assert "preset" not in text
    assert from_tree(parse_yaml(text, name)) == recipe_of(name)


@EVERY_PRESET
def test_each_is_said_in_a_sentence(name):
    assert re.fullmatch(r"[A-Z][^\n]{15,115}\.", PRESETS[name].about)


def test_balanced_is_what_there_is_without_a_recipe():
    assert recipe_of("balanced") == from_tree({})
    assert list(PRESETS)[:3] == ["quick", "balanced", "thorough"]
    budgets = [recipe_of(name).minutes or 0 for name in ("quick", "balanced", "thorough")]
    assert budgets == sorted(set(budgets))


SAID = {
    # "two optimizers, SGD and Adam"; "the architecture of Part A has been enriched with Batch-Normalization"
    "r0-segnet": {"model": "segnet:batchnorm=false", "optimizer.name": "adam"},
    "r0-segnet-sgd": {"model": "segnet:batchnorm=false", "optimizer.name": "sgd"},
    "r0-segnet-bn": {"model": "segnet", "optimizer.name": "adam"},
    # "a low learning rate (0.0001)"; "the batch size 64"; "the Adam optimizer proved to be better"
    "r1-classifier": {"task": "classification", "optimizer.name": "adam", "optimizer.lr": 1e-4, "batch": 64},
    "r1-fcn": {"task": "segmentation", "model": "fcn:stride=32,encoder=resnet18"},
    "r1-unet": {"task": "segmentation", "model": "unet", "augment.flip_horizontal": 0.5},
    "r1-colors": {"task": "colorization_rgb", "model": "unet"},
    "r1-colors-no-skips": {"task": "colorization_rgb", "model": "unet:skips=false"},
    # "an Adam Optimizer and Binary Cross Entropy with logits"; "0.001"; "only 30 epochs"
    **{
        f"r2-{name}": {"loss.name": "bce_with_logits", "optimizer.name": "adam", "optimizer.lr": 1e-3, "epochs": 30}
        for name in ("unet34", "unet11", "unet16")
    },
    # "learning rate of 0.1, a regularization parameter of 1e-5, an SGD optimizer, and a batch size of 128"; "20 epochs"
    "r3-classifier": {
        "task": "classification",
        "optimizer.name": "sgd",
        "optimizer.lr": 0.1,
        "optimizer.weight_decay": 1e-5,
        "batch": 128,
        "epochs": 20,
        "init": "kaiming",
        "schedule.name": "plateau",
        "schedule.factor": 0.1,
    },
    "r3-fcn": {"model": "fcn:stride=32,encoder=resnet18,score_batchnorm=true,upsampling=learned"},
    "r3-unet": {"model": "unet", "loss.name": "cross_entropy"},
    # "we are using the L1 loss when training the model"
    "r3-colors": {"task": "colorization_rgb", "loss.name": "l1", "model": "unet"},
    "r3-colors-no-skips": {"task": "colorization_rgb", "loss.name": "l1", "model": "unet:skips=false"},
    # "the model is trained for 20 epochs with a learning rate of 0.001"
    "r4-fcn": {"epochs": 20, "optimizer.lr": 1e-3},
    "r4-unet": {"epochs": 20, "optimizer.lr": 1e-3, "model": "unet"},
    "r4-deeplab": {"epochs": 20, "optimizer.lr": 1e-3, "model": "deeplabv3:encoder=resnet50"},
}


def test_what_a_report_says_its_preset_does():
    assert set(SAID) == {name for name in PRESETS if re.match(r"r\d-", name)}
    for name, facts in SAID.items():
        made = recipe_of(name)
        found = {"batch": made.phases[0].batch}
        for key in set(facts) - set(found):
            value = made
            for step in key.split("."):
                value = getattr(value, step)
            found[key] = value
        assert {key: found[key] for key in facts} == facts, name


def test_reports_are_followed_without_extras():
    for name in SAID:
        made = recipe_of(name)
        assert (made.ema, made.keep, made.loss.class_weights, len(made.phases)) == (0, "last", "none", 1)
        assert made.phases[0].scale == (1, 1)


def test_everything_goes_over_what_lies_below_it(tmp_path):
    """The task's defaults, then the preset, then the file, then words, then settings."""
    assert OF_TASK["classification"]["model"] == "classifier"
    path = tmp_path / "mine.yaml"
    path.write_text("preset: r3-classifier\nseed: 1\noptimizer: {lr: 0.5}\nevaluations: 7\nclip: 1\n")
    words = {"model": "classifier:encoder=resnet34", "seed": 2}
    made = make_recipe(words, NO_BUDGET, path, ["seed=3", "optimizer.momentum=0.5"])
    assert made.augment.color == 0  # of the preset
    assert (made.optimizer.name, made.optimizer.weight_decay) == ("sgd", 1e-5)
    assert (made.optimizer.lr, made.evaluations, made.clip) == (0.5, 7, 1)  # of the file
    assert made.model == "classifier:encoder=resnet34"
    assert (made.seed, made.optimizer.momentum) == (3, 0.5)
    assert made.task == "classification"


@pytest.mark.parametrize(
    ("tree", "settings", "budget"),
    [
        ({"preset": "quick"}, [], (None, None, 2)),
        ({"preset": "quick", "epochs": 3}, [], (3, None, None)),
        ({"preset": "r4-unet", "minutes": 5}, [], (None, None, 5)),
        ({"preset": "r4-unet", "epochs": None}, [], (None, None, 10)),
        ({"preset": "r4-unet"}, ["steps=9"], (None, 9, None)),
    ],
)
def test_a_budget_replaces_the_presets(tree, settings, budget):
    made = from_tree(override(tree, settings))
    assert (made.epochs, made.steps, made.minutes) == budget


def test_a_preset_may_be_a_setting():
    assert from_tree(override({"seed": 4}, ["preset=quick"])) == from_tree({"preset": "quick", "seed": 4})


def test_a_file_goes_before_a_preset_of_its_name_and_a_folder_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").mkdir()  # as `train --recipe quick --out quick` leaves it
    assert tree_of("quick") == {"preset": "quick"}
    (tmp_path / "thorough").write_text("seed: 5\n")
    assert tree_of("thorough") == {"seed": 5}


def test_a_run_folder_is_a_recipe(tmp_path):
    made = from_tree({"preset": "r4-unet", "seed": 8})
    (tmp_path / "run.v1").mkdir()
    (tmp_path / "run.v1" / "recipe.yaml").write_text(made.to_yaml())
    assert from_tree(tree_of(tmp_path / "run.v1")) == made


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: tree_of("thorugh"), r"recipe 'thorugh': there is no such file.* Did you mean 'thorough'\? .*r4-unet"),
        (lambda: tree_of("absent.yaml"), r"absent\.yaml: there is no such file"),
        (
            lambda: from_tree({"preset": "r5"}, "mine.yaml"),
            r"mine\.yaml: preset='r5' is no preset\. .*There are: quick",
        ),
        (lambda: from_tree({"preset": ["quick"]}), r"preset=\['quick'\] is no preset"),
        (lambda: from_tree({"augment": {"preset": "quick"}}), r"unknown key 'augment\.preset'"),
    ],
    ids=["word", "file", "key", "list", "nested"],
)
def test_a_name_that_is_none_is_answered_with_those_there_are(made, message):
    with pytest.raises(RecipeError, match=message):
        made()


def test_a_preset_is_trained_by_its_name(tmp_path, monkeypatch):
    wanted = []

    def train(recipe, out, watch):
        wanted.append(recipe)
        out.mkdir()
        (out / "report.html").touch()
        return out

    monkeypatch.setattr(api.training, "train", train)
    monkeypatch.chdir(tmp_path)
    st.train(data="photos", out="quick", recipe="quick", minutes=1.0, settings=["seed=3"])
    st.train(data="photos", out="again", recipe={"preset": "quick", "minutes": 1.0, "seed": 3})
    assert wanted == [from_tree({"preset": "quick", "minutes": 1.0, "seed": 3, "data": "photos"})] * 2
