"""Losses over colours against torch's own, and numbers worked out by hand."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.colors import ab_bins
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


BINS = LOSSES["bins"]["cross_entropy"]


def bins_case(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Scores, a and b (NaN where nothing counts), and the bin of each pixel by hand (-1 where nothing counts)."""
    generator = torch.Generator().manual_seed(seed)
    bins = ab_bins()
    index = torch.randint(len(bins), (2, 4, 5), generator=generator)
    ab = bins[index].movedim(-1, 1) + 9.9 * (torch.rand(2, 2, 4, 5, generator=generator) - 0.5)  # within its square
    hidden = torch.rand(2, 4, 5, generator=generator) < 0.3
    logits = torch.randn(2, len(bins), 4, 5, generator=generator, dtype=torch.float64)
    return logits, ab.masked_fill(hidden[:, None], torch.nan).float(), index.masked_fill(hidden, -1)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), weighted=st.booleans())
def test_the_cross_entropy_of_bins_is_that_of_torch(seed, weighted):
    logits, ab, index = bins_case(seed)
    weights = torch.rand(261, dtype=torch.float64) + 0.1 if weighted else None
    theirs = F.cross_entropy(logits, index, weights, ignore_index=-1)
    torch.testing.assert_close(BINS.mean(logits, ab, weights), theirs)


def test_one_value_that_is_nan_hides_its_pixel():
    logits, ab, _ = bins_case(0)
    ab = ab.nan_to_num()
    ab[:, 1, 0] = torch.nan
    assert BINS.weight(ab).item() == 2 * 3 * 5
    assert BINS.mean(logits, torch.full_like(ab, torch.nan)).item() == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_bins_are_finite_forward_and_backward_at_large_scores(dtype, size):
    _, ab, _ = bins_case(1)
    logits = torch.full((2, 261, 4, 5), size, dtype=dtype)
    logits[:, ::2] = -size
    logits.requires_grad_()
    loss = BINS.mean(logits, ab)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()  # type: ignore[arg-type]
    assert not logits.grad[ab.isnan().any(1)[:, None].expand_as(logits)].any()  # type: ignore[index]


def test_bins_have_the_right_gradient():
    logits, ab, _ = bins_case(2)
    logits, ab = logits[:1, :, :1, :2].clone(), ab[:1, :, :1, :2]
    assert torch.autograd.gradcheck(lambda scores: BINS.mean(scores, ab), (logits.requires_grad_(),))
