"""What minutes buy: runs that differ in their seeds alone make a row, and a line of the figure."""

import json
from xml.etree import ElementTree

import minutes_page
import pytest
import which_page

SVG = "{http://www.w3.org/2000/svg}"


def run(who: str, minutes: float, seed: int, score: float, **more: object) -> dict[str, object]:
    said = {"who": who, "minutes": minutes, "seed": seed, "part": "its own", "cpu": "A(R) B"}
    return said | {"steps": 1000 + seed, "images": 10, "seconds": 60.4, "miou_dataset": score} | more


@pytest.fixture
def root(tmp_path):
    runs = [
        run("peer", 8, 0, 0.2),
        run("ours", 16, 0, 0.9),
        run("ours", 8, 0, 0.7),
        run("ours", 8, 2, 0.8),
        run("ours", 8, 0, 0.4, part="0006R0"),
        run("ours", 8, 1, 0.1, cpu="C"),
    ]
    (tmp_path / "results").mkdir()
    (tmp_path / "results/camvid_minutes.json").write_text(json.dumps({"schema": 1, "runs": runs}))
    return tmp_path


def test_a_row_has_the_seeds_of_one_setting_and_one_cpu(root):
    """Mean and standard deviation of .7 and .8 are .75 and .0707."""
    told = minutes_page.parts(root)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in told["camvid-minutes"].splitlines()[2:]]
    assert [row[1:3] + row[6:] for row in rows] == [
        ["8", "CamVid's val part", "0.750 ± 0.071 (n = 2)", "A(R) B"],
        ["8", "CamVid's val part", "0.100 (n = 1)", "C"],
        ["16", "CamVid's val part", "0.900 (n = 1)", "A(R) B"],
        ["8", "0006R0, held out", "0.400 (n = 1)", "A(R) B"],
        ["8", "CamVid's val part", "0.200 (n = 1)", "A(R) B"],
    ]
    assert rows[0][3:6] == ["60", "1,000 to 1,002", "10"]
    assert "| 16 |" not in told["proof"]
    assert len(told["proof"].splitlines()) == 2 + 4


def test_the_other_page_has_the_cpu_with_most_runs(root):
    found = which_page.read_minutes(root)
    assert [run["miou_dataset"] for run in found["ours", which_page.OFFICIAL]] == [0.7, 0.8]
    assert list(found) == [
        ("ours", which_page.OFFICIAL),
        ("ours", "the sequence 0006R0"),
        ("peer", which_page.OFFICIAL),
    ]


def test_the_figure_has_a_dot_for_each_run_and_joins_means(root):
    (svg,) = (ElementTree.fromstring(text) for text in minutes_page.figures(root).values())
    (line,) = svg.iter(f"{SVG}polyline")
    (x8, y8), (x16, y16) = (map(float, point.split(",")) for point in (line.get("points") or "").split())
    dots = {(float(dot.get("cx") or 0), float(dot.get("cy") or 0)) for dot in svg.iter(f"{SVG}circle")}
    assert len(dots) == 6
    assert x8 < x16
    assert (x16, y16) in dots
    same = [y for x, y in dots if x == x8]
    low, high = sorted(same)[:2]
    assert y8 == pytest.approx((low + high) / 2, abs=0.11)  # .75, between .8 and .7
    labels = {text.text for text in svg.iter(f"{SVG}text")}
    assert {"8", "16", "the defaults; CamVid's val part; A B 0.900"} <= labels


def test_the_page_and_the_figure_are_of_the_record():
    """If this fails: python docs/generate.py"""
    for place, text in minutes_page.figures().items():
        assert place.read_text(encoding="utf-8") == text
