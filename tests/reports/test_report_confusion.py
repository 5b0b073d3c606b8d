"""The heat map holds the counts, all of them, and its shares are what scikit-learn's normalised matrix says."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from segtrial.reports.confusion import MOST, OTHERS, confusions, heat_map

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("k", [2, 5, 32])
def test_shares_equal_scikit_learns(k):
    truth = RANDOM.integers(0, k - 1, 4000)  # the last class has no pixel
    answer = np.where(RANDOM.random(4000) < 0.6, truth, RANDOM.integers(0, k, 4000))
    counts = confusion_matrix(truth, answer, labels=range(k)).astype(np.int64)
    shares = confusion_matrix(truth, answer, labels=range(k), normalize="true")
    drawn = heat_map(counts, [f"c{i}" for i in range(k)])
    for row, expected, pixels in zip(drawn.rows, shares, counts, strict=True):
        assert [cell.pixels for cell in row] == pixels.tolist()
        if pixels.sum():
            assert [cell.share for cell in row] == pytest.approx(expected.tolist())
        else:
            assert {cell.share for cell in row} == {None}


def test_rows_are_the_truth_and_columns_the_answer():
    drawn = heat_map(np.array([[3, 1], [0, 0]]), ["sky", "road"])
    cell = drawn.rows[0][1]
    assert (cell.truth, cell.answer, cell.pixels, cell.share, cell.text, cell.right) == (
        "sky",
        "road",
        1,
        0.25,
        "25",
        False,
    )
    assert drawn.rows[0][0].right
    assert drawn.rows[1][1].text == ""


def test_many_classes_keep_every_pixel():
    k = MOST + 25
    counts = RANDOM.integers(0, 50, (k, k))
    counts[7] = counts[:, 7] = 0  # the smallest of all: it is among the others
    drawn = heat_map(counts, [f"c{i}" for i in range(k)])
    assert len(drawn.rows) == MOST + 1
    assert (drawn.names[-1], drawn.merged) == (OTHERS, 25)
    assert "c7" not in drawn.names
    assert sum(cell.pixels for row in drawn.rows for cell in row) == counts.sum()


def test_a_share_that_rounds_to_nothing_is_blank_in_the_map_but_counted():
    cell = heat_map(np.array([[999, 1], [0, 5]]), ["a", "b"]).rows[0][1]
    assert (cell.text, cell.pixels) == ("", 1)


def test_mistakes_come_largest_first_and_without_right_answers():
    cells = confusions(np.array([[90, 7, 0], [12, 50, 1], [0, 0, 3]]), ["sky", "road", "car"], most=5)
    assert [(cell.truth, cell.answer, cell.pixels) for cell in cells] == [
        ("road", "sky", 12),
        ("sky", "road", 7),
        ("road", "car", 1),
    ]
    assert cells[0].share == pytest.approx(12 / 63)
