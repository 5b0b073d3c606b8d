"""The fit doctor on curves made by hand: healthy ones get no finding whatever their noise, planted faults always do."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from markupsafe import escape

from segtrial import cli, fitdoctor, optimizers
from segtrial.fitdoctor import evidence
from segtrial.recipe import Recipe
from segtrial.reports import records, run_report
from tests import tiny
from tests.fit_curves import LINES, SHARES_LOSS, SOUND, Log, falling, healthy, log, rising, rows_of_classes
from tests.reports import fake_run
from tests.sampling import sampled

CAMVID = sorted((Path(__file__).parent / "real_runs").iterdir())


def codes(run: fitdoctor.Record, **more: Any) -> list[str]:
    return [finding.code for finding in fitdoctor.examine(run, **more).findings]


@sampled(40, 500, run=healthy())
def test_a_healthy_run_gets_no_finding(run):
    assert fitdoctor.examine(run).findings == ()


@sampled(40, 500, run=healthy(), place=st.integers(8, 24), later=st.booleans(), height=st.floats(0.6, 50))
def test_a_loss_that_climbs_within_a_phase_is_a_rate_too_high(run, place, later, height):
    start, end = (place + 30, LINES) if later else (place, LINES // 2)
    added = [height * SHARES_LOSS * (start <= number < end) for number in range(LINES)]
    climbed = tuple(line | {"loss": line["loss"] + more} for line, more in zip(run.train, added, strict=True))
    (found,) = fitdoctor.examine(replace(run, train=climbed)).findings
    assert found.code == "learning_rate_high"
    assert found.evidence["losses"][1] - found.evidence["losses"][0] > 0.2 * SHARES_LOSS
    assert "--set optimizer.lr=0.003" in found.message, "a tenth of what muon usually takes"


def test_a_small_hump_is_none():
    hump = np.where(np.arange(LINES) // 6 == 7, 0.1 * SHARES_LOSS, 0)
    assert codes(log(falling(0.2, 10) + hump, rising(LINES, 0.82, 12), rising(4, 0.8, 12))) == []


def test_a_loss_that_was_no_number_is_a_rate_too_high():
    ended = replace(SOUND, train=(), val=(), evaluation=None, timing=({"event": "diverged", "step": 14},))
    (found,) = fitdoctor.examine(ended.but(optimizer={"name": "sgd", "lr": 5.0})).findings
    assert found.code == "learning_rate_high"
    assert "no longer a number at step 14 of 1,200, at rates up to 5" in found.message
    assert codes(replace(SOUND, timing=ended.timing)) == [], "a run that finished after all"


@sampled(40, 500, end=st.floats(0.55, 1.0), speed=st.floats(0, 3), seed=st.integers(0, 99))
def test_a_loss_that_hardly_falls_at_a_tiny_rate_is_a_rate_too_low(end, speed, seed):
    loss = falling(end, speed) * np.exp(np.random.default_rng(seed).normal(0, 0.02, LINES))
    slow = log(loss, rising(LINES, 0.3, 1), rising(4, 0.3, 1)).but(optimizer={"name": "adamw", "lr": 3e-5})
    (found,) = fitdoctor.examine(slow).findings
    assert found.code == "learning_rate_low"
    assert "1/100 of what adamw usually takes (0.003)" in found.message
    assert "--set optimizer.lr=0.0003" in found.message
    assert "learning_rate_low" not in codes(slow.but(optimizer={"name": "adamw", "lr": None}))


def test_weights_that_know_something_may_have_a_tiny_rate():
    tuned = log(falling(0.3, 1) * 0.3, rising(LINES, 0.82, 12), rising(4, 0.8, 12))
    rate = {"name": "adamw", "lr": 3e-5}
    assert codes(tuned.but(optimizer=rate, start="run")) == []
    dice = {"name": "dice", "label_smoothing": 0.0}
    flat = log(np.linspace(0.4, 0.3, LINES), rising(LINES, 0.82, 12), rising(4, 0.8, 12)).but(loss=dice, optimizer=rate)
    assert codes(flat.but(start="run")) == []
    assert codes(flat) == ["learning_rate_low"], "from random weights a Dice loss of .3 after .4 is none"


@st.composite
def flat(draw: st.DrawFn) -> Log:
    """A loss at that of the class shares, and the answers of the commonest class."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    loss = SHARES_LOSS * (draw(st.floats(0.94, 1.05)) + 0.1 * np.exp(-np.arange(LINES) / 6))
    train = np.full(LINES, 0.5) + random.normal(0, 0.03, LINES)
    return log(loss + random.normal(0, 0.02 * SHARES_LOSS, LINES), train, np.full(4, 0.17))


