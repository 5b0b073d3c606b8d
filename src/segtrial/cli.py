"""Words on a command line -> a verb of `segtrial.api`, its result in print, and an exit code.

    0  done                                  2  the user's input is at fault; the message names it and the fix
    3  done, but some inputs were skipped    1  our fault
    130, 143  interrupted by Ctrl-C or SIGTERM; the same command continues

Nothing here loads torch before a verb runs: help must come at once.
"""

import json
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.main import get_command

from segtrial import (
    cli_compare,
    cli_data,
    cli_explain,
    cli_export,
    cli_fit,
    cli_hub,
    cli_inspect,
    cli_metric,
    cli_predict,
    cli_recipe,
    cli_report,
    cli_serve,
    cli_tune,
)
from segtrial.errors import DataError, Interrupted, RecipeError, UserError

OURS, USERS = 1, 2

FIRST_THE_BATCH = "Train with --fit-batch; then --find-lr --recipe RUN with another --out has its batches"

app = typer.Typer(
    name="segtrial",
    help="Train, compare, explain and ship networks that answer for every pixel.\n\n"
    "Start with segtrial demo; then with your own folder: segtrial inspect FOLDER.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich would cost half of the time that help may take
    pretty_exceptions_enable=False,
)
app.add_typer(cli_recipe.app, name="recipe", short_help="Explain, check and describe recipes.")
app.add_typer(cli_data.app, name="data", short_help="List public data sets, and fetch them.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Model = Annotated[
    Path, typer.Argument(help="A run folder, a model file, or owner/name on the hub.", show_default=False)
]


@app.callback()
def _options(
    traceback: Annotated[bool, typer.Option("--traceback", help="If Segtrial fails, show where in the code.")] = False,
) -> None:
    """`main` reads it: it must know before a command line is understood."""


@app.command(short_help="Do everything once, on generated street scenes.", epilog="Example: segtrial demo")
def demo(
    out: Annotated[Path, typer.Option(help="Where the run, its pictures and its report go.")] = Path("demo"),
    minutes: Annotated[float, typer.Option(help="How long to train.")] = 2.5,
) -> None:
    """Do everything once, on generated street scenes.

    Trains, scores, predicts and writes a report, in minutes on two CPU cores.
    """
    from segtrial import console

    with console.loading():
        from segtrial import cli_demo
    with console.watching() as watch:
        cli_demo.run(out, minutes, watch)


app.command(
    short_help="Say what a folder is, and what is wrong with it.",
    epilog="Example: segtrial inspect photos --write data.yaml",
)(cli_inspect.inspect)


