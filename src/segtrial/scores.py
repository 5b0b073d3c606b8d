"""Rows of counts -> scores: higher is better, 0 to 1, each with its definition.

Every score is a function of sums over images: `parts` turns each image's counts into additive numbers, `value`
turns their sum into the score. So a data set is scored once, and a resampled one (statistics.py) just as well.
A score that nothing defines (no pixel counts, no class occurs) is NaN here and null in JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64, Num

from segtrial.statistics import Interval, NoInterval, block_interval

Counts = Int64[np.ndarray, "n k k"]
Totals = Num[np.ndarray, "*d 3 k"]
Means = Num[np.ndarray, "*d 2 k"]
OfClasses = Float[np.ndarray, "*d k"]
Values = Float[np.ndarray, "*d"]


@dataclass(frozen=True)
class Score:
    """A score of rows, such as counts `n k k` (rows the truth, columns the answer): `value(parts(rows).sum(0))`."""

    definition: str
    parts: Callable[[np.ndarray], np.ndarray]
    value: Callable[[np.ndarray], np.ndarray]

    def __call__(self, rows: Num[np.ndarray, "n *row"]) -> float:
        return float(self.value(self.parts(rows).sum(axis=0)))


def totals(counts: Counts) -> Int64[np.ndarray, "n 3 k"]:
    """Of each image and class: pixels where truth and answer agree, pixels of the truth, pixels of the answer."""
    return np.stack([np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)], axis=1)


def iou(sums: Totals) -> OfClasses:
    """Of each class: agreement / (truth or answer), Jaccard's index; NaN where a class is in neither."""
    hits, truth, answer = _three(sums)
    return ratio(hits, truth + answer - hits)


def dice(sums: Totals) -> OfClasses:
    """Of each class: 2 agreement / (truth + answer), which is F1; NaN where a class is in neither."""
    hits, truth, answer = _three(sums)
    return ratio(2 * hits, truth + answer)


def precision(sums: Totals) -> OfClasses:
    """Of each class: the share of its answers that are right; NaN where it is never answered."""
    hits, _, answer = _three(sums)
    return ratio(hits, answer)


def recall(sums: Totals) -> OfClasses:
    """Of each class: the share of its pixels that are found; NaN where there are none."""
    hits, truth, _ = _three(sums)
    return ratio(hits, truth)


def image_miou(counts: Counts) -> Float64[np.ndarray, " n"]:
    """Of each image: the mean IoU of the classes in its truth; NaN where all pixels are ignored."""
    return mean(_iou_where_true(counts))


def _pixel_accuracy(sums: Totals) -> Values:
    hits, truth, _ = _three(sums)
    return ratio(hits.sum(axis=-1), truth.sum(axis=-1))


def _frequency_weighted_iou(sums: Totals) -> Values:
    truth = _three(sums)[1]
    return ratio((truth * np.nan_to_num(iou(sums))).sum(axis=-1), truth.sum(axis=-1))


def _image_parts(counts: Counts) -> Float64[np.ndarray, "n 2 1"]:
    return _value_and_number(image_miou(counts)[:, None])


def _class_parts(counts: Counts) -> Float64[np.ndarray, "n 2 k"]:
    return _value_and_number(_iou_where_true(counts))


def _mean_of_means(sums: Means) -> Values:
    return mean(ratio(sums[..., 0, :], sums[..., 1, :]))


