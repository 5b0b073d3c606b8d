"""Scores against hand arithmetic, scikit-learn and torchmetrics: absent classes and ignored pixels included."""

import time
import warnings

import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional import classification as torchmetrics

from segtrial.counts import confusion
from segtrial.scores import DEFINITIONS, SCORES, image_miou, intervals, per_class, summary, totals
from segtrial.shapes import IGNORE
from segtrial.statistics import Interval
from tests.sampling import sampled

NAMES = (  # DESIGN.md's contract
    *("miou_dataset", "miou_image", "miou_class", "pixel_accuracy"),
    *("mean_class_accuracy", "dice_dataset", "frequency_weighted_iou"),
)

# Two images of 10 x 10, two classes: A misses its only pixel of class 1; B, half class 1, is right everywhere.
TWO_IMAGES = np.array([[[99, 0], [1, 0]], [[50, 0], [0, 50]]])


def one_hot_rows(counts: np.ndarray, more: int) -> np.ndarray:
    """The same counts with `more` declared classes that never occur."""
    return np.pad(counts, ((0, 0), (0, more), (0, more)))


@pytest.mark.parametrize("absent", [0, 1, 5])
def test_two_images_by_hand(absent):
    found = summary(one_hot_rows(TWO_IMAGES, absent))
    assert list(found) == list(NAMES)
    assert found["miou_dataset"] == pytest.approx((149 / 150 + 50 / 51) / 2)  # .9869
    assert found["miou_image"] == pytest.approx(((99 / 100 + 0) / 2 + (1 + 1) / 2) / 2)  # .7475
    assert found["miou_class"] == pytest.approx(((99 / 100 + 1) / 2 + (0 + 1) / 2) / 2)
    assert found["pixel_accuracy"] == pytest.approx(199 / 200)  # .995
    assert found["mean_class_accuracy"] == pytest.approx((149 / 149 + 50 / 51) / 2)
    assert found["dice_dataset"] == pytest.approx((298 / 299 + 100 / 101) / 2)
    assert found["frequency_weighted_iou"] == pytest.approx(149 / 200 * 149 / 150 + 51 / 200 * 50 / 51)


