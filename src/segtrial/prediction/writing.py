"""The answer for one image, strip by strip -> its files, put in place together when the last row is written.

stem.png, stem_overlay.png, stem_confidence.png    pictures: see the task's `parts`
stem.tif                                           the labels with the georeference of a GeoTIFF
stem_probabilities.npz                             "probabilities", float16, h w p, and "classes"
stem.geojson                                       see `polygons`
"""

import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from io import BufferedIOBase
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float16, Int64, UInt8

from segtrial.drawing import Pixels
from segtrial.files import writing
from segtrial.prediction.geotiff import Georeference, TiffRows
from segtrial.prediction.outlines import Outlines
from segtrial.prediction.png import COLOURS, GREY, INDEXED, PngRows
from segtrial.prediction.polygons import write_geojson
from segtrial.prediction.tiles import Block
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, Task

LABELS, PROBABILITIES, POLYGONS, GEOTIFF = ".png", "_probabilities.npz", ".geojson", ".tif"
"""How the names of files end that are not pictures for people."""

HEIGHT, WIDTH = -2, -1  # axes of whatever a strip holds

PIECE = 2**20
"""Pixels drawn at once: it takes many times the memory of what is drawn."""


@dataclass(frozen=True)
class Strip:
    """Some rows of an image, the answer for them, and, if they are wanted, the probabilities of the classes."""

    image: Pixels
    answer: Answer
    probabilities: Float16[np.ndarray, "p h w"] | None = None


def strips(blocks: Iterable[Block], task: Task, *, probabilities: bool) -> Iterator[Strip]:
    """The answers for blocks, those of one row of them joined."""
    row: list[Strip] = []
    for block in blocks:
        row.append(_answered(block, task, probabilities))
        if block.ends:
            yield from _pieces(row[0] if len(row) == 1 else _joined(row, WIDTH))
            row = []


