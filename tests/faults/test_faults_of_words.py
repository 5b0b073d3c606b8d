"""Whatever is wrong with words, or the folder to write to: exit code 2, the place, the fix, nothing half-written."""

import os
import re
import shutil

import pytest

from segtrial import cli
from segtrial.files import folder_lock
from tests.faults.world import Fault, fault, refused

WORDS: dict[str, tuple[Fault, str]] = {}
FOLDERS: dict[str, tuple[Fault, str]] = {}


@fault(WORDS, r"--data: not given\. Name a folder of images and masks, or --data toytown")
def no_data(world):
    return ["train", "--out", str(world.out)]


@fault(WORDS, r"Missing option '--out'")
def no_out(world):
    return ["train", "--data", str(world.data)]


@fault(WORDS, r"No such command 'trian'\. Did you mean 'train'\?")
def unknown_verb(world):
    return ["trian"]


@fault(WORDS, r"No such option: --mdoel")
def unknown_option(world):
    return world.train("--mdoel", "unet")


@fault(WORDS, r"Invalid value for '--seed': .*integer")
def seed_in_letters(world):
    return world.train("--seed", "one")


@fault(WORDS, r"model 'unt': no model has this name\. Did you mean 'unet'\? There are: classifier, compact")
def unknown_model(world):
    return world.train("--model", "unt")


@fault(WORDS, r"option of model unet 'skip': .*Did you mean 'skips'\?")
def unknown_option_of_a_model(world):
    return world.train("--model", "unet:skip=false")


@fault(WORDS, r"model unet, option encoder: 'resnet43'\. Did you mean 'resnet34'\? Choose one of: ")
def wrong_value_of_a_model_option(world):
    return world.train("--model", "unet:encoder=resnet43")


@fault(WORDS, r"unknown key 'optimizer\.lrr'\. Did you mean 'optimizer\.lr'\?")
def unknown_setting(world):
    return world.train("--set", "optimizer.lrr=1")


@fault(WORDS, r"optimizer\.lr=-1 is too small\. Give more than 0")
def setting_out_of_range(world):
    return world.train("--set", "optimizer.lr=-1")


@fault(WORDS, r"--set ema: no key=value\. Write --set optimizer\.lr=0\.01")
def setting_without_a_value(world):
    return world.train("--set", "ema")


@fault(WORDS, r"epochs and steps are given together\. Keep one")
def two_budgets(world):
    return world.train("--epochs", "1")


@fault(WORDS, r"minutes=-1.* is too small\. Give more than 0")
def budget_below_zero(world):
    return ["train", "--data", str(world.data), "--out", str(world.out), "--minutes", "-1"]


@fault(WORDS, r"device cuda:99: (torch sees no CUDA GPU|there are \d+ GPUs)\. Use ")
def gpu_that_is_not_there(world):
    return world.train("--set", "device=cuda:99")


@fault(WORDS, r"device 'gpu': no device has this name")
def unknown_device(world):
    return world.evaluate(world.run, "--device", "gpu")


@fault(WORDS, r"recipe\.yaml: there is no such file\. Give a YAML file")
def recipe_that_is_not_there(world):
    return world.train("--recipe", str(world.here / "recipe.yaml"))


@fault(WORDS, r"recipe\.yaml: not plain YAML \(could not determine a constructor for the tag")
def recipe_with_code(world):
    text = f"model: !!python/object/apply:os.system ['touch {world.here / 'executed'}']"
    return world.train("--recipe", str(world.file("recipe.yaml", text)))


@fault(WORDS, r"recipe\.yaml: unknown key 'batchsize'\. Did you mean 'phases\[\]\.batch'")
def recipe_with_an_unknown_key(world):
    return world.train("--recipe", str(world.file("recipe.yaml", "batchsize: 4")))


@fault(WORDS, r"a\.yaml and --recipe b\.yaml: two recipes\. Give one of them")
def two_recipes(world):
    return ["train", "a.yaml", "--recipe", "b.yaml", "--out", str(world.out)]


@fault(
    WORDS,
    r"encoder: compact:width=8 has no encoder of its own to fine-tune\. Leave `encoder` out .* one of: classifier, ",
)
def freezing_what_is_not_there(world):
    return world.train("--set", "encoder.freeze=all")


@fault(WORDS, r"start \(--from\) and encoder\.weights are given together\. Keep one")
def two_origins_of_weights(world):
    return world.train("--from", str(world.run), "--set", "encoder.weights=imagenet")


@fault(WORDS, r"model 'unt': no model has this name")
def unknown_model_to_describe(world):
    return ["models", "unt"]


# ---- folders to write to --------------------------------------------------------------------------------------------


@fault(FOLDERS, r"out: cannot be used as a folder \(File exists\)\. Choose another --out")
def file_in_the_place_of_the_run(world):
    world.out.write_text("mine")
    return world.train()


@fault(FOLDERS, r"out/run: cannot be used as a folder \(Not a directory\)\. Choose another --out")
def run_below_a_file(world):
    world.out.write_text("mine")
    return ["train", "--data", str(world.data), "--out", str(world.out / "run")]


@fault(FOLDERS, r"/proc/run: cannot be used as a folder \(.*\)\. Choose another --out")
def folder_that_cannot_be_written(world):
    return ["train", "--data", str(world.data), "--out", "/proc/run"]


@fault(FOLDERS, r"out: holds files that are no run \(diary\.txt\)\. Choose an empty or new --out")
def folder_of_something_else(world):
    world.out.mkdir()
    (world.out / "diary.txt").write_text("mine")
    return world.train()


@fault(FOLDERS, r"out: holds a run of another recipe \(seed: 0 -> 7\)\. Give the same words to continue it")
def run_of_another_recipe(world):
    shutil.copytree(world.run, world.out)
    return world.train("--seed", "7")


@fault(FOLDERS, r"out: cannot be used as a folder \(File exists\)")
def answers_in_the_place_of_a_file(world):
    world.out.write_text("mine")
    return world.predict(world.image)


EVERY_FAULT = {**WORDS, **FOLDERS}


@pytest.mark.parametrize("name", EVERY_FAULT)
def test_fault(name, world, capsys):
    refused(*EVERY_FAULT[name], world, capsys)


def test_there_are_enough_faults():
    assert len(EVERY_FAULT) >= 25


def test_a_run_folder_in_use_names_its_holder(world, capsys):
    with folder_lock(world.out):
        assert cli.main(world.train()) == 2
    assert re.search(rf"out: in use by process {os.getpid()} on .*Wait for it", capsys.readouterr().err)
