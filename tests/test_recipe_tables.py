"""docs/recipe_tables.py: what the records of recipes say stands on the page and in the headers, and nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest
import recipe_tables
from recipe_tables import ROOT, headers, parts

HEADER = "# A network, made for a test.\n#   segtrial train recipes/{0}.yaml --data streets --out runs/{0}\n"
BODY = "# Data: streets.\n# Cost: ?\n# Scores: ?\nmodel: unet\nbudgets:\n  small: {minutes: 2}\n  paper: {epochs: 3}\n"


def told(**more: Any) -> dict[str, Any]:
    """A record of a run, as benchmarks/recipes.py writes it, as far as it is read."""
    scores = {"miou_dataset": 0.25, "dice_dataset": 0.4, "pixel_accuracy": 0.7}
    line = {"step": 9, "loss": 1.5, "miou_dataset": 0.2, "dice_dataset": 1 / 3}
    rows = [
        {"name": "sky", "precision": 0.8, "recall": 0.4, "f1": 0.5, "support": 10},
        {"name": "pole", "precision": None, "recall": 0.0, "f1": 0.0, "support": 5},
        {"name": "cat", "precision": None, "recall": None, "f1": None, "support": 0},
    ]
    return {
        "data": "streets",
        "pictures": [24, 18],
        "seconds": 150.0,
        "threads": 1,
        "cpu": "A CPU",
        "headline": "miou_dataset",
        "scores": scores,
        "intervals": {**dict.fromkeys(scores), "miou_dataset": {"low": 0.2, "high": 0.3}},
        "per_class": rows,
        "train": [line],
        "val": [{**line, "loss": 2.5}],
        "fit": [{"code": "class_not_in_val", "message": "No car."}, {"code": "gap", "message": "It overfits."}],
        "n_images": 1234,
        **more,
    }


@pytest.fixture
def root(tmp_path) -> Path:
    for folder in ("recipes", "results/recipes"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("r2-one", "r4-one", "r4-two"):
        (tmp_path / "recipes" / f"{name}.yaml").write_text(HEADER.format(name) + BODY)
    return tmp_path


def keep(root: Path, name: str, record: dict[str, Any]) -> None:
    (root / "results" / "recipes" / f"{name}.json").write_text(json.dumps(record))


def test_without_a_record_nothing_is_said(root):
    found = parts(root)
    assert found["recipes-count"] == "0 of 3 recipes ran to their end."
    assert found["recipes-r4"].count("not run yet") == 2
    assert {found[name] for name in ("log-r2", "classes-r4", "tuned-r4", "fit-r4")} == {"Not run yet."}
    text = headers(root)[root / "recipes" / "r4-one.yaml"]
    assert "# Cost: small is 2 minutes of steps, then val is scored; in all: not measured yet." in text
    assert "# Scores: not run yet" in text


def test_records_are_what_is_said(root):
    keep(root, "r2-one", told())
    keep(root, "r4-one", told(intervals=dict.fromkeys(told()["scores"])))
    keep(root, "r4-two", {"data": "streets", "pictures": None, "seconds": 3.0, "failed": "no | streets"})
    keep(root, "r4-one.paper", {})  # another budget
    found = parts(root)
    count = "2 of 3 recipes ran to their end, in 5 min 0 s together; r4-two failed (1 thread of an A CPU)."
    assert found["recipes-count"] == count
    head, _, row = found["recipes-r2"].splitlines()
    assert row.endswith("| streets, 24x18 | 2 min 30 s | miou_dataset 0.250 (0.200 to 0.300); 1,234 images |")
    assert row.count("|") == head.count("|")
    assert "miou_dataset 0.250 (one block, no interval)" in found["recipes-r4"]
    assert r"did not end: no \| streets" in found["recipes-r4"]
    assert found["log-r2"].splitlines()[-1].endswith("| 1.500 | 0.333 | 0.200 | 2.500 | 0.333 | 0.200 |")
    (row,) = found["classes-r4"].splitlines()[2:]  # (0.8 + 0) / 2, (0.4 + 0) / 2, (0.5 + 0) / 2
    assert row.endswith("| 0.700 | 0.250 | 0.400 | 0.200 | 0.250 | 2 |")
    assert found["curves-r1"] == found["curves-r2"] == ""  # none of those that are drawn
    assert found["fit-r4"].splitlines()[-1].endswith("| It overfits. |")


def test_colours_have_the_grey_photo_beside_them():
    record = told(headline="psnr", scores={"psnr": 16.1634}, intervals={"psnr": {"low": 15.9, "high": 16.4}})
    said = recipe_tables._result(record | {"baselines": {"grey": {"psnr": 23.651}}})
    assert said == "psnr 16.16 (15.90 to 16.40), grey 23.65; 1,234 images"


def test_curves_are_drawn_of_what_was_run(root):
    assert recipe_tables.figures(root) == {}
    keep(root, "r3-classifier", told(headline="accuracy", val=[{"step": 9, "loss": 1.0, "accuracy": 0.875}]))
    ((place, svg),) = recipe_tables.figures(root).items()
    assert place == root / "docs/figures/recipes/r3.svg"
    assert "accuracy on val" in svg
    assert "r3-classifier 0.875" in svg
    assert parts(root)["curves-r3"] == "![Curves of r3-classifier, one run each](figures/recipes/r3.svg)"


def test_headers_say_what_is_known_and_change_nothing_else(root):
    keep(root, "r2-one", told())
    file = root / "recipes" / "r2-one.yaml"
    before, after = file.read_text().splitlines(), headers(root)[file].splitlines()
    changed = [line for old, line in zip(before, after, strict=True) if line != old]
    cost = (
        "small is 2 minutes of steps, then val is scored: 2 min 30 s in all by 1 thread. One large GPU: not measured."
    )
    assert changed == [
        f"# Cost: {cost}",
        "# Scores: miou_dataset 0.250 (0.200 to 0.300); 1,234 images of streets, 24x18.",
    ]


def test_a_tuned_comparison_says_what_was_chosen(root):
    pair = {"sentence": "Nobody can tell."}
    variants = [
        {"name": "one", "mean": 0.2, "sd": 0.01, "n": 2, "steps": 24},
        {"name": "two", "mean": 0.3, "sd": None, "n": 1, "steps": 24},
    ]
    chosen = {"one": {"lr": 0.00123, "weight_decay": 1e-6}, "two": {"lr": 0.01, "weight_decay": None}}
    record = {"score": "miou_dataset", "pairs": [pair], "variants": variants, "chosen": chosen, "n_images": 20}
    kept = {"data": "streets", "pictures": None, "seconds": 60.0, "threads": 1, "cpu": None, **record}
    keep(root, "r4-tuned", kept)
    rows = parts(root)["tuned-r4"].splitlines()
    assert rows[2:4] == ["| one | 0.0012 | 1e-06 | 0.200 ± 0.010 | 2 | 24 |", "| two | 0.01 | – | 0.300 | 1 | 24 |"]
    assert rows[-1] == "- Nobody can tell."
    assert recipe_tables._result(kept) == "miou_dataset: two 0.300, one 0.200; 20 images"


def test_each_part_has_its_place_on_the_page():
    page = (ROOT / "docs" / "results.md").read_text()
    assert all(f"<!-- {name} -->" in page for name in parts())
    assert set((ROOT / recipe_tables.FIGURES).glob("*")) == set(recipe_tables.figures())
