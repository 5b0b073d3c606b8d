"""Classes of whole images against scikit-learn; what an image without a class does."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_score, recall_score

from segtrial.classes import Classes
from segtrial.shapes import IGNORE
from segtrial.tasks import make

K = 5
TASK = make("classification", Classes.named(["ant", "bee", "cat", "dog", "emu"]))
seeds = st.integers(0, 2**32 - 1)


def images(n: int) -> torch.Tensor:
    return torch.zeros(n, 3, 2, 2, dtype=torch.uint8)


def case(seed: int) -> tuple[np.ndarray, np.ndarray, torch.Tensor]:
    """Truth (some of none), answers, and rows of up to 30 images; often some class is in neither."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 30))
    truth = rng.integers(0, rng.integers(1, K + 1), n)
    truth[rng.random(n) < 0.15] = IGNORE
    scores = torch.from_numpy(rng.normal(rng.normal(0, 1, (1, K, 1, 1)), 1, (n, K, 3, 2)))
    planes = torch.from_numpy(truth.astype(np.uint8))[:, None, None].expand(-1, 6, 5)
    return truth, scores.mean((2, 3)).argmax(1).numpy(), TASK.rows(scores, images(n), planes)


@settings(deadline=None, max_examples=60)
@given(seed=seeds)
def test_scores_are_those_of_scikit_learn(seed):
    truth, answer, rows = case(seed)
    found = TASK.summary(rows.numpy())
    truth, answer = truth[truth != IGNORE], answer[truth != IGNORE]
    if not len(truth):
        assert set(found.values()) == {None}
        return
    in_either, in_answer, in_truth = sorted({*truth, *answer}), sorted({*answer}), sorted({*truth})
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, answer))
    for name, score, labels in (
        ("f1_macro", f1_score, in_either),
        ("precision_macro", precision_score, in_answer),
        ("recall_macro", recall_score, in_truth),
    ):
        assert found[name] == pytest.approx(score(truth, answer, labels=labels, average="macro", zero_division=0.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        each = f1_score(truth, answer, labels=range(K), average=None)
    table = confusion_matrix(truth, answer, labels=range(K))
    for index, row in enumerate(TASK.words(rows.numpy(), TASK.classes.names)["per_class"]):
        assert row["support"] == table[index].sum()
        assert (row["f1"] or 0) == pytest.approx(each[index])  # type: ignore[index]
        assert (row["f1"] is None) == (index not in in_either)
        assert row["iou"] is None or row["iou"] == pytest.approx(row["dice"] / (2 - row["dice"]))


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_rows_add_up_over_parts(seed):
    _, _, rows = case(seed)
    whole, cut = TASK.totals(rows.numpy()), len(rows) // 2
    first, rest = TASK.totals(rows[:cut].numpy()), TASK.totals(rows[cut:].numpy())
    np.testing.assert_array_equal(whole.sum(0), first.sum(0) + rest.sum(0))


def test_one_class_alone_is_right_or_wrong():
    task = make("classification", Classes.numbered(1))
    rows = task.rows(torch.zeros(2, 1, 1, 1), images(2), torch.zeros(2, 2, 2, dtype=torch.uint8))
    assert set(task.summary(rows.numpy()).values()) == {1.0}


def test_a_class_never_seen_and_only_answered_counts_0():
    rows = np.array([[0, 0], [0, 4]])  # emu is answered once and never there
    found = TASK.summary(rows)
    assert found == pytest.approx(
        {"accuracy": 1 / 2, "f1_macro": (2 / 3 + 0) / 2, "precision_macro": (1 + 0) / 2, "recall_macro": 1 / 2}
    )


def test_an_image_without_a_class_counts_nowhere_whatever_is_answered():
    some = np.array([[1, 1], [2, 1]])
    with_more = np.concatenate([some, [[IGNORE, 0], [IGNORE, 3]]])
    assert TASK.summary(some) == TASK.summary(with_more)
    assert TASK.of_image(with_more)[:2].tolist() == [1, 0]
    assert np.isnan(TASK.of_image(with_more)[2:]).all()


def test_the_target_of_a_crop_is_the_class_of_what_is_left_of_the_image():
    planes = torch.full((3, 4, 6), IGNORE, dtype=torch.uint8)  # beyond the border
    planes[0, 3, 5] = 2  # a corner of the image
    planes[1, :, :3] = 0
    assert TASK.target(images(3), planes).flatten().tolist() == [2, 0, IGNORE]
    assert TASK.target(images(3), planes).shape == (3, 1, 1)


def test_maps_of_scores_are_averaged_and_probabilities_add_up_to_1():
    scores = torch.randn(K, 7, 3, generator=torch.Generator().manual_seed(0))
    answer = TASK.answer(scores, images(1)[0])
    np.testing.assert_allclose(answer.values, scores.mean((1, 2)).softmax(0), rtol=1e-5)
    assert answer.values.sum() == pytest.approx(1)
    assert torch.equal(TASK.compared(scores[None])[..., 0, 0], scores[None].mean((2, 3)))


def test_what_is_said_of_an_image():
    answer = TASK.answer(torch.tensor([0.0, 0, 5, 0, 0]).view(K, 1, 1), images(1)[0])
    said = TASK.said(np.full((2, 2), 3, np.uint8), answer)
    assert (said["truth_class"], said["class"]) == ("dog", "cat")
    assert said["probability"] == pytest.approx(np.exp(5) / (np.exp(5) + 4), abs=1e-6)
    assert TASK.said(np.full((2, 2), IGNORE, np.uint8), answer)["truth_class"] is None
