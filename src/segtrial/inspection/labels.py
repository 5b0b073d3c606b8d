"""An inspection and models -> the label quality of every image that a model has not seen, the least first.

Two passes over the images, one at a time: the first finds from which probability on the models are confident of each
class, the second where they are confident of another one than is written. Nothing but a row an image is kept.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8

from segtrial import modelfile
from segtrial.data._parallel import each
from segtrial.data.pictures import EXTENSIONS
from segtrial.data.sample import Dataset, Item, Sample
from segtrial.errors import DataError, ModelFileError, listing
from segtrial.hardware import keep_memory, pick_device
from segtrial.inspection import Inspection
from segtrial.inspection.faults import relative
from segtrial.inspection.finding import Finding, by_severity
from segtrial.inspection.held_out import held_out, model_file
from segtrial.inspection.label_findings import label_findings
from segtrial.label_quality import (
    Region,
    confidence_sums,
    disagreement,
    joint,
    largest_region,
    looks_like,
    self_confidence,
    soft_minimum,
    thresholds,
    upper_fence,
)
from segtrial.modelfile import Loaded
from segtrial.scores import SCORES
from segtrial.shapes import IGNORE
from segtrial.tasks import Task

Progress = Callable[[int, int], None]

JUDGING = ("segmentation", "binary", "classification")
"""Tasks whose models give one probability to each class."""

LEAST = 0.005
"""Share of an image's counted pixels below which a disagreement is not worth a look."""


@dataclass(frozen=True)
class Judge:
    """A model and where it lies: a run folder or a file."""

    place: Path
    model: Loaded


@dataclass(frozen=True)
class LabelRow:
    """The labels of one image. `file` is the mask, relative to the root, or the key where it has none.

    `quality` is the soft minimum over its counted pixels of the probability of what is written, `disagreement` the
    share of them that look like another class; both NaN where none counts. `region` is the largest disagreement.
    """

    key: str
    file: str
    size: tuple[int, int]
    pixels: int
    quality: float
    disagreement: float
    region: Region | None
    suspicious: bool = False


@dataclass(frozen=True)
class LabelCheck:
    """`rows` in order of suspicion. `joint` counts pixels written as r that look like c; `images` the images with any.

    `judged_by` counts the images that each model judged, `doubts` says why it is not known what one has seen,
    `unjudged` are the keys that all have trained on, `score` is the agreement of answers with what is written.
    """

    names: tuple[str, ...]
    rows: tuple[LabelRow, ...]
    judged_by: Mapping[str, int]
    doubts: Mapping[str, str]
    unjudged: tuple[str, ...]
    unread: int
    thresholds: tuple[float, ...]
    joint: Int64[np.ndarray, "k k"]
    images: Int64[np.ndarray, "k k"]
    confusion: Int64[np.ndarray, "k k"]
    whole: bool = False

    @property
    def score(self) -> Mapping[str, float]:
        """Pixel accuracy and mean IoU over what was judged, of the answers against the labels as written."""
        return {name: SCORES[name](self.confusion[None]) for name in ("pixel_accuracy", "miou_dataset")}

    @property
    def findings(self) -> list[Finding]:
        """What the data doctor says of it."""
        return label_findings(self)

    def to_json(self) -> dict[str, Any]:
        """What `inspect --model --json` prints under `labels`, schema 1."""
        return {
            "schema": 1,
            "classes": list(self.names),
            "models": [
                {"model": name, "judged": count, "doubt": self.doubts.get(name)}
                for name, count in self.judged_by.items()
            ],
            "judged": len(self.rows),
            "unjudged": list(self.unjudged),
            "unread": self.unread,
            "scores": {name: _number(value) for name, value in self.score.items()},
            "thresholds": [_number(value) for value in self.thresholds],
            "joint": self.joint.tolist(),
            "images": [self._row(row) for row in self.rows],
        }

    def _row(self, row: LabelRow) -> dict[str, Any]:
        region = row.region and {
            "written": self.names[row.region.written],
            "looks_like": self.names[row.region.likely],
            "share": _number(row.region.pixels / row.pixels),
            "box": list(row.region.box),
        }
        return {
            "key": row.key,
            "file": row.file,
            "quality": _number(row.quality),
            "disagreement": _number(row.disagreement),
            "suspicious": row.suspicious,
            "region": region,
        }


def load_judges(places: Sequence[str | Path], device: str = "auto") -> list[Judge]:
    """The models that shall judge. Raises UserError for what is none, or is of a task that gives no class."""
    keep_memory()
    judges = []
    for place in map(Path, places):
        model = modelfile.load(model_file(place), str(pick_device(device)))
        if model.header.task not in JUDGING:
            found = f"a model of {model.header.task}, which gives no one class to judge labels by"
            raise ModelFileError(place, found, f"Give models of {listing(JUDGING)}")
        judges.append(Judge(place, model))
    return judges


