"""Whole searches with real, tiny trainings: killed and not, their files, and the part that no trial may see."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial

import pytest
import yaml

import segtrial
from segtrial import api, cli, tuning
from segtrial.errors import RunError, UserError
from segtrial.files import complete_lines
from segtrial.recipe import from_tree, tree_of
from segtrial.reports import tuning_report
from segtrial.tuning import attempt
from segtrial.tuning.result import at_ends
from segtrial.tuning.space import Choices, Numbers
from tests import tiny
from tests.comparison import trial
from tests.tuning import searches
from tests.tuning.searches import Killed

BASE = {**trial.BASE, "evaluations": 2, "checkpoint_seconds": 0}
WISH = {"base": BASE, "ranges": {"optimizer.lr": None}, "prune": "halving", "trials": 2, "seeds": 2}


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Decoded data goes to a folder of the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGTRIAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def tuned(out, wish=WISH, **options):
    """A search whose runs at the end run here."""
    return tuning.tune(wish, out, run=trial.run_here, **options)


@pytest.fixture(scope="module")
def finished(cache, tmp_path_factory):
    out = tmp_path_factory.mktemp("search") / "out"
    tuned(out)
    tuning_report.write(out)
    return out


class Dying:
    """A Watch during whose nth training step the process is killed."""

    def __init__(self, lives):
        self.lives = lives

    def note(self, text):
        pass

    def bar(self, done, total, what):
        pass

    def step(self, record):
        self.lives -= 1
        if self.lives == 0:
            raise Killed


@pytest.mark.slow
def test_killed_in_every_trial_a_search_ends_with_the_same_files(finished, tmp_path):
    out, kills = tmp_path / "out", 0
    while True:
        try:
            tuned(out, watch=Dying(2))
            break
        except Killed:
            kills += 1
    assert kills >= 2
    assert (out / "tuning.json").read_bytes() == (finished / "tuning.json").read_bytes()
    assert (out / "best.yaml").read_bytes() == (finished / "best.yaml").read_bytes()
    for log in finished.glob("trials/*/*/metrics.jsonl"):
        assert (out / log.relative_to(finished)).read_bytes() == log.read_bytes()


def test_the_result_has_a_literal_shape(finished):
    told = json.loads((finished / "tuning.json").read_text())
    assert set(told) == {
        *("schema", "recipe", "score", "definition", "ranges", "prune", "counts", "trials", "best", "chosen_on"),
        *("held_out", "optimism", "importance", "failures", "notes"),
    }
    assert told["schema"] == 1
    assert set(told["counts"]) == {"complete", "pruned", "diverged", "failed"}
    assert [set(one) for one in told["trials"]] == [
        {"number", "state", "score", "setting", "evaluations", "message"}
    ] * 2
    assert set(told["best"]) == {"number", "score", "setting"}
    assert set(told["chosen_on"]) == {"data", "part", "images", "seed"}
    assert set(told["held_out"]) == {"part", "images", "seeds", "values", "mean", "sd", "interval"}
    assert set(told["held_out"]["interval"]) == {"low", "high"}
    assert told["failures"] == []
    assert isinstance(told["notes"], list)


def test_what_it_is_worth_is_what_its_own_runs_scored(finished):
    told = json.loads((finished / "tuning.json").read_text())
    scores = [json.loads(file.read_text()) for file in sorted(finished.glob("final/*/*/evaluation.json"))]
    assert [one["split"] for one in scores] == ["val", "val"]
    assert told["held_out"]["values"] == [one["scores"]["miou_dataset"] for one in scores]
    mean = sum(told["held_out"]["values"]) / 2
    assert told["optimism"] == pytest.approx(told["best"]["score"] - mean)
    chosen = json.loads((finished / f"trials/{told['best']['number']:04d}/1000000/evaluation.json").read_text())
    assert told["best"]["score"] == chosen["scores"]["miou_dataset"]
    for log in finished.glob("final/*/*/metrics.jsonl"):
        assert sum(json.loads(line)["split"] == "val" for line in complete_lines(log)) == 1, "val is scored once"


def test_what_was_chosen_at_an_end_of_its_range_is_said():
    space = (Numbers("a", 1e-4, 1.0, log=True), Numbers("b", 0.0, 10.0), Choices("c", ("1", "2")))
    assert list(at_ends(space, {"a": 0.01, "b": 5.0, "c": 1})) == []
    low, high = at_ends(space, {"a": 1.2e-4, "b": 9.9, "c": 1})
    assert low.startswith("a=0.00012 lies at the lower end")
    assert high.startswith("b=9.9 lies at the upper end")


def test_best_yaml_is_a_recipe_that_says_where_it_comes_from(finished):
    told = json.loads((finished / "tuning.json").read_text())
    recipe = from_tree(tree_of(finished / "best.yaml"))
    assert recipe.optimizer.lr == told["best"]["setting"]["optimizer.lr"]
    assert recipe.model_copy(update={"optimizer": from_tree(BASE).optimizer}) == from_tree(BASE)
    head = [line for line in (finished / "best.yaml").read_text().splitlines() if line.startswith("#")]
    assert "out of 2" in head[0]
    assert "toytown" in head[1]
    assert f"{told['best']['score']:.4f}" in head[2]
    assert f"{told['held_out']['mean']:.4f}" in head[3]


def test_the_page_is_whole_and_says_both_scores(finished):
    page = (finished / "tuning.html").read_text()
    told = json.loads((finished / "tuning.json").read_text())
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert page.count("<svg") == 2
    assert f"{told['best']['score']:.3f}" in page
    assert f"{told['held_out']['mean']:.3f}" in page


@pytest.mark.slow
def test_a_finished_search_trains_nothing_and_grows(finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    before = (out / "tuning.json").read_bytes()
    plans = {path: path.stat().st_mtime_ns for path in out.rglob("timing.jsonl")}
    tuned(out)
    assert (out / "tuning.json").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in out.rglob("timing.jsonl")} == plans
    told = tuned(out, trials=3, final=False)
    assert told["trials"][:2] == json.loads(before)["trials"]
    assert len(told["trials"]) == 3
    assert (tuning.SEEN in told["notes"]) == (told["best"]["number"] == 2)
    with pytest.raises(RunError, match=r"holds another search.*prune: 'halving' -> 'none'"):
        tuned(out, {**WISH, "prune": "none"})
    with pytest.raises(RunError, match=r"holds another search.*optimizer.name: 'sgd' -> 'adam'"):
        tuned(out, {**WISH, "base": {**BASE, "optimizer": {"name": "adam", "lr": 0.05}}})


def test_a_trial_that_is_told_to_stop_stops_there(cache, finished, tmp_path):
    rule = tuning.read_rule(finished)
    place = searches.study(tmp_path, ranges=rule.ranges, recipe=rule.recipe)
    one, hold = place.next(1, searches.StopRequest())
    with hold:
        cell = place.cell(one)
        outcome = attempt.trained(rule, cell, lambda number, score: number == 1, searches.Silent())
    assert outcome.state == "pruned"
    assert not (cell.path / "evaluation.json").exists()
    assert [json.loads(line)["split"] for line in complete_lines(cell.path / "metrics.jsonl")][-1] == "val"
    shutil.rmtree(cell.path)
    other = rule.model_copy(update={"data": "other"})
    with pytest.raises(RunError, match="data changed since this search began"):
        attempt.trained(other, cell, lambda *_: False, searches.Silent())


def test_val_is_not_opened_before_the_end(cache, tmp_path):
    """Its images are cut off behind their headers: a search without its end does not notice, the end does."""
    data = tiny.write_data(tmp_path / "data", train=5, val=2)
    for image in (data / "val" / "images").iterdir():
        image.write_bytes(image.read_bytes()[:200])
    wish = {**WISH, "base": {**BASE, "data": str(data)}, "trials": 1, "seeds": 1}
    told = tuned(tmp_path / "out", wish, final=False)
    assert told["held_out"] is None
    assert told["best"]["number"] == 0
    assert "not been scored on a part that no trial saw" in (tmp_path / "out" / "best.yaml").read_text()
    assert tuned(tmp_path / "out", wish)["failures"] != []


@pytest.mark.slow
def test_where_all_trials_diverge_nothing_is_chosen(cache, tmp_path):
    wish = {**WISH, "ranges": {"optimizer.lr": {"low": 1e30, "high": 1e32}}, "trials": 1}
    told = tuned(tmp_path / "out", wish)
    assert told["counts"]["diverged"] == 1
    assert (told["best"], told["held_out"], told["optimism"]) == (None, None, None)
    assert not (tmp_path / "out" / "best.yaml").exists()
    assert "nothing is chosen" in tuning_report.write(tmp_path / "out").read_text()


def test_the_command_line(finished, tmp_path, capsys):
    """The finished search again, as somebody would call it: nothing is left to train."""
    out, file = tmp_path / "out", tmp_path / "search.yaml"
    shutil.copytree(finished, out)
    file.write_text(yaml.safe_dump(WISH))
    assert cli.main(["--traceback", "tune", str(file), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["schema"] == 1
    assert cli.main(["tune", str(file), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "Chosen  trial" in said
    assert "which no trial saw" in said
    assert f"Recipe  {out / 'best.yaml'}" in said
    assert cli.main(["recipe", "check", str(out / "best.yaml")]) == 0


def test_words_that_are_wrong_leave_no_folder(tmp_path, capsys):
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump({**WISH, "held_out": "tset"}))
    assert cli.main(["tune", str(file), "--out", str(tmp_path / "out")]) == 2
    assert "no part to hold out is called 'tset'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_storage_that_cannot_be_used_leaves_no_search(cache, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot be used.*Give another --storage"):
        tuned(tmp_path / "out", storage=str(tmp_path / "file" / "j.journal"))
    assert not [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]


def test_without_optuna_the_fix_is_said(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delattr(segtrial, "tuning")
    for name in [name for name in sys.modules if name.startswith("segtrial.tuning")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(UserError, match=r"needs Optuna.*pip install 'segtrial\[tune\]'"):
        api.tune(WISH, tmp_path / "out")


@pytest.mark.slow
def test_killed_by_the_system_while_it_writes(finished, tmp_path):
    """The command line, ended by SIGKILL at three writes, and then left to end."""
    file, out, codes = tmp_path / "search.yaml", tmp_path / "out", []
    file.write_text(yaml.safe_dump(WISH))
    command = [sys.executable, "-m", "segtrial", "tune", str(file), "--out", str(out), "--no-final"]
    for point in ("write.after_sync:1", "write.before_sync:7", "append.half:3", ""):
        done = subprocess.run(command, env=os.environ | {"SEGTRIAL_FAILPOINT": point}, capture_output=True, text=True)
        codes.append(done.returncode)
    assert codes == [-9, -9, -9, 0], done.stderr
    whole, again = (json.loads((folder / "tuning.json").read_text()) for folder in (finished, out))
    assert again["trials"] == whole["trials"]
    assert again["best"] == whole["best"]


@pytest.mark.slow
def test_two_workers_end_a_search_that_one_began(cache, tmp_path):
    """Whole processes: they share what is left, and a trial is what it would have been alone."""
    out = tmp_path / "out"
    tuned(out, {**WISH, "prune": "none", "trials": 2}, final=False)
    told = tuned(out, {**WISH, "prune": "none", "trials": 6}, workers=2, storage=None, final=False)
    assert [one["state"] for one in told["trials"]] == ["complete"] * 6
    alone = partial(tuned, tmp_path / "alone", {**WISH, "prune": "none", "trials": 6}, final=False)()
    assert told["trials"] == alone["trials"], "of the first eight, nobody goes by the others"
