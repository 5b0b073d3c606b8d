"""Scores -> any number of classes for each pixel, each decided by itself; counts of right and wrong for each class."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from segtrial import scores
from segtrial.counts import confusion
from segtrial.drawing import image_png, label_png, overlay
from segtrial.scores import Score, dice, iou, mean, per_class, ratio
from segtrial.shapes import IGNORE
from segtrial.tasks._task import Answer, Drawing, Image, Task
from segtrial.tasks.extras import CALIBRATION

Rows = Int64[np.ndarray, "n k 2 2"]
"""Of each image and class: pixels by truth (no, yes) and answer (no, yes)."""

LABELS, OVERLAY = "", "_overlay"


def totals(rows: Rows) -> Int64[np.ndarray, "n 3 k"]:
    """Of each image and class: pixels right, pixels of the truth, pixels of the answer."""
    return np.stack([rows[..., 1, 1], rows[..., 1, :].sum(-1), rows[..., :, 1].sum(-1)], axis=1)


def decisions(rows: Rows) -> Int64[np.ndarray, "n 2"]:
    """Of each image: decisions (a pixel and a class) that are right, and all of them."""
    return np.stack([rows[..., 0, 0].sum(-1) + rows[..., 1, 1].sum(-1), rows.sum((1, 2, 3))], axis=1)


_SUMMED = ", with TP, FP and FN summed over all images, each class decided by itself; ignored pixels count nowhere."
_ABSENT = " A class that is in no truth and in no answer is left out, one that is only answered counts 0."

TABLE = {
    "miou_dataset": Score(
        "Mean over classes of IoU = TP / (TP + FP + FN)" + _SUMMED + _ABSENT, totals, lambda sums: mean(iou(sums))
    ),
    "dice_dataset": Score(
        "Mean over classes of Dice = 2 TP / (2 TP + FP + FN)" + _SUMMED + _ABSENT, totals, lambda sums: mean(dice(sums))
    ),
    "decision_accuracy": Score(
        "Share of right decisions (does this pixel have that class?) among all; ignored pixels count nowhere.",
        decisions,
        lambda sums: ratio(sums[..., 0], sums[..., 1]),
    ),
}


class Multilabel(Task):
    """A class holds where its score is above 0, so its probability above one half; classes exclude nothing.

    In a mask of class indices every pixel has one class; there the task learns a detector for each class.
    """

    name = "multilabel"
    losses = "binary"
    table = TABLE
    headline = "miou_dataset"
    logged = ("miou_dataset", "dice_dataset", "decision_accuracy")
    extras = (CALIBRATION,)
    definitions = scores.DEFINITIONS | {name: score.definition for name, score in TABLE.items()}

    @property
    def parts(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """An overlay, one mask for each class, and last the classes as one map."""
        return (OVERLAY, *self._masks(), LABELS)

    def _masks(self) -> dict[str, int]:
        """The class of each mask by what follows the stem of its name: `_3-left-eye`."""
        return {
            f"_{index}-{re.sub(r'[^A-Za-z0-9]+', '-', name)}": index for index, name in enumerate(self.classes.names)
        }

    @property
    def empty(self) -> Int64[np.ndarray, "0 k 2 2"]:
        return np.zeros((0, len(self.classes), 2, 2), np.int64)

    def target(self, images: Tensor, planes: Tensor) -> UInt8[Tensor, "b k h w"]:
        known = torch.arange(len(self.classes), device=planes.device, dtype=torch.uint8).view(-1, 1, 1)
        holds = (planes[:, None] == known).to(torch.uint8)
        return holds.masked_fill(planes[:, None] == IGNORE, IGNORE)

    def rows(self, scores: Tensor, images: Tensor, planes: Tensor) -> Int64[Tensor, "b k 2 2"]:
        target, answer = self.target(images, planes).cpu(), (scores > 0).to(torch.uint8).cpu()
        tables = confusion(answer.flatten(0, 1), target.flatten(0, 1), 2)
        return tables.view(len(scores), len(self.classes), 2, 2)

    def probabilities(self, scores: Tensor) -> Tensor:
        return self.tempered(scores).sigmoid()

    def class_scores(self, scores: Float[Tensor, "b k h w"]) -> Float[Tensor, "b*k 2 h w"]:
        """Of each image and class the scores of no and yes: every class is a question of its own."""
        yes = self.tempered(scores).flatten(0, 1)[:, None]
        return torch.cat([torch.zeros_like(yes), yes], 1)

    def scores_of(self, probabilities: Tensor) -> Tensor:
        return probabilities.logit(eps=1e-7)

    def answer(self, scores: Tensor, image: Tensor) -> Answer:
        return Answer((scores > 0).cpu().numpy(), self.tempered(scores.abs()).sigmoid().amin(0).cpu().numpy())

    def last_of(self, masks: Bool[np.ndarray, "k h w"]) -> UInt8[np.ndarray, "h w"]:
        """The classes as one map, to look at: the last class that holds, IGNORE where none does."""
        shown = np.full(masks.shape[1:], IGNORE, np.uint8)
        for index, holds in enumerate(masks):
            shown[holds] = index
        return shown

    def picture(self, part: str, image: Image, answer: Answer) -> Drawing:
        if part in self._masks():
            return Drawing(255 * answer.values[self._masks()[part]].astype(np.uint8))
        shown = self.last_of(answer.values)
        return Drawing(shown, indexed=True) if part == LABELS else Drawing(overlay(image, shown, self.classes))

    def example(self, image: Image, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, bytes]:
        assert answer.confidence is not None
        return {
            "image": image_png(image),
            "truth": label_png(plane, self.classes),
            "answer": label_png(self.last_of(answer.values), self.classes),
            "confidence": image_png(np.round(answer.confidence * 255).astype(np.uint8)[None]),
        }

    def of_image(self, rows: Rows) -> Float[np.ndarray, " n"]:
        parts = totals(rows)
        return mean(np.where(parts[:, 1] > 0, iou(parts), np.nan))

    def words(self, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
        return {"per_class": per_class(totals(rows).sum(axis=0), names)}
