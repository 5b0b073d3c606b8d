"""Losses over labels against other implementations, numbers worked out by hand, and each other."""

import math
from fractions import Fraction

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import sigmoid_focal_loss

from segtrial.losses import LOSSES
from segtrial.shapes import IGNORE
from tests.loss_cases import case

BINARY = LOSSES["binary"]
SEEDS = st.integers(0, 2**32)
OVERLAP = pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("dice", smp.losses.DiceLoss),
        ("jaccard", smp.losses.JaccardLoss),
        ("tversky", lambda *words, **more: smp.losses.TverskyLoss(*words, alpha=0.3, beta=0.7, **more)),
    ],
)


def two_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """s = 3/4 at both; the label holds at the first only."""
    return torch.full((1, 1, 1, 2), math.log(3)), torch.tensor([[[[1, 0]]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # TP 3/4, FP 3/4, FN 1/4, smoothed by one pixel
        ("bce_with_logits", (math.log(4 / 3) + math.log(4)) / 2),
        ("focal", (math.log(4 / 3) / 16 + math.log(4) * 9 / 16) / 2),
        ("dice", 1 - Fraction(7, 4) / (Fraction(7, 4) + Fraction(1, 2))),
        ("jaccard", 1 - Fraction(7, 4) / (Fraction(7, 4) + 1)),
        ("tversky", 1 - Fraction(7, 4) / (Fraction(7, 4) + Fraction(9, 40) + Fraction(7, 40))),
        # the second is off by 1 + log 3 and alone adds 1/2; the first, by 1 - log 3 < 0, costs nothing
        ("lovasz", (1 + math.log(3)) / 2),
    ],
)
def test_by_hand(name, expected):
    assert BINARY[name].mean(*two_pixels()).item() == pytest.approx(float(expected))


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, weighted=st.booleans())
def test_bce_is_that_of_torch(seed, weighted):
    logits, target, weights, ignored = case("binary", seed)
    truth = target.double().where(~ignored, 0)
    pixels = F.binary_cross_entropy_with_logits(
        logits, truth, pos_weight=weights.view(-1, 1, 1) if weighted else None, reduction="none"
    )
    ours = BINARY["bce_with_logits"].mean(logits, target, weights if weighted else None)
    torch.testing.assert_close(ours, pixels[~ignored].mean(), rtol=1e-6, atol=0)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, gamma=st.floats(0, 5), alpha=st.floats(0.05, 0.95))
def test_focal_is_that_of_torchvision(seed, gamma, alpha):
    logits, target, _, ignored = case("binary", seed)
    theirs = sigmoid_focal_loss(logits[~ignored], target[~ignored].double(), alpha=alpha, gamma=gamma, reduction="mean")
    weights = torch.full((5,), alpha / (1 - alpha), dtype=torch.float64)
    ours = (1 - alpha) * BINARY["focal"].using(gamma=gamma).mean(logits, target, weights)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_focal_without_focus_is_bce():
    one = case("binary", 0)
    ours = BINARY["focal"].using(gamma=0.0).mean(one.logits, one.target, one.weights)
    torch.testing.assert_close(ours, BINARY["bce_with_logits"].mean(one.logits, one.target, one.weights))


@OVERLAP
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, smooth=st.sampled_from([0.01, 1.0, 10.0]), weighted=st.booleans())
def test_overlap_is_that_of_smp_image_by_image(name, theirs, seed, smooth, weighted):
    """One image at a time, with every label in it: smp counts an absent label as perfect and pools the batch."""
    logits, target, weights, _ = case("binary", seed)
    target[:, :, 0, 0] = 1
    reference = theirs("multilabel", ignore_index=IGNORE, smooth=smooth, class_weights=weights if weighted else None)
    images = [reference(logits[i : i + 1].float(), target[i : i + 1].long()).item() for i in range(len(logits))]
    ours = BINARY[name].using(smooth=smooth).mean(logits, target, weights if weighted else None)
    assert ours.item() == pytest.approx(np.mean(images), rel=1e-5)


@pytest.mark.parametrize(("name", "both"), [("dice", 0.5), ("jaccard", 1.0)])
def test_tversky_contains_dice_and_jaccard(name, both):
    one = case("binary", 1)
    tversky = BINARY["tversky"].using(alpha=both, beta=both)
    assert tversky.mean(one.logits, one.target, one.weights) == BINARY[name].mean(one.logits, one.target, one.weights)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
def test_an_image_without_the_label_teaches_to_leave_it_out(name):
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    loss = BINARY[name].mean(logits, torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss > 0
    assert (gradient >= 0).all()
    assert gradient.sum() > 0


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, size=st.sampled_from([0.1, 1.0, 10.0]))
def test_lovasz_hinge_is_its_authors(seed, size):
    """smp carries the authors' own code; one label at a time."""
    logits, target, _, _ = case("binary", seed, k=2)
    logits = (size * logits).float().requires_grad_()
    reference = smp.losses.LovaszLoss("binary", per_image=True, ignore_index=IGNORE)
    theirs = (reference(logits[:, 0], target[:, 0].float()) + reference(logits[:, 1], target[:, 1].float())) / 2
    ours = BINARY["lovasz"].mean(logits, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


def test_labels_without_a_counted_pixel_are_left_out_of_an_images_mean():
    logits, target, _, _ = case("binary", 2, b=1, k=2)
    alone = BINARY["dice"].mean(logits[:, :1], target[:, :1])
    target[:, 1] = IGNORE
    torch.testing.assert_close(BINARY["dice"].mean(logits, target), alone)