@app.command(
    short_help="Train a network on a folder of images and masks.",
    epilog="Example: segtrial train --data photos --minutes 8 --out runs/first. "
    "On several GPUs: torchrun --nproc-per-node 2 -m segtrial train ...",
)
def train(
    recipe_file: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="The recipe, as --recipe.", show_default=False)
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="segmentation (the default), binary, multilabel, classification, or colorization, colorization_rgb, "
            "colorization_bins.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="NAME or NAME:option=value,... (see `segtrial models`). Default: compact.", show_default=False
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A folder, a data.yaml, an .npz file, or toytown.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option(help="The run folder, new or to be continued.", show_default=False)] = ...,  # type: ignore[assignment]
    epochs: Annotated[float | None, typer.Option(help="Budget in passes over the data.", show_default=False)] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in steps.", show_default=False)] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in time. Default: 10.", show_default=False)] = None,
    seed: Annotated[
        int | None, typer.Option(help="Decides every random choice. Default: 0.", show_default=False)
    ] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A model or run of yours to start from. Default: random weights.", show_default=False
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field of the recipe: optimizer.lr=0.01. May be repeated."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="A recipe file (YAML), a preset (quick, thorough, ...) or a run folder.", show_default=False),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of the recipe file's budgets: small, paper, ...", show_default=False),
    ] = None,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Only try learning rates, on a network thrown away, and suggest one.")
    ] = False,
    fit_batch: Annotated[
        bool, typer.Option("--fit-batch", help="Take the largest batches that fit the memory, found by trying.")
    ] = False,
) -> None:
    """Train a network on a folder of images and masks, of images sorted into classes, or of colour photos.

    Ends with its scores, one model file, and a report. The same command again continues a killed run, and does
    nothing to a finished one.
    """
    if recipe is not None and recipe_file is not None:
        raise RecipeError(f"{recipe_file} and --recipe {recipe}", "two recipes", "Give one of them")
    base = recipe if recipe is not None else recipe_file
    if data is None and base is None:
        fix = "Name a folder of images and masks, or --data toytown for generated ones"
        raise DataError("--data", "not given", fix)
    if find_lr and fit_batch:
        raise RecipeError("--find-lr and --fit-batch", "two trials at once", FIRST_THE_BATCH)
    from segtrial import console

    with console.loading():
        from segtrial import api, ranks

    asked = {"task": task, "seed": seed, "start": start, "recipe": base, "budget": budget, "settings": settings or ()}
    with console.watching() as watch:
        if find_lr:
            test = api.find_lr(model, data, out, **asked, watch=watch)
        else:
            length = {"epochs": epochs, "steps": steps, "minutes": minutes}
            run = api.train(model, data, out, **length, **asked, fit_batch=fit_batch, watch=watch)
    if not ranks.is_first_launched():  # the others have neither scores nor a say
        return
    if find_lr:
        console.print_rate_test(test, out)
    else:
        console.print_run(run.evaluation, run.path)