@sampled(40, 500, run=flat())
def test_a_loss_of_the_class_shares_means_that_labels_look_shuffled(run):
    (found,) = fitdoctor.examine(run).findings
    assert found.code == "labels_look_shuffled"
    assert found.evidence["loss_of_class_shares"] == pytest.approx(SHARES_LOSS)
    assert "--one-batch" in found.message


def test_what_looks_like_shuffled_labels_early_may_be_a_slow_start():
    flat = np.full(LINES, SHARES_LOSS), np.full(LINES, 0.5), np.full(4, 0.17)
    early, late = log(*flat, steps=80), log(*flat, steps=120)  # 4 epochs and 6
    learnt = heart(0.02, learnt=True)
    told = [fitdoctor.examine(early), fitdoctor.examine(early, one_batch=learnt), fitdoctor.examine(late)]
    messages = [each.findings[0].message for each in told]
    assert ["After 4 epochs it may also be a network that is slow" in each for each in messages] == [True, False, False]


def test_the_one_batch_test_tells_labels_from_rate_and_network():
    run = log(np.full(LINES, SHARES_LOSS), np.full(LINES, 0.5), np.full(4, 0.17))
    learnt, failed = heart(0.02, learnt=True), heart(0.9, learnt=False)
    assert "so it is the labels" in fitdoctor.examine(run, one_batch=learnt).findings[0].message
    fast = run.but(optimizer={"name": "sgd", "lr": 0.5})
    assert codes(fast) == ["learning_rate_high"]
    assert codes(fast, one_batch=learnt) == ["labels_look_shuffled"]
    assert codes(fast, one_batch=failed) == ["learning_rate_high", "one_batch_not_learnt"]
    slow = run.but(optimizer={"name": "sgd", "lr": 0.0005})
    assert codes(slow) == ["learning_rate_low"]
    assert codes(slow, one_batch=learnt) == ["labels_look_shuffled"]
    assert codes(SOUND, one_batch=learnt) == codes(SOUND, one_batch=heart(0.3, learnt=None)) == []
    said = [fitdoctor.examine(SOUND, one_batch=one).notes[-1] for one in (learnt, heart(0.3, learnt=None))]
    assert "was learnt by heart: loss 1.1 to 0.02 in 99 steps" in said[0]
    assert "in part, which settles nothing" in said[1]


def heart(last: float, *, learnt: bool | None) -> dict[str, Any]:
    return {"images": 4, "steps": 99, "first_loss": 1.1, "last_loss": last, "learnt": learnt}


