"""A model and pictures -> their answers in a folder: what is left to do is done, bad files are listed.

    OUT/rel/stem...         see `writing`
    OUT/answers.csv         a classifier's answers: file, class and its probability
    OUT/areas.csv           pixels of each class in each image
    OUT/annotations.json    see `polygons`

Images of one size that follow each other go through the network together. Which ones is decided by the list of
pictures alone, not by what is left of it, so a run that was killed ends with the bits of one that was not.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from segtrial.drawing import Pixels
from segtrial.errors import DataError, ImageError, RecipeError, nearest
from segtrial.files import folder_lock, remove_partials, sha256, sha256_file
from segtrial.hardware import pick_precision
from segtrial.models._whole import Whole
from segtrial.prediction.asking import Asker
from segtrial.prediction.flips import views
from segtrial.prediction.journal import Journal
from segtrial.prediction.rasters import Look, look_at, pixel_limit, place_of, rows_of
from segtrial.prediction.sources import sources
from segtrial.prediction.tables import write_answers, write_areas, write_coco
from segtrial.prediction.tiles import Block, Tiling, blocks, pixels_together
from segtrial.prediction.writing import POLYGONS, PROBABILITIES, strips, write_answer
from segtrial.tasks import Task

OVERLAY, CONFIDENCE = "_overlay", "_confidence"
"""What follows the stem in the names of the outputs that may be left out."""

WORDS = {OVERLAY: "overlay", CONFIDENCE: "confidence"}
USUAL, OF_MASKS = ("labels", "overlay", "confidence"), ("probabilities", "polygons", "areas")

MOST_IMAGES = 8
"""That go through the network together."""

Progress = Callable[[int, int], None]


@runtime_checkable
class Model(Protocol):
    """What prediction needs of a loaded model file; `digest` names its contents."""

    @property
    def network(self) -> Whole: ...

    @property
    def task(self) -> Task: ...

    @property
    def digest(self) -> str: ...


@dataclass(frozen=True)
class PredictionReport:
    """Which images were answered, which were left because their answers were there, which were skipped and why."""

    done: tuple[Path, ...]
    kept: tuple[Path, ...]
    skipped: tuple[tuple[Path, str], ...]


@dataclass(frozen=True)
class _Job:
    source: Path
    relative: Path

    @property
    def name(self) -> str:
        return self.relative.with_name(self.relative.stem).as_posix()


@dataclass
class _Work:
    """What a run answers with, where it writes, and what has become of each picture."""

    task: Task
    asker: Asker
    tiling: Tiling | None
    views: str
    digest: str
    out: Path
    endings: tuple[str, ...]
    journal: Journal
    strip_progress: Progress | None
    kept: set[_Job] = field(default_factory=set)
    done: set[_Job] = field(default_factory=set)
    skipped: dict[_Job, str] = field(default_factory=dict)

    def skip(self, job: _Job, error: ImageError) -> None:
        self.skipped[job] = f"{error.found}. {error.fix}"

    def note(self, job: _Job, look: Look) -> str:
        """What stands for all that decides an answer."""
        how = (self.digest, self.asker.precision, self.views, self.tiling if self.cuts(look) else "whole")
        return sha256(f"{how} {sha256_file(job.source)}".encode())

    def cuts(self, look: Look) -> bool:
        return self.tiling is not None and self.tiling.cuts(look.size)

    def together(self, look: Look) -> int:
        """How many images like this one go through the network at once."""
        fit = pixels_together(self.asker.network) // (look.size[0] * look.size[1])
        return 1 if self.cuts(look) else max(1, min(MOST_IMAGES, fit))


def predict_files(
    model: Model,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    overlay: bool = True,
    confidence: bool = True,
    save: Sequence[str] | None = None,
    resume: bool = True,
    precision: str = "auto",
    tiling: Tiling | None = None,
    tta: str = "none",
    max_pixels: int | None = None,
    progress: Progress | None = None,
    strip_progress: Progress | None = None,
) -> PredictionReport:
    """Answer for every picture that `inputs` name: see `sources`.

    `save` names what is written (see `saved_words`; None: labels, overlay and confidence, as far as the task has
    them); `overlay` and `confidence` leave these out. With `resume`, pictures whose answers by this model are there
    are left alone. `tiling` cuts large images; `tta` averages several views (see `flips.views`). Pictures of up to
    `max_pixels` are decoded (None: Pillow's limit). A picture that cannot be read is skipped and listed. `progress` is
    told (finished, all), `strip_progress` the same of the rows of tiles of an image that is cut.

    Raises, before any work: DataNotFound if an input names nothing; DataError if two inputs would have one
    output, or an output would overwrite an input; RunError if `out` cannot be written, is in use or holds answers of
    another model; RecipeError for a word of `save` or `tta` that there is not.
    """
    task = model.task
    words = _wanted_words(task, save, overlay, confidence)
    asker = Asker(model.network, task, pick_precision(precision, model.network.mean.device), views(tta))
    jobs = [_Job(source, relative) for source, relative in sources(inputs, out)]
    _require_apart(jobs, out, _endings(task, words))
    cut = tiling if task.content != "classes" else None  # a class is of the whole image
    with pixel_limit(max_pixels), folder_lock(out):
        remove_partials(out)
        journal = Journal(out, model.digest)
        work = _Work(task, asker, cut, tta, model.digest, out, _endings(task, words), journal, strip_progress)
        for group in _groups(jobs, work):
            _answer_group(group, work, resume)
            if progress:
                progress(len(work.kept) + len(work.done) + len(work.skipped), len(jobs))
        _write_tables([job for job in jobs if job not in work.skipped], work, words)
    done, kept = (tuple(job.source for job in jobs if job in some) for some in (work.done, work.kept))
    return PredictionReport(done, kept, tuple((job.source, work.skipped[job]) for job in jobs if job in work.skipped))


def saved_words(task: Task) -> tuple[str, ...]:
    """What `save` may name: labels (of several masks, all), overlay, confidence, probabilities, polygons, areas."""
    drawn = dict.fromkeys(WORDS.get(part, "labels") for part in reversed(task.parts))
    return (*drawn, *(OF_MASKS if task.content == "masks" else ()))


def _wanted_words(task: Task, save: Sequence[str] | None, overlay: bool, confidence: bool) -> frozenset[str]:
    there = saved_words(task)
    for word in save or ():
        if word not in there:
            fix = f"Choose among {', '.join(there)}" if there else "Leave it out: the answers are a table"
            raise RecipeError("--save", f"{word!r} is nothing that {task.name} writes", f"{nearest(word, there)}{fix}")
    left_out = {*["overlay"] * (not overlay), *["confidence"] * (not confidence)}
    return frozenset(save if save is not None else set(USUAL) & set(there)) - left_out


def _endings(task: Task, words: frozenset[str]) -> tuple[str, ...]:
    """How the names of an image's files end, the answer's first."""
    drawn = [f"{part}.png" for part in reversed(task.parts) if WORDS.get(part, "labels") in words]
    others = {"probabilities": PROBABILITIES, "polygons": POLYGONS}
    return (*drawn, *(ending for word, ending in others.items() if word in words))


def _require_apart(jobs: Iterable[_Job], out: Path, endings: Sequence[str]) -> None:
    """No output may be written twice or over an input."""
    jobs = list(jobs)
    inputs = {job.source.resolve(): job.source for job in jobs}
    writer: dict[str, Path] = {}
    for job in jobs:
        for path in (out / f"{job.name}{ending}" for ending in endings):
            if path.resolve() in inputs:
                raise DataError(inputs[path.resolve()], "an input that would be overwritten", "Choose another --out")
            other = writer.setdefault(os.path.normcase(path), job.source)
            if other != job.source:
                found = f"both {other} and {job.source} would be answered there"
                raise DataError(path, found, "Rename one, or predict them into different folders")


def _groups(jobs: Iterable[_Job], work: _Work) -> Iterator[dict[_Job, Look]]:
    """Pictures that go through the network together, in order."""
    group: dict[_Job, Look] = {}
    for job in jobs:
        try:
            look = look_at(job.source)
        except ImageError as error:
            work.skip(job, error)
            continue
        before = next(iter(group.values()), None)
        if before and (before.alike != look.alike or len(group) >= work.together(look)):
            yield group
            group = {}
        group[job] = look
    yield group


def _answer_group(group: dict[_Job, Look], work: _Work, resume: bool) -> None:
    """Answer for the pictures of a group that are not answered yet; all of them go through the network."""
    left: dict[_Job, str] = {}
    for job, look in group.items():
        note = work.note(job, look)
        if resume and work.journal.find(job.name, note, [f"{job.name}{ending}" for ending in work.endings]):
            work.kept.add(job)
        else:
            left[job] = note
    if left and any(work.cuts(look) for look in group.values()):
        ((job, note),) = left.items()
        _answer_cut(job, group[job], note, work)
    elif left:
        images = dict(_images(group, work))
        for shape in dict.fromkeys(image.shape for image in images.values()):  # some may have been turned
            alike = {job: image for job, image in images.items() if image.shape == shape}
            _answer_whole(alike, group, left, work)


def _images(group: dict[_Job, Look], work: _Work) -> Iterator[tuple[_Job, Pixels]]:
    for job, look in group.items():
        try:
            with rows_of(look, work.asker.network.channels) as raster:
                yield job, np.array(raster.read(0, raster.size[0]))  # a copy, which torch may write into
        except ImageError as error:
            work.skip(job, error)


def _answer_whole(images: dict[_Job, Pixels], group: dict[_Job, Look], left: dict[_Job, str], work: _Work) -> None:
    pixels = torch.from_numpy(np.stack(list(images.values())))  # b c h w
    try:
        answers = work.asker(pixels)
    except torch.OutOfMemoryError:
        for job in images:
            if len(images) > 1:
                _answer_whole({job: images[job]}, group, left, work)
            elif job in left:
                _skip_large(job, group[job], work)
        return
    for job, image, scores in zip(images, pixels, answers, strict=True):
        if job in left:
            height, width = image.shape[1:]
            _write(job, group[job], (height, width), left[job], [Block(image, scores)], work)


def _skip_large(job: _Job, look: Look, work: _Work) -> None:
    height, width = look.size
    fix = "Cut it into smaller tiles (--tile 256), or predict on the CPU"
    work.skip(job, ImageError(job.source, f"{height}x{width} pixels do not fit the device's memory", fix))


def _answer_cut(job: _Job, look: Look, note: str, work: _Work) -> None:
    """Tile by tile, strip by strip: neither the image nor its answer is ever held whole."""
    assert work.tiling is not None
    try:
        with rows_of(look, work.asker.network.channels) as raster:
            found = blocks(work.asker, raster.read, raster.size, work.asker.network, work.tiling, work.strip_progress)
            _write(job, look, raster.size, note, found, work)
    except ImageError as error:
        work.skip(job, error)
    except torch.OutOfMemoryError:
        _skip_large(job, look, work)


def _write(job: _Job, look: Look, size: tuple[int, int], note: str, found: Iterable[Block], work: _Work) -> None:
    answers = strips(found, work.task, probabilities=PROBABILITIES in work.endings)
    entry = {"name": job.name, "note": note, "file": str(job.source), "picture": job.relative.as_posix()}
    if work.task.content == "classes":
        (strip,) = answers
        written = {"outputs": {}, "row": work.task.table_row(job.source, strip.answer)}
    else:
        place = place_of(look)
        written = write_answer(work.out, job.name, work.endings, answers, work.task, size, note, place)
    work.journal.add({**entry, "size": list(size), **written})
    work.done.add(job)


def _write_tables(jobs: Sequence[_Job], work: _Work, words: frozenset[str]) -> None:
    """The tables of all pictures that are answered, if there are any."""
    entries = (work.journal[job.name] for job in jobs)
    if not jobs:
        return
    if work.task.content == "classes":
        write_answers(work.out, entries)
    if "areas" in words:
        write_areas(work.out, entries, work.task.classes)
    if "polygons" in words:
        write_coco(work.out, [work.journal[job.name] for job in jobs], work.task.classes)
