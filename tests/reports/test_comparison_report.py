"""The page of a comparison: verdicts, both intervals and every run are on it; it asks nobody and trusts no name."""

import csv
import io
import json

import numpy as np
import pytest

from segtrial.comparison.request import Request, recipes_of
from segtrial.errors import RunError
from segtrial.plain_yaml import parse_yaml
from segtrial.reports import comparison_recipes, comparison_records, comparison_report, comparison_tables
from tests.reports import fake_comparison as fake
from tests.reports.reading import Page, said

HOSTILE = "<b>&{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = fake.write(tmp_path_factory.mktemp("comparisons") / "loss", {"plain": 0, "better": 200})
    fake.show(place, ("plain", "better"))
    return place


@pytest.fixture(scope="module")
def text(folder):
    assert comparison_report.write(folder) == folder / "comparison.html"
    return (folder / "comparison.html").read_text()


def test_the_verdict_stands_first_and_both_intervals_beside_it(text):
    words = said(text)
    assert words.index("better is better than plain.") < words.index("better against plain")
    assert words.count("+0.030 to +0.070") == 2
    assert "A note." in words


def test_every_run_is_a_dot_and_the_best_variant_comes_first(text):
    page = Page(text)
    dots = [given["aria-label"].split() for _, given in page.tags if given.get("class") == "dots"]
    assert dots == [["0.640", "0.650", "0.660"], ["0.600", "0.610", "0.620"]]


def test_differences_of_classes_are_those_of_the_counts(text):
    """By hand: of poles 500 of 1000 are right, then 700; 1000 true, and those answered besides are each seed's luck."""

    def pole(gain: int, seed: int) -> float:
        hits, truth, answered = (
            fake.rows(seed, gain).sum(0)[2, 2],
            6 * fake.PIXELS,
            fake.rows(seed, gain).sum((0, 1))[2],
        )
        return hits / (truth + answered - hits)

    gaps = [pole(200, seed) - pole(0, seed) for seed in range(3)]
    half = 4.302652729696142 * np.std(gaps, ddof=1) / 3**0.5  # Student's quantile with two degrees of freedom
    words = said(text)
    assert f"pole {np.mean([pole(0, seed) for seed in range(3)]):.3f} {np.mean(gaps):+.3f}" in words
    assert f"{np.mean(gaps) - half:+.3f} to {np.mean(gaps) + half:+.3f}" in words
    assert "sky 1.000 +0.000" in words


def test_an_image_is_shown_under_every_variant(text):
    alts = [given["alt"] for given in Page(text).pictures]
    assert alts == [f"{what} of {fake.KEYS[0]}" for what in ("image", "truth", "plain", "better")]


def test_nothing_is_loaded_from_elsewhere_and_figures_have_words(text):
    page = Page(text)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "default-src 'none'" in text
    assert len(page.ids) == len(set(page.ids))
    svgs = [given for tag, given in page.tags if tag == "svg"]
    assert len(svgs) >= 4
    assert all(given["role"] == "img" and "plain" in given["aria-label"] for given in svgs)


def test_the_same_folder_gives_the_same_page(folder, text):
    comparison_report.write(folder)
    assert (folder / "comparison.html").read_text() == text


def test_names_are_text_and_failures_are_shown(tmp_path):
    failure = {"name": HOSTILE, "variant": "plain", "seed": 1, "message": f"died {HOSTILE}"}
    place = fake.write(tmp_path / "a", {"plain": 0, "b": 1}, seeds=1, failures=[failure], notes=[HOSTILE])
    comparison_report.write(place)
    words = said((place / "comparison.html").read_text())
    assert f"{HOSTILE} failed: died {HOSTILE}" in words
    assert "49" not in words.split()


def test_variants_on_other_seeds_are_in_no_order(tmp_path):
    place = fake.write(tmp_path / "a", {"plain": 0, "better": 200}, seeds=1, ranked=False)
    told = comparison_records.read(place).told
    assert [one["name"] for one in comparison_tables.ordered(told)] == ["plain", "better"]
    comparison_report.write(place)
    assert "In no order" in said((place / "comparison.html").read_text())


def test_a_pair_of_which_nothing_is_known_has_a_reason(tmp_path):
    nothing = fake.pair("plain", "b", "cannot tell", None)
    place = fake.write(tmp_path / "a", {"plain": 0, "b": 0}, seeds=1, pairs=[nothing])
    comparison_report.write(place)
    assert "none: one seed none: one block cannot tell" in said((place / "comparison.html").read_text())


def test_learning_rates_that_were_tried_are_drawn_without_the_diverged(tmp_path):
    trials = [
        {"lr": rate, "weight_decay": None, "scores": [score]} for rate, score in ((0.1, 0.4), (1, None), (0.01, 0.3))
    ]
    tuning = {"variants": {name: {"trials": trials} for name in ("plain", "b")}}
    place = fake.write(tmp_path / "a", {"plain": 0, "b": 0}, seeds=1, tuning=tuning)
    comparison_report.write(place)
    assert "plain does best at 0.1; b does best at 0.1" in said((place / "comparison.html").read_text())


