"""Losses over classes against other implementations, numbers worked out by hand, and each other."""

import math
from fractions import Fraction

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from scipy.special import log_softmax
from segmentation_models_pytorch.losses._functional import softmax_focal_loss_with_logits

from segtrial.losses import LOSSES, cross_entropy, mean_cross_entropy, pixel_weight
from segtrial.losses.borders import border_weights
from segtrial.losses.lovasz_extension import LEVELS
from segtrial.shapes import IGNORE
from tests.loss_cases import case

CLASSES = LOSSES["classes"]
SEEDS = st.integers(0, 2**32)
WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["unweighted", "weighted"])


@settings(deadline=None, max_examples=100)
@given(seed=SEEDS, weighted=st.booleans(), label_smoothing=st.floats(0, 1), ignored=st.sampled_from([0, 0.5]))
def test_mean_cross_entropy_is_that_of_torch(seed, weighted, label_smoothing, ignored):
    logits, target, weights, _ = case("classes", seed, ignored=ignored)
    weights = weights if weighted else None
    ours = mean_cross_entropy(logits, target, weights=weights, label_smoothing=label_smoothing)
    theirs = F.cross_entropy(logits, target.long(), weights, ignore_index=IGNORE, label_smoothing=label_smoothing)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)  # the normaliser is float32
    one = CLASSES["cross_entropy"].using(label_smoothing=label_smoothing)
    torch.testing.assert_close(one.mean(logits, target, weights), theirs, rtol=1e-6, atol=1e-9)


def test_cross_entropy_by_hand():
    # q = (3/4, 1/4) at both pixels; truths 0 and 1; weights 1 and 2: (log 4/3 + 2 log 4) / 3
    logits, target = two_pixels()
    weights = torch.tensor([1.0, 2.0])
    assert cross_entropy(logits, target).item() == pytest.approx(math.log(4 / 3) + math.log(4))
    assert pixel_weight(target, weights).item() == 3
    expected = (math.log(4 / 3) + 2 * math.log(4)) / 3
    assert mean_cross_entropy(logits, target, weights=weights).item() == pytest.approx(expected)


def test_label_smoothing_by_hand():
    # s = 0.2 over two classes: target (0.9, 0.1) against q = (3/4, 1/4)
    logits, target = two_pixels()
    expected = 0.9 * math.log(4 / 3) + 0.1 * math.log(4)
    assert cross_entropy(logits[..., :1], target[..., :1], label_smoothing=0.2).item() == pytest.approx(expected)


def test_logit_adjustment_by_hand():
    # weights (1, 4), a = 1/2: exp(logits) w^a = (3, 2), so q = (3/5, 2/5); truths 0 and 1
    logits, target = two_pixels()
    loss = CLASSES["cross_entropy"].using(logit_adjustment=0.5).mean(logits, target, torch.tensor([1.0, 4.0]))
    assert loss.item() == pytest.approx((math.log(5 / 3) + 4 * math.log(5 / 2)) / 5)
    assert cross_entropy(logits, target, logit_adjustment=0.5).item() == cross_entropy(logits, target).item()


@given(
    pixels=st.lists(st.integers(1, 50), min_size=2, max_size=6),
    share=st.floats(0, 1),
    factors=st.lists(st.floats(0.1, 9), min_size=6, max_size=6),
)
def test_logit_adjustment_takes_that_much_of_the_weights_back(pixels, share, factors):
    """The constant answer that costs least is  p w^(1 - a),  made to add up to 1: of a = 1 the shares p themselves."""
    weights = torch.tensor(factors[: len(pixels)], dtype=torch.float64)
    counts = torch.tensor(pixels, dtype=torch.float64)
    target = torch.cat([torch.full((count,), index) for index, count in enumerate(pixels)]).byte()[None, None]
    answer = (counts * weights ** (1 - share)).log().requires_grad_()
    logits = answer[None, :, None, None].expand(1, -1, 1, target.shape[-1])
    cross_entropy(logits, target, weights=weights, logit_adjustment=share).backward()
    assert answer.grad is not None
    assert answer.grad.abs().max() < 1e-9 * float((counts * weights).sum())


