"""An evaluation in, lines for a terminal out: tables where a person watches, plain text where a program reads."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from segtrial.reports import wording

Rows = Sequence[Sequence[str]]

CLASS_HEAD = ("class", "IoU", "Dice", "precision", "recall")


def show(evaluation: Mapping[str, Any], console: Console) -> None:
    """Print the scores with their intervals and what they are compared with, then the classes if there are any."""
    number = evaluation["n_images"]
    _line(console, f"{evaluation['split']}: {wording.count(number)} image{'' if number == 1 else 's'}")
    head = score_head(evaluation)
    _rows(console, head, score_rows(evaluation), numbers=(1, *range(3, len(head) - 1)))
    unit = "images" if evaluation.get("task") == "classification" else "pixels"
    if evaluation.get("reason"):
        _line(console, f"No interval: {evaluation['reason']}.")
    if evaluation["per_class"]:
        _line(console, wording.counted(unit))
        _line(console, "")
        _rows(console, (*CLASS_HEAD, unit), class_rows(evaluation), numbers=(1, 2, 3, 4, 5))


def score_head(evaluation: Mapping[str, Any]) -> tuple[str, ...]:
    """The columns of the scores: photos that a network colours are compared with grey and with the mean colour."""
    compared = (name.replace("_", " ") for name in evaluation.get("baselines", {}))
    return ("score", "value", "95 % interval", *compared, "what it is")


def score_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name, value, interval, baselines and the gist of the definition of each score; --json has the rest."""
    baselines = evaluation.get("baselines", {}).values()
    return [
        (
            name,
            wording.score(value),
            wording.interval(evaluation["intervals"][name]),
            *(wording.score(scores[name]) for scores in baselines),
            wording.plain(_gist(evaluation["definitions"][name])),
        )
        for name, value in evaluation["scores"].items()
    ]


def _gist(definition: str) -> str:
    """What stands before the first semicolon that is in no parentheses."""
    return re.split(r";(?![^(]*\))", definition)[0].rstrip(".")


def class_rows(evaluation: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Name and scores of each class, in class order; what is undefined is a dash."""
    fields = ("iou", "dice", "precision", "recall")
    return [
        (wording.plain(row["name"]), *(wording.score(row[field]) for field in fields), wording.count(row["support"]))
        for row in evaluation["per_class"]
    ]


def plain_lines(head: Sequence[str], rows: Rows) -> list[str]:
    """Columns padded with blanks, two between them: the same text on every system."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in (head, *rows)]
    return ["  ".join(row).rstrip() for row in padded]


def _line(console: Console, text: str) -> None:
    console.print(wording.plain(text), markup=False, highlight=False, soft_wrap=True)


def _rows(console: Console, head: Sequence[str], rows: Rows, *, numbers: Sequence[int]) -> None:
    if console.is_terminal:
        console.print(_table(head, rows, numbers))
        return
    for line in plain_lines(head, rows):
        _line(console, line)


def _table(head: Sequence[str], rows: Rows, numbers: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for column, name in enumerate(head):
        table.add_column(name, justify="right" if column in numbers else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Text: a class called [red] is a name, not markup
    return table
