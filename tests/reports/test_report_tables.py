"""A terminal gets tables, a pipe gets plain lines; both say every score with its definition."""

import io

import pytest
from rich.console import Console

from segtrial.reports import tables

EVALUATION = {
    "split": "val",
    "n_images": 14,
    "scores": {"miou_dataset": 0.6126, "pixel_accuracy": None},
    "intervals": {"miou_dataset": {"low": 0.58, "high": 0.64, "over": "blocks", "n_blocks": 7}, "pixel_accuracy": None},
    "reason": "the score is undefined",
    "definitions": {"miou_dataset": "mean over classes", "pixel_accuracy": "share of right pixels"},
    "per_class": [
        {
            "name": "[red]sky",
            "iou": 0.5,
            "dice": 2 / 3,
            "precision": 0.6,
            "recall": 0.75,
            "f1": 2 / 3,
            "support": 12345,
        },
        {
            "name": "pole\x1b[31m",
            "iou": None,
            "dice": None,
            "precision": None,
            "recall": None,
            "f1": None,
            "support": 0,
        },
    ],
}


def shown(*, terminal, evaluation=EVALUATION):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None, legacy_windows=False)
    tables.show(evaluation, console)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_every_score_is_said_with_interval_and_definition(terminal):
    text = shown(terminal=terminal)
    for words in ("miou_dataset", "0.613", "0.580 to 0.640", "mean over classes", "share of right pixels", "12,345"):
        assert words in text
    assert "No interval: the score is undefined." in text


@pytest.mark.parametrize("terminal", [True, False], ids=["terminal", "pipe"])
def test_names_are_names_and_not_markup_or_escapes(terminal):
    text = shown(terminal=terminal)
    assert "[red]sky" in text
    assert "\x1b[31m" not in text


def test_a_pipe_gets_a_line_for_each_score_in_columns():
    assert shown(terminal=False).splitlines()[:5] == [
        "val: 14 images",
        "score           value  95 % interval   what it is",
        "miou_dataset    0.613  0.580 to 0.640  mean over classes",
        "pixel_accuracy  –      none            share of right pixels",
        "No interval: the score is undefined.",
    ]


def test_colours_stand_beside_grey_and_the_mean_colour_and_have_no_classes():
    colors = {
        "task": "colorization",
        "split": "val",
        "n_images": 2,
        "scores": {"psnr": 21.5},
        "intervals": {"psnr": None},
        "definitions": {"psnr": "mean over photos; in dB"},
        "baselines": {"grey": {"psnr": 20.25}, "mean_color": {"psnr": None}},
        "per_class": [],
    }
    console = Console(file=io.StringIO(), force_terminal=False, width=120)
    tables.show(colors, console)
    assert console.file.getvalue().splitlines() == [
        "val: 2 images",
        "score  value   95 % interval  grey    mean color  what it is",
        "psnr   21.500  none           20.250  –           mean over photos",
    ]


COLORS = {
    "split": "val",
    "n_images": 3,
    "task": "colorization",
    "scores": {"psnr": 21.5},
    "intervals": {"psnr": None},
    "definitions": {"psnr": "in dB"},
    "per_class": [],
    "baselines": {"grey": {"psnr": 20.25}, "mean_color": {"psnr": None}},
}


def test_colours_are_shown_beside_the_baselines_and_have_no_classes():
    assert shown(terminal=False, evaluation=COLORS).splitlines() == [
        "val: 3 images",
        "score  value   95 % interval  grey    mean color  what it is",
        "psnr   21.500  none           20.250  –           in dB",
    ]


@pytest.mark.parametrize(("task", "unit"), [("classification", "images"), ("segmentation", "pixels")])
def test_classes_say_what_was_counted(task, unit):
    lines = shown(terminal=False, evaluation=EVALUATION | {"task": task}).splitlines()
    assert next(line for line in lines if line.startswith("class ")).split()[-1] == unit


def test_a_definition_ends_at_a_semicolon_outside_of_parentheses():
    told = {**EVALUATION, "definitions": {"miou_dataset": "Mean (of a: b; of c: d) of all; the rest is in --json."}}
    told |= {"scores": {"miou_dataset": 0.5}, "n_images": 1}
    said = shown(terminal=False, evaluation=told)
    assert "Mean (of a: b; of c: d) of all\n" in said
    assert ": 1 image\n" in said
    assert "TP: pixels of a class that are answered so" in said