def two_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """q = (3/4, 1/4) at both; the truths are 0 and 1."""
    logits = torch.tensor([3.0, 1.0]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)
    return logits, torch.tensor([[[0, 1]]], dtype=torch.uint8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # class 0: TP 3/4, FP 3/4, FN 1/4; class 1: TP 1/4, FP 1/4, FN 3/4
        ("dice", 1 - (Fraction(3, 5) + Fraction(1, 3)) / 2),
        ("jaccard", 1 - (Fraction(3, 7) + Fraction(1, 5)) / 2),
        ("tversky", 1 - (Fraction(15, 23) + Fraction(5, 17)) / 2),
        # class 0: the other pixel is off by 3/4 and alone adds 1/2, its own by 1/4 adds 1/2; class 1: its own is off
        # by 3/4 and alone adds 1, the other adds 0
        ("lovasz", (Fraction(1, 2) + Fraction(3, 4)) / 2),
        ("focal", (math.log(4 / 3) / 16 + math.log(4) * 9 / 16) / 2),
        ("ohem", math.log(4)),  # a quarter of two pixels is one, the harder
        ("boundary", (math.log(4 / 3) + math.log(4)) / 2),  # both lie at the border
    ],
)
def test_by_hand(name, expected):
    assert CLASSES[name].mean(*two_pixels()).item() == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # the same with weights 1 and 2
        ("dice", 1 - (Fraction(3, 5) + 2 * Fraction(1, 3)) / 3),
        ("lovasz", (Fraction(1, 2) + 2 * Fraction(3, 4)) / 3),
        ("focal", (math.log(4 / 3) / 16 + 2 * math.log(4) * 9 / 16) / 3),
        ("ohem", 2 * math.log(4) / (3 / 2)),  # one pixel kept, at the mean weight of the two
    ],
)
def test_with_weights_by_hand(name, expected):
    assert CLASSES[name].mean(*two_pixels(), torch.tensor([1.0, 2.0])).item() == pytest.approx(float(expected))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": 0.0}),
        ("ohem", {"share": 1.0}),
        ("boundary", {"w0": 0.0}),
    ],
)
@WEIGHTED
def test_at_one_end_it_is_cross_entropy(name, options, weighted):
    logits, target, weights, _ = case("classes", 0)
    weights = weights if weighted else None
    ours = CLASSES[name].using(**options).mean(logits, target, weights)
    torch.testing.assert_close(ours, mean_cross_entropy(logits, target, weights=weights), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("name", "both"), [("dice", 0.5), ("jaccard", 1.0)])
@WEIGHTED
def test_tversky_contains_dice_and_jaccard(name, both, weighted):
    one = case("classes", 1)
    weights = one.weights if weighted else None
    tversky = CLASSES["tversky"].using(alpha=both, beta=both)
    assert tversky.mean(one.logits, one.target, weights) == CLASSES[name].mean(one.logits, one.target, weights)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, gamma=st.floats(0, 5))
def test_focal_is_that_of_smp_for_softmax(seed, gamma):
    logits, target, _, _ = case("classes", seed, ignored=0)
    theirs = softmax_focal_loss_with_logits(logits, target.long(), gamma=gamma)
    ours = CLASSES["focal"].using(gamma=gamma).mean(logits, target)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, weighted=st.booleans())
def test_focal_by_a_slow_loop(seed, weighted):
    logits, target, weights, _ = case("classes", seed)
    weights = weights if weighted else torch.ones_like(weights)
    log_q = log_softmax(logits.numpy(), axis=1)
    total = weight = 0.0
    for image, row, column in zip(*np.nonzero(target.numpy() != IGNORE), strict=True):
        truth = int(target[image, row, column])
        cost = -log_q[image, truth, row, column]
        total += float(weights[truth]) * (1 - math.exp(-cost)) ** 2 * cost
        weight += float(weights[truth])
    assert CLASSES["focal"].mean(logits, target, weights).item() == pytest.approx(total / weight, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_focal_has_a_slope_where_a_pixel_is_certain(gamma):
    logits = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1).requires_grad_()
    for truth in (0, 1):
        loss = CLASSES["focal"].using(gamma=gamma).mean(logits, torch.full((1, 1, 1), truth, dtype=torch.uint8))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert gradient.flatten().tolist() == [truth, -truth]


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, share=st.sampled_from([0.01, 0.25, 0.4, 0.5, 0.9, 1.0]), weighted=st.booleans())
def test_ohem_by_a_slow_loop(seed, share, weighted):
    logits, target, weights, _ = case("classes", seed)
    target[1, 0] = IGNORE
    weights = weights if weighted else torch.ones_like(weights)
    log_q = log_softmax(logits.numpy(), axis=1)
    total = weight = 0.0
    for image in range(len(target)):
        truth = target[image].numpy()
        pixels = [
            (float(weights[truth[p]]), -log_q[image, truth[p], *p])
            for p in np.ndindex(truth.shape)
            if truth[p] != IGNORE
        ]
        kept = math.ceil(share * len(pixels))
        total += sum(sorted((w * cost for w, cost in pixels), reverse=True)[:kept])
        weight += kept * sum(w for w, _ in pixels) / len(pixels)
    ours = CLASSES["ohem"].using(share=share).mean(logits, target, weights)
    assert ours.item() == pytest.approx(total / weight, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("dice", smp.losses.DiceLoss),
        ("jaccard", smp.losses.JaccardLoss),
        ("tversky", lambda *words, **more: smp.losses.TverskyLoss(*words, alpha=0.3, beta=0.7, **more)),
    ],
)
@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, weighted=st.booleans())
def test_overlap_is_that_of_smp_image_by_image(name, theirs, seed, weighted):
    """One image at a time, with every class in it: smp counts an absent class as perfect and pools the batch."""
    logits, target, weights, _ = case("classes", seed)
    target[:, 1, :5] = torch.arange(5, dtype=torch.uint8)
    weights = weights if weighted else None
    reference = theirs("multiclass", ignore_index=IGNORE, class_weights=weights)
    images = [reference(logits[i : i + 1].float(), target[i : i + 1].long()).item() for i in range(len(logits))]
    ours = CLASSES[name].mean(logits, target, None if weights is None else weights.float())
    assert ours.item() == pytest.approx(np.mean(images), rel=1e-5)


