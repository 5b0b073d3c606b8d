"""A comparison is paired by construction, reuses what is done, grows and changes in no other way, and loses nothing."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from segtrial import api, cli, comparison
from segtrial.comparison import manifest as manifests
from segtrial.comparison import plan, pool, trials
from segtrial.comparison.manifest import read_manifest
from segtrial.comparison.request import read_request, recipes_of
from segtrial.errors import DataError, DataNotFound, RecipeError, RunError
from segtrial.plain_yaml import parse_yaml, to_yaml
from segtrial.recipe import from_tree
from segtrial.signals import StopRequest
from segtrial.training.learner import Learner
from segtrial.training.opening import plan_trial
from segtrial.training.planning import make_batches
from segtrial.training.watch import Silent
from tests import tiny
from tests.comparison import trial
from tests.comparison.trial import compared

CPU = torch.device("cpu")
ONE_RUN = {"variants": {"a": {}}, "seeds": 1}


def result_of(out: Path) -> dict:
    return json.loads((out / "comparison.json").read_text())


def stamps(out: Path) -> dict[str, int]:
    """When each file of a run was written."""
    return {
        str(path.relative_to(out)): path.stat().st_mtime_ns for path in (out / "runs").rglob("*.*") if path.is_file()
    }


def test_the_result_has_the_shape_that_programs_rely_on(finished):
    """The literal shape; schema 1."""
    result = result_of(finished)
    assert (result["schema"], result["score"]) == (1, "miou_dataset")
    (pair,) = result["pairs"]
    assert set(pair) == {
        *("a", "b", "difference", "interval", "interval_new_scenes", "probability_better", "verdict", "n_seeds", "mde"),
        *(
            "seeds",
            "seeds_needed",
            "reason",
            "reason_new_scenes",
            "speaks_of",
            "these_images",
            "new_scenes",
            "variance",
            "sentence",
        ),
    }
    answer = {"verdict", "p", "mde", "seeds_needed", "reason", "interval"}
    assert set(pair["these_images"]) == set(pair["new_scenes"]) == answer
    assert (pair["a"], pair["b"], pair["n_seeds"], pair["seeds"]) == ("slow", "fast", 2, [0, 1])
    assert set(pair["interval"]) == {"low", "high", "over"}
    assert pair["verdict"] in ("better", "worse", "equivalent", "cannot tell")
    assert set(result) == {
        *("schema", "score", "baseline", "pairs", "definition", "margin", "held_out", "budget", "ranked"),
        *("variants", "failures", "tuning", "notes"),
    }
    columns = {"name", "n", "mean", "sd", "seeds", "values", "parameters", "steps", "multiply_adds"}
    assert [set(variant) for variant in result["variants"]] == [columns, columns]
    assert result["held_out"] == {"part": "val", "images": 2, "groups": 2, "block_frames": None}
    assert result["ranked"] is True


def test_the_difference_is_that_of_the_runs_own_scores(finished):
    values = {
        name: [api.Run(finished / "runs" / name / str(seed)).scores["miou_dataset"] for seed in (0, 1)]
        for name in trial.VARIANTS
    }
    result = result_of(finished)
    assert {variant["name"]: variant["values"] for variant in result["variants"]} == values
    assert result["pairs"][0]["difference"] == pytest.approx(np.mean(values["fast"]) - np.mean(values["slow"]))
    assert result["variants"][0]["sd"] == pytest.approx(np.std(values["slow"], ddof=1))


def test_the_interval_of_two_variants_is_that_of_a_paired_t_test(finished):
    (pair,), slow, fast = result_of(finished)["pairs"], *(each["values"] for each in result_of(finished)["variants"])
    theirs = scipy.stats.ttest_rel(fast, slow).confidence_interval(0.95)
    assert (pair["interval"]["low"], pair["interval"]["high"]) == pytest.approx(tuple(theirs))
    assert pair["interval_new_scenes"] is None, "two groups are too few"
    assert "at least 5 independent blocks" in pair["reason_new_scenes"]


def test_each_cell_is_a_run_that_anybody_can_read(finished):
    for cell in read_manifest(finished).cells:
        run = finished / "runs" / cell.variant / str(cell.seed)
        names = {path.name for path in run.iterdir()}
        assert {"recipe.yaml", "plan.json", "metrics.jsonl", "model.safetensors", "counts", "evaluation.json"} <= names
        assert "checkpoint" not in names
        recipe = from_tree(parse_yaml((run / "recipe.yaml").read_text(), str(run)))
        assert (recipe.hash, recipe.seed) == (cell.hash, cell.seed)


def test_two_variants_with_one_seed_start_alike_and_see_the_same_batches(finished):
    starts = []
    for name in trial.VARIANTS:
        path = finished / "runs" / name / "1" / "recipe.yaml"
        recipe = from_tree(parse_yaml(path.read_text(), str(path)))
        planned, stores = plan_trial(recipe, CPU, Silent(), StopRequest())
        batch = make_batches(recipe, planned, stores["train"], CPU).batch(1)
        weights = Learner(recipe, planned, CPU).network.state_dict()
        starts.append((recipe.optimizer.lr, batch.keys, batch.images, batch.targets, weights))
    slow, fast = starts
    assert slow[0] != fast[0]
    assert slow[1] == fast[1]
    torch.testing.assert_close(slow[2:], fast[2:], rtol=0, atol=0)


def test_a_finished_comparison_is_left_alone(finished):
    before, text = stamps(finished), (finished / "comparison.json").read_bytes()
    rule = (finished / "comparison.yaml").stat().st_mtime_ns
    compared(finished)
    assert stamps(finished) == before
    assert (finished / "comparison.json").read_bytes() == text
    assert (finished / "comparison.yaml").stat().st_mtime_ns == rule


def test_variants_and_seeds_are_added_and_done_runs_kept(finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "trial")
    before = stamps(out)
    more = {**trial.VARIANTS, "faster": {"optimizer.lr": 1.0}}
    grown = compared(out, variants=more, seeds=[0, 1, 5])
    after = stamps(out)
    assert {name: after[name] for name in before} == before
    assert {variant["name"]: variant["seeds"] for variant in grown["variants"]} == {name: [0, 1, 5] for name in more}
    assert [(pair["a"], pair["b"]) for pair in grown["pairs"]] == [
        ("slow", "fast"), ("slow", "faster"), ("fast", "faster")
    ]  # fmt: skip
    assert any("Seeds 5 were added when results could have been seen" in note for note in grown["notes"])

    # with a baseline, the same runs are compared with it alone, and by Holm's method
    rule = out / "comparison.yaml"
    rule.write_text(rule.read_text().replace("baseline: null", "baseline: fast"))
    based = compared(out, variants=more, seeds=[0, 1, 5], baseline="fast")
    assert [(pair["a"], pair["b"]) for pair in based["pairs"]] == [("fast", "slow"), ("fast", "faster")]
    assert based["pairs"][0]["difference"] == pytest.approx(-grown["pairs"][0]["difference"])
    alone = [pair["these_images"]["interval"] for pair in based["pairs"]]
    at_once = [grown["pairs"][index]["these_images"]["interval"] for index in (0, 2)]
    for one, held in zip(alone, at_once, strict=True):
        assert one["high"] - one["low"] < held["high"] - held["low"], "intervals of single pairs are narrower"
    assert any("Holm" in note for note in based["notes"])


CHANGES = {
    "slow: optimizer.lr: 0.05 -> 0.07": {"variants": {"slow": {"optimizer.lr": 0.07}, "fast": {"optimizer.lr": 0.5}}},
    "without variants fast": {"variants": {"slow": {}}},
    "without seeds 1": {"seeds": 1},
    "margin: 0.005 -> 0.1": {"margin": 0.1},
    "baseline: None -> 'slow'": {"baseline": "slow"},
    "block_frames: None -> 9": {"block_frames": 9},
    "score: 'miou_dataset' -> 'pixel_accuracy'": {"score": "pixel_accuracy"},
    "held_out: 'val' -> 'test'": {"held_out": "test"},
    "budget: 'steps' -> 'minutes'": {"budget": "minutes"},
    "folds: None -> 2": {"folds": 2},
    "tune: None ->": {"tune": {}},
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_else_of_it_ever_changes(change, finished):
    with pytest.raises(RunError, match="holds another comparison") as caught:
        compared(finished, **CHANGES[change])
    assert change in str(caught.value)


def test_data_that_changed_are_refused(cache, tmp_path):
    data = tiny.write_data(tmp_path / "data")
    base = {**trial.BASE, "data": str(data)}
    compared(tmp_path / "trial", base=base, **ONE_RUN)
    for part, said in (("train", "the data of a changed"), ("val", "data of a changed")):
        mask = data / part / "masks" / "0.png"
        before = mask.read_bytes()
        mask.write_bytes((data / part / "masks" / "1.png").read_bytes())
        with pytest.raises(RunError, match=said):
            compared(tmp_path / "trial", base=base, **ONE_RUN)
        mask.write_bytes(before)


def test_a_failing_run_is_shown_and_the_others_go_on(cache, tmp_path):
    wild = {"fine": {}, "wild": {"optimizer.lr": 1e30, "model": "unet:batchnorm=false,width=2"}}
    wild["wild"]["loss.class_weights"] = "none"
    result = compared(tmp_path / "trial", variants=wild)
    assert {(each["variant"], each["seed"]) for each in result["failures"]} == {("wild", 0), ("wild", 1)}
    assert all("the loss is" in each["message"] for each in result["failures"])
    assert result["ranked"] is False
    assert [variant["n"] for variant in result["variants"]] == [2, 0]
    (pair,) = result["pairs"]
    assert (pair["verdict"], pair["n_seeds"], pair["difference"]) == ("cannot tell", 0, None)
    assert any("no order is given" in note for note in result["notes"])


def test_seeds_that_one_lacks_are_left_out_of_its_pairs(finished, tmp_path, monkeypatch):
    out = shutil.copytree(finished, tmp_path / "trial")
    shutil.rmtree(out / "runs" / "fast" / "0")

    def fails(cells, workers, watch, stop, seconds):
        return [pool.Failure(cell, "no luck") for cell in cells if not comparison.is_done(cell)]

    result = comparison.compare(trial.request(), out, workers=1, run=fails)
    assert result["pairs"][0]["seeds"] == [1]
    assert result["ranked"] is False
    assert result["failures"] == [{"name": "fast, seed 0", "variant": "fast", "seed": 0, "message": "no luck"}]


def test_a_part_that_is_not_val_is_opened_once(cache, tmp_path):
    data = tiny.write_data(tmp_path / "data")
    shutil.copytree(data / "val", data / "test")
    for kind in ("images", "masks"):
        (data / "test" / kind / "5.png").unlink()
    base = {**trial.BASE, "data": str(data), "keep": "best"}
    result = compared(tmp_path / "trial", base=base, **ONE_RUN)
    assert result["held_out"] == {"part": "test", "images": 5, "groups": 5, "block_frames": None}
    run = tmp_path / "trial" / "runs" / "a" / "0"
    assert result["variants"][0]["values"] == [api.evaluate(run, split="test")["scores"]["miou_dataset"]]


def test_frames_of_a_held_out_video_are_cut_into_blocks(cache, tmp_path):
    base = {**trial.BASE, "data": "toytown:scenes=2,frames=12,size=32x32"}
    result = compared(tmp_path / "trial", base=base, block_frames=2)
    assert result["held_out"] == {"part": "val", "images": 12, "groups": 6, "block_frames": 2}
    assert result["pairs"][0]["speaks_of"] == "new scenes"
    assert result["pairs"][0]["interval_new_scenes"] is not None, "one scene of six blocks is enough"
    assert all(share >= 0 for share in result["pairs"][0]["variance"].values())
    assert set(result["pairs"][0]["variance"]) == {"seeds", "scenes", "both"}


def test_what_goes_by_the_held_out_part_is_refused(cache, tmp_path):
    for change in ({"keep": "best"}, {"patience": 2}, {"schedule.name": "plateau"}):
        with pytest.raises(RecipeError, match="goes by the val part, which is held out"):
            compared(tmp_path / "trial", variants={"a": change})
    assert not (tmp_path / "trial").exists(), "what is refused leaves no trace"


def test_variants_are_compared_on_the_same_images(cache, tmp_path):
    with pytest.raises(DataError, match="the val part of b is not that of a"):
        compared(tmp_path / "trial", variants={"a": {}, "b": {"split.val_groups": ["scene0000"]}})
    with pytest.raises(DataNotFound, match="no part to hold out is called 'tset'"):
        compared(tmp_path / "trial", held_out="tset")


@pytest.mark.parametrize("score", ["miou_datasett", "psnr"])
def test_a_score_that_the_task_has_not_is_refused(score, cache, tmp_path):
    with pytest.raises(RecipeError, match="no score of segmentation"):
        compared(tmp_path / "trial", score=score)


def test_with_folds_every_image_is_held_out_once(cache, tmp_path):
    result = compared(tmp_path / "trial", folds=2, seeds=1, score="pixel_accuracy", variants={"slow": {}})
    assert result["held_out"] == {"part": "val", "images": 8, "groups": 8, "block_frames": None}
    run = tmp_path / "trial" / "runs" / "slow" / "0"
    counts = [np.load(run / str(fold) / "counts" / "val.npz") for fold in (0, 1)]
    assert len(set(np.concatenate([each["keys"] for each in counts]))) == 8
    summed = sum(each["counts"].sum(0) for each in counts)
    assert result["variants"][0]["values"] == [pytest.approx(np.trace(summed) / summed.sum())]


def test_settings_are_chosen_for_each_variant_by_itself(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "MOST_ROUNDS", 1)
    out, tune = tmp_path / "trial", {"trials": 2, "lr": [0.01, 0.1], "seeds": 1}
    first = compared(out, variants={"a": {}}, seeds=1, tune=tune)["tuning"]
    assert set(first) == {"schema", "score", "seeds", "rounds", "spread", "variants"}
    before = {path: path.stat().st_mtime_ns for path in (out / "tuning").rglob("*.json")}
    told = compared(out, variants={"a": {}, "b": {"augment.flip_horizontal": 0}}, seeds=1, tune=tune)["tuning"]
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a variant that is added changes no other"
    assert told["variants"]["a"] == first["variants"]["a"]
    assert told["rounds"] == first["rounds"]
    for name, variant in told["variants"].items():
        assert len(variant["trials"]) == 2 + 2 * told["rounds"], "equal trials"
        scores = {each["lr"]: each["scores"][0] for each in variant["trials"]}
        assert scores[variant["chosen"]["lr"]] == max(scores.values())
        path = out / "runs" / name / "0" / "recipe.yaml"
        assert from_tree(parse_yaml(path.read_text(), str(path))).optimizer.lr == variant["chosen"]["lr"]
    assert not list((out / "tuning").rglob("*.safetensors")), "trials keep no weights"


def resolved(monkeypatch, **changes):
    """The manifest of a request, every step taken to last half a second."""
    monkeypatch.setattr(plan, "measured_seconds", lambda recipe, planned, *rest: (0.5,) * len(planned.phases))
    monkeypatch.setattr(
        "segtrial.training.planning.measured_seconds", lambda recipe, planned, *rest: (0.5,) * len(planned.phases)
    )
    request, place = read_request(trial.request(**changes))
    return plan.make_manifest(request, recipes_of(request, place), None, 1, Silent(), StopRequest())


PHASES = [
    {"share": 0.25, "batch": 4, "crop": 1, "scale": [1, 1]},
    {"share": 0.75, "batch": 2, "crop": 1, "scale": [1, 1]},
]


def test_minutes_become_steps_once_for_all_seeds(cache, monkeypatch):
    base = {**{name: value for name, value in trial.BASE.items() if name != "steps"}, "minutes": 0.2, "phases": PHASES}
    found = resolved(monkeypatch, base=base).variants["slow"]
    assert found.steps == 24  # 12 seconds, half a second each
    assert found.resolved().minutes is None
    assert [phase.share for phase in found.resolved().phases] == [0.25, 0.75]


def test_equal_multiply_adds_are_equal_to_a_step(cache, monkeypatch):
    variants = {"small": {}, "large": {"model": "compact:width=16"}}
    base = {**trial.BASE, "steps": 40, "phases": PHASES}
    found = resolved(monkeypatch, base=base, variants=variants, budget="multiply-adds").variants
    small, large = found["small"], found["large"]
    assert small.steps == 40
    assert large.steps < 20
    assert abs(small.multiply_adds - large.multiply_adds) <= 2 * large.multiply_adds / large.steps


def test_unequal_budgets_are_refused(cache, monkeypatch):
    with pytest.raises(RecipeError, match=r"different numbers of steps \(a: 2, b: 3\)"):
        resolved(monkeypatch, variants={"a": {}, "b": {"steps": 3}})
    with pytest.raises(RecipeError, match="has no minutes"):
        resolved(monkeypatch, budget="minutes")
    with pytest.raises(RecipeError, match="its budget is in minutes"):
        resolved(monkeypatch, variants={"a": {"minutes": 1}}, budget="steps")


def test_the_manifest_reads_back_as_it_was(finished):
    found = read_manifest(finished)
    tree = found.model_dump(mode="json", by_alias=True)
    assert manifests.Manifest.model_validate(parse_yaml(to_yaml(tree), "")) == found
    assert found.tuning is None


def test_a_folder_of_something_else_is_refused(cache, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(RunError, match=r"no comparison \(holiday.jpg\)"):
        compared(tmp_path)
    (tmp_path / "comparison.yaml").write_text("schema: 1\n")
    with pytest.raises(RunError, match="not the manifest of a comparison"):
        compared(tmp_path)


def test_the_plan_is_told_and_leaves_no_trace(cache, tmp_path, capsys):
    file = tmp_path / "trial.yaml"
    file.write_text(to_yaml(trial.request(variants={"a": {}}, seeds=5, tune={"trials": 4, "seeds": 3, "steps": 0.5})))
    words = ["compare", str(file), "--out", str(tmp_path / "out"), "--plan", "--workers", "2"]
    assert cli.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {
        *("schema", "runs", "done", "trials", "workers", "threads", "seconds", "bytes", "score", "held_out", "images"),
        *("groups", "seeds", "folds", "smallest_visible", "spread", "spread_from", "variants", "notes"),
    }
    assert (told["runs"], told["trials"], told["workers"], told["threads"]) == (5, 4 * 3, 2, 1)
    by_hand = (2.776 + 0.941) / 5**0.5  # quantiles .975 and .8 of Student's t with 4 degrees
    assert told["smallest_visible"] == pytest.approx(told["spread"] * by_hand, rel=1e-3)
    assert cli.main(words) == 0
    assert "5 runs: 1 variant x 5 seeds" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_the_command_line_prints_a_table_and_a_sentence_for_each_pair(finished, tmp_path, capsys):
    file = tmp_path / "trial.yaml"
    file.write_text(to_yaml(trial.request()))
    assert cli.main(["compare", str(file), "--out", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result_of(finished)
    assert cli.main(["compare", str(file), "--out", str(finished)]) == 0
    said = capsys.readouterr().out
    assert "for these images and new training runs" in said
    assert all(name in said for name in ("parameters", "slow", "fast", str(finished / "comparison.json")))
