"""Counts of one set of predictions -> the mean IoU of every tool: which formula each uses, and why they differ.

The same predictions get six values or more under one name. Formulas are written out from the tools' sources; tests
compare those of segmentation_models_pytorch 0.6.0 and torchmetrics 1.9.0 with the packages themselves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from segtrial.errors import listing
from segtrial.scores import SCORES, totals

Rows = Int64[np.ndarray, "n k k"]


@dataclass(frozen=True)
class Tally:
    """Of each image and class: pixels hit, and in truth or answer (`either`), and of the truth; n k each."""

    hits: Float64[np.ndarray, "n k"]
    either: Float64[np.ndarray, "n k"]
    truth: Float64[np.ndarray, "n k"]

    @classmethod
    def of(cls, rows: Rows) -> "Tally":
        hits, truth, answer = totals(rows).astype(np.float64).transpose(1, 0, 2)
        return cls(hits, truth + answer - hits, truth)

    def of_classes(self, absent: float = np.nan) -> Float64[np.ndarray, " k"]:
        """IoU over all images; `absent` for a class in no truth and no answer."""
        return _divided(self.hits.sum(0), self.either.sum(0), absent)

    def of_images(self, absent: float = np.nan) -> Float64[np.ndarray, "n k"]:
        """IoU of each image and class; `absent` where the class is in neither truth nor answer."""
        return _divided(self.hits, self.either, absent)


@dataclass(frozen=True)
class Definition:
    """A formula, the tools that print it, and how they come to it."""

    formula: str
    tools: str
    value: Callable[[Tally], float]


def _divided(part: Any, whole: Any, otherwise: float) -> Any:
    """Numbers or arrays; `otherwise` where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), otherwise, np.float64), where=np.asarray(whole > 0))


def _mean(values: np.ndarray, axis: int | None = None) -> Any:
    """The mean of what is no NaN; NaN where nothing is."""
    there = ~np.isnan(values)
    return _divided(np.where(there, values, 0).sum(axis), there.sum(axis), np.nan)


def _right(tally: Tally) -> float:
    return float(_divided(tally.hits.sum(), tally.truth.sum(), np.nan))


def _weighted(tally: Tally) -> float:
    return float(_divided((tally.truth.sum(0) * tally.of_classes(0.0)).sum(), tally.truth.sum(), np.nan))


def _with_true_negatives(tally: Tally) -> float:
    """(TP + TN) / all, over the pixels once for each class: an error is one FP and one FN among k answers."""
    return 1 - 2 * (1 - _right(tally)) / tally.hits.shape[1]


