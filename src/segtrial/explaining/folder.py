"""Images, or the worst ones of a part -> OUT/name.json and OUT/name.npz of each, and OUT/explained.json of them all.

The arrays of an .npz are those of `one_image`.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from segtrial.data.sample import Dataset, Item
from segtrial.drawing import Pixels
from segtrial.errors import DataError, ImageError
from segtrial.evaluation import Counts, Part
from segtrial.explaining.one_image import SCHEMA, Explanation, Wish, calibration_json, explain_image
from segtrial.explaining.targets import Plane
from segtrial.files import folder_lock, remove_partials, write_atomic, write_json
from segtrial.modelfile import Loaded
from segtrial.prediction.rasters import look_at, rows_of
from segtrial.prediction.sources import sources
from segtrial.tasks import Task

INDEX = "explained.json"
TAKEN = ("explained", "index")
"""Names of the index and of its page, which an image cannot have."""

Read = Callable[[], tuple[Pixels, Plane | None]]


@dataclass(frozen=True)
class Job:
    """One image to explain: the name of its page below OUT, what it is called to people, how it is read."""

    name: str
    source: str
    read: Read


@dataclass(frozen=True)
class Report:
    """Names of the explained images in order, and of those that could not be, with the reason."""

    done: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]


def picture_jobs(images: Sequence[str | Path], out: Path, channels: int, dataset: Dataset | None = None) -> list[Job]:
    """Pictures as `segtrial predict` takes them; those that are images of `dataset` bring their truth.

    Raises DataNotFound if one of `images` names nothing, DataError if two would have one page.
    """
    known = {} if dataset is None else _items(dataset)
    jobs, writer = [], dict[str, Path]()
    for path, relative in sources(images, out):
        name = _page_name(relative.with_suffix("").as_posix())
        if writer.setdefault(name, path) != path:
            found = f"both {writer[name]} and {path} would be explained there"
            raise DataError(out / f"{name}.html", found, "Rename one, or explain them into different folders")
        jobs.append(Job(name, str(path), _reader(path, channels, known.get(path.resolve()), dataset)))
    return jobs


def worst_jobs(part: Part, counts: Counts, task: Task, most: int) -> list[Job]:
    """The `most` images of a part with the lowest scores of their own, worst first; first those of whose name is first.

    Images in which nothing counts come last.
    """
    order = np.argsort(np.nan_to_num(task.of_image(counts.counts), nan=np.inf), kind="stable")[:most]
    places = {key: index for index, key in enumerate(part.keys)}
    return [_of_part(part, places[counts.keys[number]]) for number in order]


def explain_jobs(
    loaded: Loaded,
    jobs: Sequence[Job],
    out: Path,
    wish: Wish,
    calibration: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, str], object] | None = None,
) -> Report:
    """Explain image by image into `out`; one that cannot be read is skipped. `calibration` goes into the index.

    Raises RunError if `out` cannot be written or is in use, and what `explain_image` raises.
    """
    done, skipped = [], []
    with folder_lock(out):
        remove_partials(out)
        for job in jobs:
            try:
                image, truth = job.read()
            except ImageError as error:
                skipped.append((job.source, f"{error.found}. {error.fix}"))
                continue
            _write(out, job, explain_image(loaded, image, truth, wish, _bar(progress, job)))
            done.append(job.name)
        write_json(out / INDEX, _index(loaded, done, skipped, calibration))
    return Report(tuple(done), tuple(skipped))


def part_calibration(counts: Counts, split: str) -> dict[str, Any] | None:
    """The calibration of a whole part, for the index; None where its task has none."""
    rows: Int64[np.ndarray, "n 3 bins"] | None = counts.more.get("ece")
    if rows is None:
        return None
    return {"of": f"the {split} part", "n_images": len(rows), **calibration_json(rows.sum(0))}


def _index(
    loaded: Loaded, done: Sequence[str], skipped: Iterable[tuple[str, str]], calibration: Mapping[str, Any] | None
) -> dict[str, Any]:
    header = loaded.header
    return {
        "schema": SCHEMA,
        "model": {"architecture": header.architecture, "options": header.options, "digest": loaded.digest},
        "task": header.task,
        "temperature": header.temperature,
        "images": list(done),
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "calibration": None if calibration is None else dict(calibration),
    }


def _write(out: Path, job: Job, found: Explanation) -> None:
    held = io.BytesIO()
    np.savez_compressed(held, allow_pickle=False, **found.arrays)
    write_atomic(out / f"{job.name}.npz", held.getvalue())
    write_json(out / f"{job.name}.json", {"name": job.name, "file": job.source, **found.told})


def _bar(progress: Callable[[int, int, str], object] | None, job: Job) -> Callable[[int, int], object] | None:
    return None if progress is None else lambda done, total: progress(done, total, f"hiding parts of {job.name}")


def _items(dataset: Dataset) -> Mapping[Path, Item]:
    return {item.image.resolve(): item for items in dataset.parts.values() for item in items if item.image}


def _reader(path: Path, channels: int, item: Item | None, dataset: Dataset | None) -> Read:
    def read() -> tuple[Pixels, Plane | None]:
        if item is not None and dataset is not None:
            sample = dataset.read(item)
            return sample.image, sample.target
        look = look_at(path)
        with rows_of(look, channels) as raster:
            return np.array(raster.read(0, raster.size[0])), None

    return read


def _of_part(part: Part, index: int) -> Job:
    def read() -> tuple[Pixels, Plane | None]:
        sample = part[index]
        return sample.image, sample.target

    return Job(_page_name(part.keys[index]), part.keys[index], read)


def _page_name(name: str) -> str:
    return f"{name}_image" if name.lower() in TAKEN else name
