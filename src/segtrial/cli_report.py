"""RUNS -> a page that compares them: `segtrial report`, its table and its verdicts."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from segtrial.errors import RecipeError

FIX = "Write --name NAME=RUN, where RUN is one of the variant's runs"


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUNS...", help="Folders of train and of compare, or globs of such.", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option(help="The report's folder: new, or an earlier report.", show_default=False)],
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME=RUN", help="What to call the variant of that run. May be repeated."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="The part that is compared on. Default: what their comparison holds out, else val.", show_default=False
        ),
    ] = None,
    score: Annotated[
        str | None, typer.Option(help="What is compared. Default: the task's main score.", show_default=False)
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="The variant that the others are compared with. Default: all pairs.", show_default=False),
    ] = None,
    margin: Annotated[float, typer.Option(min=0, help="The smallest difference that matters.")] = 0.005,
    block_frames: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="So many frames of a video are one observation. Default: as in their comparison, or a group.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Put finished runs together on one page: which variant is better, how surely, or that nobody can tell.

    Runs of one recipe are one variant, whatever their seeds; variants are called by what differs between them. Runs
    with the same seed are paired. Nothing is trained, and the runs are left as they are.
    """
    from segtrial import api, cli_compare, console

    with console.watching() as watch:
        told = api.report(
            runs, out, names=_named(names or ()), split=split, score=score, baseline=baseline, margin=margin,
            block_frames=block_frames, watch=watch,
        )  # fmt: skip
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        from segtrial.comparison.cells import mean_seconds

        places = {name: [out / place for each in of.values() for place in each] for name, of in told["runs"].items()}
        print("\n".join(cli_compare.lines(told, out, mean_seconds(places))))


def _named(words: Iterable[str]) -> dict[str, str]:
    """ "NAME=RUN" -> the name and the run."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, run = word.partition("=")
        if not equals or not name or not run:
            raise RecipeError(f"--name {word}", "no NAME=RUN", FIX)
        if name in found:
            raise RecipeError(f"--name {word}", f"{name} is given twice", FIX)
        found[name] = run
    return found