def check_labels(inspection: Inspection, judges: Sequence[Judge], progress: Progress | None = None) -> LabelCheck:
    """Judge the labels of every image by the models that have not trained on it, by the mean of their probabilities.

    Raises DataError if the data cannot be opened, or are not what the models were made for.
    """
    dataset = inspection.dataset
    if dataset is None:
        raise DataError(inspection.source, "no labels can be judged before it can be read", "Mend its errors first")
    whole = inspection.understood.content == "classes"
    for judge in judges:
        _require_fit(judge, inspection, dataset, judges[0])
    names = judges[0].model.classes.names
    items = [item for members in inspection.understood.items.values() for item in members]
    unseen = [held_out(judge.place, judge.model, inspection.source, dataset, items) for judge in judges]
    panel = {item.key: tuple(place for place, one in enumerate(unseen) if item.key in one.keys) for item in items}
    chosen = [item for item in items if panel[item.key]]
    steps = _Steps(progress, 2 * len(chosen))

    def answers() -> Iterator["_Answer"]:
        for item, read in zip(chosen, each(dataset.read, chosen), strict=True):
            steps.next()
            if isinstance(read, Sample):
                yield _Answer(item, *_judged(read, [judges[place].model for place in panel[item.key]]))

    sums = np.zeros((2, len(names)))
    for answer in answers():
        sums += confidence_sums(answer.probabilities, answer.written)
    limits = thresholds(sums)
    tally = _Tally(len(names))
    rows = [tally.row(answer, limits, _file(inspection, answer.item)) for answer in answers()]
    counted = Counter(place for row in rows for place in panel[row.key])
    names_of = [str(judge.place) for judge in judges]
    return LabelCheck(
        names=names,
        rows=tuple(_ranked(rows, whole=whole)),
        judged_by={name: counted[place] for place, name in enumerate(names_of)},
        doubts={name: one.doubt for name, one in zip(names_of, unseen, strict=True) if one.doubt},
        unjudged=tuple(item.key for item in items if not panel[item.key]),
        unread=len(chosen) - len(rows),
        thresholds=tuple(limits.tolist()),
        joint=tally.joint,
        images=tally.images,
        confusion=tally.confusion,
        whole=whole,
    )


def with_findings(inspection: Inspection, more: Sequence[Finding]) -> Inspection:
    """The inspection with more findings, all in order of severity."""
    return replace(inspection, findings=tuple(by_severity([*inspection.findings, *more])))


@dataclass(frozen=True)
class _Answer:
    item: Item
    probabilities: Float32[np.ndarray, "k h w"]
    written: UInt8[np.ndarray, "h w"]


class _Steps:
    """Progress over both passes."""

    def __init__(self, progress: Progress | None, total: int):
        self.progress, self.total, self.done = progress, total, 0

    def next(self) -> None:
        self.done += 1
        if self.progress:
            self.progress(self.done, self.total)


class _Tally:
    """What is summed over the images of the second pass."""

    def __init__(self, classes: int):
        self.joint, self.images, self.confusion = (np.zeros((classes, classes), np.int64) for _ in range(3))

    def row(self, answer: _Answer, limits: Float32[np.ndarray, " k"], file: str) -> LabelRow:
        p, written = answer.probabilities, answer.written
        likely = looks_like(p, limits)
        counts = joint(written, likely, len(p))
        self.joint += counts
        self.images += counts > 0
        self.confusion += joint(written, p.argmax(axis=0).astype(np.uint8), len(p))
        return LabelRow(
            key=answer.item.key,
            file=file,
            size=(written.shape[0], written.shape[1]),
            pixels=int(np.count_nonzero(written != IGNORE)),
            quality=soft_minimum(self_confidence(p, written)),
            disagreement=disagreement(counts, written),
            region=largest_region(written, likely, counts),
        )


def _judged(sample: Sample, models: Sequence[Loaded]) -> tuple[np.ndarray, np.ndarray]:
    """Mean probabilities of the models, and what is written, in the form that their task compares."""
    found = [_probabilities(sample, model) for model in models]
    mean = sum((p for p, _ in found[1:]), start=found[0][0]) / np.float32(len(found))
    return mean, found[0][1]


def _probabilities(sample: Sample, model: Loaded) -> tuple[np.ndarray, np.ndarray]:
    device, task = model.network.mean.device, model.task
    with torch.inference_mode():
        images = torch.tensor(sample.image)[None].to(device)
        scores = task.class_scores(model.network(images))[0]
        written = _target(task, images, torch.tensor(sample.target)[None].to(device))
        return scores.softmax(0).nan_to_num().cpu().numpy(), written.cpu().numpy()


def _target(task: Task, images: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
    """`h w`: what is written, without the axis of a single score."""
    return task.target(images, planes).flatten(0, -3)[0]


def _require_fit(judge: Judge, inspection: Inspection, dataset: Dataset, first: Judge) -> None:
    content = judge.model.task.content
    if content != inspection.understood.content:
        found = f"its pictures have {inspection.understood.content}, and {judge.place} is a model of {content}"
        raise DataError(inspection.source, found, "Give models that were trained on such data")
    judge.model.require_classes(inspection.source, dataset.classes)
    mine, theirs = judge.model.classes.names, first.model.classes.names
    if mine != theirs:
        found = f"classes {listing(mine)}, and {first.place} has {listing(theirs)}"
        raise ModelFileError(judge.place, found, "Give models of the same classes")


def _file(inspection: Inspection, item: Item) -> str:
    """The mask; the key where it has no file of its own."""
    if item.target is None or item.target.suffix.lower() not in EXTENSIONS:
        return item.key
    return relative(inspection.understood.root, item.target)


def _ranked(rows: Sequence[LabelRow], *, whole: bool) -> list[LabelRow]:
    """The rows by quality, those that stand out marked; images without a counted pixel last.

    Suspicious is an image whose largest disagreement has at least LEAST of its pixels and more than Tukey's fence of
    all images; of pictures with one class, each that looks like another.
    """
    shares = [row.region.pixels / row.pixels if row.region else 0.0 for row in rows]
    limit = max(LEAST, upper_fence(shares)) if rows and not whole else 0.0
    marked = [replace(row, suspicious=share > limit) for row, share in zip(rows, shares, strict=True)]
    return sorted(marked, key=lambda row: (np.isnan(row.quality), row.quality, row.key))


def _number(value: float) -> float | None:
    """Six digits; None for what is no finite number."""
    return round(float(value), 6) if np.isfinite(value) else None
