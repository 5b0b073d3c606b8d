"""Calibration against a slow loop, torchmetrics and hand arithmetic; rows that add up exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_calibration_error

from segtrial.calibration import UNIT, calibration_counts, expected_calibration_error, reliability
from segtrial.shapes import IGNORE


def case(seed: int, k: int = 4, shape: tuple[int, ...] = (3, 6, 7)) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits from unsure to certain, and a target of which about a fifth is IGNORE."""
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((shape[0], k, *shape[1:])) * rng.uniform(0, 4)
    target = rng.integers(0, k, shape).astype(np.uint8)
    agree = rng.random(shape) < rng.random()
    target[agree] = logits.argmax(1)[agree]
    target[rng.random(shape) < 0.2] = IGNORE
    return torch.from_numpy(logits).float(), torch.from_numpy(target)


def error(logits: torch.Tensor, target: torch.Tensor, bins: int = 15) -> float:
    return float(expected_calibration_error(calibration_counts(logits, target, bins).numpy().sum(0)))


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), bins=st.sampled_from([1, 2, 10, 15]))
def test_the_error_is_that_of_torchmetrics_and_of_a_loop_over_bins(seed, bins):
    logits, target = case(seed)
    found = error(logits, target, bins)
    theirs = multiclass_calibration_error(logits, target.long(), 4, bins, "l1", ignore_index=IGNORE)
    assert found == pytest.approx(theirs.item(), abs=1e-5)
    there = target != IGNORE
    sure, answer = (x[there].numpy() for x in torch.softmax(logits.double(), 1).max(1))
    right, expected = answer == target[there].numpy(), 0.0
    for m in range(bins):
        inside = (sure > m / bins) & (sure <= (m + 1) / bins)
        expected += abs(right[inside].sum() - sure[inside].sum()) / len(sure)
    assert found == pytest.approx(expected, abs=1e-5)


def test_four_pixels_by_hand():
    # two classes; the first is .75 sure of twice, .625 once (neither between two bins), and one pixel is ignored
    odds = torch.tensor([3.0, 3.0, 5 / 3, 99.0]).log()
    logits = torch.stack([odds, torch.zeros(4)])[None, :, None]
    target = torch.tensor([[[0, 1, 0, IGNORE]]], dtype=torch.uint8)
    counts = calibration_counts(logits, target, 10)
    assert counts[0, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 2, 0, 0]
    assert counts[0, 1].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 0, 0]
    np.testing.assert_allclose(counts[0, 2, [6, 7]] * UNIT, [0.625, 1.5], atol=1e-6)
    assert error(logits, target, 10) == pytest.approx((0.375 + 0.5) / 3, abs=1e-6)
    share, sure = reliability(counts.numpy().sum(0))
    np.testing.assert_allclose(share[[6, 7]], [1, 0.5])
    np.testing.assert_allclose(sure[[6, 7]], [0.625, 0.75], atol=1e-6)
    assert np.isnan(share).sum() == np.isnan(sure).sum() == 8


@pytest.mark.parametrize("k", [2, 4, 8])
def test_a_confidence_between_two_bins_belongs_to_the_lower(k):
    """No logit preferred: the confidence is 1/k exactly, the upper end of bin 0 of k bins."""
    counts = calibration_counts(torch.zeros(1, k, 1, 1), torch.zeros(1, 1, 1, dtype=torch.uint8), k)
    assert counts[0, 0].tolist() == [1] + [0] * (k - 1)


def test_certain_and_right_is_0_certain_and_wrong_is_1():
    logits = torch.tensor([1e4, -1e4])[None, :, None, None].expand(1, 2, 2, 3)
    for value in (0, 1):
        assert error(logits, torch.full((1, 2, 3), value, dtype=torch.uint8)) == value
    assert error(logits.bfloat16(), torch.zeros(1, 2, 3, dtype=torch.uint8)) == 0


def test_rows_add_up_exactly_over_any_parts_and_logits_under_ignore_change_nothing():
    logits, target = case(3, shape=(5, 8, 9))
    whole = calibration_counts(logits, target)
    parts = [calibration_counts(logits[i:j], target[i:j]) for i, j in ((0, 1), (1, 5))]
    assert torch.equal(torch.cat(parts), whole)
    assert whole[:, 0].sum(1).tolist() == (target != IGNORE).flatten(1).sum(1).tolist()
    other = torch.where((target == IGNORE)[:, None], 7 - logits.flip(1), logits)
    assert torch.equal(calibration_counts(other, target), whole)


def test_scores_that_are_no_numbers_are_sure_of_nothing():
    counts = calibration_counts(torch.full((1, 3, 1, 2), torch.nan), torch.ones(1, 1, 2, dtype=torch.uint8))
    assert counts[0, 0].tolist() == [2] + [0] * 14
    assert not counts[0, 2].any()


def test_without_pixels_nothing_is_defined():
    logits = torch.zeros(2, 3, 4, 4)
    counts = calibration_counts(logits, torch.full((2, 4, 4), IGNORE, dtype=torch.uint8))
    assert not counts.any()
    assert np.isnan(expected_calibration_error(counts.numpy())).tolist() == [True, True]
