"""RUN -> what its curves say: `segtrial fit`, and the object that `--json` prints."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

WIDTH = 100
"""Columns of a sentence."""


def fit(
    run: Annotated[Path, typer.Argument(help="A run folder, finished or not.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
    one_batch: Annotated[
        bool, typer.Option("--one-batch", help="Also test for a minute if one batch can be learnt by heart.")
    ] = False,
    untouched: Annotated[
        bool, typer.Option("--untouched", help="Also score the parts besides train and val, and compare val with them.")
    ] = False,
) -> None:
    """Say what the curves of a run mean and what to do.

    Overfitting, a wrong learning rate, too small a budget, classes that are missing: each with the figures behind it.
    """
    from segtrial import api_fit, console

    with console.watching() as watch:
        told = api_fit.fit(run, one_batch=one_batch, untouched=untouched, watch=watch)
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(_lines(told, asked=one_batch or untouched)))


def _lines(told: dict[str, Any], *, asked: bool) -> Iterator[str]:
    """The findings for people; the notes only where more was asked for, since they answer that."""
    from segtrial.reports import wording

    rows = [(finding["severity"], finding["message"]) for finding in told["findings"]]
    rows += [("note", note) for note in told["notes"] if asked]
    if not told["findings"]:
        rows.insert(0, ("healthy", "Nothing in the curves, the scores and the classes stands out."))
    for label, text in rows:
        first, rest = f"{label:<9}", " " * 9
        yield textwrap.fill(wording.plain(text), WIDTH, initial_indent=first, subsequent_indent=rest)
