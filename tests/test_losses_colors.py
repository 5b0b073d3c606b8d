"""Losses over colours against torch's own, and numbers worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.losses import LOSSES
from tests.loss_cases import case

COLORS = LOSSES["colors"]


@pytest.mark.parametrize(("name", "theirs"), [("l1", F.l1_loss), ("l2", F.mse_loss), ("smooth_l1", F.smooth_l1_loss)])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_the_mean_over_values_that_count_is_that_of_torch(name, theirs, seed):
    logits, target, _, ignored = case("colors", seed)
    torch.testing.assert_close(COLORS[name].mean(logits, target), theirs(logits[~ignored], target[~ignored]))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), beta=st.floats(0.01, 10))
def test_smooth_l1_bends_where_it_is_told(seed, beta):
    logits, target, _, ignored = case("colors", seed)
    theirs = F.smooth_l1_loss(logits[~ignored], target[~ignored], beta=beta)
    torch.testing.assert_close(COLORS["smooth_l1"].using(beta=beta).mean(logits, target), theirs)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("l1", (1 * 3 + 2 * 0.5) / 3), ("l2", (1 * 9 + 2 * 0.25) / 3), ("smooth_l1", (1 * 2.5 + 2 * 0.125) / 3)],
)
def test_with_weights_by_hand(name, expected):
    # one pixel; its channels weigh 1 and 2 and are off by 3 and 1/2
    ours = COLORS[name].mean(
        torch.tensor([4.0, 0.5]).view(1, 2, 1, 1), torch.ones(1, 2, 1, 1), torch.tensor([1.0, 2.0])
    )
    assert ours.item() == pytest.approx(expected)
