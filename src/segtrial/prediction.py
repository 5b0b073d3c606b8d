"""A network, its task and any image in, an answer out; files and folders in, pictures or a table out.

    OUT/rel/stem.png             the answer: class indices with the class colours as palette, or the coloured photo
    OUT/rel/stem_overlay.png     the image tinted by the answer
    OUT/rel/stem_confidence.png  dark where the network is unsure
    OUT/answers.csv              a classifier's answers: file, class and its probability

Each picture carries a note of the model and the image that it was made from, so a later run knows what is done.
"""

import csv
import glob
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from PIL import Image

from segtrial.data._walk import walk
from segtrial.data.pictures import EXTENSIONS, read_header, read_image
from segtrial.drawing import Pixels, note_of
from segtrial.errors import DataError, DataNotFound, ImageError, nearest
from segtrial.files import folder_lock, remove_partials, sha256, sha256_file, write_atomic
from segtrial.hardware import pick_precision
from segtrial.models._whole import Whole
from segtrial.tasks import Answer, Task

OVERLAY, CONFIDENCE = "_overlay", "_confidence"
"""What follows the stem in the names of the outputs that may be left out."""

TABLE = "answers.csv"


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
    outputs: dict[str, Path]  # by what follows the stem


def answer(network: Whole, task: Task, image: Pixels, *, precision: torch.dtype = torch.float32) -> Answer:
    """The network's answer for one image `c h w` (uint8, or float32 in [0, 1]), computed on the network's device.

    Raises ImageError if the channels are not the network's. The network must be in eval mode.
    """
    assert not network.training, "a network in train mode answers by the batch it sees"
    device = network.mean.device
    fast = torch.autocast(device.type, dtype=precision) if precision != torch.float32 else nullcontext()
    images = torch.tensor(image)[None].to(device)
    with torch.inference_mode(), fast:
        scores = network(images)
    with torch.inference_mode():
        return task.answer(scores[0], images[0])


