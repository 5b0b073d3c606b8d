"""Scores -> one class for each image: accuracy, and precision, recall and F1 of each class."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from segtrial.classes import Classes
from segtrial.drawing import image_png
from segtrial.scores import Score, dice, mean, per_class, precision, ratio, recall
from segtrial.shapes import IGNORE
from segtrial.tasks._task import Answer, Drawing, Image, Task
from segtrial.tasks.extras import CALIBRATION

Rows = Int64[np.ndarray, "n 2"]
"""Of each image: the class it has (IGNORE if none) and the class that is answered."""

_MEAN = "a class in no truth and in no answer is left out, one that is only answered counts 0"

DEFINITIONS = {
    "accuracy": "Share of the images whose class has the largest score (top-1).",
    "f1_macro": "Mean over classes of F1 = 2 TP / (2 TP + FP + FN), counted in images; " + _MEAN + ".",
    "precision_macro": "Mean over classes of TP / (TP + FP), counted in images; a class that is never answered is left"
    " out.",
    "recall_macro": "Mean over classes of TP / (TP + FN), counted in images; a class in no truth is left out. Also"
    " called balanced accuracy.",
    "iou": "TP / (TP + FP + FN) of one class, counted in images; null if it is in no truth and in no answer.",
    "dice": "2 TP / (2 TP + FP + FN) of one class, counted in images: F1; null as for iou.",
    "precision": "TP / (TP + FP) of one class, counted in images; null if it is never answered.",
    "recall": "TP / (TP + FN) of one class, counted in images; null if it is in no truth.",
    "f1": "Harmonic mean of precision and recall: the same number as dice.",
    "support": "Images of one class.",
    "interval": "95 % percentile interval of 2000 bootstrap draws of whole blocks (the groups of images that a split"
    " never cuts); the score is computed anew from the summed counts of each draw.",
}


class Classification(Task):
    """One class for each image: the largest mean of its score maps, which the classifiers make one pixel wide."""

    name = "classification"
    content = "classes"
    headline = "accuracy"
    logged = ("accuracy", "f1_macro")
    extras = (CALIBRATION,)
    definitions = DEFINITIONS

    def __init__(self, classes: Classes, mean_color: tuple[float, float] | None = None, temperature: float | int = 1.0):
        super().__init__(classes, mean_color, temperature)
        values = {
            "accuracy": lambda sums: ratio(sums[..., 0, :].sum(-1), sums[..., 1, :].sum(-1)),
            "f1_macro": lambda sums: mean(dice(sums)),
            "precision_macro": lambda sums: mean(precision(sums)),
            "recall_macro": lambda sums: mean(recall(sums)),
        }
        self.table: Mapping[str, Score] = {
            name: Score(DEFINITIONS[name], self.totals, value) for name, value in values.items()
        }

    @property
    def empty(self) -> Int64[np.ndarray, "0 2"]:
        return np.zeros((0, 2), np.int64)

    def totals(self, rows: Rows) -> Int64[np.ndarray, "n 3 k"]:
        """Of each image and class: whether both truth and answer have it, whether the truth has, the answer has."""
        known = np.arange(len(self.classes))
        truth, answer = rows[:, :1] == known, (rows[:, 1:] == known) & (rows[:, :1] != IGNORE)
        return np.stack([truth & answer, truth, answer], axis=1).astype(np.int64)

    def compared(self, scores: Tensor) -> Float[Tensor, "b k 1 1"]:
        return scores.mean((2, 3), keepdim=True)

    def target(self, images: Tensor, planes: Tensor) -> UInt8[Tensor, "b 1 1"]:
        return planes.flatten(1).amin(1)[:, None, None]  # IGNORE, beyond a crop's border, is the largest

    def rows(self, scores: Tensor, images: Tensor, planes: Tensor) -> Int64[Tensor, "b 2"]:
        truth, answer = self.target(images, planes), self.compared(scores).argmax(1)
        return torch.stack([truth.flatten().cpu().long(), answer.flatten().cpu()], 1)

    def answer(self, scores: Tensor, image: Tensor) -> Answer:
        return Answer(self.class_scores(scores[None]).flatten().softmax(0).cpu().numpy())

    def picture(self, part: str, image: Image, answer: Answer) -> Drawing:
        raise AssertionError("a class is written into a table, not drawn")

    def example(self, image: Image, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, bytes]:
        return {"image": image_png(image)}

    def said(self, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, Any]:
        truth = self.classes.names[plane.min()] if plane.min() != IGNORE else None
        return {"truth_class": truth, **self._words(answer)}

    def table_row(self, path: Path, answer: Answer) -> dict[str, object]:
        return {"file": str(path), **self._words(answer)}

    def _words(self, answer: Answer) -> dict[str, object]:
        best = int(answer.values.argmax())
        return {"class": self.classes.names[best], "probability": round(float(answer.values[best]), 6)}

    def of_image(self, rows: Rows) -> Float[np.ndarray, " n"]:
        return np.where(rows[:, 0] == IGNORE, np.nan, (rows[:, 0] == rows[:, 1]).astype(np.float64))

    def words(self, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
        return {"per_class": per_class(self.totals(rows).sum(axis=0), names)}
