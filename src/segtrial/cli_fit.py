"""RUN -> what its curves say: `segtrial fit`, and the object that `--json` prints."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from segtrial.training import Watch

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
    from segtrial import console

    with console.watching() as watch:
        told = examined(run, one_batch=one_batch, untouched=untouched, watch=watch)
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(_lines(told, asked=one_batch or untouched)))


def examined(
    run: Path, *, one_batch: bool = False, untouched: bool = False, watch: "Watch | None" = None
) -> dict[str, Any]:
    """The diagnosis of a run folder, schema 1; raises UserError if it is none, or if its data are needed and gone."""
    from segtrial import fitdoctor
    from segtrial.reports import records

    record, heart, others = records.read(run), None, {}
    if untouched:
        from segtrial import api

        names = [name for name in record.plan["parts"] if name not in ("train", "val")]
        others = {name: api.evaluate(run, split=name, watch=watch) for name in names}
    if one_batch:
        from segtrial.recipe import from_tree
        from segtrial.training import probe

        heart = probe.learn_one_batch(from_tree(record.recipe, str(run)), watch=watch).to_json()
    found = fitdoctor.examine(record, one_batch=heart, untouched=others)
    return {"schema": 1, "run": str(run), "finished": record.finished, **found.to_json(), "one_batch": heart}


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
