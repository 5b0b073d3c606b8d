"""Sums of losses kept by image: what they give together is the loss of all images at once."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.losses import LOSSES, Criterion, terms
from segtrial.shapes import IGNORE
from tests.loss_cases import case

SUMS = {
    "classes": "cross_entropy + 0.5*dice + 2*focal:gamma=1.5",
    "binary": "bce_with_logits + 0.5*dice + 0.25*lovasz",
    "colors": "l1 + 0.5*l2 + 3*smooth_l1:beta=0.5",
}
seeds = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", SUMS)
@settings(deadline=None, max_examples=15)
@given(seed=seeds, weighted=st.booleans())
def test_the_value_is_that_of_the_whole_batch_and_rows_may_be_dealt_out(kind, seed, weighted):
    logits, target, weights, _ = case(kind, seed)
    criterion = Criterion(terms(SUMS[kind], kind), weights.float() if weighted else None)
    rows = criterion.sums(logits, target)
    assert (rows.dtype, rows.shape) == (torch.float64, (3, 3, 2))
    whole = sum(term.factor * term.loss.mean(logits, target, criterion.weights) for term in criterion.terms)
    assert criterion.value(rows.numpy()) == pytest.approx(float(whole), rel=1e-5)
    apart = torch.cat([criterion.sums(logits[i : i + 1], target[i : i + 1]) for i in (2, 0, 1)])
    np.testing.assert_allclose(apart.numpy(), rows[[2, 0, 1]].numpy())
    assert criterion.value(apart.numpy()) == pytest.approx(criterion.value(rows.numpy()))


@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_weighted_cross_entropy_is_that_of_torch(seed):
    logits, target, weights, _ = case("classes", seed)
    criterion = Criterion(terms("cross_entropy"), weights)
    theirs = F.cross_entropy(logits, target.long(), weights, ignore_index=IGNORE)
    assert criterion.value(criterion.sums(logits, target).numpy()) == pytest.approx(float(theirs))


@pytest.mark.parametrize("kind", SUMS)
def test_where_nothing_counts_there_is_no_loss(kind):
    logits, target, _, _ = case(kind, 0, ignored=1.1)
    criterion = Criterion(terms(SUMS[kind], kind))
    rows = criterion.sums(logits, target).numpy()
    assert not rows.any()
    assert criterion.value(rows) is None
    assert criterion.value(rows[:0]) is None
    some, seen, _, _ = case(kind, 1)
    both = np.concatenate([rows, criterion.sums(some, seen).numpy()])
    assert criterion.value(both) == pytest.approx(criterion.value(both[3:]))


def test_a_loss_without_units_adds_nothing():
    """As where no image has a border: what divides that loss is 0, and the others are what they are."""
    target = torch.zeros(1, 4, 6, dtype=torch.uint8)
    logits = torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    rows = Criterion(terms("cross_entropy")).sums(logits, target).numpy()
    none = np.zeros((1, 1, 2))
    both = Criterion(terms("cross_entropy + 7*dice"))
    alone = F.cross_entropy(logits, target.long()).item()
    assert both.value(np.concatenate([rows, none], 1)) == pytest.approx(alone, rel=1e-5)


def test_bins_count_pixels():
    criterion = Criterion(terms("cross_entropy", "bins"))
    logits = torch.randn(2, 261, 3, 4, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(2, 2, 3, 4)
    target[0, :, 0] = torch.nan
    rows = criterion.sums(logits, target)
    assert rows[:, 0, 1].tolist() == [8, 12]
    assert set(LOSSES["bins"]) == {"cross_entropy"}
