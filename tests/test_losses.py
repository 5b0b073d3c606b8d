"""What every loss promises. A new one in the table LOSSES is tested here without being named."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from segtrial.colors import nearest_bin
from segtrial.errors import UnknownName
from segtrial.losses import LOSSES, Loss
from tests.loss_cases import CENTRES, Case, case, right_scores

EVERY = [(kind, name) for kind, losses in LOSSES.items() for name in losses]
EVERY_LOSS = pytest.mark.parametrize(("kind", "name"), EVERY)
EVERY_OPTION = pytest.mark.parametrize(
    ("kind", "name", "option"), [(*which, option) for which in EVERY for option in LOSSES[which[0]][which[1]].options]
)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])
SEEDS = st.integers(0, 2**32)


def mean_of(loss: Loss, one: Case, weighted: bool) -> Tensor:
    return loss.mean(one.logits, one.target, one.weights if weighted else None)


@EVERY_LOSS
@WEIGHTED
def test_gradients_are_those_of_the_formula(kind, name, weighted):
    one = case(kind, 0, b=2, k=3)
    torch.autograd.gradcheck(
        lambda x: mean_of(LOSSES[kind][name], one._replace(logits=x), weighted), one.logits.requires_grad_()
    )


@EVERY_LOSS
@settings(deadline=None, max_examples=5)
@given(seed=SEEDS, weighted=st.booleans())
def test_pieces_and_ranks_add_up_to_the_whole_batch(kind, name, seed, weighted):
    loss, one = LOSSES[kind][name], case(kind, seed, b=6)
    ignore = case(kind, seed, b=6, ignored=1.1).target
    one.target[0] = ignore[0]  # unevenly spread: the mean of the parts' means would be wrong
    one.target[3:5, ..., :3, :] = ignore[3:5, ..., :3, :]
    weights = one.weights if weighted else None
    one.logits.requires_grad_()
    (whole,) = torch.autograd.grad(mean_of(loss, one, weighted), one.logits)
    weight = loss.weight(one.target, weights)
    parts = [slice(0, 1), slice(1, 3), slice(3, 6)]
    totals = [loss.total(one.logits[part], one.target[part], weights=weights) for part in parts]
    (summed,) = torch.autograd.grad(sum(total / weight for total in totals), one.logits)
    torch.testing.assert_close(summed, whole, rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(sum(loss.weight(one.target[part], weights) for part in parts), weight)


@EVERY_LOSS
@WEIGHTED
def test_ignored_places_change_nothing_and_get_no_gradient(kind, name, weighted):
    one = case(kind, 1)
    other = one._replace(logits=one.logits.where(~one.ignored, -7 * one.logits).requires_grad_())
    loss = mean_of(LOSSES[kind][name], other, weighted)
    assert loss == mean_of(LOSSES[kind][name], one, weighted)
    (gradient,) = torch.autograd.grad(loss, other.logits)
    assert not gradient[one.ignored].any()
    assert gradient[~one.ignored].any()


@EVERY_LOSS
@pytest.mark.parametrize("size", [1.0, 20.0])
def test_ignored_places_might_as_well_not_be_there(kind, name, size):
    one = case(kind, 11, ignored=0)
    right = right_scores(kind, one.target, 5, size)
    logits = one.logits.lerp(right, 0.5)
    cut = one._replace(logits=logits[..., :2, :], target=one.target[..., :2, :])
    hidden = one.target.clone()
    hidden[..., 2:, :] = case(kind, 11, ignored=1.1).target[..., 2:, :]
    expected = mean_of(LOSSES[kind][name], cut, True)
    found = mean_of(LOSSES[kind][name], one._replace(logits=logits, target=hidden), True)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-12)


@EVERY_LOSS
@WEIGHTED
def test_nothing_that_counts_costs_nothing(kind, name, weighted):
    one = case(kind, 2, ignored=1.1)
    loss = mean_of(LOSSES[kind][name], one._replace(logits=one.logits.requires_grad_()), weighted)
    (gradient,) = torch.autograd.grad(loss, one.logits)
    assert loss == 0
    assert not gradient.any()


@EVERY_LOSS
@WEIGHTED
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_half_precision_logits_cost_what_float32_says(kind, name, weighted, dtype, size):
    one = case(kind, 3)
    target = one.target.to(torch.float32) if kind in ("colors", "bins") else one.target
    half = (size * one.logits).clamp(-size, size).to(dtype).requires_grad_()
    weights = one.weights.float() if weighted else None
    with torch.autocast("cpu", torch.bfloat16):
        loss = LOSSES[kind][name].mean(half, target, weights)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, LOSSES[kind][name].mean(half.detach().float(), target, weights), rtol=0, atol=0)
    assert loss.isfinite()
    (gradient,) = torch.autograd.grad(loss, half)
    assert gradient.isfinite().all()
    assert loss >= 0


@EVERY_LOSS
def test_a_sure_answer_costs_nothing_if_right_and_stays_finite_if_wrong(kind, name):
    one = case(kind, 4, ignored=0.2)
    right = right_scores(kind, one.target, 5, size=1e4).bfloat16() if kind != "colors" else one.target.nan_to_num()
    assert LOSSES[kind][name].mean(right, one.target) == 0
    wrong = (right.roll(1, dims=1) if kind in ("classes", "bins") else -right).requires_grad_()
    loss = LOSSES[kind][name].mean(wrong, one.target)
    (gradient,) = torch.autograd.grad(loss, wrong)
    assert loss.isfinite()
    assert loss > 0.5
    assert gradient.isfinite().all()


@EVERY_LOSS
@settings(deadline=None, max_examples=5)
@given(seed=SEEDS)
def test_the_nearer_the_truth_the_lower(kind, name, seed):
    one = case(kind, seed, ignored=0)
    right = right_scores(kind, one.target, 5, size=8.0)
    steps = [LOSSES[kind][name].mean(one.logits.lerp(right, way), one.target).item() for way in (0, 0.25, 0.5, 1)]
    assert all(before > after - 1e-9 for before, after in pairwise(steps))
    assert steps[0] > steps[-1] >= 0


@EVERY_LOSS
@settings(deadline=None, max_examples=5)
@given(seed=SEEDS)
def test_the_order_of_classes_labels_channels_images_and_pixels_means_nothing(kind, name, seed):
    loss, one = LOSSES[kind][name], case(kind, seed)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    if kind == "classes":
        named = torch.full((256,), 255, dtype=torch.uint8)
        named[order] = torch.arange(5, dtype=torch.uint8)
        target = named[one.target.long()]
    elif kind == "bins":
        moved = CENTRES[order.argsort()][nearest_bin(one.target.nan_to_num()).clamp(max=4)].permute(0, 3, 1, 2)
        target = moved.where(~one.target.isnan(), torch.nan)
    else:
        target = one.target[:, order]
    expected = mean_of(loss, one, True)
    torch.testing.assert_close(loss.mean(one.logits[:, order], target, one.weights[order]), expected, rtol=1e-6, atol=0)
    turned = one._replace(logits=one.logits.flip(0, 2).mT, target=one.target.flip(0, -2).mT)
    torch.testing.assert_close(mean_of(loss, turned, True), expected, rtol=1e-6, atol=0)


@EVERY_LOSS
def test_the_layout_of_the_logits_changes_nothing(kind, name):
    one = case(kind, 5)
    turned = one._replace(logits=one.logits.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(mean_of(LOSSES[kind][name], turned, True), mean_of(LOSSES[kind][name], one, True))


@EVERY_LOSS
def test_equal_weights_are_no_weights(kind, name):
    one = case(kind, 6)
    ones = one._replace(weights=torch.ones_like(one.weights))
    torch.testing.assert_close(mean_of(LOSSES[kind][name], ones, True), mean_of(LOSSES[kind][name], one, False))


@EVERY_LOSS
def test_weights_matter_and_their_scale_does_not(kind, name):
    """But for the pixel losses of labels: there a weight is what having the label counts against not having it."""
    loss, one = LOSSES[kind][name], case(kind, 7)
    tripled = one._replace(weights=3 * one.weights)
    weighted = mean_of(loss, one, True)
    assert abs(weighted - mean_of(loss, one, False)) > 1e-4
    against = kind == "binary" and name in ("bce_with_logits", "focal")
    assert torch.isclose(mean_of(loss, tripled, True), weighted, rtol=1e-6) != against


@EVERY_LOSS
def test_one_number_for_all_classes_of_a_pixel_changes_nothing(kind, name):
    one = case(kind, 8)
    shifted = one._replace(logits=one.logits + 3 * one.logits[:, :1])
    same = torch.isclose(mean_of(LOSSES[kind][name], shifted, True), mean_of(LOSSES[kind][name], one, True))
    assert same == (kind in ("classes", "bins"))


@EVERY_LOSS
def test_nothing_waits_for_the_device(kind, name):
    """Tensors without content: whatever looks at a number, or has a size that numbers decide, is refused."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        one = Case(*(fake.from_tensor(tensor) for tensor in case(kind, 9)))
        loss = mean_of(LOSSES[kind][name], one._replace(logits=one.logits.requires_grad_()), True)
        (gradient,) = torch.autograd.grad(loss, one.logits)
        assert gradient.shape == one.logits.shape
        with pytest.raises(DataDependentOutputException):
            loss.item()


@EVERY_OPTION
def test_every_option_changes_the_loss(kind, name, option):
    loss, one = LOSSES[kind][name], case(kind, 10)
    changed = loss.using(**{option: loss.options[option] / 2 + 0.1})
    assert changed.options == {**loss.options, option: loss.options[option] / 2 + 0.1}
    assert abs(mean_of(changed, one, True) - mean_of(loss, one, True)) > 1e-6


@EVERY_LOSS
def test_an_unknown_option_is_refused(kind, name):
    with pytest.raises(UnknownName, match="option of the loss"):
        LOSSES[kind][name].using(temperature=2.0)
