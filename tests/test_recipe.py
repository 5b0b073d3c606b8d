"""Recipes: plain data in, one validated value out; what is wrong is named with its key, value and fix."""

import hashlib
import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrial import recipe
from segtrial.errors import RecipeError
from segtrial.recipe import Recipe, differences, from_tree, override, parse_yaml
from segtrial.training.plan import Plan

NOTHING = from_tree({"steps": 10})


def test_a_recipe_survives_its_own_yaml():
    wanted = from_tree({"model": "unet:skips=false", "steps": 7, "optimizer": {"name": "sgd", "lr": 1e-3}, "seed": 3})
    assert from_tree(parse_yaml(wanted.to_yaml(), "test")) == wanted


def test_without_a_budget_it_is_minutes():
    assert from_tree({}).minutes == recipe.DEFAULT_MINUTES
    assert from_tree({"epochs": 2}).minutes is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-3", 0.001), ("no", "no"), ("on", "on"), ("010", "010"), ("1:30", "1:30"), ("2026-01-31", "2026-01-31")),
        *(("true", True), (".5", 0.5), ("[1, 2]", [1, 2]), ("null", None), ("1_000", 1000), ("-3", -3), ("0", 0)),
    ],
)
def test_yaml_means_what_people_mean(text, value):
    """YAML 1.1 reads the first as text, the next two as booleans, then 8, 90 and a date."""
    assert parse_yaml(text, "test") == value


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_every_number_that_python_prints_is_read_as_that_number(number):
    assert parse_yaml(repr(number), "test") == number


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"learing_rate": 1}, "recipe: unknown key 'learing_rate'. Did you mean 'optimizer.lr'?"),
        ({"optimizer": {"lrr": 1}}, "unknown key 'optimizer.lrr'. Did you mean 'optimizer.lr'?"),
        ({"phases": [{"share": 1.0, "batchh": 2}]}, "recipe: "),
        (
            {"optimizer": {"name": "sdg"}},
            "optimizer.name='sdg' is no choice. Did you mean 'sgd'? Choose one of: sgd, adam",
        ),
        ({"seed": True}, "seed=true is no whole number"),
        ({"seed": "3"}, "seed='3' is no whole number"),
        ({"seed": -1}, "seed=-1 is too small. Give at least 0"),
        ({"epochs": 1, "minutes": 2}, "epochs and minutes are given together. Keep one"),
        ({"ema": 0.0}, "keep=ema needs ema > 0. Use keep=last"),
        (
            {"phases": [{"share": 0.5, "batch": 1, "crop": 1.0, "scale": [1.0, 1.0]}]},
            "the shares of phases add up to 0.5",
        ),
        (
            {"phases": [{"share": 1.0, "batch": 1, "crop": 1.0, "scale": [2.0, 1.0]}]},
            "phases[0]: scale [2.0, 1.0] does not rise within 0 to 16. Write [lowest, highest]",
        ),
        ({"start": "run", "encoder": {"weights": "imagenet"}}, "start (--from) and encoder.weights are given together"),
        ({"encoder": {"thaw_epoch": 2.0}}, "thaw_epoch is given and nothing is frozen. Set encoder.freeze too"),
        (
            {"encoder": {"freeze": "most"}},
            "encoder.freeze='most' is no choice. Give none, all, or a number of stages from 1",
        ),
        ({"encoder": {"freeze": 0}}, "encoder.freeze=0 is no choice. Give none, all"),
        ({"encoder": {"freeze": True}}, "encoder.freeze=true is no choice. Give none, all"),
        ({"encoder": {"lr_decay": 2.0}}, "encoder.lr_decay=2.0 is too large. Give at most 1"),
        ({"init": "he"}, "init='he' is no choice. Choose one of: kaiming, xavier"),
        (
            {"schedule": {"marks": [0.5, 0.5]}},
            "schedule.marks=[0.5, 0.5] is no choice. Marks must rise and lie between 0 and 1",
        ),
        ({"schedule": {"marks": [0.5, 1.0]}}, "Marks must rise and lie between 0 and 1"),
        ({"schedule": {"share": 0.0}}, "schedule.share=0.0 is too small. Give more than 0"),
        ({"schedule": {"rise": 1.0}}, "schedule.rise=1.0 is too large. Give less than 1"),
        ({"schedule": {"factor": 1.0}}, "schedule.factor=1.0 is too large. Give less than 1"),
        ({"schedule": {"power": 0.0}}, "schedule.power=0.0 is too small. Give more than 0"),
        ({"augment": {"cutmix": 1.5}}, "augment.cutmix=1.5 is too large. Give at most 1"),
        ({"encoder": {"weight": "none"}}, "unknown key 'encoder.weight'. Did you mean 'encoder.weights'?"),
        ({"model": {"_target_": "os.system"}}, "model={'_target_': 'os.system'} is no text"),
    ],
)
def test_what_is_wrong_is_named(tree, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        from_tree(tree)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_numbers_that_are_none_are_refused(value):
    with pytest.raises(RecipeError, match=r"optimizer\.lr="):
        from_tree({"optimizer": {"lr": value}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!!python/object/apply:os.system [true]", "not plain YAML (could not determine a constructor"),
        ("a: &a [1]\nb: *a", "alias *a"),
        ("a: 1\na: 2", "line 1: repeated key a"),
        ("a: [1", "not plain YAML"),
        ("a:\n\t- 1", "not plain YAML"),
        ("x" * 1_000_001, "1000001 characters. A recipe has at most a million"),
    ],
    ids=["tag", "alias", "repeated key", "unclosed", "tab", "huge"],
)
def test_yaml_that_is_more_than_plain_is_refused_at_once(text, message):
    before = time.process_time()
    with pytest.raises(RecipeError, match=re.escape(message)):
        parse_yaml(text, "recipe.yaml")
    assert time.process_time() - before < 1


def test_files_that_are_no_recipe_are_named(tmp_path):
    with pytest.raises(RecipeError, match=r"absent.yaml: there is no such file.*Give a YAML file"):
        recipe.read(tmp_path / "absent.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(RecipeError, match=r"list.yaml: holds \[1\], not fields with values"):
        recipe.read(tmp_path / "list.yaml")


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    (tmp_path / "recipe.yaml").write_bytes(b"\xef\xbb\xbfmodel: unet\n")
    assert recipe.read(tmp_path / "recipe.yaml") == {"model": "unet"}


def test_settings_reach_into_parts_and_leave_the_rest():
    tree = {"optimizer": {"name": "sgd"}, "seed": 1}
    assert override(tree, ["optimizer.lr=1e-2", "seed=2"]) == {"optimizer": {"name": "sgd", "lr": 0.01}, "seed": 2}
    assert tree == {"optimizer": {"name": "sgd"}, "seed": 1}


def test_a_budget_in_a_setting_replaces_the_other():
    assert override({"epochs": 3}, ["minutes=1"]) == {"minutes": 1}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed", "--set seed: no key=value. Write --set optimizer.lr=0.01"),
        ("=1", "--set =1: no key=value"),
        ("seed.deep=1", "--set seed.deep: seed holds 1, which has no parts"),
        ("seed=[", "--set seed=[: not plain YAML"),
    ],
)
def test_settings_that_are_none_are_named(setting, message):
    with pytest.raises(RecipeError, match=re.escape(message)):
        override({"seed": 1}, [setting])


def test_the_hash_names_what_decides_a_run():
    names = [name for name in Recipe.model_fields if name not in (*recipe.UNHASHED, *recipe.BUDGETS)]
    other = {"model": "unet", "seed": 1, "ema": 0.5, "threads": 1, "device": "cpu", "clip": 1.0, "patience": 2}
    assert set(other) <= set(names)
    hashes = {NOTHING.model_copy(update={name: value}).hash for name, value in other.items()} | {NOTHING.hash}
    assert len(hashes) == len(other) + 1


CAME_LATER = {
    "split.inner": 0.3,
    "split.inner_folds": 2,
    "split.inner_fold": 1,
    "split.method": "stratified",
    "split.folds": 5,
    "split.fold": 1,
    "split.gap": 0.2,
    "split.force": True,
    "task": "binary",
    "encoder": {"freeze": "all"},
    "init": "xavier",
    "optimizer.nesterov": False,
    "schedule.share": 0.2,
    "schedule.marks": [0.3],
    "schedule.factor": 0.5,
    "schedule.power": 2.0,
    "schedule.rise": 0.4,
    "schedule.patience": 3,
    "augment.cutmix": 0.5,
    "augment.classmix": 0.5,
    "augment.copy_paste": 0.5,
    "augment.mixup": 0.2,
    "augment.albumentations": ["ToGray", {"OneOf": ["Blur", {"GaussNoise": {"p": 0.1}}], "p": 0.5}],
    "augment.own": "jitter 0123",
    "regularise": {"dropout": 0.5},
    "norm_statistics": "running",
}


def test_what_came_later_leaves_the_names_of_earlier_runs():
    """Runs of earlier versions keep their names, which their plans hold."""
    plans = sorted((Path(__file__).parent / "real_runs").glob("*/plan.json"))
    assert plans
    for path in plans:
        plan = Plan.model_validate_json(path.read_bytes())
        assert "encoder" not in plan.recipe
        assert from_tree(plan.recipe).hash == plan.recipe_hash or "start" not in plan.recipe  # the very first


NEEDED = {
    "split.fold": {"split": {"folds": 2}},
    "split.gap": {"split": {"method": "time"}},
    "split.inner_fold": {"split": {"inner_folds": 3}},
}
"""Fields without which another makes no sense."""


def test_what_came_later_is_hashed_once_it_differs():
    assert set(CAME_LATER) == set(recipe.LATER)
    changed = [
        from_tree(override({"steps": 10, **NEEDED.get(key, {})}, [f"{key}={json.dumps(value)}"]))
        for key, value in CAME_LATER.items()
    ]
    assert len({NOTHING.hash, *(other.hash for other in changed)}) == 1 + len(changed)
    assert all(differences(NOTHING, other) for other in changed)


def test_the_hash_is_that_of_the_fields_without_what_came_later_at_its_default():
    def digest(tree):
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()

    early = from_tree({"steps": 10, **recipe.BEFORE})
    tree = early.model_dump(mode="json")
    for key in recipe.LATER:
        part, _, name = key.rpartition(".")
        del (tree[part] if part else tree)[name]
    assert from_tree(tree) == early, "what a run wrote is read as it was meant then"
    for key in recipe.UNHASHED:
        del tree[key]
    assert early.hash == digest(tree)
    tree["schedule"]["power"] = 2.0
    assert from_tree({"steps": 10, "schedule": {"power": 2.0}, **recipe.BEFORE}).hash == digest(tree)


def test_the_hash_does_not_name_what_changes_nothing():
    same = {"data": "elsewhere", "workers": 2, "checkpoint_seconds": 1.0, "progress_steps": 3}
    assert set(same) == set(recipe.UNHASHED)
    assert NOTHING.model_copy(update=same).hash == NOTHING.hash
    assert differences(NOTHING, NOTHING.model_copy(update=same)) == []


def test_differences_are_said_by_key():
    other = from_tree({"steps": 10, "optimizer": {"lr": 0.5}})
    assert differences(NOTHING, other) == ["optimizer.lr: None -> 0.5"]