@pytest.mark.parametrize("name", ["dice", "jaccard", "tversky", "lovasz"])
def test_a_class_that_is_not_there_is_left_out(name):
    logits, target, _, _ = case("classes", 2, b=1, k=3)
    target[target == 2] = 0
    without = logits[:, :2].logaddexp(torch.tensor(-math.inf))
    never = logits.clone()
    never[:, 2] = -math.inf
    ours = CLASSES[name].mean(never, target)
    torch.testing.assert_close(ours, CLASSES[name].mean(without, target))


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS, size=st.sampled_from([0.1, 1.0, 10.0]))
def test_lovasz_is_its_authors_within_a_step(seed, size):
    """smp carries the authors' own code."""
    logits, target, _, _ = case("classes", seed)
    logits = (size * logits).float()
    theirs = smp.losses.LovaszLoss("multiclass", per_image=True, ignore_index=IGNORE)(logits, target.long())
    ours = CLASSES["lovasz"].mean(logits, target)
    assert abs(ours - theirs) < 1 / LEVELS


@settings(deadline=None, max_examples=25)
@given(seed=SEEDS)
def test_lovasz_and_its_gradient_are_exact_where_no_two_errors_share_a_step(seed):
    """Each error in the middle of a step of its own, so that the authors' order is the only one."""
    generator = torch.Generator().manual_seed(seed)
    q = (torch.randperm(LEVELS // 2 - 1, generator=generator)[:24] + 0.5).float().view(1, 1, 4, 6) / LEVELS
    logits = torch.cat([q, 1 - q], 1).log().requires_grad_()
    target = torch.randint(2, (1, 4, 6), generator=generator, dtype=torch.uint8)
    ours = CLASSES["lovasz"].mean(logits, target)
    theirs = smp.losses.LovaszLoss("multiclass", per_image=True, ignore_index=IGNORE)(logits, target.long())
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (ours, theirs)]
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("sigma", [0.7, 2.0, 5.0])
@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_border_weights_are_those_of_scipy_distances(sigma, seed):
    generator = np.random.default_rng(seed)
    target = generator.choice([0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, IGNORE], (2, 13, 40)).astype(np.uint8)
    target[1, 3:] = 0  # wide enough for pixels out of reach
    ours = border_weights(torch.from_numpy(target), torch.tensor([1.0, 2.0, 0.5]), 10.0, sigma)
    for image, weights in zip(target, ours.numpy(), strict=True):
        distance = distance_transform_edt(~borders_by_hand(image))
        near = np.exp(-(distance**2) / (2 * sigma**2)) * (distance < math.ceil(4 * sigma))
        classes = np.array([1.0, 2.0, 0.5])[image.clip(max=2)]
        expected = np.where(image == IGNORE, 0, classes * (1 + 10 * near))
        np.testing.assert_allclose(weights, expected, rtol=1e-5)


def borders_by_hand(image: np.ndarray) -> np.ndarray:
    found = np.zeros(image.shape, bool)
    for row, column in np.ndindex(image.shape):
        for down, right in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            there = row + down, column + right
            inside = 0 <= there[0] < image.shape[0] and 0 <= there[1] < image.shape[1]
            if inside and IGNORE not in (image[row, column], image[there]) and image[there] != image[row, column]:
                found[row, column] = True
    return found


def test_an_image_without_a_border_costs_its_cross_entropy():
    logits, _, weights, _ = case("classes", 3)
    target = torch.full((3, 4, 6), 2, dtype=torch.uint8)
    target[:, 2] = IGNORE
    ours = CLASSES["boundary"].mean(logits, target, weights)
    torch.testing.assert_close(ours, mean_cross_entropy(logits, target, weights=weights), rtol=1e-6, atol=0)
