"""A figure is one piece of SVG that asks nobody for anything, takes the page's colours, and repeats exactly."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from segtrial.reports import figures
from segtrial.reports.figures import TRAIN, VAL, Curve, Stretch

STRETCHES = [Stretch(0, 60, "64×96"), Stretch(60, 100, "96×128")]


def loss_figure(name="loss", words="Loss falls"):
    train = Curve("train", TRAIN, tuple(range(1, 101)), tuple(2 / step for step in range(1, 101)), noisy=True)
    val = Curve("val", VAL, (50, 100), (0.5, 0.25))
    return figures.draw(name, [train, val], STRETCHES, words)


def texts(svg):
    return [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg) if text]


def test_the_same_numbers_give_the_same_characters():
    assert loss_figure() == loss_figure()


def test_the_only_address_is_the_name_of_svg():
    assert set(re.findall(r"https?://[^\"' ]*", loss_figure())) == {"http://www.w3.org/2000/svg"}


def test_text_is_text_and_lines_are_labelled_at_their_ends():
    assert {"64×96", "96×128", "step", "val 0.250"} <= set(texts(loss_figure()))


def test_colours_come_from_the_page():
    svg = loss_figure()
    assert {"var(--train)", "var(--val)", "var(--ink)"} & set(re.findall(r"var\(--\w+\)", svg)) >= {
        "var(--train)",
        "var(--val)",
    }
    assert not re.findall(r"#0\d0\d0\d", svg)
    assert "DejaVu" not in svg


def test_ids_of_two_figures_differ_and_their_references_hold():
    loss, rate = loss_figure("loss"), loss_figure("rate")
    ids = [set(re.findall(r'\bid="([^"]+)"', svg)) for svg in (loss, rate)]
    assert not ids[0] & ids[1]
    for svg, known in zip((loss, rate), ids, strict=True):
        assert set(re.findall(r"(?:url\(|href=\")#([^)\"]+)", svg)) <= known


def test_the_description_is_for_those_who_do_not_see_and_cannot_break_out():
    words = 'train < val, "quoted" & more'
    root = ElementTree.fromstring(loss_figure(words=words))
    assert (root.get("aria-label"), root.get("role")) == (words, "img")


def test_steps_without_a_value_are_left_out():
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 3}]
    assert figures.curve("val", VAL, lines, "loss") == Curve("val", VAL, (1,), (2.0,))


def test_one_huge_value_does_not_hide_the_others():
    values = (1e6, *(1 / step for step in range(1, 50)))
    svg = figures.draw("loss", [Curve("train", TRAIN, tuple(range(50)), values, noisy=True)], STRETCHES, "")
    assert "1" in texts(svg)
    assert "100" in texts(svg)  # powers of ten: without a logarithm the ticks would be 200000, 400000, ...


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.5, 0.5), (-1.0, 2.0)], ids=str)
def test_flat_and_negative_curves_are_drawn(values):
    assert "<svg" in figures.draw("rate", [Curve("", TRAIN, (1, 2), values)], STRETCHES, "")


def test_labels_never_cover_each_other():
    placed = figures._apart([0.5, 0.49, 0.2, 0.505], gap=0.1)
    assert placed[2] == 0.2
    ordered = sorted(placed)
    assert all(above - below >= 0.1 - 1e-9 for below, above in pairwise(ordered))
    assert sorted(range(4), key=placed.__getitem__) == [2, 1, 0, 3]
