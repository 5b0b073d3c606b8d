"""Pictures and the names of their answers -> nothing, or the reason why writing them would destroy or lose a file."""

import os
from collections.abc import Sequence
from pathlib import Path

from segtrial.errors import DataError, ImageError
from segtrial.prediction.journal import FILE
from segtrial.prediction.rasters import look_at, place_of
from segtrial.prediction.writing import GEOTIFF, LABELS

OURS = (FILE, ".lock")
"""One of these lies in every folder that was answered into."""

LONGEST_NAME = 255 - 20
"""Bytes of a file's name, without what is added to it while the file is being written."""

Named = tuple[Path, str]
"""A picture, and the name below the output folder that its answers begin with."""


def require_apart(named: Sequence[Named], out: Path, endings: Sequence[str]) -> None:
    """No output may be written twice or over an input. Raises DataError."""
    inputs = {source.resolve(): source for source, _ in named}
    writer: dict[str, Path] = {}
    for source, name in named:
        for path in (out / f"{name}{ending}" for ending in endings):
            _require_no_input(path, inputs)
            other = writer.setdefault(os.path.normcase(path), source)
            if other != source:
                found = f"both {other} and {source} would be answered there"
                raise DataError(path, found, "Rename one, or predict them into different folders")
        along = out / f"{name}{GEOTIFF}"
        if LABELS in endings and along.resolve() in inputs and _lies_somewhere(source):
            _require_no_input(along, inputs)


def require_free(named: Sequence[Named], out: Path, endings: Sequence[str], tables: Sequence[str]) -> None:
    """In a folder that nothing was answered into yet no file is overwritten: masks may lie beside their images.

    Raises DataError.
    """
    if any((out / mark).exists() for mark in OURS):
        return
    for name in (*tables, *(f"{name}{ending}" for _, name in named for ending in endings)):
        if os.path.lexists(out / name):
            raise DataError(out / name, "there already, and no answer", "Choose another --out, or move it away")


def require_short(source: Path, name: str, endings: Sequence[str]) -> None:
    """Raises ImageError for a name that leaves no room for the endings of its answers."""
    last = name.rpartition("/")[2]
    if any(len(os.fsencode(f"{last}{ending}")) > LONGEST_NAME for ending in endings):
        raise ImageError(source, "its name is too long for those of its answers", "Give it a shorter one")


def _require_no_input(path: Path, inputs: dict[Path, Path]) -> None:
    if path.resolve() in inputs:
        raise DataError(inputs[path.resolve()], "an input that would be overwritten", "Choose another --out")


def _lies_somewhere(source: Path) -> bool:
    """Whether it is a GeoTIFF, whose labels are written as one too. One that cannot be read is left to be skipped."""
    try:
        return place_of(look_at(source)) is not None
    except ImageError:
        return False