@app.command(
    short_help="Score a model on images whose masks are known.",
    epilog="Example: segtrial evaluate runs/first --split val --json",
)
def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="A folder of images and masks. Default: the run's own.", show_default=False)
    ] = None,
    split: Annotated[str, typer.Option(help="The part to score: train, val, test, or all of them.")] = "val",
    extras: Annotated[
        bool, typer.Option("--extras", help="Also the calibration error and the boundary F-score.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Score a model on images whose masks are known.

    Prints each score with its interval and its definition, and a line for each class.
    """
    from segtrial import console

    with console.loading():
        from segtrial import api

    with console.watching() as watch:
        result = api.evaluate(model, data, split, extras=extras, device=device, watch=watch)
    if as_json:
        _print_json(result)
    else:
        console.print_evaluation(result)


app.command(
    short_help="Answer for every pixel of other images.",
    epilog="Example: segtrial predict runs/first photos/new --out answers. "
    "Exit code 3 if some images could not be read.",
)(cli_predict.predict)
app.command(
    short_help="Show why a model answers as it does.",
    epilog="Example: segtrial explain runs/first photo.png --out why. Exit code 3 if some could not be read.",
)(cli_explain.explain)
app.command(
    short_help="Make a model's confidence believable.", epilog="Example: segtrial calibrate runs/first --split val"
)(cli_explain.calibrate)
app.command(short_help="Say what the curves of a run mean.", epilog="Example: segtrial fit runs/first --one-batch")(
    cli_fit.fit
)
app.command(
    short_help="Say which variant is better, and how surely.",
    epilog="Example: segtrial compare trial.yaml --out trials/first --workers 2",
)(cli_compare.compare)
app.command(
    short_help="Search for the best settings of a recipe.",
    epilog="Example: segtrial tune search.yaml --trials 30 --out searches/first",
)(cli_tune.tune)
app.command(
    short_help="Put finished runs together on one page.",
    epilog="Example: segtrial report runs/unet-* runs/segnet-* --out reports/first",
)(cli_report.report)
app.command(
    short_help="Write a model as a file for another engine, proved.",
    epilog="Example: segtrial export runs/first --out model.onnx",
)(cli_export.export)
app.command(short_help="Answer over HTTP, with a page for the browser.", epilog="Example: segtrial serve runs/first")(
    cli_serve.serve
)
app.command(
    short_help="Publish a model on the Hugging Face hub.",
    epilog="Example: segtrial push runs/first me/street --license apache-2.0",
)(cli_hub.push)
app.command(
    "explain-metric",
    short_help="Say why another tool prints another mean IoU.",
    epilog="Example: segtrial explain-metric answers/ --data camvid",
)(cli_metric.explain_metric)


@app.command(
    short_help="List the networks, or say everything about one.",
    epilog="Example: segtrial models unet:encoder=resnet34 --size 360x480",
)
def models(
    name: Annotated[
        str | None, typer.Argument(help="Only this one, with options as in --model.", show_default=False)
    ] = None,
    size: Annotated[str, typer.Option(help="Height x width in pixels that costs are counted at.")] = "360x480",
    classes: Annotated[int, typer.Option(help="Number of classes that parameters are counted with.")] = 11,
    as_json: Json = False,
) -> None:
    """List the networks, or say everything about one.

    Of each: parameters, defaults and paper. Of one: what differs from its paper, every option, and what an image
    costs in multiply-adds and memory.
    """
    from segtrial import console
    from segtrial import models as networks

    if name is None:
        described = [networks.describe(each, classes=classes) for each in networks.names()]
    else:
        described = [networks.describe(name, _size(size), classes)]
    if as_json:
        _print_json({"schema": 1, "models": described})
    elif name is None:
        console.print_models(described, classes)
    else:
        console.print_model(described[0], classes)


def _size(text: str) -> tuple[int, int]:
    """ "360x480" -> (360, 480)."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[xX*]\s*(\d{1,5})\s*", text)
    if not found or "0" in (found[1], found[2]):
        raise RecipeError("--size", repr(text), "Write height x width in pixels: --size 360x480")
    return int(found[1]), int(found[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (this process's by default); returns its exit code and never raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _terminable():
            get_command(app).main(words, prog_name="segtrial")
    except SystemExit as ending:  # typer ends this way, also when all went well, and turns Ctrl-C into 130
        if isinstance(ending.__context__, BrokenPipeError):  # `segtrial models | head`: nobody reads on
            return 128 + signal.SIGPIPE
        code = ending.code if isinstance(ending.code, int) else 0
        return _interrupted(words, signal.SIGINT) if code == 128 + signal.SIGINT else code
    except Interrupted as stop:
        return _interrupted(words, stop.signal)
    except UserError as error:
        _say(f"segtrial: {error}")
        return USERS
    except Exception as fault:
        if _memory_ended(fault):
            fix = "Choose a smaller network, smaller images, or another --device"
            _say(f"segtrial: {str(fault).splitlines()[0]:.200}. {fix}")
            return USERS
        _say(_confession(fault, shown="--traceback" in words))
        return OURS
    return 0


def _memory_ended(fault: Exception) -> bool:
    """Whether the machine had no memory left, where nobody foresaw it; said without loading torch."""
    said = type(fault).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(fault)
    return said or isinstance(fault, MemoryError)


def _interrupted(words: Sequence[str], number: int) -> int:
    """Say how to go on; the exit code."""
    _say(f"segtrial: interrupted. The same command continues:\n  {shlex.join(['segtrial', *words])}")
    return 128 + number


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends any verb like Ctrl-C does; training has a gentler way of its own (`segtrial.signals`)."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _confession(fault: Exception, *, shown: bool) -> str:
    """What to say of an exception that nobody foresaw, its traceback shown or put into a file."""
    import tempfile
    import traceback

    details = "".join(traceback.format_exception(fault))
    said = f"segtrial: {type(fault).__name__}: {fault}\nThis is a fault of Segtrial, not of your input."
    if shown:
        return f"{details}{said}"
    with tempfile.NamedTemporaryFile("w", prefix="segtrial-", suffix=".txt", delete=False, encoding="utf-8") as file:
        file.write(details)
    return f"{said} Please report it with {file.name}, which says where in the code."


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
