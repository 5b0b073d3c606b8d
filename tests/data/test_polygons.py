"""Outlines to pixels, against matplotlib's point-in-polygon, hand-made run lengths and a second decoder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from segtrial.data.polygons import Shape, ellipse, fill, paint, rectangle, unpack_runs, unroll
from segtrial.shapes import IGNORE

SIZE = (9, 11)
CENTRES = np.stack(np.meshgrid(np.arange(11) + 0.5, np.arange(9) + 0.5), axis=2).reshape(-1, 2)  # (x, y), row by row
COORDINATE = st.floats(-4, 15, allow_nan=False, width=32)
TRIANGLE = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=3).map(lambda p: np.array(p, np.float64))


def ring_of(*points: tuple[float, float]) -> np.ndarray:
    return np.array(points, dtype=np.float64)


def even_odd_by_hand(ring: np.ndarray) -> np.ndarray:
    """One ray to the right of every centre, edge by edge."""
    inside = np.zeros(SIZE, dtype=bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        for row in range(SIZE[0]):
            y = row + 0.5
            if (y0 <= y) != (y1 <= y):
                inside[row] ^= np.arange(SIZE[1]) + 0.5 >= x0 + (y - y0) * (x1 - x0) / (y1 - y0)
    return inside


def pack_runs(runs: list[int]) -> str:
    """An independent writer of COCO's compressed run lengths, by divisions instead of bits."""
    text = ""
    for place, run in enumerate(runs):
        number = run - (runs[place - 2] if place > 2 else 0)
        while True:
            number, low = divmod(number, 32)
            done = (number == 0 and low < 16) or (number == -1 and low >= 16)
            text += chr(48 + low + (0 if done else 32))
            if done:
                break
    return text


def runs_of(mask: np.ndarray) -> list[int]:
    """Run lengths of a mask, pixel by pixel down the columns."""
    runs, now = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != now:
            runs.append(0)
            now = pixel
        runs[-1] += 1
    return runs


@given(TRIANGLE)
def test_a_triangle_takes_the_centres_inside_it(ring):
    inside = fill(ring, SIZE).ravel()
    deep = Outline(ring).contains_points(CENTRES, radius=1e-3) & Outline(ring).contains_points(CENTRES, radius=-1e-3)
    near = Outline(ring).contains_points(CENTRES, radius=1e-3) ^ Outline(ring).contains_points(CENTRES, radius=-1e-3)
    if _twice_area(ring) > 1e-2:
        np.testing.assert_array_equal(inside[~near], deep[~near])


def _twice_area(ring: np.ndarray) -> float:
    (ax, ay), (bx, by) = ring[1] - ring[0], ring[2] - ring[0]
    return abs(ax * by - ay * bx)


