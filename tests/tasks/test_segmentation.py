"""Binary masks against scikit-learn, and against the same network with two scores for each pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from segtrial.class_weights import NAMES, class_weights
from segtrial.classes import Classes
from segtrial.errors import DataError
from segtrial.losses import LOSSES
from segtrial.shapes import IGNORE
from segtrial.tasks import make

TWO = Classes.named(["background", "face"])
ONE_SCORE, TWO_SCORES = make("binary", TWO), make("segmentation", TWO)
seeds = st.integers(0, 2**32 - 1)


def case(seed: int, b: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores `b 1 6 7`, ties at 0 among them, and planes with ignored pixels."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(rng.normal(), 2, (b, 1, 6, 7)).round(1).astype(np.float32)
    planes = (rng.random((b, 6, 7)) < rng.random()).astype(np.uint8)
    planes[rng.random(planes.shape) < 0.2] = IGNORE
    return torch.from_numpy(scores), torch.from_numpy(planes)


def both(scores: torch.Tensor) -> torch.Tensor:
    """Two scores whose difference is the one."""
    return torch.cat([torch.zeros_like(scores), scores], 1)


NO_IMAGES = torch.zeros(3, 3, 6, 7, dtype=torch.uint8)


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_one_score_is_two_scores_of_which_the_first_is_0(seed):
    scores, planes = case(seed)
    rows = ONE_SCORE.rows(scores, NO_IMAGES, planes)
    assert torch.equal(rows, TWO_SCORES.rows(both(scores), NO_IMAGES, planes))
    for one in scores:
        ours, theirs = ONE_SCORE.answer(one, NO_IMAGES[0]), TWO_SCORES.answer(both(one[None])[0], NO_IMAGES[0])
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_allclose(ours.confidence, theirs.confidence, rtol=1e-6)  # type: ignore[arg-type]
    assert torch.equal(ONE_SCORE.class_scores(scores), both(scores))
    assert ONE_SCORE.summary(rows.numpy()).items() >= TWO_SCORES.summary(rows.numpy()).items()


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_the_foreground_is_scored_as_by_scikit_learn(seed):
    scores, planes = case(seed)
    found = ONE_SCORE.summary(ONE_SCORE.rows(scores, NO_IMAGES, planes).numpy())
    counted = planes != IGNORE
    truth, answer = planes[counted].numpy(), (scores[:, 0] > 0)[counted].int().numpy()
    if truth.any() or answer.any():
        assert found["iou_foreground"] == pytest.approx(jaccard_score(truth, answer, zero_division=0.0))
        assert found["dice_foreground"] == pytest.approx(f1_score(truth, answer, zero_division=0.0))  # type: ignore[arg-type]
    else:
        assert found["iou_foreground"] is found["dice_foreground"] is None


@pytest.mark.parametrize("name", ["segmentation", "binary"])
def test_planes_that_count_nowhere_are_scored_nowhere(name):
    task = make(name, TWO)
    scores = torch.randn(2, task.outputs, 4, 4)
    rows = task.rows(scores, NO_IMAGES[:2], torch.full((2, 4, 4), IGNORE, dtype=torch.uint8)).numpy()
    assert not rows.any()
    assert set(task.summary(rows).values()) == {None}
    assert np.isnan(task.of_image(rows)).all()


@settings(deadline=None, max_examples=30)
@given(seed=seeds, weights=st.tuples(st.floats(0.05, 20), st.floats(0.05, 20)))
def test_weights_of_two_classes_weigh_one_score_alike(seed, weights):
    """The sum over pixels of weight times cross-entropy is w0 times what binary sums with w1 / w0."""
    scores, planes = case(seed)
    target = ONE_SCORE.target(NO_IMAGES, planes)
    ratio = ONE_SCORE.loss_weights(torch.tensor(weights))
    ours = LOSSES["binary"]["bce_with_logits"].total(scores.double(), target, weights=ratio) * weights[0]
    theirs = F.cross_entropy(
        both(scores.double()),
        planes.long(),
        torch.tensor(weights, dtype=torch.float64),
        ignore_index=IGNORE,
        reduction="sum",
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pixels", [(0, 5), (5, 0), (1, 10**9), (0, 0)], ids=str)
def test_weights_are_finite_whatever_the_data_lack(name, pixels):
    found = ONE_SCORE.loss_weights(torch.tensor(class_weights(name, pixels, pixels)))
    assert found.shape == (1,)
    assert torch.isfinite(found).all()
    assert (found > 0).all()


@pytest.mark.parametrize("k", [1, 3, 12])
def test_binary_needs_two_classes_and_says_what_else_there_is(k):
    with pytest.raises(DataError, match=rf"task binary: {k} classes \(class_0.*binary has two\. Use task=segmentation"):
        make("binary", Classes.numbered(k))
