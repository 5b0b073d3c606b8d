"""docs/results.md: each claim gets what its trials say of it, whichever way round, and nothing where none was run."""

import json
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import results_page
import trial_figures
from results_page import ANSWERS, NOT_RUN, NOT_TESTABLE, ROOT, answers_to, figures, parts, read_claims

from benchmarks import trials
from segtrial import models
from segtrial.comparison.request import read_request
from segtrial.comparison.result import pairs_of
from segtrial.plain_yaml import to_yaml

CLAIMS = read_claims()
SVG = "{http://www.w3.org/2000/svg}"
FOUND = "b - a in miou_dataset +0.100 (these images +0.050 to +0.150; new scenes \N{EN DASH}; 2 seeds)"


def trial(verdict: str, a: str = "a", b: str = "b") -> dict[str, Any]:
    """A result of two variants, as `segtrial compare` writes it, as far as the page reads it."""
    pair = {"a": a, "b": b, "verdict": verdict, "sentence": "B!", "difference": 0.1, "mde": None, "n_seeds": 2}
    pair |= {
        "these_images": {"verdict": verdict},
        "interval": {"low": 0.05, "high": 0.15, "over": "seeds"},
        "interval_new_scenes": None,
    }
    cost = {"seeds": [0, 1], "n": 2, "parameters": 1234, "steps": 7, "multiply_adds": 10}
    tried = [{"lr": rate, "weight_decay": 0.0, "scores": [0.5]} for rate in (0.0001, 0.001, 0.01)]
    tuned = {"trials": tried, "chosen": {"lr": 0.01, "weight_decay": 0.0}}
    return {
        "score": "miou_dataset",
        "margin": 0.005,
        "pairs": [pair],
        "variants": [{"name": name, "mean": 0.5, "sd": 0.01, **cost} for name in (a, b)],
        "ranked": False,
        "held_out": {"part": "val", "images": 101, "groups": 6},
        "tuning": {"variants": {"a": tuned}},
        "rule": {"variants": {"a": {"recipe": {"data": "small/camvid", "split": {"val_groups": ["0006R0"]}}}}},
    }


def claimed(word: str) -> dict[str, Any]:
    return {"report": "R1", "says": "b!", "tests": [{"trial": "t", "pair": ["a", "b"], "claimed": word}]}


# what is claimed of b against a -> what is found of it -> what that makes of the claim
SAID = {
    ("better", "better"): "confirmed",
    ("better", "worse"): "contradicted",
    ("better", "equivalent"): "contradicted",
    ("worse", "better"): "contradicted",
    ("worse", "worse"): "confirmed",
    ("worse", "equivalent"): "contradicted",
    ("different", "better"): "confirmed",
    ("different", "worse"): "confirmed",
    ("different", "equivalent"): "contradicted",
    ("no better", "better"): "contradicted",
    ("no better", "worse"): "confirmed",
    ("no better", "equivalent"): "confirmed",
    **{(word, "cannot tell"): "cannot tell" for word in ANSWERS},
}


@pytest.mark.parametrize(("word", "verdict"), SAID, ids=" ".join)
def test_a_verdict_answers_a_claim(word, verdict):
    (answer,) = answers_to(claimed(word), {"t": trial(verdict)})
    assert (answer.state, answer.sentence) == (SAID[word, verdict], FOUND)
    turned = {"better": "worse", "worse": "better"}.get(verdict, verdict)
    (same,) = answers_to(claimed(word), {"t": trial(turned, "b", "a")})  # the file names them the other way round
    assert same.state == answer.state


def test_a_verdict_on_new_scenes_does_not_hide_the_one_on_these_images():
    told = trial("cannot tell", "b", "a")
    told["pairs"][0]["these_images"] = {"verdict": "worse"}  # a against b
    (answer,) = answers_to(claimed("better"), {"t": told})
    assert (answer.state, answer.here) == ("cannot tell", "confirmed")
    assert answer.words == "**confirmed** for these images, **cannot tell** for new scenes"
    said = results_page._counted([[answer], [answer], list(answers_to(claimed("better"), {"t": trial("better")}))])
    assert said.startswith("3 claims, 3 answers: 1 confirmed, 2 cannot tell. Of those")
    assert said.endswith("2 confirmed for these images.")


def test_without_a_trial_nothing_is_said():
    (answer,) = answers_to(claimed("better"), {"other": trial("better")})
    assert (answer.state, answer.sentence) == (NOT_RUN, "")
    (answer,) = answers_to({"report": "R1", "says": "b!", "why": "no data"}, {})
    assert (answer.state, answer.sentence) == (NOT_TESTABLE, "no data")


