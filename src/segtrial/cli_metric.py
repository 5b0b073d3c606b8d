"""Counts or pictures of answers -> everybody's mean IoU of them: `segtrial explain-metric`."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

WIDTH = 100
"""Columns of a sentence."""


def explain_metric(
    answers: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|COUNTS|FOLDER",
            help="A run folder, a counts/SPLIT.npz of one, or a folder of label pictures of any tool (with --data).",
            show_default=False,
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="The images and masks that label pictures answer to.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="The part that was answered.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Say why another tool prints another mean IoU: the same answers under the formula of each."""
    from segtrial import api, console

    with console.watching() as watch:
        told = api.explain_metric(answers, data, split, watch=watch)
    print(json.dumps(told, indent=1, allow_nan=False) if as_json else "\n".join(_lines(told)))


def _lines(told: dict[str, Any]) -> Iterator[str]:
    yield f"The same answers to {told['n_images']} images, {told['n_classes']} classes:\n"
    for row in told["definitions"]:
        value = "  NaN " if row["value"] is None else f"{row['value']:.4f}"
        yield from _wrapped(f"{value}  ", f"{row['tools']}.")
        yield from _wrapped(" " * 8, f"= {row['formula']}.")
    for reason in told["reasons"]:
        yield ""
        yield from _wrapped("why     ", reason)


def _wrapped(label: str, text: str) -> list[str]:
    from segtrial.reports.wording import plain

    return textwrap.wrap(
        plain(text), WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_on_hyphens=False
    )
