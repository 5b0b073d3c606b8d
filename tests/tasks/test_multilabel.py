"""Masks of which any number may hold at once, against scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, hamming_loss, jaccard_score, multilabel_confusion_matrix
from torchmetrics.functional.classification import multilabel_jaccard_index

from segtrial.classes import Classes
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, make

K = 4
TASK = make("multilabel", Classes.numbered(K))
IMAGES = torch.zeros(3, 3, 5, 6, dtype=torch.uint8)
seeds = st.integers(0, 2**32 - 1)


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    """Scores, planes, and of the counted pixels truth and answer `pixels k`; some classes may be in neither."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(rng.normal(-1, 2, (1, K, 1, 1)), 1, (3, K, 5, 6)).astype(np.float32)
    planes = rng.integers(0, rng.integers(1, K + 1), (3, 5, 6)).astype(np.uint8)
    planes[rng.random(planes.shape) < 0.3] = IGNORE
    counted = planes != IGNORE
    truth = planes[counted][:, None] == np.arange(K)
    answer = (scores > 0).transpose(0, 2, 3, 1)[counted]
    return torch.from_numpy(scores), torch.from_numpy(planes), truth, answer


@settings(deadline=None, max_examples=40)
@given(seed=seeds)
def test_counts_and_scores_are_those_of_scikit_learn(seed):
    scores, planes, truth, answer = case(seed)
    rows = TASK.rows(scores, IMAGES, planes).numpy()
    np.testing.assert_array_equal(rows.sum(0), multilabel_confusion_matrix(truth, answer))
    found = TASK.summary(rows)
    some = truth.any(0) | answer.any(0)  # a class in neither is left out
    for name, score in (("miou_dataset", jaccard_score), ("dice_dataset", f1_score)):
        columns = [score(truth[:, c], answer[:, c], zero_division=0.0) for c in np.flatnonzero(some)]  # type: ignore[arg-type]
        assert found[name] == pytest.approx(float(np.mean(columns)))
    assert found["decision_accuracy"] == pytest.approx(1 - float(hamming_loss(truth, answer)))
    for index, row in enumerate(TASK.words(rows, TASK.classes.names)["per_class"]):
        assert row["support"] == truth[:, index].sum()
        if some[index]:
            assert row["iou"] == pytest.approx(jaccard_score(truth[:, index], answer[:, index], zero_division=0.0))
        else:
            assert row["iou"] is row["dice"] is None


@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_iou_of_each_class_is_that_of_torchmetrics(seed):
    scores, planes, truth, answer = case(seed)
    theirs = multilabel_jaccard_index(torch.tensor(answer).float(), torch.tensor(truth).int(), K, average=None)
    ours = TASK.words(TASK.rows(scores, IMAGES, planes).numpy(), TASK.classes.names)["per_class"]
    assert [row["iou"] or 0 for row in ours] == pytest.approx(theirs.tolist())  # theirs of an absent class is 0


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_rows_add_up_and_do_not_know_their_batch(seed):
    scores, planes, _, _ = case(seed)
    rows = TASK.rows(scores, IMAGES, planes)
    apart = [TASK.rows(scores[i : i + 1], IMAGES[:1], planes[i : i + 1]) for i in range(3)]
    assert torch.equal(rows, torch.cat(apart))
    counted = (planes != IGNORE).sum((1, 2))
    assert torch.equal(rows.sum((2, 3)), counted[:, None].expand(-1, K))


def test_ignored_pixels_may_be_answered_in_any_way():
    scores, planes, _, _ = case(0)
    changed = torch.where((planes == IGNORE)[:, None], -scores, scores)
    assert torch.equal(TASK.rows(scores, IMAGES, planes), TASK.rows(changed, IMAGES, planes))


def test_planes_that_count_nowhere_are_scored_nowhere():
    rows = TASK.rows(torch.randn(2, K, 3, 3), IMAGES[:2], torch.full((2, 3, 3), IGNORE, dtype=torch.uint8)).numpy()
    assert not rows.any()
    assert set(TASK.summary(rows).values()) == {None}
    assert np.isnan(TASK.of_image(rows)).all()


def test_the_target_by_hand():
    planes = torch.tensor([[[0, 2], [IGNORE, 3]]], dtype=torch.uint8)
    target = TASK.target(IMAGES[:1], planes)
    assert target.dtype == torch.uint8
    assert target[0, :, 0, 0].tolist() == [1, 0, 0, 0]
    assert target[0, :, 0, 1].tolist() == [0, 0, 1, 0]
    assert target[0, :, 1, 0].tolist() == [IGNORE] * 4
    assert target[0, :, 1, 1].tolist() == [0, 0, 0, 1]


def test_an_answer_is_every_class_that_is_likelier_than_not():
    scores = torch.tensor([3.0, -1.0, 0.0, 0.5]).view(K, 1, 1)
    answer = TASK.answer(scores, IMAGES[0])
    assert answer.values[:, 0, 0].tolist() == [True, False, False, True]
    assert answer.confidence.item() == pytest.approx(0.5)  # type: ignore[union-attr] # the least sure of the four
    for part in TASK.parts:
        assert TASK.picture(part, np.zeros((3, 1, 1), np.uint8), answer).pixels.shape[:2] == (1, 1)


def test_images_are_ranked_by_the_classes_that_they_show():
    planes = torch.zeros(1, 2, 2, dtype=torch.uint8)  # class 0 alone
    scores = torch.full((1, K, 2, 2), -1.0)
    scores[0, 0, 0], scores[0, 1] = 1.0, 1.0  # half of it found; class 1 answered where it is not
    assert TASK.of_image(TASK.rows(scores, IMAGES[:1], planes).numpy()) == pytest.approx([0.5])


def test_every_class_has_a_mask_of_its_own():
    """Classes may overlap, which one label map cannot show."""
    task = make("multilabel", Classes.named(["left eye", "a/b"]))
    assert task.parts == ("_overlay", "_0-left-eye", "_1-a-b", "")
    values = np.zeros((2, 3, 4), bool)
    values[0, :2], values[1, 1:] = True, True
    for part, index in (("_0-left-eye", 0), ("_1-a-b", 1)):
        drawing = task.picture(part, np.zeros((3, 3, 4), np.uint8), Answer(values))
        np.testing.assert_array_equal(drawing.pixels, 255 * values[index])