def test_what_is_counted_needs_no_trial():
    """U-Net has 31 million parameters, and a ResNet-18 with a convolution of scores 11 million."""
    for pair, state in (
        (["fcn:encoder=resnet18", "unet"], "confirmed"),
        (["unet", "fcn:encoder=resnet18"], "contradicted"),
    ):
        (answer,) = answers_to({"counts": {"what": "parameters", "pair": pair}}, {})
        assert answer.state == state
        assert "31 M" in answer.sentence
        assert "11.2 M" in answer.sentence


@pytest.mark.parametrize(("rate", "state"), [(0.009, "confirmed"), (0.02, "confirmed"), (0.001, "contradicted")])
def test_a_rate_is_the_best_if_the_nearest_that_was_tried_is(rate, state):
    claim = {"rate": {"trial": "t", "variant": "a", "claimed": rate}}
    (answer,) = answers_to(claim, {"t": trial("better")})
    assert (answer.state, answer.sentence) == (state, "Of 0.0001, 0.001, 0.01, 0.01 did best.")


def test_the_page_says_what_the_files_say(tmp_path):
    claims = [claimed("better"), {"report": "R2", "says": "c", "why": "no | data"}]
    (tmp_path / "results" / "trials" / "t").mkdir(parents=True)
    (tmp_path / "results" / "claims.yaml").write_text(to_yaml(claims))
    before = parts(tmp_path)
    assert before["claims-count"] == f"2 claims, 2 answers: 1 {NOT_RUN}, 1 {NOT_TESTABLE}."
    assert "--only t" in before["trials-r1"]
    told = trial("better")
    (tmp_path / "results" / "trials" / "t" / "comparison.yaml").write_text(to_yaml(told.pop("rule")))
    (tmp_path / "results" / "trials" / "t" / "comparison.json").write_text(json.dumps(told))
    after = parts(tmp_path)
    assert after["claims-count"] == f"2 claims, 2 answers: 1 confirmed, 1 {NOT_TESTABLE}."
    head, _, first, second = after["claims"].splitlines()
    assert f"**confirmed**: {FOUND}" in first
    assert r"no \| data" in second
    assert first.count("|") == head.count("|")
    section = after["trials-r1"]
    assert "on camvid, with a learning rate of each variant's own" in section
    assert "val (0006R0), 101 images in 6 blocks" in section
    assert "| b against a | +0.100 | +0.050 to +0.150 |" in section
    assert after["trials-r2"] == ""
    (place,) = figures(tmp_path)
    assert place == tmp_path / "docs/figures/trials/r1-t-pairs.svg"
    assert "(figures/trials/r1-t-pairs.svg)" in section
    (tmp_path / "results" / "trials" / "t" / "curves.json").write_text(json.dumps(logged()))
    assert len(figures(tmp_path)) == 2
    assert "(figures/trials/r1-t-curves.svg)" in parts(tmp_path)["trials-r1"]


def test_each_claim_is_tested_in_one_way_or_says_why_not():
    assert len({(claim["report"], claim["says"]) for claim in CLAIMS}) == len(CLAIMS) > 25
    for claim in CLAIMS:
        assert set(claim) <= {"report", "says", "tests", "counts", "rate", "why", "note"}
        assert len({"tests", "counts", "rate", "why"} & set(claim)) == 1
    assert [claim["report"] for claim in CLAIMS] == sorted(claim["report"] for claim in CLAIMS)
    assert {claim["report"] for claim in CLAIMS} == {f"R{number}" for number in range(5)}
    page = (ROOT / "docs" / "results.md").read_text()
    assert all(f"<!-- {name} -->" in page for name in parts())


def test_what_claims_name_is_there():
    """Trials with their variants and pairs, and networks."""
    for claim in CLAIMS:
        for test in claim.get("tests", ()):
            request, _ = read_request(ROOT / "recipes" / "trials" / f"{test['trial']}.yaml")
            pairs = [set(pair) for pair in pairs_of(list(request.variants), request.baseline)]
            assert set(test["pair"]) in pairs, test
            assert test["claimed"] in ANSWERS
        if rate := claim.get("rate"):
            request, _ = read_request(ROOT / "recipes" / "trials" / f"{rate['trial']}.yaml")
            assert rate["variant"] in request.variants
            assert request.tune
        for spec in claim.get("counts", {}).get("pair", ()):
            assert spec.partition(":")[0] in models.names()


def test_each_trial_that_was_run_is_of_a_file():
    files = {path.stem for path in (ROOT / "recipes" / "trials").glob("*.yaml")}
    assert set(results_page.read_trials()) <= files


