"""MODEL and IMAGES -> answers in a folder: `segtrial predict`, in a sentence or as one JSON object."""

import json
from pathlib import Path
from typing import Annotated

import typer

from segtrial.errors import RecipeError

SKIPPED = 3
"""The exit code where some pictures were skipped."""


def predict(
    model: Annotated[
        Path, typer.Argument(help="A run folder, a model file, or owner/name on the hub.", show_default=False)
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, .npy arrays, folders, globs, lists (a .txt with a name a line), - for a list on stdin.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the answers go.", show_default=False)],
    save: Annotated[
        str | None,
        typer.Option(
            help="What to write, with commas: labels, overlay, confidence, probabilities (.npz), polygons (GeoJSON and "
            "COCO), areas (CSV). Default: the first three.",
            show_default=False,
        ),
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Also write the answer drawn over the image.")] = True,
    confidence: Annotated[bool, typer.Option(help="Also write how sure the model is.")] = True,
    tile: Annotated[
        str, typer.Option(help="Cut large images into tiles: auto (beyond 2 megapixels), none, or a side in pixels.")
    ] = "auto",
    overlap: Annotated[
        int | None,
        typer.Option(help="Pixels that tiles share. Default: a quarter of a tile.", show_default=False),
    ] = None,
    tta: Annotated[
        str, typer.Option(help="Average several views: none, flip, d4 (flips and quarter turns), scales=0.75,1,1.25.")
    ] = "none",
    max_pixels: Annotated[
        int | None,
        typer.Option(help="Decode pictures of up to so many pixels. Default: 89 million.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Keep answers that are there already.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    on: Annotated[str, typer.Option(help="Who answers: local, or ray (the nodes of a Ray cluster).")] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a sentence.")] = False,
) -> None:
    """Answer for every pixel of some images.

    Writes a label PNG with a palette for each image, the answer drawn over the image, and how sure the model is. The
    same command again does what is left. Large images are answered tile by tile, in little memory.
    """
    from segtrial import console

    with console.loading():
        from segtrial import api

    if max_pixels is not None and max_pixels < 1:
        raise RecipeError("--max-pixels", str(max_pixels), "Choose the number of pixels of the largest picture")
    words = None if save is None else [word.strip() for word in save.split(",") if word.strip()]
    if words == []:
        raise RecipeError("--save", "nothing is named", "Name what to write: --save labels,areas")
    with console.watching() as watch:
        report = api.predict(
            model, images, out, overlay=overlay, confidence=confidence, save=words, tile=tile, overlap=overlap,
            tta=tta, max_pixels=max_pixels, resume=resume, device=device, on=on, watch=watch,
        )  # fmt: skip
    if as_json:
        skipped = [{"path": str(path), "reason": reason} for path, reason in report.skipped]
        done, kept = ([str(path) for path in paths] for paths in (report.done, report.kept))
        result = {"schema": 1, "out": str(out), "done": done, "kept": kept, "skipped": skipped}
        print(json.dumps(result, indent=1, allow_nan=False))
    else:
        console.print_prediction(report, out)
    if report.skipped:
        raise typer.Exit(SKIPPED)
