"""Boundary hits against scipy's distances and drawings made by hand; rows that add up exactly."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, generate_binary_structure, minimum_filter, zoom

from segtrial.boundaries import boundary_counts, boundary_f1, boundary_precision, boundary_recall, tolerance_in_pixels
from segtrial.shapes import IGNORE

CROSS = generate_binary_structure(2, 1)


def drawn(*rows: str) -> torch.Tensor:
    """A map from rows of digits; a dot is IGNORE."""
    return torch.tensor([[[IGNORE if c == "." else int(c) for c in row] for row in rows]], dtype=torch.uint8)


def case(seed: int, k: int, shape: tuple[int, int], n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Blotches of classes; the answer differs in some, and some of the truth is IGNORE."""
    rng = np.random.default_rng(seed)

    def blotches(top: int) -> np.ndarray:
        coarse = rng.integers(0, top, (n, -(-shape[0] // 4), -(-shape[1] // 4)))
        return zoom(coarse, (1, 4, 4), order=0, grid_mode=True, mode="nearest")[:, : shape[0], : shape[1]]

    target = blotches(rng.integers(1, k + 1))
    answer = np.where(blotches(3) == 0, blotches(k), np.roll(target, rng.integers(0, 3), 2))
    target = np.where(blotches(8) == 0, IGNORE, target)
    return torch.from_numpy(answer), torch.from_numpy(target.astype(np.uint8))


def slow_counts(answer: np.ndarray, target: np.ndarray, k: int, tolerance: float) -> np.ndarray:
    """One image, class by class: erosion finds the boundary, a distance transform what lies near it."""
    void = target == IGNORE
    boundary, row = {}, np.zeros((4, k), np.int64)
    for c in range(k):
        for name, labels in (("answer", answer), ("truth", target)):
            solid = minimum_filter((labels == c) | void, footprint=CROSS, mode="nearest")
            boundary[name] = (labels == c) & ~solid & ~void
        for at, (mine, other) in enumerate((("answer", "truth"), ("truth", "answer"))):
            away = distance_transform_edt(~boundary[other]) if boundary[other].any() else np.full(target.shape, np.inf)
            row[2 * at, c] = (boundary[mine] & (away <= tolerance)).sum()
            row[2 * at + 1, c] = boundary[mine].sum()
    return row


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    k=st.sampled_from([2, 3, 31, 32, 70]),
    height=st.integers(1, 20),
    width=st.integers(1, 30),
    tolerance=st.sampled_from([None, 0, 1, 2, 3, 5, 40]),
)
def test_counts_are_those_of_a_distance_transform(seed, k, height, width, tolerance):
    answer, target = case(seed, k, (height, width))
    found = boundary_counts(answer, target, k, tolerance)
    reach = tolerance_in_pixels(height, width) if tolerance is None else tolerance
    expected = [slow_counts(a.numpy(), t.numpy(), k, reach) for a, t in zip(answer, target, strict=True)]
    np.testing.assert_array_equal(found.numpy(), expected)


def test_a_line_off_by_one():
    truth, answer = drawn("00111", "00111"), drawn("01111", "01111")
    # truth: column 1 (class 0) | column 2 (class 1); answer: column 0 | column 1; 2 pixels each
    assert boundary_counts(answer, truth, 3, 0)[0].tolist() == [[0, 0, 0], [2, 2, 0], [0, 0, 0], [2, 2, 0]]
    assert boundary_counts(answer, truth, 3, 1)[0].tolist() == [[2, 2, 0], [2, 2, 0], [2, 2, 0], [2, 2, 0]]
    f1 = [boundary_f1(boundary_counts(answer, truth, 3, reach).numpy().sum(0)) for reach in (0, 1)]
    np.testing.assert_array_equal(f1, [[0, 0, np.nan], [1, 1, np.nan]])


def test_a_distance_is_euclidean():
    truth, answer = (torch.zeros(1, 9, 9, dtype=torch.uint8) for _ in range(2))
    truth[0, 2, 2], answer[0, 5, 6] = 1, 1  # 3 and 4 apart: 5
    assert [boundary_counts(answer, truth, 2, reach)[0, 0, 1].item() for reach in (4, 5)] == [0, 1]


def test_beside_ignore_there_is_no_boundary():
    truth, answer = drawn("00.11", "00.11"), drawn("00011", "00111")
    assert not boundary_counts(answer, truth, 2, 1).any()
    assert not boundary_counts(drawn("00000"), drawn("0...0"), 2, 1).any()


def test_precision_and_recall_of_what_is_only_found_or_only_missed():
    empty, dot = drawn("000", "000", "000"), drawn("000", "010", "000")
    found, missed = boundary_counts(dot, empty, 2, 1).numpy(), boundary_counts(empty, dot, 2, 1).numpy()
    assert found[0].tolist() == [[0, 0], [4, 1], [0, 0], [0, 0]]
    assert boundary_precision(found)[0].tolist() == boundary_recall(missed)[0].tolist() == [0, 0]
    assert np.isnan(boundary_recall(found)).all()
    assert np.isnan(boundary_precision(missed)).all()
    assert boundary_f1(found).tolist() == boundary_f1(missed).tolist() == [[0, 0]]


@pytest.mark.parametrize(("share", "size", "pixels"), [(0.0075, (360, 480), 5), (0.008, (480, 854), 8)])
def test_the_tolerance_is_a_share_of_the_diagonal(share, size, pixels):
    assert tolerance_in_pixels(*size, share) == pixels


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_laws(seed):
    answer, target = case(seed, 4, (12, 15), n=3)
    counts = boundary_counts(answer, target, 4, 2)
    f1 = boundary_f1(counts.numpy())
    assert ((f1 >= 0) & (f1 <= 1) | np.isnan(f1)).all()
    split = torch.cat([boundary_counts(answer[i:j], target[i:j], 4, 2) for i, j in ((0, 1), (1, 3))])
    assert torch.equal(split, counts)
    for turned in ((lambda x: x.flip(1)), (lambda x: x.flip(2)), (lambda x: x.mT)):
        assert torch.equal(boundary_counts(turned(answer), turned(target), 4, 2), counts)
    other = answer.where(target != IGNORE, 3 - answer)
    assert torch.equal(boundary_counts(other, target, 4, 2), counts)
    right = boundary_counts(target.long() % 255, target, 4, 0).numpy()
    assert set(np.nan_to_num(boundary_f1(right), nan=1).ravel()) == {1}
    wider = boundary_counts(answer, target, 4, 3)
    assert (wider >= counts).all()
    assert torch.equal(wider[:, 1::2], counts[:, 1::2])
    full = target.masked_fill(target == IGNORE, 0)
    swapped = boundary_counts(full.long(), answer.to(torch.uint8), 4, 2)
    assert torch.equal(swapped, boundary_counts(answer, full, 4, 2)[:, [2, 3, 0, 1]])


def test_at_the_diagonal_every_boundary_of_a_class_in_both_maps_is_hit():
    answer, target = case(5, 3, (16, 20))
    counts = boundary_counts(answer, target, 3, 26).numpy()
    there = (counts[:, 1] > 0) & (counts[:, 3] > 0)
    assert there.any()
    assert (boundary_f1(counts)[there] == 1).all()


def test_any_integer_type_of_answer_gives_the_same():
    answer, target = case(6, 3, (9, 9))
    for dtype in (torch.uint8, torch.int32):
        assert torch.equal(boundary_counts(answer.to(dtype), target, 3), boundary_counts(answer, target, 3))