def test_classes_by_hand():
    # rows are truth: class 0 has 4 pixels, 3 found; class 1 has 2, 1 found; class 2 is answered but never there
    counts = np.array([[[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]])
    sky, pole, car, bus = per_class(totals(counts).sum(0), ("sky", "pole", "car", "bus"))
    assert sky == pytest.approx(
        {"name": "sky", "iou": 3 / 4, "dice": 6 / 7, "precision": 1, "recall": 3 / 4, "f1": 6 / 7, "support": 4}
    )
    assert pole == pytest.approx(
        {"name": "pole", "iou": 1 / 3, "dice": 1 / 2, "precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "support": 2}
    )
    assert car == {"name": "car", "iou": 0, "dice": 0, "precision": 0, "recall": None, "f1": 0, "support": 0}
    nothing = dict.fromkeys(("iou", "dice", "precision", "recall", "f1"))
    assert bus == {"name": "bus", **nothing, "support": 0}
    found = summary(counts)
    assert found["miou_dataset"] == pytest.approx((3 / 4 + 1 / 3 + 0) / 3)  # answered only: counts 0
    assert found["miou_image"] == found["miou_class"] == pytest.approx((3 / 4 + 1 / 3) / 2)  # in no truth: left out
    assert found["mean_class_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)


def test_an_image_that_is_all_ignore_is_left_out():
    blank = np.zeros((1, 2, 2), np.int64)
    assert summary(np.concatenate([TWO_IMAGES, blank])) == summary(TWO_IMAGES)
    np.testing.assert_array_equal(image_miou(np.concatenate([TWO_IMAGES, blank])), [0.495, 1, np.nan])


@pytest.mark.parametrize("images", [0, 1, 3])
def test_where_no_pixel_counts_nothing_is_defined(images):
    counts = np.zeros((images, 4, 4), np.int64)
    assert summary(counts) == dict.fromkeys(NAMES)
    assert all(np.isnan(score(counts)) for score in SCORES.values())


def test_more_pixels_than_32_bits_hold_are_counted_exactly():
    counts = np.full((3, 2, 2), 2**40, np.int64)
    counts[0, 0, 0] += 1
    assert per_class(totals(counts).sum(0), ("a", "b"))[0]["support"] == 6 * 2**40 + 1
    assert SCORES["pixel_accuracy"](counts) == (6 * 2**40 + 1) / (12 * 2**40 + 1)


class Case:
    """Two random images with ignored pixels and, often, classes that are absent from truth, answer or both."""

    def __init__(self, seed: int, num_classes: int):
        rng = np.random.default_rng(seed)
        pool_of_truth, pool_of_answers = (self._pool(rng, num_classes) for _ in range(2))
        self.k = num_classes
        self.target = rng.choice(pool_of_truth, size=(2, 5, 6)).astype(np.uint8)
        self.answer = rng.choice(pool_of_answers, size=(2, 5, 6)).astype(np.uint8)
        agree = rng.random(self.target.shape) < rng.random()
        self.answer[agree] = self.target[agree]
        self.target[rng.random(self.target.shape) < rng.choice([0, 0.3, 0.9])] = IGNORE
        self.target[0, 0, 0] = pool_of_truth[0]  # at least one pixel counts
        counts = confusion(torch.from_numpy(self.answer), torch.from_numpy(self.target), num_classes)
        self.counts = counts.numpy()

    @staticmethod
    def _pool(rng: np.random.Generator, num_classes: int) -> np.ndarray:
        return rng.choice(num_classes, size=rng.integers(1, num_classes + 1), replace=False)

    def valid(self, image: int | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """Truth and answer of the pixels that count, in one row."""
        there = self.target[image] != IGNORE
        return self.target[image][there], self.answer[image][there]


CASES = st.builds(Case, st.integers(0, 2**32 - 1), st.integers(2, 12))
"""Every test below draws its own; slowly each of them 1,000."""


@sampled(90, 1000, case=CASES)
def test_scores_are_those_of_scikit_learn(case):
    truth, answer = case.valid()
    either = np.union1d(truth, answer)
    found = summary(case.counts)
    jaccard = metrics.jaccard_score(truth, answer, labels=either, average=None, zero_division=0)
    share = np.array([(truth == label).mean() for label in either])
    expected = {
        "miou_dataset": jaccard.mean(),
        "dice_dataset": metrics.f1_score(truth, answer, labels=either, average="macro", zero_division=0),
        "pixel_accuracy": metrics.accuracy_score(truth, answer),
        "mean_class_accuracy": metrics.recall_score(
            truth, answer, labels=np.unique(truth), average="macro", zero_division=0
        ),
        "frequency_weighted_iou": share @ jaccard,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


@sampled(80, 1000, case=CASES)
def test_class_rows_are_those_of_scikit_learn(case):
    truth, answer = case.valid()
    labels = list(range(case.k))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        truth, answer, labels=labels, zero_division=np.nan
    )
    jaccard = metrics.jaccard_score(truth, answer, labels=labels, average=None, zero_division=0)
    for index, row in enumerate(per_class(totals(case.counts).sum(0), [str(label) for label in labels])):
        nowhere = index not in truth and index not in answer
        expected = {
            "iou": None if nowhere else jaccard[index],
            "dice": None if nowhere else f1[index],
            "precision": precision[index] if index in answer else None,
            "recall": recall[index] if index in truth else None,
            "f1": None if nowhere else f1[index],
            "support": support[index],
        }
        assert {name: row[name] for name in expected} == pytest.approx(expected)


@sampled(60, 1000, case=CASES)
def test_scores_of_images_and_classes_are_means_of_scikit_learns(case):
    table = np.full((2, case.k), np.nan)
    for image in range(2):
        truth, answer = case.valid(image)
        labels = np.unique(truth)
        if len(labels):
            table[image, labels] = metrics.jaccard_score(truth, answer, labels=labels, average=None, zero_division=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing is NaN
        of_images, of_classes = np.nanmean(table, axis=1), np.nanmean(table, axis=0)
    np.testing.assert_allclose(image_miou(case.counts), of_images)
    assert SCORES["miou_image"](case.counts) == pytest.approx(np.nanmean(of_images))
    assert SCORES["miou_class"](case.counts) == pytest.approx(np.nanmean(of_classes))


@sampled(80, 1000, case=CASES)
def test_scores_are_those_of_torchmetrics(case):
    # Macro F1 and accuracy of torchmetrics leave out the classes that are in no truth and in no answer, as we do.
    answer, target = torch.from_numpy(case.answer).long(), torch.from_numpy(case.target).long()
    options = {"num_classes": case.k, "ignore_index": IGNORE}
    expected = {
        "miou_dataset": torchmetrics.multiclass_jaccard_index(answer, target, average="macro", **options),
        "dice_dataset": torchmetrics.multiclass_f1_score(answer, target, average="macro", **options),
        "pixel_accuracy": torchmetrics.multiclass_accuracy(answer, target, average="micro", **options),
        "frequency_weighted_iou": torchmetrics.multiclass_jaccard_index(answer, target, average="weighted", **options),
    }
    found = summary(case.counts)
    assert {name: found[name] for name in expected} == pytest.approx(
        {name: value.item() for name, value in expected.items()}, rel=1e-5
    )


@sampled(50, 1000, case=CASES, more=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_laws(case, more, seed):
    found, rng = summary(case.counts), np.random.default_rng(seed)
    order = rng.permutation(case.k)
    relabelled = case.counts[:, order][:, :, order]
    assert summary(relabelled) == pytest.approx(found)
    assert summary(one_hot_rows(case.counts, more)) == pytest.approx(found)
    swapped = summary(case.counts.swapaxes(1, 2))
    for name in ("miou_dataset", "dice_dataset", "pixel_accuracy"):  # symmetric in truth and answer
        assert swapped[name] == pytest.approx(found[name])
    rows = per_class(totals(case.counts).sum(0), [str(index) for index in range(case.k)])
    for row in rows:
        assert row["iou"] is None or row["dice"] == pytest.approx(2 * row["iou"] / (1 + row["iou"]))
    assert all(0 <= value <= 1 for value in found.values())
    right = summary(np.stack([np.diag(row.sum(1)) for row in case.counts]))
    assert right == pytest.approx(dict.fromkeys(NAMES, 1.0))


def test_definitions_name_every_number():
    assert set(NAMES) < set(DEFINITIONS)
    assert set(per_class(totals(TWO_IMAGES).sum(0), ("a", "b"))[0]) - {"name"} < set(DEFINITIONS)
    assert all("ignored pixels count nowhere" in DEFINITIONS[name] for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_intervals_draw_whole_images_by_loops(name):
    """Against the slow way: resample the images themselves and score the resampled data set."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 50, (12, 3, 3)) + 100 * np.eye(3, dtype=np.int64) * rng.integers(1, 9, (12, 1, 1))
    found = intervals(counts, [f"photo{index:02}" for index in range(12)])[name]
    drawn = [SCORES[name](counts[rng.integers(12, size=12)]) for _ in range(1500)]
    assert isinstance(found, Interval)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_intervals_of_a_hundred_images_take_less_than_a_second_each():
    counts = np.random.default_rng(0).integers(0, 1000, (100, 11, 11))
    start = time.process_time()
    intervals(counts, [str(index) for index in range(100)])
    assert time.process_time() - start < len(SCORES)
