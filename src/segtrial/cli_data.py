"""Public data sets by name: `segtrial data list` shows them, `segtrial data get NAME` makes a folder of one."""

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, epilog="Example: segtrial data get penn_fudan")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@app.callback()
def _options() -> None:
    """List public data sets, and fetch them."""


@app.command("list", epilog="Example: segtrial data list --json")
def show(as_json: Json = False) -> None:
    """List the public sets that can be had by name: task, images, size of the download, licence."""
    from segtrial.data_sets import SETS

    if as_json:
        print(json.dumps({"schema": 1, "sets": [one.to_json() for one in SETS]}, indent=1))
        return
    print(f"{'name':<12} {'task':<15} {'images':>7} {'size':>8}  licence")
    for one in SETS:
        print(f"{one.name:<12} {one.task:<15} {one.images:>7} {_size(one.size):>8}  {one.licence}")
        print(f"{'':<12} {one.about}{'; to be fetched by hand' if one.by_hand else ''}")


@app.command(epilog="Example: segtrial data get oxford_pets --out pets, then segtrial train --data pets --out run")
def get(
    name: Annotated[str, typer.Argument(help="One of `segtrial data list`.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="The folder to make. Default: data/NAME.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a public set, check it and unpack it into a folder to train on.

    The same command again continues a download that was cut or killed, and does nothing to a whole folder. Without
    a network it says which files to put where; files put there are checked and taken.
    """
    from segtrial import console, data_sets
    from segtrial.data.cache import default_cache

    wanted = data_sets.find(name)
    folder = out if out is not None else Path("data") / name
    with console.watching() as watch:
        made = data_sets.get(wanted, folder, watch.bar, default_cache() / "downloads")
    if as_json:
        print(json.dumps({"schema": 1, "name": name, "folder": str(folder), "made": made}, indent=1))
    else:
        print(f"{folder}: {name}{'' if made else ', as it was already'}. Licence: {wanted.licence}")
        print(f"Cite: {wanted.citation}")


def _size(size: int | None) -> str:
    """ "51 MB": in millions of bytes; "?" if unknown."""
    return "?" if size is None else f"{size / 1e6:.0f} MB"