@sampled(40, 500, run=healthy(score=0.6), peak=st.integers(1, 6), lost=st.floats(0.03, 0.2), gained=st.floats(0.1, 0.3))
def test_a_peak_of_val_under_a_rising_training_score_is_overfitting(run, peak, lost, gained):
    """Eight evaluations; the best is that with number `peak`, and what follows falls evenly by `lost`."""
    val = np.concatenate([np.linspace(0.3, 0.6, peak + 1), np.linspace(0.6, 0.6 - lost, 8 - peak)[1:]])
    end = np.interp(np.arange(LINES), [0, (peak + 1) * LINES / 8, LINES], [0.3, 0.6, 0.6 + gained])
    noise = np.array([line["miou_dataset"] for line in run.train]) - 0.6
    train = end + np.clip(noise - noise[LINES // 2 :].mean(), -0.03, 0.03)
    turned = log(np.array([line["loss"] for line in run.train]), train, val)
    found = next(one for one in fitdoctor.examine(turned).findings if one.code == "overfits")
    assert found.evidence["epoch"] == turned.val[peak]["epoch"]
    assert found.evidence["gap"] > 0
    assert f"from epoch {turned.val[peak]['epoch']:.3g} on (gap " in found.message


def test_the_gap_by_hand():
    """Ten lines before each evaluation; the five nearest count, the last one's are .8 and .9 in turn, val is .5."""
    train = np.concatenate([np.full(30, 0.5), np.tile([0.8, 0.9], 5)])
    run = log(falling(0.2, 10)[:40], train, np.array([0.3, 0.4, 0.55, 0.5]))
    (found,) = [one for one in fitdoctor.examine(run).findings if one.code == "overfits"]
    mean, spread = np.mean([0.9, 0.8, 0.9, 0.8, 0.9]), np.std([0.9, 0.8, 0.9, 0.8, 0.9], ddof=1)
    assert found.evidence["gap"] == pytest.approx(mean - 0.5)
    assert found.evidence["error"] == pytest.approx(2 * spread / math.sqrt(5))
    assert found.severity == "problem"
    assert "gap 0.36 ± 0.05 over the last evaluation" in found.message


@sampled(40, 500, run=healthy(score=0.6), gap=st.floats(0.2, 0.35), few=st.integers(1, 49), many=st.integers(50, 5000))
def test_a_large_gap_is_a_tiny_training_part_or_another_world(run, gap, few, many):
    higher = replace(run, train=tuple(line | {"miou_dataset": line["miou_dataset"] + gap + 0.05} for line in run.train))
    assert "train_part_tiny" in codes(higher.but(images=few))
    assert f"{few} image" in fitdoctor.examine(higher.but(images=few)).findings[0].message
    assert "large_gap" in codes(higher.but(images=many))


def test_classes_that_training_lacks_explain_their_part_of_a_gap():
    """Two thirds of the classes at .9 are a mean of .6: nothing is left to explain."""
    run = log(falling(0.2, 10), np.full(LINES, 0.9), np.full(4, 0.6)).but(images=10)
    assert codes(run) == ["train_part_tiny"]
    lacking = replace(run, plan=run.plan | {"class_pixels": [500, 500, 0]})
    lost = {"pole": {"iou": 0.0, "precision": None, "recall": 0.0}}
    assert codes(replace(lacking, evaluation={"per_class": rows_of_classes(**lost)})) == ["class_not_in_train"]


@sampled(40, 500, run=healthy(), count=st.sampled_from([4, 8, 20]), end=st.floats(0.1, 0.9))
def test_a_val_that_still_rises_wants_more_budget(run, count, end):
    """On a straight line the last doubling brings half of the end, and the last quarter a quarter."""
    val = end * np.arange(1, count + 1) / count
    rises = log(np.array([line["loss"] for line in run.train]), np.full(LINES, end), val)
    found = next(one for one in fitdoctor.examine(rises).findings if one.code == "still_improving")
    assert found.evidence["last_doubling"] == pytest.approx(end / 2)
    assert f"Doubling the steps to 1,200 brought {found.evidence['last_doubling']:.3f}" in found.message
    assert "Train with --steps 2400" in found.message
    assert codes(replace(rises, evaluation=None)) == [], "the budget has not ended"
    assert "still_improving" not in codes(replace(rises, plan=rises.plan | {"steps": 9999})), "it stopped early"


def test_two_evaluations_are_no_trend():
    run = log(falling(0.2, 10), np.full(LINES, 0.8), np.array([0.3, 0.8]))
    assert codes(run) == []
    assert any("Val was scored 2 times" in note for note in fitdoctor.examine(run).notes)


def test_a_network_that_stopped_at_a_low_score():
    low = log(falling(0.4, 10), np.full(LINES, 0.3), np.array([0.25, 0.28, 0.281, 0.28]))
    assert codes(low) == ["stuck"]
    learning = log(falling(0.4, 10), np.full(LINES, 0.3), np.array([0.1, 0.2, 0.25, 0.28]))
    assert codes(learning) == ["still_improving"]


def test_the_best_weights_scored_again_are_no_point_of_the_curve():
    run = log(falling(0.2, 10), rising(LINES, 0.95, 3), np.array([0.3, 0.6, 0.55, 0.5, 0.6]))
    for keep, ends in (("ema", [0.6, 0.6]), ("best", [0.6, 0.5])):
        found = next(one for one in fitdoctor.examine(run.but(keep=keep)).findings if one.code == "overfits")
        assert found.evidence["val"] == ends


def test_classes_never_shown_never_predicted_never_found_never_asked_for():
    def found(**rows: dict[str, Any]) -> fitdoctor.Finding:
        (one,) = fitdoctor.examine(replace(SOUND, evaluation={"per_class": rows_of_classes(**rows)})).findings
        return one

    never = found(pole={"iou": 0.0, "precision": None, "recall": 0.0})
    assert never.code == "class_never_predicted"
    assert "Class 'pole' is never predicted: 0 of 300 pixels of val are right, and 10 % of the" in never.message
    nothing = {"iou": 0.0, "precision": None, "recall": 0.0}
    classifier = replace(SOUND, plan=SOUND.plan | {"task": "classification"})
    (one,) = fitdoctor.examine(replace(classifier, evaluation={"per_class": rows_of_classes(sky=nothing)})).findings
    assert "0 of 300 images of val are right" in one.message
    missed = found(pole=nothing | {"precision": 0.0}, sky=nothing)
    assert missed.code == "class_never_found"
    assert "Classes 'sky', 'pole' are never found: 0 of 600" in missed.message
    unseen = found(road={"iou": None, "precision": None, "recall": None, "support": 0})
    assert (unseen.code, unseen.severity) == ("class_not_in_val", "hint")
    absent = replace(SOUND, plan=SOUND.plan | {"class_pixels": [500, 400, 0]}, train=(), val=(), evaluation=None)
    (begun,) = fitdoctor.examine(absent).findings
    assert begun.code == "class_not_in_train", "known before the first step"
    assert "0 pixels in its 200 images" in begun.message


def evaluated(score: float, low: float, high: float) -> dict[str, Any]:
    span = {"low": low, "high": high}
    return {"scores": {"miou_dataset": score}, "intervals": {"miou_dataset": span}, "n_images": 70}


def test_how_much_val_flatters_by_hand():
    """The sides that look at each other, .03 and .04, make one of .05 for the difference; the others, .1."""
    run = replace(SOUND, evaluation=(SOUND.evaluation or {}) | evaluated(0.8, 0.77, 0.86)).but(keep="best")
    run = replace(run, plan=run.plan | {"parts": {"train": 200, "val": 50, "test": 70}})
    (found,) = fitdoctor.examine(run, untouched={"test": evaluated(0.7, 0.62, 0.74)}).findings
    assert found.code == "val_flatters"
    assert found.evidence["interval"] == pytest.approx([0.05, 0.2])
    assert "val decided (keep=best), in 4 evaluations" in found.message
    assert codes(run, untouched={"test": evaluated(0.76, 0.72, 0.8)}) == [], "within chance"
    assert codes(run, untouched={"test": evaluated(0.9, 0.86, 0.94)}) == [], "val does not flatter"
    assert any("test part (70 images) was not scored" in note for note in fitdoctor.examine(run).notes)
    one_block = evaluated(0.5, 0.5, 0.5) | {"intervals": {"miou_dataset": None}}
    alone = fitdoctor.examine(run, untouched={"test": one_block})
    assert alone.findings == ()
    assert any("cannot be compared" in note for note in alone.notes)


@sampled(40, 500, classes=st.lists(st.tuples(st.integers(0, 500), st.floats(0.1, 9)), min_size=2, max_size=9))
def test_the_loss_of_the_class_shares_is_the_least_of_a_constant_answer(classes):
    pixels, weights = (list(column) for column in zip(*classes, strict=True))
    plan = SOUND.plan | {"class_pixels": pixels, "class_weights": weights}
    found = evidence.shares_loss(replace(SOUND, plan=plan))
    adjusted = SOUND.plan["recipe"] | {"loss": SOUND.plan["recipe"]["loss"] | {"name": Recipe().loss.name}}
    assert evidence.shares_loss(replace(SOUND, plan=plan | {"recipe": adjusted})) == found
    if sum(count > 0 for count in pixels) < 2:
        assert found is None
        return
    labels = torch.tensor([index for index, count in enumerate(pixels) for _ in range(count)])
    weighed = torch.tensor(pixels, dtype=torch.float64) * torch.tensor(weights, dtype=torch.float64)
    answer = (weighed / weighed.sum()).clamp(min=1e-30).log().requires_grad_()
    loss = F.cross_entropy(answer.expand(len(labels), -1), labels, weight=torch.tensor(weights, dtype=torch.float64))
    loss.backward()
    assert found == pytest.approx(loss.item(), rel=1e-6)
    assert answer.grad is not None
    assert answer.grad.abs().max() < 1e-9, "no constant answer costs less"


def test_the_loss_of_the_class_shares_with_dice_is_that_of_one_image_that_has_them():
    pixels, weights = np.array([60, 30, 0, 10]), np.array([0.8, 1.0, 5.0, 2.2])
    recipe = SOUND.plan["recipe"]
    loss = recipe["loss"] | {"name": "cross_entropy + dice"}
    plan = SOUND.plan | {"class_pixels": pixels.tolist(), "class_weights": weights.tolist()}
    found = evidence.shares_loss(replace(SOUND, plan=plan | {"recipe": recipe | {"loss": loss}}))
    alone = evidence.shares_loss(replace(SOUND, plan=plan))
    labels, answer = np.repeat(np.arange(4), pixels), weights * pixels / (weights * pixels).sum()
    costs = []
    for index in np.unique(labels):  # pixel by pixel: what of the answer is right, wrong and missing
        right = sum(answer[index] for label in labels if label == index)
        wrong = sum(answer[index] for label in labels if label != index)
        missing = sum(1 - answer[index] for label in labels if label == index)
        costs.append(1 - 2 * right / (2 * right + wrong + missing))
    assert alone is not None
    assert found == pytest.approx(alone + np.average(costs, weights=weights[np.unique(labels)]))


def test_usual_rates_are_those_of_the_optimizers():
    assert {name: default.lr for name, default in optimizers.DEFAULTS.items()} == evidence.USUAL_RATES


@pytest.mark.parametrize("folder", CAMVID, ids=lambda folder: folder.name)
def test_real_runs_of_eight_minutes(folder):
    """Held-out sequences are another world, for which compact has time enough; of the near frames it learns on."""
    found = codes(records.read(folder))
    assert ("large_gap" in found) == folder.name.startswith("held")
    assert ("still_improving" in found) != folder.name.startswith("held")
    assert set(found) <= {"large_gap", "still_improving", "overfits"}


def test_the_object_that_programs_read(tiny_run, capsys):
    """The literal shape; schema 1."""
    assert cli.main(["fit", str(tiny_run), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "run", "finished", "findings", "notes", "one_batch"}
    assert (told["schema"], told["run"], told["finished"], told["one_batch"]) == (1, str(tiny_run), True, None)
    assert told["notes"]
    for finding in told["findings"]:
        assert set(finding) == {"code", "severity", "message", "evidence"}
        assert finding["severity"] in ("problem", "hint")
        assert finding["evidence"]


def test_every_message_holds_its_figures():
    """Sentences end, name what to do, and have a number in them."""
    runs = [log(np.full(LINES, SHARES_LOSS), np.full(LINES, 0.5), np.full(4, 0.17)), *map(records.read, CAMVID)]
    for finding in (one for run in runs for one in fitdoctor.examine(run).findings):
        assert finding.message.endswith((".", "?"))
        assert any(letter.isdigit() for letter in finding.message)
        assert finding.evidence


def test_for_people_notes_come_only_where_more_was_asked_for(tmp_path, capsys):
    run = fake_run.whole(tmp_path / "street")
    assert cli.main(["--traceback", "fit", str(run)]) == 0
    plain = capsys.readouterr().out
    assert "no part besides" not in plain
    assert cli.main(["fit", str(run), "--untouched"]) == 0
    assert "There is no part besides train and val" in " ".join(capsys.readouterr().out.split())


def test_a_folder_that_is_no_run(tmp_path, capsys):
    assert cli.main(["fit", str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err


def test_the_report_says_it_too(tmp_path):
    run = records.read(fake_run.whole(tmp_path / "street"))
    page = run_report.render(run)
    assert "What the curves say" in page
    found = fitdoctor.examine(run).findings
    assert found
    for finding in found:
        assert str(escape(finding.message)) in page


def test_training_notes_where_the_loss_was_no_number(tiny_data, tmp_path):
    out = tmp_path / "run"
    words = tiny.words(tiny_data, out, "--model", "unet:batchnorm=false,width=4", "--set", "optimizer.lr=1e30")
    words[words.index("--steps") + 1] = "9"
    assert cli.main(words) == 2
    assert codes(records.read(out)) == ["learning_rate_high"]