@given(st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=9))
def test_any_ring_is_filled_by_the_even_odd_rule(points):
    ring = np.array(points, dtype=np.float64)
    near = np.zeros(SIZE, dtype=bool)  # where a crossing falls on a centre, rounding may decide
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        for row in range(SIZE[0]):
            if y0 != y1 and min(y0, y1) - 1e-6 <= row + 0.5 <= max(y0, y1) + 1e-6:
                x = x0 + (row + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                near[row] |= abs(np.arange(SIZE[1]) + 0.5 - x) < 1e-6
    np.testing.assert_array_equal(fill(ring, SIZE)[~near], even_odd_by_hand(ring)[~near])


def test_a_square_by_hand():
    # from x = 2 to 4 and y = 1 to 3: exactly the pixels of columns 2, 3 and rows 1, 2
    expected = np.zeros(SIZE, dtype=bool)
    expected[1:3, 2:4] = True
    np.testing.assert_array_equal(fill(rectangle((2, 1), (4, 3)), SIZE), expected)
    np.testing.assert_array_equal(fill(rectangle((4, 3), (2, 1)), SIZE), expected)
    np.testing.assert_array_equal(fill(rectangle((1.51, 0.51), (3.51, 2.51)), SIZE), expected)


def test_a_line_and_a_speck_between_centres_have_no_pixels():
    assert not fill(ring_of((1, 1), (8, 8), (1, 1)), SIZE).any()
    assert not fill(rectangle((3.6, 3.6), (4.4, 4.4)), SIZE).any()


def test_a_ring_that_crosses_itself_twice_has_a_hole():
    star = ring_of((5, 0), (8, 9), (0.5, 3), (10.5, 3), (2, 9))  # a pentagram: its middle is crossed twice
    assert not fill(star, SIZE)[4, 5]
    assert fill(star, SIZE)[1, 5 - 1 : 5 + 1].any()


@given(st.lists(st.tuples(st.floats(0.5, 10.5), st.floats(0.5, 8.5)), min_size=1, max_size=4))
def test_polygons_that_share_edges_part_the_picture(points):
    """Triangles from any inner point to the frame cover every pixel exactly once."""
    frame = [(0, 0), (11, 0), (11, 9), (0, 9)]
    for point in points:
        fans = [fill(ring_of(point, frame[n], frame[(n + 1) % 4]), SIZE) for n in range(4)]
        np.testing.assert_array_equal(sum(fan.astype(int) for fan in fans), 1)


@given(TRIANGLE, st.integers(-3, 3), st.integers(-3, 3))
def test_turning_and_renumbering_corners_changes_nothing(ring, start, back):
    turned = np.roll(ring, start, axis=0)[:: -1 if back % 2 else 1]
    np.testing.assert_array_equal(fill(turned, SIZE), fill(ring, SIZE))


@pytest.mark.parametrize("far", [1e3, 1e7])
def test_what_lies_outside_is_clipped(far):
    assert fill(rectangle((-far, -far), (far, far)), SIZE).all()
    assert not fill(rectangle((-far, -far), (-1, -1)), SIZE).any()
    assert not fill(rectangle((11, 0), (far, far)), SIZE).any()
    half = fill(rectangle((-far, -far), (far, 4)), SIZE)
    assert half[:4].all()
    assert not half[4:].any()


def test_a_circle_has_the_area_of_a_circle():
    pixels = fill(ellipse((100.3, 99.7), 80, 40), (200, 200)).sum()
    assert pixels == pytest.approx(np.pi * 80 * 40, rel=2e-3)


def test_later_shapes_lie_over_earlier_ones_and_rings_unite():
    big, small = rectangle((0, 0), (6, 6)), rectangle((2, 2), (4, 4))
    both = paint([Shape(1, (big,)), Shape(2, (small,))], SIZE)
    assert (both[2:4, 2:4] == 2).all()
    assert (both == 1).sum() == 36 - 4
    assert (paint([Shape(2, (small,)), Shape(1, (big,))], SIZE) == 1).sum() == 36
    assert (paint([Shape(1, (big, small))], SIZE) == 1).sum() == 36  # no hole
    assert (paint([Shape(IGNORE, (big,))], SIZE) == IGNORE).sum() == 36
    assert not paint([], SIZE).any()


def test_many_edges_are_worked_through_in_pieces(monkeypatch):
    zigzag = ring_of(*((n % 11, (n * 5) % 9) for n in range(40)))
    whole = fill(zigzag, SIZE)
    monkeypatch.setattr("segtrial.data.polygons.AT_ONCE", 1)
    np.testing.assert_array_equal(fill(zigzag, SIZE), whole)


def test_areas_and_what_leaves_the_picture():
    assert Shape(1, (rectangle((1, 2), (4, 4)), rectangle((0, 0), (1, 1)))).area() == 3 * 2 + 1
    assert Shape(1, runs=np.array([3, 4, 5, 6])).area() == 4 + 6
    assert not Shape(1, (rectangle((-0.5, 0), (11.5, 9.5)),)).leaves(SIZE)
    assert Shape(1, (rectangle((0, 0), (11.6, 9)),)).leaves(SIZE)
    assert Shape(1, (rectangle((0, 0), (11, 9.6)),)).leaves(SIZE)
    assert Shape(1, (rectangle((0, -0.6), (11, 9)),)).leaves(SIZE)


def test_run_lengths_go_down_the_columns():
    # 2 rows, 3 columns: one outside, two inside (bottom of column 0, top of column 1), three outside
    np.testing.assert_array_equal(unroll(np.array([1, 2, 3]), (2, 3)), [[False, True, False], [True, False, False]])
    np.testing.assert_array_equal(unroll(np.array([0, 2, 4]), (2, 3))[:, 0], [True, True])


def test_compressed_run_lengths_by_hand():
    assert unpack_runs("123") == [1, 2, 3]
    assert unpack_runs("0") == [0]
    # 40 = 8 + 1 * 32: low five bits 8 with "more" (48 + 8 + 32 = "X"), then 1 ("1")
    assert unpack_runs("X1") == [40]
    # 16 needs a second character, for its own bit 16 would be the sign: 48 + 16 + 32 = "`", then "0"
    assert unpack_runs("`0") == [16]
    # the fourth number is written less the second: 5, 4, 3, then 4 - 1 -> -1 is code 31, "O"
    assert unpack_runs("543O") == [5, 4, 3, 3]


def test_run_lengths_that_pycocotools_wrote():
    expected = np.zeros((9, 11), bool)  # pycocotools 2.0.11 encoded these two masks
    expected[1:5, 2:9] = expected[7] = True
    expected[3, 3:5] = False
    text = "7180J30M01OO1001OO10030M030M030M030M6000I"
    np.testing.assert_array_equal(unroll(np.array(unpack_runs(text)), (9, 11)), expected)
    expected = np.zeros((40, 50), bool)
    expected[3:39, 4:44] = True
    expected[10:20, 10:30] = False
    text = f"S5T140000000000SO6<J{'D6<J' * 19}a000000000000000000000000000]7"
    np.testing.assert_array_equal(unroll(np.array(unpack_runs(text)), (40, 50)), expected)


@settings(max_examples=200)
@given(st.lists(st.integers(0, 2**31), max_size=12))
def test_compressed_run_lengths_come_back(runs):
    assert unpack_runs(pack_runs(runs)) == runs


@given(st.binary(min_size=99, max_size=99))
def test_a_mask_comes_back_through_run_lengths(noise):
    mask = (np.frombuffer(noise, np.uint8) % 3 == 0).reshape(SIZE)
    np.testing.assert_array_equal(unroll(np.array(unpack_runs(pack_runs(runs_of(mask)))), SIZE), mask)


@pytest.mark.parametrize("text", ["P", "12 3", "1\u20ac", "p" * 20, "1\n"])
def test_text_that_is_no_run_lengths_is_refused(text):
    with pytest.raises(ValueError, match="run lengths"):
        unpack_runs(text)
