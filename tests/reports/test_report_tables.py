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


def shown(*, terminal):
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120, color_system=None, legacy_windows=False)
    tables.show(EVALUATION, console)
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
