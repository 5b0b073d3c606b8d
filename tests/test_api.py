"""The verbs in Python: the same words, the same numbers as on the command line."""

import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segtrial as st
from segtrial import cli
from segtrial.api import make_recipe
from segtrial.errors import RecipeError
from tests import tiny

ROOT = Path(__file__).parents[1]


def test_the_public_names():
    assert st.__all__ == [
        *("Run", "UserError", "answer", "calibrate", "compare", "evaluate", "explain", "explain_metric", "export"),
        *("find_lr", "fit", "load", "models", "open_dataset", "predict", "push", "report", "train", "tune"),
    ]
    assert {name for name in dir(st) if not name.startswith("_")} >= set(st.__all__)
    assert all(getattr(st, name) is not None for name in st.__all__)


def test_importing_costs_nothing():
    program = "import sys, segtrial; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(AttributeError, match="segtrial has no 'guess'; it has Run, UserError, answer"):
        st.guess  # noqa: B018


def test_train_returns_the_run(tiny_data, tiny_run, tmp_path, own_cache):
    """The same words in Python and on the command line leave the same bits."""
    run = st.train(tiny.MODEL, tiny_data, tmp_path / "run", steps=tiny.STEPS, settings=tiny.SETTINGS)
    assert isinstance(run, st.Run)
    assert "<html" in run.report.read_text()
    assert run.model.read_bytes() == (tiny_run / "model.safetensors").read_bytes()
    assert run.scores == st.Run(tiny_run).scores


def test_scores_are_those_in_the_folder(tiny_run):
    written = json.loads((tiny_run / "evaluation.json").read_text())
    assert st.Run(tiny_run).scores == written["scores"]


def test_a_run_is_evaluated_on_its_own_data_and_split(tiny_run, own_cache):
    assert st.evaluate(tiny_run, extras=True) == st.Run(tiny_run).evaluation


def test_a_model_file_needs_no_run(tiny_data, tiny_run, tmp_path, own_cache):
    file = shutil.copy(tiny_run / "model.safetensors", tmp_path / "elsewhere.safetensors")
    assert st.evaluate(file, tiny_data, precision="float32", extras=True)["scores"] == st.Run(tiny_run).scores


def test_the_split_of_the_run_is_kept(tiny_run, tmp_path, own_cache):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    text = (run / "recipe.yaml").read_text()
    assert "val_groups: []" in text
    (run / "recipe.yaml").write_text(text.replace("val_groups: []", "val_groups: [train/images/2]"))
    assert st.evaluate(run)["n_images"] == 1
    assert st.evaluate(run, split="train")["n_images"] == 3


def test_a_run_and_its_file_load_alike(tiny_run):
    folder, file = st.load(tiny_run), st.load(tiny_run / "model.safetensors")
    assert folder.classes.names == tiny.NAMES
    image = torch.zeros(1, 3, 17, 9, dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(folder.network(image), file.network(image), rtol=0, atol=0)
        assert folder.network(image).shape == (1, 3, 17, 9)


def test_predict_writes_what_the_network_answers(tiny_data, tiny_run, tmp_path):
    picture = tiny_data / "val/images/3.png"
    report = st.Run(tiny_run).predict([picture], tmp_path, overlay=False, confidence=False)
    assert report.done == (picture,)
    answer = np.asarray(Image.open(tmp_path / "3.png"))
    assert answer.shape == tiny.SIZE
    assert answer.max() < len(tiny.NAMES)


def test_an_image_in_memory_is_answered_as_its_file_is(tiny_data, tiny_run, tmp_path):
    data = st.open_dataset(tiny_data)
    item = data.parts["val"][3]
    st.predict(tiny_run, [item.image], tmp_path, overlay=False, confidence=False)
    written = np.asarray(Image.open(tmp_path / item.image.name))
    image = data.read(item).image
    np.testing.assert_array_equal(st.answer(tiny_run, image).values, written)
    np.testing.assert_array_equal(st.answer(st.load(tiny_run), image).values, written)


def test_one_run_under_every_definition(tiny_run):
    told = st.explain_metric(tiny_run)
    assert told["scores"]["miou_dataset"] == st.Run(tiny_run).scores["miou_dataset"]


def test_what_the_curves_say(tiny_run, capsys):
    assert cli.main(["fit", str(tiny_run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == st.fit(tiny_run)


NO_BUDGET = {"epochs": None, "steps": None, "minutes": None}


def test_words_go_before_the_recipe_and_settings_before_words():
    base = {"model": "segnet", "seed": 1, "ema": 0.5, "epochs": 9.0}
    made = make_recipe({"model": "unet", "seed": None}, NO_BUDGET | {"steps": 5}, base, ["ema=0.25"])
    assert (made.model, made.seed, made.ema, made.steps, made.epochs) == ("unet", 1, 0.25, 5, None)


def test_a_recipe_keeps_its_budget_if_none_is_given(tmp_path):
    (tmp_path / "recipe.yaml").write_text("epochs: 9\n")
    assert make_recipe({}, NO_BUDGET, tmp_path / "recipe.yaml", ()).epochs == 9


def test_a_folder_may_have_any_name():
    """Only settings are YAML; a folder called `no` or `1e3: x` is a folder."""
    assert make_recipe({"data": "1e3: no"}, NO_BUDGET, None, ()).data == "1e3: no"


def test_what_is_wrong_with_a_recipe_names_the_file(tmp_path):
    (tmp_path / "mine.yaml").write_text("epoch: 9\n")
    with pytest.raises(RecipeError, match=r"mine\.yaml: unknown key 'epoch'\. Did you mean 'epochs'\?"):
        make_recipe({}, NO_BUDGET, tmp_path / "mine.yaml", ())


def test_the_example_runs(tiny_data, tmp_path, own_cache, monkeypatch, capsys):
    """In two steps: the demo of test_cli.py is one that times its own."""
    seconds = "segtrial.training.planning.measured_seconds"
    monkeypatch.setattr(seconds, lambda recipe, plan, *rest: (0.3,) * len(plan.phases))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    main = runpy.run_path(str(ROOT / "examples/first_run.py"))["main"]
    main(str(tiny_data), str(tmp_path / "run"), minutes=0.01)
    said = capsys.readouterr().out
    assert "The hardest class is" in said
    assert "6 answers in" in said


def test_the_example_recipe_is_one():
    made = make_recipe({}, NO_BUDGET, ROOT / "examples/recipe.yaml", ())
    assert st.models.parse(made.model) == ("unet", {"encoder": "resnet18"})
    assert made.optimizer.lr == 2e-3


def test_a_run_is_evaluated_on_other_data_without_its_own_split(tiny_data, own_cache, tmp_path):
    other = tiny.write_data(tmp_path / "other", train=2, val=3)
    shutil.copytree(other / "val", tmp_path / "tests" / "test")
    shutil.copy(other / "classes.txt", tmp_path / "tests")
    words = tiny.words(tiny_data, tmp_path / "run", "--set", "split.val_groups=[train/images/0]")
    assert cli.main(words) == 0
    assert st.evaluate(tmp_path / "run")["n_images"] == 1
    assert st.evaluate(tmp_path / "run", other)["n_images"] == 3
    assert st.evaluate(tmp_path / "run", other, split="all")["n_images"] == 5
    assert st.evaluate(tmp_path / "run", tmp_path / "tests", split="test")["n_images"] == 3
