"""docs/which-network.md: the network that a trial speaks for, the cheapest where it cannot tell, and why."""

from typing import Any

import pytest
import which_page
from results_page import ROOT
from which_page import parts, verdict

FAST = "`fcn:stride=32,encoder=resnet18`"
COSTS = {"big": 900, "fast": 10, "late": 10}
SPECS = {"big": "unet", "fast": "fcn:stride=32,encoder=resnet18", "late": "fcn:stride=32,encoder=resnet18"}


def trial(verdicts: dict[tuple[str, str], str], **means: float) -> dict[str, Any]:
    """A result of variants with these means; verdicts are of the second against the first."""
    pairs = [
        {"a": a, "b": b, "verdict": "cannot tell", "these_images": {"verdict": said}, "difference": 0.1}
        for (a, b), said in verdicts.items()
    ]
    variants = [
        {"name": name, "mean": mean, "sd": 0.01, "n": 5, "parameters": 7, "multiply_adds": COSTS[name]}
        for name, mean in means.items()
    ]
    rule: dict[str, Any] = {"variants": {name: {"recipe": {"model": SPECS[name]}} for name in means}}
    return {"score": "miou_dataset", "pairs": pairs, "variants": variants, "rule": rule}


def test_a_verdict_is_turned_with_its_pair():
    told = trial({("big", "fast"): "worse"}, big=0.5, fast=0.4)
    assert [verdict(told, *names) for names in (("fast", "big"), ("big", "fast"))] == ["worse", "better"]
    assert verdict(told, "big", "late") == verdict(told, "big", "big") == "cannot tell"


@pytest.mark.parametrize(
    ("said", "taken", "because"),
    [
        ("worse", "`unet`", "0.500 ± 0.010; better than fast on these images"),
        (
            "cannot tell",
            "`fcn:stride=32,encoder=resnet18`",
            "nobody can tell it from big 0.500 ± 0.010, and it costs least",
        ),
        ("equivalent", "`fcn:stride=32,encoder=resnet18`", "and it costs least"),
    ],
)
def test_the_best_is_taken_or_the_cheapest_that_may_be_as_good(said, taken, because):
    told = trial({("big", "fast"): said}, big=0.5, fast=0.4)
    word, reason = which_page._picked({"networks": told}, "networks")
    assert word == taken
    assert reason.endswith(because)


def test_variants_of_one_network_are_told_apart_and_cost_the_same():
    told = trial({("fast", "late"): "cannot tell"}, fast=0.4, late=0.5)
    word, reason = which_page._picked({"carried": told}, "carried")
    assert word == "`fcn:stride=32,encoder=resnet18` (late)"
    assert "costs" not in reason
    assert which_page._picked({}, "carried")[0] == "not run yet"


def test_pairs_are_sorted_by_what_is_known():
    told = trial({("big", "fast"): "worse", ("big", "late"): "cannot tell", ("fast", "late"): "better"}, big=1, fast=1)
    told["pairs"][2]["verdict"] = "better"
    assert list(which_page._told(told)) == [
        "**Known, also of new scenes:** late better than fast (+0.100).",
        "**Known of these images alone:** fast worse than big (+0.100).",
        "**Nobody can tell yet:** late against big (+0.100).",
    ]


def test_the_page_has_each_part_and_each_trial(monkeypatch):
    monkeypatch.setattr(which_page, "count_of", lambda spec, what: len(spec))  # counting takes seconds
    page, found = (ROOT / "docs" / "which-network.md").read_text(), parts()
    assert all(f"<!-- {name} -->" in page for name in found)
    files = {path.stem for path in (ROOT / "recipes" / "trials").glob("*.yaml")} - {"again"}
    assert set(which_page.SHOWN) == files
    assert all(f"### {name}" in found["which-trials"] for name in files)
    assert found["which-minutes"].count("`compact`") == 2  # the official part, and a held-out sequence
    assert "a plain loop" in found["which-minutes"]
