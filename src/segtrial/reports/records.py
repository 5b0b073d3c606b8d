"""A RUN folder's files in, one frozen record out: the only place where reports open a run.

A record of an unfinished run is a record too: what is not there yet is None or empty. What is there but
damaged raises RunError, which names the file and says what to do.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Int64

from segtrial.classes import Classes
from segtrial.errors import RunError
from segtrial.files import complete_lines
from segtrial.recipe import from_tree

Json = Mapping[str, Any]

CONTINUE = "Run the training command again to write it anew, or restore the file"

RATE_TEST = ("rates", "losses", "smoothed", "suggestion", "diverged", "tenth_of_diverged", "optimizer", "batch", "size")


@dataclass(frozen=True)
class Example:
    """One image of the evaluated part: its pictures by what they show, and what its task says of it in words.

    `score` is what images are ranked by, None where nothing counts; `rank` says why it is shown.
    """

    key: str
    group: str
    rank: str
    score: float | None
    pictures: Mapping[str, Path]
    said: Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What one run folder says.

    `confusion` is the sum over the images of the evaluated part, in pixels or, of a classifier, in images: rows are
    the truth, columns the answer. Tasks whose answers exclude nothing have none.
    """

    folder: Path
    plan: Json
    recipe_text: str
    classes: Classes
    environment: Json
    train: tuple[Json, ...]
    val: tuple[Json, ...]
    timing: tuple[Json, ...]
    evaluation: Json | None
    confusion: Int64[np.ndarray, "k k"] | None
    examples: tuple[Example, ...]
    rate_test: Json | None = None
    """What `train --find-lr` wrote into the folder before the run."""

    @property
    def recipe(self) -> Json:
        """The fields of the recipe."""
        return self.plan["recipe"]

    @property
    def task(self) -> str:
        """What the network answers; runs older than the other tasks say nothing of it."""
        return str(self.plan.get("task", "segmentation"))

    @property
    def name(self) -> str:
        """The folder's own name: what a command run beside it would call it."""
        return self.folder.resolve().name

    @property
    def split(self) -> str:
        """The part that was evaluated, or that will be."""
        return "val" if self.evaluation is None else str(self.evaluation["split"])

    @property
    def finished(self) -> bool:
        """Whether the run was evaluated, which is the last thing that training does."""
        return self.evaluation is not None

    @property
    def last_step(self) -> int:
        """The last step that the metrics log knows; 0 before the first."""
        return max((line["step"] for line in self.train + self.val), default=0)

    @property
    def starts(self) -> int:
        """How often training was started: one more than the restarts."""
        return sum(line.get("event") == "start" for line in self.timing)

    @property
    def seconds(self) -> float:
        """Seconds spent in training steps, over all starts; each start counts from 0 again."""
        ends = [0.0]
        for line in self.timing:
            if line.get("event") == "start":
                ends.append(0.0)
            ends[-1] = float(line.get("seconds", ends[-1]))
        return sum(ends)


def read(folder: Path) -> Run:
    """Read a run folder. Raises RunError if it is none, or if a file of it is damaged."""
    if not (folder / "plan.json").is_file():
        raise RunError(folder, "not a run folder (no plan.json in it)", "Name the folder given to train as --out")
    plan = _object(folder / "plan.json", ("recipe", "steps", "phases", "classes", "model"))
    metrics = _log(folder / "metrics.jsonl", ("step", "split"))
    classes = Classes.from_json(plan["classes"])
    evaluation = _optional_object(
        folder / "evaluation.json", ("scores", "intervals", "per_class", "definitions", "split")
    )
    split = "val" if evaluation is None else str(evaluation["split"])
    return Run(
        folder=folder,
        plan=plan,
        recipe_text=from_tree(plan["recipe"], str(folder / "plan.json")).to_yaml(),
        classes=classes,
        environment=_optional_object(folder / "environment.json") or {},
        train=_of_split(metrics, "train"),
        val=_of_split(metrics, "val"),
        timing=_log(folder / "timing.jsonl", ("step",)),
        evaluation=evaluation,
        confusion=_confusion(folder / "counts" / f"{split}.npz", str(plan.get("task", "segmentation")), len(classes)),
        examples=_examples(folder / "examples" / split),
        rate_test=_optional_object(folder / "find_lr.json", RATE_TEST),
    )


