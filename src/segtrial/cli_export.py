"""MODEL and DATA -> a file for another engine, proved on these images: `segtrial export`, in words or as JSON."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from segtrial.errors import several

USERS = 2
"""The exit code where a file loses too much to be written."""


def export(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a model file, or owner/name on the hub.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The file: .onnx, .xml (and .bin beside it) or .pt2.", show_default=False)],
    form: Annotated[
        str, typer.Option("--format", help="onnx (ONNX Runtime and others), openvino, or torch (torch.export).")
    ] = "onnx",
    data: Annotated[
        str | None,
        typer.Option(
            help="The images and masks that prove the file: its val part. Default: the run's own.", show_default=False
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="fp32; bf16 (openvino); int8 (onnx, openvino), with ranges from the train part.")
    ] = "fp32",
    most_loss: Annotated[float, typer.Option(help="Points of mIoU that the file may lose and still be written.")] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Write the file whatever it loses.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Write a model as a file for another engine, and prove what it keeps.

    The whole network goes in: images of any size and number in, scores of that size out; normalisation, padding and
    class table inside. The val part is run through the file and through torch. A file that loses too much is not
    written (exit code 2).
    """
    from segtrial import console

    with console.loading():
        from segtrial import api

    with console.watching() as watch:
        told = api.export(
            model, data, out, format=form, precision=precision, most_lost=most_loss, force=force, watch=watch
        )
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(_lines(told)))
    if not told["written"]:
        print(f"segtrial: {_refusal(told)}", file=sys.stderr)
        raise typer.Exit(USERS)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    """The proof for people."""
    from segtrial.reports import wording

    before, after = told["miou_before"], told["miou_after"]
    yield f"{told['format']}, {told['precision']}, {wording.megabytes(told['bytes'])}: " + " and ".join(told["files"])
    yield f"\nmIoU of {told['n_images']} images   {wording.score(before)} by torch, {wording.score(after)} by the file"
    yield f"difference         {_difference(told)}"
    yield f"same answer        {told['argmax_agreement']:.4%} of the pixels"
    yield f"largest difference {told['largest_difference']:.2g} of any score"
    times = told["milliseconds"]
    faster = f"{told['latency_ratio']:.2f} times as fast ({several(told['threads'], 'thread')})"
    yield f"an image takes     {times['exported']:.1f} ms, in torch {times['torch']:.1f}: {faster}"


def _difference(told: dict[str, Any]) -> str:
    """ "-0.12 points (95 % interval -0.30 to 0.05)": of the file, in hundredths of mIoU."""
    if told["difference"] is None:
        return "undefined: no class occurs"
    points = f"{100 * told['difference']:+.2f} points"
    found = told["interval"]
    if found is None:
        return f"{points} (no interval: {told['reason']})"
    return (
        f"{points} (95 % interval {100 * found['low']:+.2f} to {100 * found['high']:+.2f}, {found['n_blocks']} blocks)"
    )


def _refusal(told: dict[str, Any]) -> str:
    return (
        f"{told['files'][0]}: not written, since its mIoU is off by {_difference(told)} and may fall by "
        f"{told['most_loss']:g}. Choose another --precision or --format, or write it all the same: --force"
    )