def predict_files(
    model: Model,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    overlay: bool = True,
    confidence: bool = True,
    resume: bool = False,
    precision: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> PredictionReport:
    """Answer for every picture that `inputs` name: files, folders (with all below them) and globs.

    A picture that cannot be read is skipped and listed. With `resume`, pictures whose outputs were made by this
    model from these bytes are left alone. `progress` is told (finished, all).

    Raises, before any work: DataNotFound if an input names nothing; DataError if two inputs would have one
    output, or an output would overwrite an input; RunError if `out` cannot be written or is in use.
    """
    left_out = [OVERLAY] * (not overlay) + [CONFIDENCE] * (not confidence)
    kinds = [part for part in model.task.parts if part not in left_out]  # the answer last: it says that all is done
    jobs = [_job(source, relative, out, kinds) for source, relative in _sources(inputs, out)]
    _require_apart(jobs)
    dtype = pick_precision(precision, model.network.mean.device)
    done, kept, skipped, table = [], [], [], []
    with folder_lock(out):
        for folder in {path.parent for job in jobs for path in job.outputs.values()}:
            remove_partials(folder)
        for number, job in enumerate(jobs, 1):
            try:
                given = _predict(model, job, dtype, resume)
                (done if given else kept).append(job.source)
                table += [model.task.table_row(job.source, given)] if given and not kinds else []
            except ImageError as error:
                skipped.append((job.source, f"{error.found}. {error.fix}"))
            if progress:
                progress(number, len(jobs))
        if table:
            write_atomic(out / TABLE, _csv(table))
    return PredictionReport(tuple(done), tuple(kept), tuple(skipped))


def _predict(model: Model, job: _Job, precision: torch.dtype, resume: bool) -> Answer | None:
    """Answer for one picture and write what was asked for; None if it was there."""
    read_header(job.source)  # refuses pipes and folders, which must not be opened as below
    note = sha256(f"{model.digest} {precision} {sha256_file(job.source)}".encode())
    if resume and job.outputs and all(_note(path) == note for path in job.outputs.values()):
        return None
    image = read_image(job.source, model.network.channels)
    try:
        given = answer(model.network, model.task, image, precision=precision)
    except torch.OutOfMemoryError as error:
        height, width = image.shape[1:]
        fix = "Cut it into tiles, or predict on the CPU"
        raise ImageError(job.source, f"{height}x{width} pixels do not fit the device's memory", fix) from error
    for kind, path in job.outputs.items():
        write_atomic(path, model.task.drawn(kind, image, given, note))
    return given


def _csv(rows: Sequence[dict[str, object]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _note(path: Path) -> str:
    """The note of an earlier output, or "" if there is none that can be read."""
    try:
        with Image.open(path, formats=("PNG",)) as png:
            return note_of(png)
    except OSError:  # absent, or no picture
        return ""


def _job(source: Path, relative: Path, out: Path, kinds: Iterable[str]) -> _Job:
    place = out / relative.parent
    return _Job(source, {kind: place / f"{relative.stem}{kind}.png" for kind in kinds})


def _sources(inputs: Sequence[str | Path], out: Path) -> list[tuple[Path, Path]]:
    """Each picture once, with its path below the input that named it."""
    if not inputs:
        raise DataNotFound("images", "none were named", "Give pictures, folders or globs")
    found: dict[tuple[str, Path], Path] = {}
    for given in inputs:
        pictures = list(_named_by(given, out))
        if not pictures:
            raise DataNotFound(given, "no picture in it", f"Give pictures ({', '.join(sorted(EXTENSIONS))})")
        for path, base in pictures:
            found.setdefault((os.path.abspath(path), path.relative_to(base)), path)
    return [(path, relative) for (_, relative), path in found.items()]


def _named_by(given: str | Path, out: Path) -> Iterator[tuple[Path, Path]]:
    """(picture, folder that its output path is relative to) for one input."""
    path = Path(given)
    if path.is_dir():
        yield from ((picture, path) for picture in _below(path, out))
    elif path.exists() or path.is_symlink():
        yield path, path.parent
    elif glob.has_magic(str(given)):
        base = _base(path)
        for match in map(Path, sorted(glob.glob(str(path), recursive=True))):
            pictures = _below(match, out) if match.is_dir() else [match] * (match.suffix.lower() in EXTENSIONS)
            yield from ((picture, base) for picture in pictures)
    else:
        beside = [one.name for one in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataNotFound(path, "there is no such file or folder", f"{nearest(path.name, beside)}Check the name")


def _base(pattern: Path) -> Path:
    """The folders of a glob before its first wildcard."""
    plain = [index for index, part in enumerate(pattern.parts) if glob.has_magic(part)]
    return Path(*pattern.parts[: plain[0]])


def _below(folder: Path, out: Path) -> list[Path]:
    """The pictures below a folder, but not those that an earlier run wrote to an `out` inside it."""
    if out.resolve() == folder.resolve():
        raise DataError(out, "both an input folder and the output folder", "Choose another --out")
    written = out.resolve() if folder.resolve() in out.resolve().parents else None
    pictures = [file.path for file in walk(folder).pictures]
    return [path for path in pictures if written is None or written not in path.resolve().parents]


def _require_apart(jobs: Sequence[_Job]) -> None:
    """No output may be written twice or over an input."""
    sources = {job.source.resolve(): job.source for job in jobs}
    writer: dict[str, Path] = {}
    for job in jobs:
        for path in job.outputs.values():
            if path.resolve() in sources:
                raise DataError(sources[path.resolve()], "an input that would be overwritten", "Choose another --out")
            other = writer.setdefault(os.path.normcase(path), job.source)
            if other != job.source:
                found = f"both {other} and {job.source} would be answered there"
                raise DataError(path, found, "Rename one, or predict them into different folders")
