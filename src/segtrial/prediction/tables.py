"""What was noted of the pictures of a folder -> its tables: areas of the classes, a classifier's answers, COCO."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from segtrial.classes import Classes
from segtrial.files import writing
from segtrial.prediction.journal import Entry
from segtrial.prediction.polygons import coco_lines
from segtrial.prediction.writing import POLYGONS

TABLE, AREAS, COCO = "answers.csv", "areas.csv", "annotations.json"

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A cell of text that begins so is a formula to a spreadsheet."""


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """One table, UTF-8; of a name that is none, each odd byte as `\\udc..`.

    Text that a spreadsheet would calculate gets an apostrophe before it.
    """
    with writing(path) as file:
        text = io.TextIOWrapper(file, "utf-8", "backslashreplace", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([_cell(name) for name in head])
        writer.writerows([_cell(value) for value in row] for row in rows)
        text.detach()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def write_areas(out: Path, entries: Iterable[Entry], classes: Classes) -> None:
    """`areas.csv`: file, pixels of the image, and pixels of each class in a column of its own."""
    rows = ([one["file"], one["size"][0] * one["size"][1], *one["areas"]] for one in entries)
    write_csv(out / AREAS, ["file", "pixels", *classes.names], rows)


def write_answers(out: Path, entries: Iterator[Entry]) -> None:
    """`answers.csv` of a classifier, as its task says it."""
    first = next(entries)
    rows = (list(one["row"].values()) for one in (first, *entries))
    write_csv(out / TABLE, list(first["row"]), rows)


def write_coco(out: Path, entries: Sequence[Entry], classes: Classes) -> None:
    """`annotations.json`, from the GeoJSON files that are there."""
    images = [{"file_name": one["picture"], "height": one["size"][0], "width": one["size"][1]} for one in entries]
    areas = [out / f"{one['name']}{POLYGONS}" for one in entries]
    with writing(out / COCO) as file:
        for piece in coco_lines(images, areas, classes):
            file.write(piece.encode())