SCORES: dict[str, Score] = {
    "miou_dataset": Score(
        "Mean over classes of IoU = TP / (TP + FP + FN), with TP, FP and FN summed over all images; a class that is"
        " in no truth and in no answer is left out, one that is only answered counts 0; ignored pixels count nowhere.",
        totals,
        lambda sums: mean(iou(sums)),
    ),
    "miou_image": Score(
        "Mean over images of the mean, over the classes in that image's truth, of the image's own IoU = TP / (TP +"
        " FP + FN); images without a counted pixel are left out; ignored pixels count nowhere.",
        _image_parts,
        _mean_of_means,
    ),
    "miou_class": Score(
        "Mean over classes of the mean, over the images whose truth has the class, of the image's own IoU = TP /"
        " (TP + FP + FN); a class in no truth is left out; ignored pixels count nowhere.",
        _class_parts,
        _mean_of_means,
    ),
    "pixel_accuracy": Score(
        "Share of right pixels among all counted pixels of all images; ignored pixels count nowhere.",
        totals,
        _pixel_accuracy,
    ),
    "mean_class_accuracy": Score(
        "Mean over classes of recall = TP / (TP + FN), with TP and FN summed over all images; a class in no truth is"
        " left out; ignored pixels count nowhere.",
        totals,
        lambda sums: mean(recall(sums)),
    ),
    "dice_dataset": Score(
        "Mean over classes of Dice = 2 TP / (2 TP + FP + FN), with TP, FP and FN summed over all images; a class that"
        " is in no truth and in no answer is left out, one that is only answered counts 0; ignored pixels count"
        " nowhere.",
        totals,
        lambda sums: mean(dice(sums)),
    ),
    "frequency_weighted_iou": Score(
        "Mean over classes of IoU = TP / (TP + FP + FN), summed over all images, weighted by the class's share of the"
        " truth; a class in no truth weighs 0; ignored pixels count nowhere.",
        totals,
        _frequency_weighted_iou,
    ),
}

DEFINITIONS: dict[str, str] = {name: score.definition for name, score in SCORES.items()} | {
    "iou": "TP / (TP + FP + FN) of one class, summed over all images; null if it is in no truth and in no answer.",
    "dice": "2 TP / (2 TP + FP + FN) of one class, summed over all images; null as for iou.",
    "precision": "TP / (TP + FP) of one class, summed over all images; null if it is never answered.",
    "recall": "TP / (TP + FN) of one class, summed over all images; null if it is in no truth.",
    "f1": "Harmonic mean of precision and recall: the same number as dice.",
    "support": "Pixels of one class in the truth of all images, ignored pixels left out.",
    "interval": "95 % percentile interval of 2000 bootstrap draws of whole blocks (the groups of images that a split"
    " never cuts); the score is computed anew from the summed counts of each draw.",
}


def summary(rows: Num[np.ndarray, "n *row"], table: Mapping[str, Score] = SCORES) -> dict[str, float | None]:
    """Every score of the table by name; None if undefined."""
    return {name: number_or_none(score(rows)) for name, score in table.items()}


def intervals(
    rows: Num[np.ndarray, "n *row"], groups: Sequence[str], table: Mapping[str, Score] = SCORES
) -> dict[str, Interval | NoInterval]:
    """The interval over blocks of every score, or why there is none. `groups[i]` is the block of image i."""
    return {name: block_interval(score.parts(rows), groups, score.value) for name, score in table.items()}


def per_class(sums: Int64[np.ndarray, "3 k"], names: Sequence[str]) -> list[dict[str, str | int | float | None]]:
    """Of each class over the data set: iou, dice, precision, recall, f1 (None if undefined) and support.

    `sums` are `totals` of all images together; support is in what they count: pixels, or images.
    """
    columns = {"iou": iou(sums), "dice": dice(sums), "precision": precision(sums), "recall": recall(sums)}
    columns["f1"] = columns["dice"]
    return [
        {"name": name}
        | {column: number_or_none(values[index]) for column, values in columns.items()}
        | {"support": int(sums[1, index])}
        for index, name in enumerate(names)
    ]


def _three(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return sums[..., 0, :], sums[..., 1, :], sums[..., 2, :]


def _iou_where_true(counts: Counts) -> Float64[np.ndarray, "n k"]:
    parts = totals(counts)
    return np.where(parts[:, 1] > 0, iou(parts), np.nan)


def _value_and_number(values: np.ndarray) -> np.ndarray:
    """Each value (0 for NaN) and whether there is one (1 or 0): sums of both give a mean over those there are."""
    there = ~np.isnan(values)
    return np.stack([np.where(there, values, 0.0), there.astype(np.float64)], axis=1)


def ratio(over: np.ndarray | np.generic, under: np.ndarray | np.generic) -> np.ndarray:
    """over / under, NaN where under is 0."""
    return np.divide(over, under, out=np.full(np.shape(under), np.nan), where=np.greater(under, 0))


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis of the values that are no NaN; NaN if there is none."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=-1), there.sum(axis=-1))


def number_or_none(value: float | np.floating) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if np.isfinite(value) else None
