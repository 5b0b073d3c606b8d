"""DATA -> what it is and what is wrong with it: `segtrial inspect`, in sentences or as one JSON object."""

import json
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segtrial.errors import listing

if TYPE_CHECKING:
    from segtrial.inspection import Inspection
    from segtrial.inspection.finding import Finding
    from segtrial.inspection.labels import Judge, LabelCheck, Progress

WIDTH = 100
"""Columns of a sentence."""

FILES_SHOWN = 5
"""Files of a finding that are printed; `--json` has more."""

LABELS_SHOWN = 10
"""Images whose labels are printed, the most suspicious first; `--json` has all."""

USERS = 2
"""The exit code where a finding is an error."""


def inspect(
    data: Annotated[str, typer.Argument(help="A folder, a data.yaml, an .npz file, or toytown.", show_default=False)],
    write: Annotated[
        Path | None, typer.Option(help="Write the description that train reads, such as data.yaml.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Another source, such as test data: say which images are in both.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with pictures of every finding, such as page.html.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Let --write write over a file that is there.")] = False,
    models: Annotated[
        list[Path] | None,
        typer.Option(
            "--model",
            metavar="RUN",
            help="A run, or a model file, that judges the labels of images that it has not trained on. May be "
            "repeated: the runs of all folds judge every image.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of sentences.")] = False,
) -> None:
    """Say what a folder of images and masks is, and what is wrong with it.

    Every file is looked at, and every fault is named with the files and the fix. Exit code 2 if any is an error.
    """
    from segtrial import console
    from segtrial import inspection as doctor
    from segtrial.reports import inspection_report

    if report is not None:
        inspection_report.require_page(report)
    with console.watching() as watch:
        judges = _judges(models)
        inspection = doctor.inspect(
            data,
            against=against,
            progress=lambda done, total: watch.bar(done, total, "looking at files"),
            processes=None,
        )
        inspection, check = _judged(inspection, judges, lambda done, total: watch.bar(done, total, "judging labels"))
    if as_json:
        labels = {"labels": check.to_json()} if check else {}
        print(json.dumps(inspection.to_json() | labels, indent=1, allow_nan=False))
    else:
        print("\n".join([*_lines(inspection), *(_labels(check) if check else ())]))
    if write is not None:
        from segtrial.inspection.describe import write_description

        advice = write_description(inspection, write, force=force)
        typer.echo(f"\nWritten {write}. {advice}", err=as_json)
    if report is not None:
        with console.watching() as watch:
            inspection_report.write(inspection, report, lambda done, total: watch.bar(done, total, "making pictures"))
        typer.echo(f"\nPage    {report} (open it in a browser)", err=as_json)
    if write is None and not as_json:
        print(f"\nNext    {_next(inspection)}")
    if inspection.failed:
        raise typer.Exit(USERS)


def _judges(models: list[Path] | None) -> "list[Judge]":
    """The models that judge labels, loaded before anything is looked at: a wrong name is said at once."""
    if not models:
        return []
    from segtrial.inspection.labels import load_judges

    return load_judges(models)


def _judged(
    inspection: "Inspection", judges: "list[Judge]", progress: "Progress"
) -> "tuple[Inspection, LabelCheck | None]":
    """The inspection with what the models find; data that cannot be opened are not judged."""
    if not judges:
        return inspection, None
    if inspection.dataset is None:
        typer.echo("labels were not judged: the data cannot be opened before their errors are mended", err=True)
        return inspection, None
    from segtrial.inspection.labels import check_labels, with_findings

    check = check_labels(inspection, judges, progress)
    return with_findings(inspection, check.findings), check