def logged() -> dict[str, Any]:
    """Curves of two seeds of b, the second of which diverged, and of a third variant that no figure shows."""
    seeds = {}
    for seed, last in (("0", 0.4), ("1", None)):
        log = {"steps": [10, 20], "losses": [2.0, last], "scores": [0.2, last]}
        seeds[seed] = {"train": log, "val": log}
    return {"schema": 1, "score": "miou_dataset", "variants": {"a": seeds, "b": seeds, "other": seeds}}


def test_a_figure_of_curves_has_each_seed_and_their_mean():
    """The mean ends where one of them does: the second has no number there."""
    svg = ElementTree.fromstring(trial_figures.curves(logged(), ["a", "b"]))
    lines, dots = ([*svg.iter(f"{SVG}{kind}")] for kind in ("polyline", "circle"))
    assert len(lines) + len(dots) == 2 * (2 + 1) + 2 * (2 + 1 + 1)  # scores; losses of train, of val their mean
    assert [len(line.get("points", "").split()) for line in lines] == [2] * 2 * 2  # the first seed's scores and losses
    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {"a 0.200", "b 0.200"} <= set(texts)
    assert not any("other" in (text or "") for text in texts)
    low, high = (trial_figures.Axes(50, 200, 20, 0, 1).y(value) for value in (0, 1))
    assert low - high == trial_figures.HEIGHT


def test_no_two_variants_of_a_figure_have_one_colour():
    told = {**logged(), "variants": dict.fromkeys(map(str, range(17)), logged()["variants"]["a"])}
    for count in (3, 16):
        some = {"curves": {**told, "variants": dict(list(told["variants"].items())[:count])}}
        some |= {"variants": [{"name": str(number)} for number in range(count)], "pairs": []}
        drawn = results_page._drawn("x", [str(number) for number in range(count)], some)
        for text in drawn.values():
            labels = [each for each in ElementTree.fromstring(text).iter(f"{SVG}text") if " " in (each.text or "")]
            inks = [label.get("fill") for label in labels if (label.text or "")[0].isdigit()]
            assert len(set(inks)) == count == len(inks) / 2  # in both panels
        assert bool(drawn) == (count == 3)


def test_a_figure_of_pairs_has_a_row_for_each():
    told = trial("better", "a & b", "b")
    told["pairs"][0]["interval_new_scenes"] = {"low": 0.0, "high": 0.2, "over": "seeds and blocks"}
    svg = ElementTree.fromstring(trial_figures.pairs(told, told["pairs"]))
    (dot,) = svg.iter(f"{SVG}circle")
    thin, thick = [line for line in svg.iter(f"{SVG}line") if line.get("y1") == dot.get("cy")]
    left, right = (float(thick.get(end) or 0) for end in ("x1", "x2"))
    assert left < float(dot.get("cx") or 0) < right
    assert float(thin.get("x1") or 0) < left
    assert float(dot.get("cx") or 0) == pytest.approx((left + right) / 2, abs=0.1)
    assert {"b against a & b", "better"} <= {text.text for text in svg.iter(f"{SVG}text")}


@pytest.mark.parametrize(("low", "high", "ticks"), [(0, 1, 6), (-0.2, 0.2, 5), (0, 120, 7), (0, 0.035, 4)])
def test_ticks_are_round_numbers_within_the_axis(low, high, ticks):
    found = trial_figures._ticks(low, high, 6)
    assert len(found) == ticks
    assert low <= found[0] <= found[-1] <= high


def test_each_figure_lies_there_and_no_other():
    """If this fails: python docs/generate.py, and delete what it does not write"""
    lying = set((ROOT / results_page.FIGURES).glob("*.svg"))
    assert lying == set(figures())


def test_what_is_kept_of_curves_is_what_figures_read():
    """A step without a score, such as one of a batch that lacks every class, stays without."""
    run = SimpleNamespace(
        train=[{"step": 5, "loss": 1.23456}, {"step": 10, "loss": 1, "miou_dataset": 0.25}],
        val=[{"step": 10, "loss": 2.0, "miou_dataset": 0.5, "other": 1}],
    )
    found: Any = SimpleNamespace(told={"score": "miou_dataset"}, runs={"a": {0: (run,), 1: (run,)}})
    kept = trials.curves(found)
    assert list(kept["variants"]["a"]) == ["0", "1"]
    assert kept["variants"]["a"]["1"] == {
        "train": {"steps": [5, 10], "losses": [1.235, 1], "scores": [None, 0.25]},
        "val": {"steps": [10], "losses": [2.0], "scores": [0.5]},
    }
    assert "a 0.500" in trial_figures.curves(kept, ["a"])