def test_the_table_of_runs_can_be_read_by_programs(folder, text):
    lines = list(csv.DictReader(io.StringIO((folder / "comparison.csv").read_text())))
    told = json.loads((folder / "comparison.json").read_text())
    found = {(line["variant"], int(line["seed"])): float(line["miou_dataset"]) for line in lines}
    assert found == {
        (one["name"], seed): value
        for one in told["variants"]
        for seed, value in zip(one["seeds"], one["values"], strict=True)
    }


def test_no_spreadsheet_runs_a_name():
    one = fake.variant("=1+1", [0.5], 1)
    told = {"score": "s", "ranked": True, "variants": [one]}
    assert next(csv.DictReader(io.StringIO(comparison_tables.to_csv(told))))["variant"] == "'=1+1"


def test_tables_for_papers(folder, text):
    latex, markdown = (folder / "comparison.tex").read_text(), (folder / "comparison.md").read_text()
    assert r"miou\_dataset" in latex
    assert r"better & $0.650 \pm 0.010$ & 20,000 & $+0.050$ [+0.030, +0.070] \\" in latex
    assert "| better | 0.650 ± 0.010 | 3 |" in markdown
    assert "| better against plain | +0.050 | +0.030 to +0.070 | +0.030 to +0.070 | better |" in markdown


def test_what_is_no_comparison_is_refused(tmp_path):
    with pytest.raises(RunError, match="no comparison"):
        comparison_report.write(tmp_path)
    (tmp_path / "comparison.yaml").write_text("schema: 1\n")
    with pytest.raises(RunError, match="no result yet"):
        comparison_report.write(tmp_path)
    (tmp_path / "comparison.json").write_text("{")
    with pytest.raises(RunError, match="not JSON"):
        comparison_report.write(tmp_path)


def test_what_differs_is_a_table_of_the_recipes_fields(tmp_path):
    place = fake.write(tmp_path / "a", {"plain": 0, "b": 0}, seeds=1)
    plan = json.loads((place / "runs/b/0/plan.json").read_text())
    plan["recipe"] |= {"seed": 7, "model": "unet", "phases": [{**plan["recipe"]["phases"][0], "share": 1, "batch": 3}]}
    (place / "runs/b/0/plan.json").write_text(json.dumps(plan))
    rows = {row["field"]: row["values"] for row in comparison_recipes.differing(comparison_records.read(place))}
    assert rows["model"] == {"plain": "compact:width=32", "b": "unet"}
    assert rows["phases.0.batch"] == {"plain": "16", "b": "3"}
    assert "seed" not in rows


CHOICES = (
    {"variants": {"a": {}, "b": {"optimizer.lr": 0.5, "clip": 1.0}}, "seeds": 2},
    {
        "base": {"minutes": 3, "task": "binary", "augment": {"flip_horizontal": 0}, "threads": 2},
        "variants": {"a": {"model": "unet:width=8"}, "b": {"minutes": 5, "split.val_groups": ["x"]}},
        "seeds": [3, 9], "margin": 0.01, "score": "pixel_accuracy", "held_out": "test", "baseline": "b",
        "tune": {"trials": 4, "lr": [1e-5, 0.1]},
    },
)  # fmt: skip


@pytest.mark.parametrize("asked", CHOICES)
def test_the_file_on_the_page_asks_for_the_same_again(asked):
    """Whatever was asked for: the file's request and recipes are those, but for the threads that runs had."""
    request = Request.model_validate_json(json.dumps(asked))
    recipes = recipes_of(request, "first")
    held = {"part": request.held_out or "val", "block_frames": request.block_frames}
    rule = {
        **request.model_dump(mode="json"), "threads": 2, "held_out": held, "budget": "steps",
        "seeds": list(request.seed_list), "score": request.score or "miou_dataset",
        "variants": {name: {"asked": recipe.model_dump(mode="json")} for name, recipe in recipes.items()},
    }  # fmt: skip
    tree = parse_yaml(comparison_recipes.trial_file(rule), "again")
    again = Request.model_validate_json(json.dumps(tree))
    assert again.seed_list == request.seed_list
    assert (again.margin, again.tune, again.baseline) == (request.margin, request.tune, request.baseline)
    threads = {name: recipe.model_copy(update={"threads": 2}) for name, recipe in recipes.items()}
    assert recipes_of(again, "again") == threads
    assert list(again.variants) == list(request.variants)


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["better", "worse", "better"], "Of 3 pairs 3 can be told apart."),
        (["cannot tell", "cannot tell"], "Of 2 pairs 2 cannot be told apart yet."),
        (
            ["better", "equivalent", "cannot tell"],
            "Of 3 pairs 1 can be told apart, 1 is equivalent and 1 cannot be told apart yet.",
        ),
    ],
)
def test_many_pairs_are_summed_up(verdicts, said):
    assert comparison_report._summary([{"verdict": verdict} for verdict in verdicts], 0.005) == said
