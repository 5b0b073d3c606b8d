"""Everybody's mean IoU, compared with the tools themselves where they are installed, and with the published example."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial import definitions, scores

EXAMPLE = np.array([[[99, 0, 0], [1, 0, 0], [0, 0, 0]], [[50, 0, 0], [0, 50, 0], [0, 0, 0]]])
"""Two images of 10 x 10: one misses its single pixel of class 1, one is right. Class 2 never occurs."""

PUBLISHED = {  # measured with the tools by hand: with two classes declared, with three
    "foreground, images": (0.5, None),
    "pairs of image and class": (0.7475, 0.7475),
    "images, absent classes count 1": (0.7475, 0.8317),
    "dataset, absent classes left out": (0.9869, 0.9869),
    "dataset, absent classes count 1": (0.9869, 0.9912),
    "dataset, absent classes undo it": (0.9869, None),
    "micro": (0.9900, 0.9900),
    "right pixels": (0.995, 0.995),
    "right decisions": (0.995, 0.9967),
}


def values_of(rows: np.ndarray) -> dict[str, float | None]:
    return {row["name"]: row["value"] for row in definitions.explain(rows)["definitions"]}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_example(name):
    for classes, expected in zip((2, 3), PUBLISHED[name], strict=True):
        found = values_of(EXAMPLE[:, :classes, :classes])[name]
        assert found == (None if expected is None else pytest.approx(expected, abs=5e-5))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth and answer of a few images, of classes of which some may never occur."""
    declared, images = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    used = draw(st.integers(1, declared))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = random.integers(used, size=(images, 4, 5))
    wrong = random.random(truth.shape) < draw(st.sampled_from([0, 0.2, 0.8]))
    return truth, np.where(wrong, random.integers(used, size=truth.shape), truth), declared


def rows_of(truth: np.ndarray, answer: np.ndarray, classes: int) -> np.ndarray:
    rows = np.zeros((len(truth), classes, classes), np.int64)
    for image, a, b in zip(np.arange(len(truth)).repeat(truth[0].size), truth.ravel(), answer.ravel(), strict=True):
        rows[image, a, b] += 1
    return rows


@settings(max_examples=30, deadline=None)
@given(pictures())
def test_values_are_those_of_the_tools(drawn):
    smp = pytest.importorskip("segmentation_models_pytorch").metrics
    tools = pytest.importorskip("torchmetrics.classification")
    segmentation = pytest.importorskip("torchmetrics.segmentation")
    truth, answer, k = drawn
    found = values_of(rows_of(truth, answer, k))
    a, b = torch.from_numpy(answer), torch.from_numpy(truth)
    stats = smp.get_stats(a, b, mode="multiclass", num_classes=k)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "dataset, absent classes count 1": smp.iou_score(*stats, reduction="macro"),
            "images, absent classes count 1": smp.iou_score(*stats, reduction="macro-imagewise"),
            "micro": smp.iou_score(*stats, reduction="micro"),
            "micro, images": smp.iou_score(*stats, reduction="micro-imagewise"),
            "right decisions": smp.accuracy(*stats, reduction="micro"),
        }
    jaccard = {n: tools.MulticlassJaccardIndex(k, average=n)(a, b) for n in ("macro", "weighted")}
    pairs = segmentation.MeanIoU(k, input_format="index")
    pairs.update(a, b)
    expected |= {
        "dataset, absent classes left out": jaccard["macro"],
        "weighted": jaccard["weighted"],
        "pairs of image and class": pairs.compute(),
        "right pixels": (a == b).double().mean(),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), abs=1e-5), name


@given(pictures())
def test_two_values_are_those_of_the_scores(drawn):
    rows = rows_of(*drawn)
    found = values_of(rows)
    assert found["dataset, absent classes left out"] == pytest.approx(scores.SCORES["miou_dataset"](rows))
    assert found["right pixels"] == pytest.approx(scores.SCORES["pixel_accuracy"](rows))
    assert found["weighted"] == pytest.approx(scores.SCORES["frequency_weighted_iou"](rows))


@given(pictures())
def test_nnu_net_by_its_own_words(drawn):
    """Per case and label tp / (tp + fp + fn), NaN without any; mean over cases; mean over the labels but 0."""
    truth, answer, k = drawn
    labels = []
    for label in range(1, k):
        cases = []
        for one, other in zip(truth, answer, strict=True):
            tp = int(((one == label) & (other == label)).sum())
            both = int(((one == label) | (other == label)).sum())
            if both:
                cases.append(tp / both)
        labels.append(sum(cases) / len(cases) if cases else float("nan"))
    expected = sum(labels) / len(labels)
    found = values_of(rows_of(truth, answer, k))["foreground, images"]
    assert found == (None if np.isnan(expected) else pytest.approx(expected))


def test_the_reasons_name_the_classes():
    told = definitions.explain(EXAMPLE, ("ground", "pole", "car"))
    assert any(reason.startswith("car: in no truth and no answer") for reason in told["reasons"])
    assert any("0.9869" in reason and "0.7475" in reason for reason in told["reasons"])
    answered = EXAMPLE.copy()
    answered[0, 0, 2] = 5
    reasons = definitions.explain(answered, ("ground", "pole", "car"))["reasons"]
    assert any(reason.startswith("car: in no truth, but answered") for reason in reasons)


def test_the_object_of_a_program():
    told = definitions.explain(EXAMPLE)
    assert list(told) == ["schema", "n_images", "n_classes", "definitions", "scores", "reasons"]
    assert list(told["definitions"][0]) == ["name", "value", "formula", "tools"]
    assert told["schema"] == 1
