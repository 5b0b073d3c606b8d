"""Runs that are there, put together: the comparison's own result comes back, and what does not belong is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from segtrial import api, cli
from segtrial.comparison.grouping import short_names
from segtrial.comparison.together import Rule, put_together
from segtrial.errors import RecipeError, RunError
from segtrial.evaluation import Counts, load_counts, save_counts
from segtrial.plain_yaml import parse_yaml
from segtrial.tasks import make
from segtrial.training.plan import Plan
from segtrial.training.watch import Silent


@pytest.fixture(scope="module")
def report(finished, cache, tmp_path_factory):
    """Of the finished comparison's folder: its result, and the report's folder."""
    out = tmp_path_factory.mktemp("report") / "out"
    return api.report([finished], out), out


@pytest.fixture(scope="module")
def bare(finished, tmp_path_factory) -> Path:
    """The runs without their models, so that nothing is drawn. Read only."""
    return shutil.copytree(
        finished / "runs", tmp_path_factory.mktemp("bare") / "runs", ignore=shutil.ignore_patterns("*.safetensors")
    )


@pytest.fixture
def runs(bare, tmp_path) -> Path:
    """A copy of them, to be broken."""
    return shutil.copytree(bare, tmp_path / "runs")


def put(places: list, out: Path, names: dict | None = None, **rule) -> dict:
    """The result, without a page."""
    return put_together(places, out, names or {}, Rule(**rule), Silent())


def test_runs_of_a_comparison_give_its_own_result(finished, report):
    """But for where the runs are: the same pairs, intervals and verdicts, whoever put them side by side."""
    told, out = report
    before = json.loads((finished / "comparison.json").read_text())
    assert set(told) == {*before, "runs"}
    assert {name: value for name, value in json.loads(json.dumps(told)).items() if name != "runs"} == before
    assert json.loads((out / "comparison.json").read_text()) == json.loads(json.dumps(told))
    assert {name: list(seeds) for name, seeds in told["runs"].items()} == {"slow": ["0", "1"], "fast": ["0", "1"]}
    assert (out / told["runs"]["slow"]["1"][0]).resolve() == (finished / "runs" / "slow" / "1").resolve()


def test_its_folder_has_the_page_tables_pictures_and_leaks(report):
    _, out = report
    names = {path.name for path in out.iterdir()}
    assert {"comparison.html", "comparison.csv", "comparison.md", "comparison.tex"} <= names
    assert {"comparison.json", "report.yaml", "leaks.json", "pictures"} <= names
    rule = parse_yaml((out / "report.yaml").read_text(), "report.yaml")
    assert rule["variants"]["fast"]["recipe"]["optimizer"]["lr"] == 0.5


def test_variants_are_called_by_what_differs(cache, bare, tmp_path):
    told = put([f"{bare}/*/*"], tmp_path / "out")
    assert [variant["name"] for variant in told["variants"]] == ["lr=0.5", "lr=0.05"], "globs are in order"
    assert "not made as one comparison" in told["notes"][0]
    named = put([f"{bare}/*/*"], tmp_path / "out", names={"slow": bare / "slow" / "0"})
    assert [variant["name"] for variant in named["variants"]] == ["lr=0.5", "slow"]


SEGNET = {"model": "segnet", "optimizer.name": "adam", "optimizer.lr": 0.001}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (({}, {"model": "unet"}), ["segnet", "unet"]),
        (({}, {"optimizer.name": "sgd", "optimizer.lr": 0.1}), ["adam", "sgd"]),
        (({}, {"optimizer.lr": 0.1}, {"model": "unet"}), ["segnet lr=0.001", "segnet lr=0.1", "unet"]),
        (({"augment.flip": True}, {"augment.flip": False}), ["flip=true", "flip=false"]),
        (({"a.x": 1, "b.x": 1}, {"a.x": 1, "b.x": 2}, {"a.x": 2}), ["a.x=1 b.x=1", "a.x=1 b.x=2", "a.x=2"]),
        (({},), ["segnet"]),
    ],
)  # fmt: skip
def test_names_are_as_short_as_they_can_be(changes, names):
    assert short_names([SEGNET | change for change in changes]) == names


def test_unequal_seeds_are_said_and_not_ranked(cache, bare, tmp_path):
    told = put([bare / "slow/0", bare / "slow/1", bare / "fast/1"], tmp_path / "out")
    assert told["ranked"] is False
    assert told["pairs"][0]["seeds"] == [1]
    assert any("Not all variants have all seeds (lr=0.05: 0, 1, lr=0.5: 1)" in note for note in told["notes"])


def test_single_runs_show_nothing_about_seeds(cache, bare, tmp_path):
    told = put([bare / "slow/0", bare / "fast/0"], tmp_path / "out")
    assert any("one run of each variant, which shows nothing about seeds" in note for note in told["notes"])
    assert told["pairs"][0]["verdict"] == "cannot tell"
    assert told["pairs"][0]["interval"] is None


def test_a_run_counts_once_however_often_it_is_there(cache, bare, runs, tmp_path):
    told = put([f"{bare}/*/*", bare / "slow/0", runs / "slow/0"], tmp_path / "out")
    assert [variant["seeds"] for variant in told["variants"]] == [[0, 1], [0, 1]]
    (said,) = [note for note in told["notes"] if "only the latter counts" in note]
    assert str(runs / "slow/0") in said


def rewrite(run: Path, **changes: tuple) -> None:
    """Change keys, groups or counts of a run's rows."""
    plan = Plan.model_validate_json((run / "plan.json").read_bytes())
    counts = load_counts(run / "counts/val.npz", make(plan.task, plan.class_table()))
    save_counts(run / "counts/val.npz", Counts(**{**vars(counts), **changes}))