def _lines(inspection: "Inspection") -> Iterator[str]:
    """All that is known, for people."""
    from segtrial.reports.inspection_words import looks
    from segtrial.reports.wording import plain

    yield f"{plain(inspection.source)}: {_layout(inspection)}"
    for one in inspection.findings:
        if one.code == "layout.read":
            yield from _wrapped("", plain(one.message))
    yield f"\nparts     {listing(f'{name} {count}' for name, count in inspection.parts.items()) or 'none'}"
    for label, words in looks(inspection):
        yield f"{label:<9} {words}"
    yield from _against(inspection)
    yield from _classes(inspection)
    others = [one for one in inspection.findings if one.code != "layout.read"]
    for severity in ("error", "warning", "note"):
        for one in others:
            if one.severity == severity:
                yield from _finding(one)
    counts = Counter(one.severity for one in others)
    said = (f"{counts[what]} {what}{'' if counts[what] == 1 else 's'}" for what in ("error", "warning", "note"))
    yield f"\n{', '.join(said)}"


def _next(inspection: "Inspection") -> str:
    """What to type now: what writes the description that repairs the masks, the same again, or training."""
    source = shlex.quote(inspection.source)
    if inspection.guessed:
        return f"segtrial inspect {source} --write data.yaml"
    if inspection.failed:
        return f"mend the errors, then look again: segtrial inspect {source}"
    task = " --task classification" if inspection.understood.content == "classes" else ""
    return f"segtrial train --data {source}{task} --minutes 8 --out runs/first"


def _layout(inspection: "Inspection") -> str:
    if inspection.dataset is None:
        return "cannot be trained on as it is"
    return f"layout {inspection.layout}"


def _against(inspection: "Inspection") -> Iterator[str]:
    """What it was held against, also where they share nothing."""
    from segtrial.reports.wording import plain

    held = inspection.against
    if held is not None:
        parts = listing(f"{name} {count}" for name, count in held.parts.items())
        yield f"against   {plain(held.source)}: layout {held.layout}, {parts}"
        yield f"          {held.near} of {held.images} images have a near neighbour there"


def _classes(inspection: "Inspection") -> Iterator[str]:
    from segtrial.inspection.classes import ignored_share
    from segtrial.reports.wording import plain

    if not inspection.shares:
        return
    made_up = " (made up from the masks)" if inspection.guessed else ""
    yield f"\n{len(inspection.shares)} classes{made_up}: colour, share of the pixels, share of the images"
    width = min(30, max(len(share.name) for share in inspection.shares))
    for number, share in enumerate(inspection.shares):
        color = "#{:02x}{:02x}{:02x}".format(*share.color)
        name = plain(share.name)
        yield f"{number:4d}  {name:<{width}}  {color}  {100 * share.pixels:6.2f} %  {100 * share.images:6.1f} %"
    ignored = ignored_share(inspection.records)
    if ignored:
        yield f"      {'ignored':<{width}}           {100 * ignored:6.2f} % of all"


def _finding(one: "Finding") -> Iterator[str]:
    from segtrial.reports.wording import plain

    yield ""
    yield from _wrapped(f"{one.severity:<9} ", f"{one.code}: {plain(one.message)}")
    if one.files:
        more = f" and {one.count - FILES_SHOWN} more" if one.count > FILES_SHOWN else ""
        yield from _wrapped("          ", f"files: {', '.join(plain(name) for name in one.files[:FILES_SHOWN])}{more}")
    yield from _wrapped("          ", f"fix: {plain(one.fix)}")


def _labels(check: "LabelCheck") -> Iterator[str]:
    """The images whose labels are most suspicious, with their largest disagreement."""
    from segtrial.inspection.label_findings import region_words
    from segtrial.reports.wording import plain

    if check.rows:
        yield f"\nlabels of {len(check.rows)} images, the most suspicious first"
        yield "quality  disagree  written -> looks like"
    for row in check.rows[:LABELS_SHOWN]:
        numbers = f"{row.quality:7.3f}  {100 * row.disagreement:6.1f} %"
        yield f"{numbers}  {plain(row.file)}  {plain(region_words(check, row))}"


def _wrapped(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
