"""What a run refuses: too many ranks, another machine, other people's folders, a loss that is no number."""

import json
import math
import shutil

import pytest
from PIL import Image, ImageOps

from segtrial import cli, ranks
from segtrial.errors import RunError
from segtrial.recipe import Recipe
from segtrial.training.loop import require_finite
from segtrial.training.plan import PlannedPhase
from tests import tiny
from tests.training.killing import train_words
from tests.training.small import learner_on_toytown


def test_more_ranks_than_a_batch_has_images_are_refused_before_anything_is_written(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(ranks, "world", lambda: 3)
    monkeypatch.setattr(ranks, "from_first", lambda value, device: value)
    assert cli.main(train_words(tmp_path / "run")) == 2
    assert "phases: a batch of 2 for 3 ranks. Set phases with batches of at least 3" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["train", "val"])
def test_masks_in_which_nothing_counts_are_refused_before_training(part, tiny_data, own_cache, tmp_path, capsys):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    for mask in (data / part / "masks").iterdir():
        with Image.open(mask) as picture:
            size = picture.size
        Image.new("L", size, 255).save(mask)
    assert cli.main(tiny.words(data, tmp_path / "run")) == 2
    assert f"data, {part}: no pixel of the " in (said := capsys.readouterr().err)
    assert "masks looked at counts: all are ignored. Correct the masks" in said
    assert not (tmp_path / "run" / "plan.json").exists()


def test_a_run_continues_only_on_what_it_began_on(tmp_path, capsys):
    assert cli.main(train_words(tmp_path / "run")) == 0
    (tmp_path / "run" / "evaluation.json").unlink()
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan | {"world": 4}))
    assert cli.main(train_words(tmp_path / "run")) == 2
    assert "begun on 4 x cpu, now on 1 x cpu" in capsys.readouterr().err


def test_a_run_continues_only_on_the_data_it_began_on(tiny_data, tiny_run, own_cache, tmp_path, capsys):
    data, out = shutil.copytree(tiny_data, tmp_path / "data"), shutil.copytree(tiny_run, tmp_path / "run")
    (out / "evaluation.json").unlink()
    mask = data / "train/masks/1.png"
    with Image.open(mask) as picture:
        ImageOps.flip(picture).save(mask)
    assert cli.main(tiny.words(data, out)) == 2
    said = capsys.readouterr().err
    assert "the data set changed since this run began. Restore it, or train into a new --out" in said


def test_a_run_of_an_earlier_segtrial_is_continued(tmp_path, capsys):
    """Its plan knows nothing of fields that came later, and its hash was another."""
    assert cli.main(train_words(tmp_path / "run")) == 0
    plan = json.loads((tmp_path / "run" / "plan.json").read_text())
    del plan["encoder_weights"], plan["recipe"]["encoder"], plan["recipe"]["start"]
    (tmp_path / "run" / "plan.json").write_text(json.dumps(plan | {"recipe_hash": "0" * 64}))
    assert cli.main(train_words(tmp_path / "run")) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert cli.main(train_words(tmp_path / "run", "--seed", "3")) == 2
    assert "another recipe (seed: 0 -> 3)" in capsys.readouterr().err


def test_a_folder_of_other_things_is_left_as_it_was(tmp_path, capsys):
    for name in ("notes.txt", ".movie.mkv.partial", ".notes.txt.99999999.partial"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    assert cli.main(train_words(tmp_path)) == 2
    assert "holds files that are no run (notes.txt)" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("more", [["evaluations=4"], ["ema=0", "keep=last", "evaluations=1"]], ids=str)
def test_a_run_that_diverges_says_so(tmp_path, capsys, more):
    settings = ["optimizer.name=sgd", "optimizer.lr=1e30", "schedule.warmup=0", "progress_steps=20", *more]
    words = [word for setting in settings for word in ("--set", setting)]
    assert cli.main(train_words(tmp_path / "run", *words)) == 2
    said = capsys.readouterr().err
    assert "the loss is" in said
    assert "train into a new --out" in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_must_be_a_number(loss):
    learner, _ = learner_on_toytown(Recipe(model="compact:width=8", steps=1), batch=2, size=(32, 32))
    with pytest.raises(RunError, match=r"compact:width=8: the loss is (nan|inf) at step 0"):
        require_finite(loss, learner)
    require_finite(None, learner)  # no pixel counted


def test_images_are_counted_over_phases():
    learner, _ = learner_on_toytown(Recipe(model="compact:width=8", steps=5), batch=2, size=(32, 32))
    phases = [PlannedPhase(steps=steps, batch=batch, size=(64, 64), scale=(1, 1)) for steps, batch in ((2, 5), (3, 1))]
    plan = learner.plan.model_copy(update={"phases": phases})
    assert [plan.images_until(step) for step in range(6)] == [0, 5, 10, 11, 12, 13]
