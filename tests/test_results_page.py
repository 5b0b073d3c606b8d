"""docs/results.md: each claim gets what its trials say of it, whichever way round, and nothing where none was run."""

import json
from typing import Any

import pytest
import results_page
from results_page import ANSWERS, NOT_RUN, NOT_TESTABLE, ROOT, answers_to, parts, read_claims

from segtrial import models
from segtrial.comparison.request import read_request
from segtrial.comparison.result import pairs_of
from segtrial.plain_yaml import to_yaml

CLAIMS = read_claims()
WORDS = {"better": "B wins", "worse": "A wins", "equivalent": "the same", "cannot tell": "who knows"}


def trial(verdict: str, a: str = "a", b: str = "b") -> dict[str, Any]:
    """A result of two variants, as `segtrial compare` writes it, as far as the page reads it."""
    pair = {"a": a, "b": b, "verdict": verdict, "sentence": WORDS[verdict], "difference": 0.1, "mde": None}
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
    assert (answer.state, answer.sentence) == (SAID[word, verdict], WORDS[verdict])
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
    assert "**confirmed**: B wins" in first
    assert r"no \| data" in second
    assert first.count("|") == head.count("|")
    section = after["trials-r1"]
    assert "on camvid, with a learning rate of each variant's own" in section
    assert "val (0006R0), 101 images in 6 blocks" in section
    assert "| b against a | +0.100 | +0.050 to +0.150 |" in section
    assert after["trials-r2"] == ""


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
