"""Losses against torch's own, numbers worked out by hand, and what must stay true."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.losses import cross_entropy, mean_cross_entropy, pixel_weight
from segtrial.shapes import IGNORE


def case(seed: int, b: int = 3, k: int = 5, ignored: float = 0.3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits in float64, a target with IGNORE, and positive class weights."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, 4, 6, generator=generator, dtype=torch.float64)
    target = torch.randint(k, (b, 4, 6), generator=generator, dtype=torch.uint8)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE
    return logits, target, torch.rand(k, generator=generator, dtype=torch.float64) + 0.1


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    weighted=st.booleans(),
    label_smoothing=st.floats(0, 1),
    ignored=st.sampled_from([0, 0.5]),
)
def test_the_mean_is_that_of_torch(seed, weighted, label_smoothing, ignored):
    logits, target, weights = case(seed, ignored=ignored)
    weights = weights if weighted else None
    ours = mean_cross_entropy(logits, target, weights=weights, label_smoothing=label_smoothing)
    theirs = F.cross_entropy(logits, target.long(), weights, ignore_index=IGNORE, label_smoothing=label_smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)  # the normaliser is float32


def test_by_hand():
    # q = (3/4, 1/4) at both pixels; truths 0 and 1; weights 1 and 2: (log 4/3 + 2 log 4) / 3
    logits = torch.tensor([3.0, 1.0]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    weights = torch.tensor([1.0, 2.0])
    assert cross_entropy(logits, target).item() == pytest.approx(math.log(4 / 3) + math.log(4))
    assert pixel_weight(target, weights).item() == 3
    expected = (math.log(4 / 3) + 2 * math.log(4)) / 3
    assert mean_cross_entropy(logits, target, weights=weights).item() == pytest.approx(expected)


def test_label_smoothing_by_hand():
    # s = 0.2 over two classes: target (0.9, 0.1) against q = (3/4, 1/4)
    logits = torch.tensor([3.0, 1.0]).log().view(1, 2, 1, 1)
    target = torch.zeros(1, 1, 1, dtype=torch.uint8)
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert cross_entropy(logits, target, label_smoothing=0.2).item() == pytest.approx(expected)


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_gradients_are_those_of_the_formula(weighted, label_smoothing):
    logits, target, weights = case(0, b=2, k=3)
    weights = weights if weighted else None
    torch.autograd.gradcheck(
        lambda x: mean_cross_entropy(x, target, weights=weights, label_smoothing=label_smoothing),
        logits.requires_grad_(),
    )


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_ignored_pixels_change_nothing_and_get_no_gradient(weighted, label_smoothing):
    logits, target, weights = case(1)
    weights = weights if weighted else None
    ignored = (target == IGNORE).unsqueeze(1).expand_as(logits)
    other = logits.where(~ignored, -7 * logits).requires_grad_()
    loss = mean_cross_entropy(other, target, weights=weights, label_smoothing=label_smoothing)
    assert loss == mean_cross_entropy(logits, target, weights=weights, label_smoothing=label_smoothing)
    (gradient,) = torch.autograd.grad(loss, other)
    assert not gradient[ignored].any()
    assert gradient[~ignored].all()


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_all_ignored_costs_nothing(weighted, label_smoothing):
    logits, target, weights = case(2, ignored=1.1)
    logits = logits.float().requires_grad_()
    loss = mean_cross_entropy(
        logits, target, weights=weights.float() if weighted else None, label_smoothing=label_smoothing
    )
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("weighted", [False, True])
def test_micro_batches_add_up_to_the_whole_batch(weighted):
    logits, target, weights = case(3, b=6)
    target[0] = IGNORE  # unevenly spread: the mean of the parts' means would be wrong
    weights = weights if weighted else None
    logits.requires_grad_()
    (whole,) = torch.autograd.grad(mean_cross_entropy(logits, target, weights=weights), logits)
    weight = pixel_weight(target, weights)
    parts = [slice(0, 1), slice(1, 3), slice(3, 6)]
    sums = [cross_entropy(logits[part], target[part], weights=weights) for part in parts]
    (summed,) = torch.autograd.grad(sum(value / weight for value in sums), logits)
    torch.testing.assert_close(summed, whole, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(sum(pixel_weight(target[part], weights) for part in parts), weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_half_precision_logits_cost_what_float32_says(dtype, size):
    logits, target, _ = case(4)
    half = (size * logits).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = mean_cross_entropy(half, target)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, mean_cross_entropy(half.detach().float(), target), rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(loss, half)
    assert gradient.isfinite().all()


def test_the_layout_of_the_logits_changes_nothing():
    logits, target, _ = case(5)
    turned = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(cross_entropy(turned, target), cross_entropy(logits, target))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32), constant=st.floats(-50, 50), factor=st.floats(0.01, 100))
def test_shifting_logits_or_scaling_weights_leaves_the_mean(seed, constant, factor):
    logits, target, weights = case(seed)
    mean = mean_cross_entropy(logits, target, weights=weights)
    torch.testing.assert_close(mean_cross_entropy(logits + constant, target, weights=weights), mean)
    torch.testing.assert_close(mean_cross_entropy(logits, target, weights=weights * factor), mean, rtol=1e-6, atol=1e-9)


def test_raising_the_right_logit_lowers_the_loss():
    logits, target, _ = case(6, ignored=0)
    right = F.one_hot(target.long(), 5).movedim(-1, 1)
    steps = [mean_cross_entropy(logits + rise * right, target).item() for rise in (0, 1, 2, 4, 8)]
    assert steps == sorted(steps, reverse=True)
