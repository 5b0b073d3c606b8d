"""Counts against scikit-learn, and against what must stay true of sums of integers."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from segtrial.counts import confusion
from segtrial.errors import DataError, MaskError
from segtrial.shapes import IGNORE


def case(seed: int, num_classes: int, shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """A prediction and a target in which some classes may be absent and about a fifth is IGNORE."""
    rng = np.random.default_rng(seed)
    answered, true = rng.integers(1, num_classes + 1, size=2)
    target = rng.integers(0, true, shape).astype(np.uint8)
    target[rng.random(shape) < 0.2] = IGNORE
    return torch.from_numpy(rng.integers(0, answered, shape)), torch.from_numpy(target)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), num_classes=st.sampled_from([2, 3, 11, 15, 16, 19, 180, 181, 255]))
def test_each_row_is_the_confusion_matrix_of_its_image(seed, num_classes):
    prediction, target = case(seed, num_classes, (2, 5, 7))
    counts = confusion(prediction, target, num_classes)
    for row, answer, truth in zip(counts, prediction, target, strict=True):
        valid = truth != IGNORE
        expected = confusion_matrix(truth[valid], answer[valid], labels=range(num_classes)) if valid.any() else 0
        np.testing.assert_array_equal(row.numpy(), expected)


def test_by_hand():
    target = torch.tensor([[[0, 0, 1], [1, IGNORE, 2]]], dtype=torch.uint8)
    prediction = torch.tensor([[[0, 1, 1], [2, 2, 2]]])
    assert confusion(prediction, target, 3).tolist() == [[[1, 1, 0], [0, 1, 1], [0, 0, 1]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("num_classes", [3, 15, 16, 100])
def test_the_type_and_layout_of_the_answer_change_nothing(dtype, num_classes):
    prediction, target = case(0, num_classes, (3, 8, 6))
    expected = confusion(prediction, target, num_classes)
    turned = prediction.to(dtype).transpose(1, 2).contiguous().transpose(1, 2)  # not contiguous
    torch.testing.assert_close(confusion(turned, target, num_classes), expected)


def test_any_split_into_batches_gives_the_same_rows():
    prediction, target = case(1, 7, (5, 9, 4))
    parts = [confusion(prediction[i:j], target[i:j], 7) for i, j in ((0, 1), (1, 4), (4, 5))]
    torch.testing.assert_close(torch.cat(parts), confusion(prediction, target, 7))


def test_moving_pixels_about_changes_nothing():
    prediction, target = case(2, 7, (2, 9, 4))
    order = torch.randperm(36, generator=torch.Generator().manual_seed(0))
    moved = [x.flatten(1)[:, order].view_as(x) for x in (prediction, target)]
    torch.testing.assert_close(confusion(*moved, 7), confusion(prediction, target, 7))


def test_answers_under_ignore_change_nothing():
    prediction, target = case(3, 7, (2, 9, 4))
    other = prediction.where(target != IGNORE, 6 - prediction)
    torch.testing.assert_close(confusion(other, target, 7), confusion(prediction, target, 7))


def test_row_sums_are_the_support():
    prediction, target = case(4, 12, (1, 30, 40))
    support = torch.bincount(target.flatten(), minlength=256)[:12]
    torch.testing.assert_close(confusion(prediction, target, 12).sum(2)[0], support)


def test_an_image_that_is_all_ignore_counts_nothing():
    target = torch.full((1, 3, 3), IGNORE, dtype=torch.uint8)
    assert not confusion(torch.zeros(1, 3, 3, dtype=torch.long), target, 4).any()


@pytest.mark.parametrize("wrong", [-1, 4, 255, 256, 260, 2**40])
def test_an_answer_that_is_no_class_is_refused(wrong):
    prediction = torch.zeros(1, 2, 2, dtype=torch.long)
    prediction[0, 1, 1] = wrong
    with pytest.raises(DataError, match=rf"classes .*{wrong}.*classes 0 to 3"):
        confusion(prediction, torch.zeros(1, 2, 2, dtype=torch.uint8), 4)


@pytest.mark.parametrize("wrong", [4, 100, 254])
def test_a_truth_that_is_no_class_is_refused(wrong):
    target = torch.zeros(1, 2, 2, dtype=torch.uint8)
    target[0, 0, 1] = wrong
    with pytest.raises(MaskError, match=rf"value {wrong}.*0 to 3, or 255"):
        confusion(torch.zeros(1, 2, 2, dtype=torch.long), target, 4)


def test_one_class_is_enough():
    target = torch.tensor([[[0, IGNORE, 0]]], dtype=torch.uint8)
    assert confusion(torch.zeros(1, 1, 3, dtype=torch.long), target, 1).tolist() == [[[2]]]