DEFINITIONS: dict[str, Definition] = {
    "dataset, absent classes left out": Definition(
        "mean over classes of IoU, pixels summed over all images; a class in no truth and no answer is left out",
        "Segtrial miou_dataset, MMSegmentation, Hugging Face evaluate, torchmetrics MulticlassJaccardIndex(macro)",
        lambda tally: float(_mean(tally.of_classes())),
    ),
    "dataset, absent classes count 1": Definition(
        "the same, but a class in no truth and no answer counts 1",
        "segmentation_models_pytorch iou_score(macro), at its zero_division of 1",
        lambda tally: float(tally.of_classes(1.0).mean()),
    ),
    "dataset, absent classes undo it": Definition(
        "the same, but a class in no truth and no answer makes the mean NaN",
        "torchvision references, ConfusionMatrix",
        lambda tally: float(tally.of_classes().mean()),
    ),
    "pairs of image and class": Definition(
        "mean over all pairs of an image and a class in its truth or answer, of the image's own IoU",
        "torchmetrics segmentation.MeanIoU",
        lambda tally: float(_mean(tally.of_images())),
    ),
    "images, absent classes count 1": Definition(
        "mean over classes and images of the image's own IoU; a class in neither its truth nor its answer counts 1",
        "segmentation_models_pytorch iou_score(macro-imagewise), at its zero_division of 1",
        lambda tally: float(tally.of_images(1.0).mean()),
    ),
    "foreground, images": Definition(
        "mean over classes but the first, of the mean over images whose truth or answer has the class, of the image's"
        " own IoU; a class that no image has makes it NaN",
        "nnU-Net foreground_mean",
        lambda tally: float(_mean(tally.of_images(), 0)[1:].mean()) if tally.hits.shape[1] > 1 else np.nan,
    ),
    "micro": Definition(
        "IoU over all classes together: right pixels / (2 all pixels - right pixels)",
        "torchgeo's default, iou_score(micro), MulticlassJaccardIndex(micro)",
        lambda tally: float(_divided(tally.hits.sum(), tally.either.sum(), np.nan)),
    ),
    "micro, images": Definition(
        "mean over images of the same",
        "segmentation_models_pytorch iou_score(micro-imagewise)",
        lambda tally: float(_divided(tally.hits.sum(1), tally.either.sum(1), 1.0).mean()),
    ),
    "weighted": Definition(
        "mean over classes of IoU, each weighted by its pixels in the truth",
        "Segtrial and torchvision frequency_weighted_iou, MulticlassJaccardIndex(weighted)",
        _weighted,
    ),
    "right pixels": Definition(
        "right pixels / all pixels: no IoU, but often printed beside it",
        "pixel accuracy everywhere, MMSegmentation aAcc",
        _right,
    ),
    "right decisions": Definition(
        "right decisions / all decisions, one for each pixel and class, so true negatives count",
        "segmentation_models_pytorch accuracy(micro)",
        _with_true_negatives,
    ),
}
"""By name, in the order that they are printed."""


def explain(rows: Rows, names: Sequence[str] = ()) -> dict[str, Any]:
    """The object that `explain-metric --json` prints, schema 1: every value, its formula and tools, and what differs.

    `rows` are counts of images (rows the truth, columns the answer), of which ignored pixels are no part; `names` are
    those of the classes. Values that nothing defines are null.
    """
    tally = Tally.of(rows)
    values = {name: definition.value(tally) for name, definition in DEFINITIONS.items()}
    table = [
        {"name": name, "value": _or_none(values[name]), "formula": one.formula, "tools": one.tools}
        for name, one in DEFINITIONS.items()
    ]
    ours = {name: _or_none(SCORES[name](rows)) for name in ("miou_dataset", "miou_image", "miou_class")}
    return {
        "schema": 1,
        "n_images": len(rows),
        "n_classes": rows.shape[1],
        "definitions": table,
        "scores": ours,
        "reasons": _reasons(tally, values, names or [str(number) for number in range(rows.shape[1])]),
    }


def _reasons(tally: Tally, values: dict[str, float], names: Sequence[str]) -> list[str]:
    """Why these predictions score differently, as far as the counts tell."""
    said = []
    absent = [names[number] for number in np.flatnonzero(tally.either.sum(0) == 0).tolist()]
    if absent:
        said.append(
            f"{listing(absent, most=6)}: in no truth and no answer. Left out by some, 1 by others, NaN by others yet."
        )
    only_answered = (tally.truth.sum(0) == 0) & (tally.either.sum(0) > 0)
    answered = [names[number] for number in np.flatnonzero(only_answered).tolist()]
    if answered:
        said.append(f"{listing(answered, most=6)}: in no truth, but answered somewhere, so their IoU is 0.")
    whole, apart = values["dataset, absent classes left out"], values["pairs of image and class"]
    if len(tally.hits) > 1 and abs(whole - apart) >= 0.005:
        why = "small objects and images with few of its pixels count as much as large ones in the second"
        said.append(f"Pixels summed over all images give {whole:.4f}, single images {apart:.4f}: {why}.")
    accuracy = values["right pixels"]
    if accuracy - whole >= 0.05:
        common = names[int(tally.truth.sum(0).argmax())]
        share = float(tally.truth.sum(0).max() / tally.truth.sum())
        said.append(f"{accuracy:.1%} of the pixels are right, but {common} alone has {share:.1%} of them.")
    return said


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
