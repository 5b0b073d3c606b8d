"""The page of a run says everything that was recorded, asks nobody for anything, and trusts no name."""

import html
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from segtrial.classes import Classes
from segtrial.errors import RunError
from segtrial.reports import run_report
from tests.reports import fake_run
from tests.reports.reading import CHROMIUM, Page, picture, said

HOSTILE = "<script>alert(1)</script>\"'&{{ 7 * 7 }}"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    notes = ["The val part leaks: 14 of 14 frames.", "`--from MODEL` starts from a model of yours."]
    return fake_run.whole(tmp_path_factory.mktemp("runs") / "street", notes=notes)


@pytest.fixture(scope="module")
def text(run):
    assert run_report.write(run) == run / "report.html"
    return (run / "report.html").read_text()


def test_every_score_is_there_with_value_interval_and_definition(run, text):
    evaluation, words = json.loads((run / "evaluation.json").read_text()), said(text)
    for name, value in evaluation["scores"].items():
        interval = evaluation["intervals"][name]
        assert (
            f"{name} {value:.3f} {interval['low']:.3f} to {interval['high']:.3f} {evaluation['definitions'][name]}"
            in words
        )
    for definition in evaluation["definitions"].values():
        assert definition in words


def test_every_class_is_there_and_an_absent_one_is_absent(run, text):
    rows, words = json.loads((run / "evaluation.json").read_text())["per_class"], said(text)
    for row in rows[:-1]:
        numbers = " ".join(f"{row[field]:.3f}" for field in ("iou", "dice", "precision", "recall"))
        assert f"{row['name']} {numbers}" in words
    assert rows[-1]["iou"] is None
    assert f"{rows[-1]['name']} absent: neither in the truth nor in an answer 0 %" in words


def test_the_matrix_holds_the_counts_of_the_npz(run, text):
    counts = np.load(run / "counts" / "val.npz")["counts"].sum(axis=0)
    assert Page(text).pixels == counts.ravel().tolist()


def test_what_is_typed_is_code_and_the_letters_of_definitions_are_explained(text):
    assert "<li><code>--from MODEL</code> starts from a model of yours.</li>" in text
    assert "TP: pixels of a class" in said(text)


def test_notes_stand_before_the_scores(text):
    words = said(text)
    assert words.index("The val part leaks: 14 of 14 frames.") < words.index("what it is")


def test_recipe_plan_machine_and_commands_are_there(text):
    words = said(text)
    for expected in (
        "compact on toytown",
        "Finished: 360 steps",
        "epochs: 40.0",
        "712,345",
        "bfloat16",
        "Some CPU",
        "segtrial predict street/model.safetensors IMAGES --out ANSWERS",
        "segtrial train --recipe street/recipe.yaml --out street-again",
        "96 × 128",
    ):
        assert expected in words


def test_nothing_on_the_page_is_elsewhere(text):
    assert set(re.findall(r"\w+://[^\"'<> )]*", text)) == {"http://www.w3.org/2000/svg"}
    assert all(link.startswith(("data:", "#")) for link in Page(text).links)
    assert not re.search(r"@import|url\((?!data:|#)", text)


def test_ids_are_unique_and_links_arrive(text):
    page = Page(text)
    assert len(page.ids) == len(set(page.ids))
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert {"scores", "curves", "classes", "confusion", "images", "setup", "again"} <= inside


def test_pictures_decode_and_can_be_told(text):
    shown = Page(text).pictures
    assert len(shown) == 5 * len(fake_run.PLACES)
    for given in shown:
        assert picture(given).size == (int(given["width"]), int(given["height"]))
        assert len(given["alt"]) > 5


def test_tables_have_headers_with_a_scope(text):
    headers = [given for tag, given in Page(text).tags if tag == "th"]
    assert headers
    assert all(given.get("scope") in ("row", "col") for given in headers)


def test_the_same_records_give_the_same_page(run, text):
    assert run_report.write(run).read_text() == text


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    fake_run.start(tmp_path / "begun", Classes.named(["a", "b"]))
    words = said(run_report.write(tmp_path / "begun").read_text())
    assert "Not finished: the log ends at step 0 of 360. The same command continues it." in words
    assert "No result yet" in words
    assert "segtrial train --recipe begun/recipe.yaml --out begun" in words


def test_a_run_on_its_way_has_curves(tmp_path):
    fake_run.start(tmp_path / "half", Classes.named(["a", "b"]))
    fake_run.write_logs(tmp_path / "half", until=150)
    page = run_report.write(tmp_path / "half").read_text()
    assert page.count("<svg") == 3
    assert "the log ends at step 150 of 360" in page


def test_one_clip_has_no_interval_and_the_page_says_why(tmp_path):
    run = fake_run.whole(tmp_path / "clip", Classes.named(["a", "b"]), images_per_group=14)
    assert "No interval : 14 images are one block (clip0)" in said(run_report.write(run).read_text())


def test_hostile_names_are_only_text(tmp_path):
    classes = Classes.named(["sky", HOSTILE, "road"])
    keys = [f"{HOSTILE}{number}" for number in range(14)]
    run = fake_run.whole(tmp_path / "a b;rm", classes, notes=[HOSTILE], keys=keys)
    page = run_report.write(run).read_text()
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert html.escape(HOSTILE, quote=False).split('"')[0] in page
    assert "segtrial evaluate 'a b;rm'" in html.unescape(page)  # commands can be pasted
    assert HOSTILE in said(page)


@pytest.mark.parametrize("count", [2, 32, 100])
def test_pages_of_any_class_count_stay_small(tmp_path, count):
    page = run_report.write(fake_run.whole(tmp_path / "run", Classes.numbered(count)))
    Page(page.read_text())
    assert page.stat().st_size < 2_000_000


def test_no_run_no_page(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        run_report.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_report_needs_no_torch():
    asked = "import sys, segtrial.reports.run_report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")], ids=["laptop", "phone"])
def test_a_browser_asks_nobody_complains_of_nothing_and_need_not_scroll_sideways(run, text, width, scheme):
    from playwright.sync_api import sync_playwright

    asked, complaints = [], []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((run / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        page.fill("#opacity", "40")
        assert page.evaluate("getComputedStyle(document.querySelector('.labels')).opacity") == "0.4"
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        browser.close()
    assert [url for url in asked if not url.startswith("data:")] == [(run / "report.html").as_uri()]
    assert complaints == []
    brightness = np.mean([int(part) for part in re.findall(r"\d+", ground)[:3]])
    assert (brightness > 128) == (scheme == "light")


def test_colours_that_do_not_beat_a_baseline_are_said_to_be_no_better(tmp_path):
    run = fake_run.whole(tmp_path / "run")
    evaluation = json.loads((run / "evaluation.json").read_text())
    name, found = "miou_dataset", evaluation["scores"]["miou_dataset"]
    beaten, not_beaten = dict(evaluation["scores"]), dict(evaluation["scores"])
    beaten[name], not_beaten[name] = found - 0.1, found
    fake_run.write_json(run / "evaluation.json", evaluation | {"baselines": {"grey": beaten, "mean_color": not_beaten}})
    words = said(run_report.write(run).read_text())
    assert f"no better than mean colour: {name} {found:.3f}, against {found:.3f}." in words
    assert "no better than grey" not in words
