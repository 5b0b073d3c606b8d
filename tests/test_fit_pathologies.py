"""Six faults planted into real runs of seconds, each named by the fit doctor; without them nothing is said."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from segtrial import api_fit, fitdoctor
from segtrial.errors import RunError
from segtrial.recipe import from_tree
from segtrial.reports import records
from segtrial.training.probe import learn_one_batch
from tests import fit_runs

pytestmark = pytest.mark.slow


def found_in(run: Path, **more: Any) -> dict[str, fitdoctor.Finding]:
    return {finding.code: finding for finding in fitdoctor.examine(records.read(run), **more).findings}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Read only."""
    return fit_runs.write_data(tmp_path_factory.mktemp("fit") / "data")


def test_healthy(data, tmp_path, own_cache):
    assert found_in(fit_runs.run(tmp_path / "run", data)) == {}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_learning_rate_too_high(optimizer, data, tmp_path, own_cache):
    rate = {"sgd": 5.0, "adamw": 3.0}[optimizer]
    run = fit_runs.run(tmp_path / "run", data, optimizer={"name": optimizer, "lr": rate})
    assert set(found := found_in(run)) == {"learning_rate_high"}
    assert "Learning rate too high: the loss rose from" in found["learning_rate_high"].message


def test_a_learning_rate_so_high_that_the_loss_is_no_number(data, tmp_path, own_cache):
    words = {"model": "unet:batchnorm=false,width=8", "optimizer": {"name": "sgd", "lr": 5.0}}
    with pytest.raises(RunError, match="the loss is nan"):
        fit_runs.run(tmp_path / "run", data, **words)
    (found,) = found_in(tmp_path / "run").values()
    assert "Learning rate too high: the loss was no longer a number at step" in found.message


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_a_learning_rate_too_low(optimizer, data, tmp_path, own_cache):
    rate = {"sgd": 0.0005, "adamw": 3e-5, "muon": 0.0003}[optimizer]
    run = fit_runs.run(tmp_path / "run", data, optimizer={"name": optimizer, "lr": rate})
    assert set(found := found_in(run)) == {"learning_rate_low"}
    assert f"1/100 of what {optimizer} usually takes" in found["learning_rate_low"].message


def test_too_few_steps(data, tmp_path, own_cache):
    found = found_in(fit_runs.run(tmp_path / "run", data, steps=40))
    assert set(found) == {"still_improving"}
    assert "Still improving when the budget ended" in found["still_improving"].message


def test_a_tiny_training_part(tmp_path, own_cache):
    data = fit_runs.write_data(tmp_path / "data", train=1)
    found = found_in(fit_runs.run(tmp_path / "run", data))
    assert set(found) <= {"train_part_tiny", "overfits"}
    assert "The training part is tiny: 1 image." in found["train_part_tiny"].message


def test_shuffled_labels(tmp_path, own_cache):
    """The same masks, of which a single batch can be learnt by heart: it is neither the network nor its rate."""
    data = fit_runs.write_data(tmp_path / "data", shuffled=True)
    run = fit_runs.run(tmp_path / "run", data)
    assert set(found := found_in(run)) == {"labels_look_shuffled"}
    assert "Labels look shuffled" in found["labels_look_shuffled"].message
    tested = learn_one_batch(from_tree(records.read(run).recipe)).to_json()
    assert tested["learnt"] is True
    (again,) = found_in(run, one_batch=tested).values()
    assert "One batch was learnt by heart, so it is the labels" in again.message


def test_a_missing_class(tmp_path, own_cache):
    data = fit_runs.write_data(tmp_path / "data", missing=(3,))
    found = found_in(fit_runs.run(tmp_path / "run", data))
    assert set(found) == {"class_not_in_train"}
    assert "Class 'stone' is not in the training part: 0 pixels" in found["class_not_in_train"].message


def test_a_test_part_that_is_harder_than_val(data, tmp_path, own_cache):
    """Its pictures have masks of other pictures: what val promises does not hold there."""
    wrong = fit_runs.write_data(tmp_path / "wrong", shuffled=True)
    shutil.copytree(data, tmp_path / "data")
    shutil.copytree(wrong / "train", tmp_path / "data" / "test")
    run = fit_runs.run(tmp_path / "run", tmp_path / "data", steps=120)
    told = api_fit.fit(run, untouched=True)
    (found,) = [finding for finding in told["findings"] if finding["code"] == "val_flatters"]
    assert found["evidence"]["part"] == "test"
    assert found["evidence"]["interval"][0] > 0.1
