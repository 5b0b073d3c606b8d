"""FILE -> a search, run or continued: `segtrial tune`, its table and what the best recipe is worth."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

FAILED = 3
"""The exit code where nothing could be chosen, or where runs of the best recipe failed; they are listed."""

SHOWN = 5
"""Trials in the table: the best ones."""


def tune(
    file: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="YAML with base and ranges, a plain recipe, or a preset.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The search's folder, new or to be continued.", show_default=False)],
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Settings tried in all. Default: what the file says, else 20.", show_default=False),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time, each in a process of its own.")] = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            help="A journal file, or a URL such as postgresql://user@host/db. Default: study.db in the folder.",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of the file's budgets: small, paper, ...", show_default=False),
    ] = None,
    no_final: Annotated[bool, typer.Option("--no-final", help="Leave the held-out part closed: only search.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Search for the best settings of a recipe, and say what they are worth on images that the search never saw.

    RECIPE holds `base` (a recipe's fields) and `ranges` (field: {low, high} or a list). Trials are scored on a part
    carved from train; the best recipe is then trained again and scored once on val. The same command again continues
    a killed search, and in several shells at once it shares the trials. Exit code 3 if nothing could be chosen, or a
    run at the end failed.
    """
    from segtrial import api, console

    with console.watching() as watch:
        told = api.tune(
            file, out, trials=trials, storage=storage, workers=workers, budget=budget, final=not no_final, watch=watch
        )
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(lines(told, out)))
    if told["best"] is None or told["failures"]:
        raise typer.Exit(FAILED)


def lines(told: Mapping[str, Any], out: Path) -> Iterator[str]:
    """The result for people: the best trials, what was chosen, and what it is worth."""
    from segtrial.reports import tables
    from segtrial.reports.tuning_report import words
    from segtrial.reports.wording import plain, score
    from segtrial.tuning.result import worth

    counts = ", ".join(f"{number} {state}" for state, number in told["counts"].items() if number)
    yield f"{len(told['trials'])} trials: {counts}."
    best = sorted((one for one in told["trials"] if one["score"] is not None), key=lambda one: -one["score"])[:SHOWN]
    rows = [(str(one["number"]), score(one["score"]), *words(one["setting"]).values()) for one in best]
    if rows:
        yield from map(plain, tables.plain_lines(("trial", told["score"], *told["ranges"]), rows))
        yield ""
        yield f"Chosen  trial {told['best']['number']}, by {told['score']} {told['best']['score']:.4f}"
        yield plain(worth(told))
    for failure in told["failures"]:
        yield plain(f"failed: {failure['name']}: {failure['message']}")
    yield from map(plain, told["notes"])
    if rows:
        yield f"\nRecipe  {out / 'best.yaml'}"
    yield f"Page    {out / 'tuning.html'}"
