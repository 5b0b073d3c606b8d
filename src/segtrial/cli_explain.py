"""MODEL and IMAGES -> pages that say why it answers so: `segtrial explain`; its temperature: `segtrial calibrate`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from segtrial.errors import RecipeError, several

SKIPPED = 3
"""The exit code where some pictures were skipped."""


def explain(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a model file, or owner/name on the hub.", show_default=False)
    ],
    images: Annotated[
        list[str] | None,
        typer.Argument(
            help="Pictures, folders, globs, lists, as for predict. Default: the worst images of the run's val part.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the pages go.", show_default=False)] = ...,  # type: ignore[assignment]
    data: Annotated[
        str | None,
        typer.Option(help="Images and masks: pictures among them are shown with their errors.", show_default=False),
    ] = None,
    split: Annotated[str, typer.Option(help="The part whose worst images are explained.")] = "val",
    worst: Annotated[int, typer.Option(help="How many of them.", min=1)] = 6,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            metavar="NAME",
            help="A class to ask about; may be repeated. Default: the three commonest of the answer, and the largest "
            "mistake.",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="L,T,R,B",
            help="Ask about the class there: left, top, right, bottom in pixels. Default: where it is answered.",
            show_default=False,
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="The layer whose maps Grad-CAM weighs. Default: the encoder's last map.", show_default=False),
    ] = None,
    patch: Annotated[
        int | None,
        typer.Option(
            help="Side in pixels of the patch that hides parts. Default: an eighth of the image.", show_default=False
        ),
    ] = None,
    most_side: Annotated[
        int | None,
        typer.Option(help="Shrink images whose longer side has more pixels. Default: 1024.", show_default=False),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Show why a model answers as it does, a page for each image.

    The answer, how sure it is and where it is wrong; which parts of the image speak for a class (Seg-Grad-CAM, and
    what happens where a patch hides them); what changes without one band of the image.
    """
    from segtrial import console

    with console.loading():
        from segtrial import api
    from segtrial.reports import wording

    box = None if region is None else _numbers(region)
    with console.watching() as watch:
        told = api.explain(
            model, images or (), out, data=data, split=split, worst=worst, classes=classes or (), region=box,
            layer=layer, patch=patch, most_side=most_side, device=device, watch=watch,
        )  # fmt: skip
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(_pages(told)))
    for one in told["skipped"]:
        typer.echo(f"skipped {wording.plain(one['path'])}: {wording.plain(one['reason'])}", err=True)
    if told["skipped"]:
        raise typer.Exit(SKIPPED)


def calibrate(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a model file, or owner/name on the hub.", show_default=False)
    ],
    data: Annotated[
        str | None, typer.Option(help="Images and masks. Default: the run's own.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="The part to fit to; not the one it was trained on.")] = "val",
    out: Annotated[
        Path | None, typer.Option(help="Write another model file. Default: into the model's own.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Make a model's confidence believable: of the pixels it is 70 % sure of, 70 % should be right.

    Fits one number, the temperature, that all scores are divided by before they become probabilities, and stores it in
    the model file. Answers stay the same; predict, evaluate, explain, export and serve use it.
    """
    from segtrial import console

    with console.loading():
        from segtrial import api

    with console.watching() as watch:
        told = api.calibrate(model, data, split, out=out, device=device, watch=watch)
    if as_json:
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print("\n".join(_fitted(told)))


def _numbers(text: str) -> list[int]:
    """ "10,20,30,40" -> [10, 20, 30, 40]."""
    if not re.fullmatch(r"\s*\d{1,7}(\s*,\s*\d{1,7}){3}\s*", text):
        raise RecipeError("--region", repr(text), "Give left,top,right,bottom in pixels: --region 10,20,110,80")
    return [int(number) for number in text.split(",")]


def _pages(told: dict[str, Any]) -> Iterator[str]:
    yield f"{several(len(told['images']), 'image')} explained: open {told['index']} in a browser"
    calibration = told["calibration"]
    if calibration is not None and calibration["ece"] is not None:
        error = f"{calibration['ece']:.4f} at temperature {told['temperature']:.3g}"
        yield f"Calibration error of {calibration['of']}: {error}, how far confidence is from the share that is right"
        if told["temperature"] == 1:
            yield "`segtrial calibrate` with the same model makes it smaller and changes no answer."


def _fitted(told: dict[str, Any]) -> Iterator[str]:
    from segtrial.reports.wording import count

    yield f"temperature {told['temperature_before']:.4g} -> {told['temperature']:.4g}, stored in {told['model']}"
    yield f"fitted to {count(told['n_pixels'])} pixels of {told['n_images']} images of the {told['split']} part"
    yield "\n                                    before    after"
    rows = [("on these images", told["before"], told["after"])]
    if told["held_out"]:
        pair = told["held_out"]
        rows.append((f"held out ({told['folds']} folds of groups)", pair["before"], pair["after"]))
    for words, before, after in rows:
        yield f"{words:<30} ECE {before['ece']:8.4f} {after['ece']:8.4f}"
        yield f"{'':<30} NLL {before['nll']:8.4f} {after['nll']:8.4f}"
    if told["reason"]:
        yield f"\nNothing is held out: {told['reason']}."
