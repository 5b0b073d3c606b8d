"""A model and pictures -> their answers in a folder: what is left to do is done, bad files are listed.

    OUT/rel/stem...         see `writing`
    OUT/answers.csv         a classifier's answers: file, class and its probability
    OUT/areas.csv           pixels of each class in each image
    OUT/annotations.json    see `polygons`

Images of one size that follow each other go through the network together. Which ones is decided by the list of
pictures alone, not by what is left of it, so a run that was killed ends with the bits of one that was not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from segtrial.drawing import Pixels
from segtrial.errors import ImageError, RunError
from segtrial.files import folder_lock, remove_partials, sha256, sha256_file
from segtrial.hardware import pick_precision
from segtrial.models._whole import Whole
from segtrial.prediction.asking import Asker
from segtrial.prediction.collisions import require_apart, require_free, require_short
from segtrial.prediction.flips import views
from segtrial.prediction.journal import Entry, Journal, Notes
from segtrial.prediction.rasters import Look, look_at, pixel_limit, place_of, rows_of
from segtrial.prediction.saved import endings_of, legend, tables_of, wanted_words
from segtrial.prediction.sources import sources
from segtrial.prediction.tables import write_answers, write_areas, write_coco
from segtrial.prediction.tiles import Block, Tiling, blocks, pixels_together
from segtrial.prediction.writing import PROBABILITIES, strips, write_answer
from segtrial.tasks import Task

MOST_IMAGES = 8
"""That go through the network together."""

CHUNK = 256
"""Images, at least, that another process is given at once."""

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
    legend: Mapping[str, str] = field(default_factory=dict)
    """What is written for a picture called x: the name of a file -> what it holds."""


@dataclass(frozen=True)
class How:
    """All that decides what is written for a picture: see `predict_files`."""

    words: frozenset[str]
    precision: str
    tiling: Tiling | None
    tta: str
    max_pixels: int | None
    resume: bool
    digest: str
    """Of the model: whoever answers elsewhere must have loaded the same."""


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
    journal: Notes
    strip_progress: Progress | None
    kept: set[_Job] = field(default_factory=set)
    done: set[_Job] = field(default_factory=set)
    skipped: dict[_Job, str] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, how: How, out: Path, journal: Notes, strip_progress: Progress | None = None) -> "_Work":
        """Raises RecipeError for views that there are not."""
        task = model.task
        asker = Asker(model.network, task, pick_precision(how.precision, model.network.mean.device), views(how.tta))
        cut = how.tiling if task.content != "classes" else None  # a class is of the whole image
        return cls(task, asker, cut, how.tta, model.digest, out, endings_of(task, how.words), journal, strip_progress)

    def take(self, outcome: "Outcome") -> None:
        """What another process has done."""
        for entry in outcome.entries:
            self.journal.add(entry)
        self.kept |= outcome.kept
        self.done |= outcome.done
        self.skipped |= outcome.skipped

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


@dataclass(frozen=True)
class Chunk:
    """Groups of pictures for another process, with what was noted of them before."""

    groups: tuple[dict[_Job, Look], ...]
    noted: dict[str, str]


@dataclass(frozen=True)
class Outcome:
    """What has become of the pictures of a chunk, and what is to be noted of those that are done."""

    kept: set[_Job]
    done: set[_Job]
    skipped: dict[_Job, str]
    entries: list[Entry]


@runtime_checkable
class Elsewhere(Protocol):
    """Other processes, which see the same files: each chunk becomes an outcome by `answer_chunk`, in any order."""

    def __call__(self, how: How, out: Path, chunks: Iterator[Chunk]) -> Iterator[Outcome]: ...


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
    elsewhere: Elsewhere | None = None,
) -> PredictionReport:
    """Answer for every picture that `inputs` name: see `sources`.

    `save` names what is written (see `saved.saved_words`; None: labels, overlay and confidence, as far as the task has
    them); `overlay` and `confidence` leave these out. With `resume`, pictures whose answers by this model are there
    are left alone. `tiling` cuts large images; `tta` averages several views (see `flips.views`). Pictures of up to
    `max_pixels` are decoded (None: Pillow's limit). A picture that cannot be read is skipped and listed. `progress` is
    told (finished, all), `strip_progress` the same of the rows of tiles of an image that is cut. With `elsewhere`,
    other processes ask the network; what they write is the same.

    Raises, before any work: DataNotFound if an input names nothing; DataError if two inputs would have one
    output, or an output would overwrite an input or, in a folder where nothing was answered yet, any file; RunError if
    `out` cannot be written, is in use or holds answers of another model; RecipeError for a word of `save` or `tta` that
    there is not.
    """
    task = model.task
    words = wanted_words(task, save, overlay, confidence)
    how = How(words, precision, tiling, tta, max_pixels, resume, model.digest)
    views(tta)
    jobs = [_Job(source, relative) for source, relative in sources(inputs, out)]
    named = [(job.source, job.name) for job in jobs]
    require_apart(named, out, endings_of(task, words))
    require_free(named, out, endings_of(task, words), tables_of(task, words))
    with pixel_limit(max_pixels), folder_lock(out):
        remove_partials(out)
        work = _Work.of(model, how, out, Journal(out, model.digest), strip_progress)
        for _ in _elsewhere(elsewhere, jobs, work, how) if elsewhere else _here(jobs, work, resume):
            if progress:
                progress(len(work.kept) + len(work.done) + len(work.skipped), len(jobs))
        _write_tables([job for job in jobs if job not in work.skipped], work, words)
    done, kept = (tuple(job.source for job in jobs if job in some) for some in (work.done, work.kept))
    skipped = tuple((job.source, work.skipped[job]) for job in jobs if job in work.skipped)
    return PredictionReport(done, kept, skipped, legend(task, words))


def answer_chunk(model: Model, how: How, out: Path, chunk: Chunk) -> Outcome:
    """Answer for the pictures of a chunk into `out`; whoever made it notes what was done.

    Raises RunError for another model than that of whoever made it.
    """
    if model.digest != how.digest:
        found = f"another model lies there for whoever answers (sha256 {model.digest:.12}, not {how.digest:.12})"
        raise RunError("MODEL", found, "Give all the same file, and leave it alone until the end")
    work = _Work.of(model, how, out, Notes(out, chunk.noted))
    with pixel_limit(how.max_pixels):
        for group in chunk.groups:
            _answer_group(group, work, how.resume)
    entries = [work.journal[job.name] for group in chunk.groups for job in group if job in work.done]
    return Outcome(work.kept, work.done, work.skipped, entries)


def _here(jobs: Iterable[_Job], work: _Work, resume: bool) -> Iterator[None]:
    """Answer for all pictures, group by group."""
    for group in _groups(jobs, work):
        _answer_group(group, work, resume)
        yield


def _elsewhere(elsewhere: Elsewhere, jobs: Iterable[_Job], work: _Work, how: How) -> Iterator[None]:
    """Have all pictures answered, chunk by chunk."""
    for outcome in elsewhere(how, work.out, _chunks(_groups(jobs, work), work.journal)):
        work.take(outcome)
        yield


def _chunks(groups: Iterable[dict[_Job, Look]], journal: Notes) -> Iterator[Chunk]:
    """Groups that follow each other, until they are enough."""
    some: list[dict[_Job, Look]] = []
    for group in groups:
        some.append(group)
        if sum(map(len, some)) >= CHUNK:
            yield Chunk(tuple(some), journal.of(job.name for each in some for job in each))
            some = []
    if some:
        yield Chunk(tuple(some), journal.of(job.name for each in some for job in each))


def _groups(jobs: Iterable[_Job], work: _Work) -> Iterator[dict[_Job, Look]]:
    """Pictures that go through the network together, in order."""
    group: dict[_Job, Look] = {}
    for job in jobs:
        try:
            look = look_at(job.source)
            require_short(job.source, job.name, work.endings)
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
        try:
            note = work.note(job, look)
        except OSError as error:  # it has gone since it was looked at
            found = f"cannot be read any more ({error.strerror})"
            work.skip(job, ImageError(job.source, found, "Restore it, or leave it out"))
            continue
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
            try:
                _write(job, group[job], (height, width), left[job], [Block(image, scores)], work)
            except ImageError as error:  # of where it lies on the ground
                work.skip(job, error)


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
