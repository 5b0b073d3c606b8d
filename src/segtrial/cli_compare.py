"""FILE -> a comparison, run or continued: `segtrial compare`, its plan, its table and its verdicts."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

FAILED = 3
"""The exit code where some runs failed; they are listed."""


def compare(
    file: Annotated[Path, typer.Argument(help="YAML with base, variants and seeds.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The comparison's folder, new or to be continued.", show_default=False)],
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs at a time. Default: one for each GPU; else what the cores hold at base's threads, or one.",
            show_default=False,
        ),
    ] = None,
    on: Annotated[
        str, typer.Option(help="Where the runs are: local, ray (a Ray cluster) or slurm (array jobs).")
    ] = "local",
    sbatch: Annotated[
        str,
        typer.Option(metavar="OPTIONS", help='For Slurm: "--partition=gpu --time=2:00:00".', show_default=False),
    ] = "",
    budget: Annotated[
        str | None, typer.Option(metavar="NAME", help="One of FILE's budgets: small, paper, ...", show_default=False)
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be done and what it would cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Train variants of a recipe on the same seeds and say which is better, how surely, or that nobody can tell yet.

    FILE holds `base` (a recipe's fields), `variants` (name: the fields it changes) and `seeds`. The same command again
    continues a killed comparison. Variants and seeds may be added; finished runs are kept. Exit code 3 if some failed.
    """
    from segtrial import console

    with console.loading():
        from segtrial import api

    with console.watching() as watch:
        told = api.compare(file, out, budget=budget, workers=workers, on=on, sbatch=sbatch, plan=plan, watch=watch)
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    elif plan:
        print("\n".join(_planned(told)))
    else:
        from segtrial.comparison import training_seconds

        print("\n".join([*lines(told, out, training_seconds(out)), *_more_seeds(told, file)]))
    if not plan and told["failures"]:
        raise typer.Exit(FAILED)


def _planned(told: Mapping[str, Any]) -> Iterator[str]:
    from segtrial.comparison import words
    from segtrial.reports.wording import plain

    yield from map(plain, words.plan(told))
    if told.get("script"):
        yield f"\n{told['script']}"


def _more_seeds(told: Mapping[str, Any], file: Path) -> Iterator[str]:
    """How to go on where more seeds would tell."""
    if any(pair["verdict"] == "cannot tell" and pair["seeds_needed"] for pair in told["pairs"]):
        yield f"\nNext    raise seeds in {file} and give the same command again: finished runs are kept"


def lines(told: Mapping[str, Any], out: Path, seconds: Mapping[str, float]) -> Iterator[str]:
    """The result for people: a table of the variants, a sentence for each pair, and whatever a reader must know."""
    from segtrial.comparison import RESULT
    from segtrial.reports import comparison_tables, tables
    from segtrial.reports.wording import plain

    rows = [_row(variant, seconds) for variant in comparison_tables.ordered(told)]
    yield from tables.plain_lines(("variant", told["score"], "runs", "parameters", "a run"), rows)
    yield ""
    for pair in told["pairs"]:
        yield plain(pair["sentence"])
    for failure in told["failures"]:
        yield plain(f"failed: {failure['name']}: {failure['message']}")
    yield from map(plain, told["notes"])
    if (out / RESULT).exists():
        yield f"\nResult  {out / RESULT}"
        yield f"Page    {out / 'comparison.html'}"


def _row(variant: Mapping[str, Any], seconds: Mapping[str, float]) -> tuple[str, ...]:
    from segtrial.comparison.words import duration
    from segtrial.reports import wording

    score = wording.score(variant["mean"])
    score += f" \N{PLUS-MINUS SIGN} {wording.score(variant['sd'])}" if variant["sd"] is not None else ""
    took = duration(seconds[variant["name"]]) if variant["name"] in seconds else wording.DASH
    return variant["name"], score, str(variant["n"]), wording.count(variant["parameters"]), took