def test_runs_on_other_images_are_refused_with_which(runs, tmp_path):
    rewrite(runs / "fast/0", keys=("a", "b"))
    with pytest.raises(RunError, match=r"other images than each other .*2 images.*only one has a, b") as caught:
        put([runs / "slow/0", runs / "fast/0"], tmp_path / "out")
    assert "lr=0.5, seed 0" in str(caught.value)
    assert not (tmp_path / "out").exists(), "what is refused leaves no trace"


def test_images_of_one_name_with_other_masks_are_other_images(runs, tmp_path):
    run = runs / "fast/0"
    plan = Plan.model_validate_json((run / "plan.json").read_bytes())
    rows = load_counts(run / "counts/val.npz", make(plan.task, plan.class_table())).counts.copy()
    rows[0] = np.roll(rows[0], 1, axis=1)  # other answers to the same truth are fine
    rewrite(run, counts=rows)
    put([runs / "slow/0", run], tmp_path / "fine")
    rows[0] = np.roll(rows[0], 1, axis=0)
    rewrite(run, counts=rows)
    with pytest.raises(RunError, match="masks or groups differ"):
        put([runs / "slow/0", run], tmp_path / "out")


def test_what_cannot_be_put_together_is_refused(finished, bare, tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        put([tmp_path / "nowhere"], tmp_path / "out")
    with pytest.raises(RunError, match="neither a run nor a comparison"):
        put([tmp_path], tmp_path / "out")
    with pytest.raises(RunError, match="no finished run"):
        put([f"{tmp_path}/nothing*"], tmp_path / "out")
    with pytest.raises(RunError, match=r"not scored on the part 'test'.*All have val"):
        put([finished], tmp_path / "out", part="test")
    with pytest.raises(RecipeError, match="no score of segmentation"):
        put([finished], tmp_path / "out", score="psnr")
    with pytest.raises(RecipeError, match=r"no variant is called 'slwo'.*slow"):
        put([finished], tmp_path / "out", baseline="slwo")
    with pytest.raises(RunError, match="no run of those"):
        put([finished], tmp_path / "out", names={"x": tmp_path})
    with pytest.raises(RunError, match="files that are no report"):
        put([finished], finished)


def test_what_is_not_finished_is_said(cache, runs, tmp_path):
    (runs / "slow/1/evaluation.json").unlink()
    told = put([f"{runs}/*/*"], tmp_path / "out")
    assert any(f"{runs / 'slow/1'} is not finished" in note for note in told["notes"])
    assert told["ranked"] is False


def test_without_data_and_models_the_rest_is_made(cache, bare, tmp_path):
    told = put([f"{bare}/*/*"], tmp_path / "out")
    assert any(note.startswith("Images are not shown:") for note in told["notes"])
    assert told["pairs"][0]["interval"] is not None


def test_from_the_command_line(cache, finished, tmp_path, capsys):
    words = ["report", str(finished), "--out", str(tmp_path / "out"), "--name", f"late={finished / 'runs/fast'}"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert "late" in said
    assert f"Page    {tmp_path / 'out' / 'comparison.html'}" in said
    assert cli.main([*words, "--json", "--margin", "0.9", "--baseline", "late"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["margin"], told["pairs"][0]["a"]) == (1, 0.9, "late")
    assert cli.main(["report", str(finished), "--out", str(tmp_path / "out"), "--name", "late"]) == 2
    assert "NAME=RUN" in capsys.readouterr().err


def test_what_goes_by_the_part_that_is_compared_on_is_named(cache, runs, tmp_path):
    plan = json.loads((runs / "fast/0/plan.json").read_text())
    plan["recipe"]["keep"] = "best"
    (runs / "fast/0/plan.json").write_text(json.dumps(plan))
    told = put([runs / "slow/0", runs / "fast/0"], tmp_path / "out")
    assert [variant["name"] for variant in told["variants"]] == ["lr=0.05", "lr=0.5"]
    assert "lr=0.5 goes by the val part (keep=best), so its score on that reads too high." in told["notes"]