def _object(path: Path, fields: tuple[str, ...]) -> Json:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(path, f"not JSON ({error})", CONTINUE) from error
    return _checked(value, fields, path)


def _checked(value: Any, fields: tuple[str, ...], place: Path | str) -> Json:
    missing = [field for field in fields if not isinstance(value, dict) or field not in value]
    if missing or not isinstance(value, dict):
        raise RunError(place, f"lacks {', '.join(missing) or 'its fields'}", CONTINUE)
    return value


def _optional_object(path: Path, fields: tuple[str, ...] = ()) -> Json | None:
    return _object(path, fields) if path.is_file() else None


def _log(path: Path, fields: tuple[str, ...]) -> tuple[Json, ...]:
    """The lines of a log; a half last line, which a kill leaves, is none."""
    return tuple(_line(path, number, text, fields) for number, text in enumerate(complete_lines(path), 1))


def _line(path: Path, number: int, text: str, fields: tuple[str, ...]) -> Json:
    place = f"{path}, line {number}"
    try:
        return _checked(json.loads(text), fields, place)
    except ValueError as error:
        raise RunError(place, f"not JSON ({error})", CONTINUE) from error


def _of_split(metrics: tuple[Json, ...], split: str) -> tuple[Json, ...]:
    return tuple(line for line in metrics if line["split"] == split)


def _confusion(path: Path, task: str, num_classes: int) -> Int64[np.ndarray, "k k"] | None:
    if not path.is_file() or task not in ("segmentation", "binary", "classification"):
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:  # np.load leaves a bad file open
            counts = arrays["counts"]
    except (ValueError, KeyError, OSError, BadZipFile, EOFError) as error:
        raise RunError(path, f"not the counts of a run ({error})", CONTINUE) from error
    if task == "classification" and counts.dtype == np.int64 and counts.shape[1:] == (2,):
        table = np.zeros((num_classes, num_classes), np.int64)
        known = counts[(counts < num_classes).all(axis=1)]  # an image without a class counts nowhere
        np.add.at(table, (known[:, 0], known[:, 1]), 1)
        return table
    if counts.dtype != np.int64 or counts.ndim != 3 or counts.shape[1:] != (num_classes, num_classes):
        found = f"counts are {counts.dtype} of shape {counts.shape} for {num_classes} classes"
        raise RunError(path, found, CONTINUE)
    return counts.sum(axis=0)


def _examples(folder: Path) -> tuple[Example, ...]:
    index = _optional_object(folder / "index.json", ("images",))
    return () if index is None else tuple(_example(folder, entry) for entry in index["images"])


def _example(folder: Path, entry: Any) -> Example:
    place = folder / "index.json"
    checked = _checked(entry, ("key", "group", "rank", "score", "pictures", "said"), place)
    pictures = {str(what): _beside(folder, str(name)) for what, name in checked["pictures"].items()}
    score = None if checked["score"] is None else float(checked["score"])
    key, group, rank = (str(checked[field]) for field in ("key", "group", "rank"))
    return Example(key, group, rank, score, pictures, dict(checked["said"]))


def _beside(folder: Path, name: str) -> Path:
    """The file of that name. An index may come from a stranger: it names files beside itself only."""
    if Path(name).name != name:
        raise RunError(folder / "index.json", f"names {name!r}, which is outside its folder", CONTINUE)
    if not (folder / name).is_file():
        raise RunError(folder / name, "named by index.json but not there", CONTINUE)
    return folder / name