def _pieces(strip: Strip) -> Iterator[Strip]:
    """A strip in strips of at most PIECE pixels, or of one row each."""
    height, width = strip.image.shape[1:]
    if height * width <= PIECE or strip.answer.values.ndim < 2:  # of a whole image there is one class, in no rows
        yield strip
        return
    rows = max(1, PIECE // width)
    for first in range(0, height, rows):
        yield _rows(strip, slice(first, first + rows))


def _answered(block: Block, task: Task, probabilities: bool) -> Strip:
    with torch.no_grad():
        answer = task.answer(block.scores, block.image.to(block.scores.device))
        likely = task.probabilities(block.scores[None])[0].half().cpu().numpy() if probabilities else None
    return Strip(block.image.numpy(), answer, likely)


def _joined(parts: Sequence[Strip], axis: int) -> Strip:
    def along(arrays: list[Any]) -> Any:
        return None if arrays[0] is None else np.concatenate(arrays, axis)

    values, confidence = along([one.answer.values for one in parts]), along([one.answer.confidence for one in parts])
    likely = along([one.probabilities for one in parts])
    return Strip(along([one.image for one in parts]), Answer(values, confidence), likely)


def _rows(strip: Strip, some: slice) -> Strip:
    answer, there = strip.answer, (..., some, slice(None))
    confidence = None if answer.confidence is None else answer.confidence[there]
    likely = None if strip.probabilities is None else strip.probabilities[there]
    return Strip(strip.image[there], Answer(answer.values[there], confidence), likely)


@runtime_checkable
class Rows(Protocol):
    """A file under way: rows are added from top to bottom, then it is finished."""

    def add(self, strip: Strip) -> None: ...
    def finish(self) -> None: ...


class Picture:
    """One of the task's pictures. A row is drawn once the next is known: borders are drawn between them."""

    def __init__(self, file: BufferedIOBase, task: Task, part: str, size: tuple[int, int], note: str):
        self._file, self._task, self._part, self._size, self._note = file, task, part, size, note
        self._held: Strip | None = None
        self._png: PngRows | None = None

    def add(self, strip: Strip) -> None:
        drawn = replace(strip, probabilities=None)
        if self._held is not None:
            drawn = _joined([self._held, drawn], HEIGHT)
        self._draw(drawn, drawn.image.shape[1] - 1)
        self._held = _rows(drawn, slice(-1, None))

    def finish(self) -> None:
        assert self._held is not None
        self._draw(self._held, 1)
        assert self._png is not None
        self._png.finish()

    def _draw(self, strip: Strip, rows: int) -> None:
        drawing = self._task.picture(self._part, strip.image, strip.answer)
        if self._png is None:
            kind = INDEXED if drawing.indexed else COLOURS if drawing.pixels.ndim == 3 else GREY
            palette = bytes(self._task.classes.palette()) if drawing.indexed else b""
            self._png = PngRows(self._file, self._size, kind, palette=palette, note=self._note)
        if rows:
            self._png.add(drawing.pixels[:rows])


class GeoLabels:
    """The label map of a GeoTIFF as a GeoTIFF."""

    def __init__(self, file: BufferedIOBase, task: Task, size: tuple[int, int], place: Georeference):
        self._task, self._tiff = task, TiffRows(file, size, bytes(task.classes.palette()), place)

    def add(self, strip: Strip) -> None:
        self._tiff.add(self._task.picture("", strip.image, strip.answer).pixels)

    def finish(self) -> None:
        self._tiff.finish()


class _Zip(zipfile.ZipFile):
    """Given up, it writes no end into a file that is gone."""

    def __del__(self) -> None:
        pass


class Probabilities:
    """An .npz whose array is written row by row, not compressed, so that it can be mapped; no date inside."""

    def __init__(self, file: BufferedIOBase, task: Task, size: tuple[int, int]):
        self._zip, self._names, self._size = _Zip(file, "w"), task.classes.names, size
        self._member: Any = None

    def add(self, strip: Strip) -> None:
        assert strip.probabilities is not None
        if self._member is None:
            self._member = self._zip.open(zipfile.ZipInfo("probabilities.npy"), "w", force_zip64=True)
            header = {"descr": "<f2", "fortran_order": False, "shape": (*self._size, len(strip.probabilities))}
            np.lib.format.write_array_header_1_0(self._member, header)
        self._member.write(np.ascontiguousarray(strip.probabilities.transpose(1, 2, 0)).tobytes())

    def finish(self) -> None:
        self._member.close()
        names = io.BytesIO()
        np.save(names, np.array(self._names))
        self._zip.writestr(zipfile.ZipInfo("classes.npy"), names.getvalue())
        self._zip.close()


class Polygons:
    """The outlines of every class, of classes that exclude nothing each by itself."""

    def __init__(self, file: BufferedIOBase, task: Task, width: int):
        self._file, self._task, self._width = file, task, width
        self._outlines: list[Outlines] = []

    def add(self, strip: Strip) -> None:
        maps = planes(strip.answer)
        self._outlines = self._outlines or [Outlines(self._width) for _ in maps]
        for outlines, plane in zip(self._outlines, maps, strict=True):
            outlines.add(plane)

    def finish(self) -> None:
        areas = (area for outlines in self._outlines for area in outlines.areas())
        write_geojson(self._file, areas, self._task.classes)


def _pixels(answer: Answer, task: Task) -> Int64[np.ndarray, " k"]:
    """Pixels of each class; 0 where the answer is no classes."""
    counts = np.zeros(len(task.classes), np.int64)
    for plane in planes(answer) if task.content == "masks" else ():
        counts += np.bincount(plane.ravel(), minlength=IGNORE + 1)[: len(counts)]
    return counts


def planes(answer: Answer) -> list[UInt8[np.ndarray, "h w"]]:
    """Class indices, one map; of masks one map for each class, IGNORE where it does not hold."""
    if answer.values.ndim == 2:
        return [answer.values]
    return [np.where(holds, np.uint8(index), np.uint8(IGNORE)) for index, holds in enumerate(answer.values)]


def write_answer(
    out: Path,
    name: str,
    endings: Sequence[str],
    found: Iterable[Strip],
    task: Task,
    size: tuple[int, int],
    note: str,
    place: Georeference | None,
) -> dict[str, Any]:
    """Write the files `out/name + ending`; the sizes of all in bytes, and the pixels of each class if there are any.

    The first of `endings` is put in place last: where it is, all are.
    """
    along = [GEOTIFF] if place is not None and LABELS in endings and task.content == "masks" else []
    with ExitStack() as files:
        writers: list[Rows] = []
        for ending in [*endings[:1], *along, *endings[1:]]:
            file = files.enter_context(writing(out / f"{name}{ending}"))
            writers.append(_writer(ending, file, task, size, note, place))
        pixels = np.zeros(len(task.classes), np.int64)
        for strip in found:
            pixels += _pixels(strip.answer, task)
            for writer in writers:
                writer.add(strip)
        for writer in writers:
            writer.finish()
    written = {f"{name}{ending}": (out / f"{name}{ending}").stat().st_size for ending in [*endings, *along]}
    return {"outputs": written, "areas": pixels.tolist() if task.content == "masks" else None}


def _writer(
    ending: str, file: BufferedIOBase, task: Task, size: tuple[int, int], note: str, place: Georeference | None
) -> Rows:
    if ending == PROBABILITIES:
        return Probabilities(file, task, size)
    if ending == POLYGONS:
        return Polygons(file, task, size[1])
    if ending == GEOTIFF:
        assert place is not None
        return GeoLabels(file, task, size, place)
    return Picture(file, task, ending.removesuffix(".png"), size, note)
