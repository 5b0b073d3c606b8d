"""Tiles against the whole image: equal wherever the network cannot tell where a tile ends, and blended elsewhere."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segtrial.errors import RecipeError
from segtrial.models._whole import Whole
from segtrial.prediction import Asker, Tiling, tiling
from segtrial.prediction.tiles import SIDES, WHOLE_PIXELS, axis, blocks
from tests.prediction.known import TASK, Largest, noise, whole

PIXELS = st.integers(1, 60)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[tuple[int, int], Tiling]:
    """A size of an image and a way to cut it."""
    side = (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    return (draw(PIXELS), draw(PIXELS)), Tiling(side, draw(st.integers(0, min(side) - 1)))


def tiled(network: Whole, image: np.ndarray, cut: Tiling) -> Tensor:
    """The scores of all blocks, put where they belong."""
    rows, row = [], []
    height, width = image.shape[1:]
    for block in blocks(Asker(network, TASK), lambda a, b: image[:, a:b], (height, width), network, cut):
        top, left = sum(one.shape[1] for one in rows), sum(one.shape[2] for one in row)
        there = image[:, top : top + block.scores.shape[1], left : left + block.scores.shape[2]]
        np.testing.assert_array_equal(block.image.numpy(), there)
        row.append(block.scores)
        if block.ends:
            rows.append(torch.cat(row, 2))
            row = []
    return torch.cat(rows, 1)


def at_once(network: Whole, image: np.ndarray) -> Tensor:
    return Asker(network, TASK)(torch.from_numpy(image)[None])[0]


@settings(deadline=None, max_examples=60)
@given(cuts(), st.sampled_from([1, 2, 8]))
def test_an_identity_in_tiles_is_the_whole_to_the_bit(case, multiple):
    size, cut = case
    network, image = whole(Largest(multiple)), noise(*size)
    assert torch.equal(tiled(network, image, cut), at_once(network, image))


@settings(deadline=None, max_examples=40)
@given(cuts(), st.integers(0, 3))
def test_a_network_of_single_pixels_in_tiles_is_the_whole_to_the_bit(case, seed):
    size, cut = case

    class Single(nn.Module):
        multiple = 1

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            mixed = torch.einsum("bchw,ck->bkhw", x.double(), weights)
            return (mixed.tanh().float(),)

    weights = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    image = noise(*size)
    assert torch.equal(tiled(whole(Single()), image, cut), at_once(whole(Single()), image))


class Convolutions(nn.Module):
    """Sees `radius` pixels around each: two convolutions, around a stride if it has one."""

    def __init__(self, stride: int):
        super().__init__()
        torch.manual_seed(0)
        self.multiple, self.radius = stride, 3 * stride
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        small = F.max_pool2d(self.first(x), self.multiple)
        scores = self.second(small.relu())
        return (F.interpolate(scores, x.shape[-2:], mode="bilinear", align_corners=False),)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(0, 40), st.integers(0, 3), st.sampled_from([1, 2])
)
def test_convolutions_in_tiles_are_the_whole_if_an_overlap_has_four_radii(size, more, extra, stride):
    network = whole(Convolutions(stride))
    overlap = 4 * network.core.radius + extra
    cut, image = Tiling((overlap + 1 + more, overlap + 3 + more), overlap), noise(*size)
    there, expected = tiled(network, image, cut), at_once(network, image)
    torch.testing.assert_close(there, expected, rtol=1e-5, atol=1e-5)
    first, second = expected.topk(2, dim=0).values
    differ = there.argmax(0) != expected.argmax(0)
    assert not (differ & (first - second > 1e-4)).any()


def test_convolutions_with_less_overlap_are_not(tmp_path):
    """The law above is not true of any overlap: else it would say nothing."""
    network, image = whole(Convolutions(2)), noise(64, 64)
    assert not torch.allclose(tiled(network, image, Tiling((16, 16), 2)), at_once(network, image), atol=1e-3)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 59), st.sampled_from([1, 2, 4, 32]))
def test_windows_sum_to_one_everywhere(units, side, overlap, multiple):
    length = units * multiple
    one = axis(length, side, min(overlap, side - 1), multiple)
    weights = np.zeros((len(one.starts), length))
    for tile, start in enumerate(one.starts):
        share = one.shares[tile].numpy().astype(np.float64)
        weights[:, start : start + one.side] *= 1 - share
        weights[tile, start : start + one.side] = share
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    assert (weights >= 0).all()
    assert one.starts[0] == 0
    assert one.starts[-1] + one.side == length
    assert all(start % multiple == 0 for start in one.starts)
    if len(one.starts) > 1:
        asked = min(overlap, side - 1, one.side - multiple)
        assert all(a + one.side - b >= asked for a, b in zip(one.starts, one.starts[1:], strict=False))


class Place(nn.Module):
    """Scores that only depend on the place inside a tile: the row and the column."""

    multiple = 1

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        row, column = (torch.arange(side, dtype=torch.float32) for side in x.shape[-2:])
        grid = torch.stack(torch.meshgrid(row, column, indexing="ij"))
        return (grid.expand(len(x), -1, -1, -1),)


@settings(deadline=None, max_examples=30)
@given(cuts())
def test_blended_scores_are_the_weighted_mean_of_all_tiles(case):
    size, cut = case
    sums, total = np.zeros((2, *size)), np.zeros(size)
    down, across = (axis(size[i], cut.side[i], cut.overlap, 1) for i in range(2))
    for y, top in enumerate(down.starts):
        for x, left in enumerate(across.starts):
            weight = np.outer(down.window(y), across.window(x))
            there = (slice(top, top + down.side), slice(left, left + across.side))
            sums[:, *there] += weight * np.indices(weight.shape)
            total[there] += weight
    assert (total > 0).all()
    found = tiled(whole(Place()), noise(*size), cut)
    np.testing.assert_allclose(found.numpy(), sums / total, rtol=1e-4, atol=1e-4)


def test_what_is_read_and_seen_at_once_does_not_grow_with_the_image():
    asked: list[tuple[int, int]] = []

    def read(first: int, last: int) -> np.ndarray:
        asked.append((first, last))
        return noise(last - first, 30)

    core = Largest(8)
    list(blocks(Asker(whole(core), TASK), read, (400, 30), whole(core), Tiling((16, 16), 8)))
    assert max(last - first for first, last in asked) == 16
    assert [first for first, _ in asked] == sorted({first for first, _ in asked})
    assert {shape[2:] for shape in core.seen} == {(16, 16)}
    assert {shape[0] for shape in core.seen} == {3}  # tiles of a row go together


def test_rows_of_tiles_are_counted():
    told = []
    network = whole(Largest(8))
    read = lambda first, last: noise(last - first, 8)  # noqa: E731
    list(blocks(Asker(network, TASK), read, (40, 8), network, Tiling((16, 16), 0), lambda *pair: told.append(pair)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_what_auto_means():
    camvid = tiling("auto", None, (360, 480))
    assert camvid == Tiling((360, 480), 90, WHOLE_PIXELS)
    assert not camvid.cuts((1024, 2048))
    assert camvid.cuts((1025, 2048))
    assert tiling("auto", 5, (10, 5000)) == Tiling((SIDES[0], SIDES[1]), 5, WHOLE_PIXELS)
    assert not tiling("auto", None, (3000, 4000)).cuts((3000, 4000))  # as it was scored
    assert tiling("none", None, (360, 480)) is None
    number = tiling("64", None, (360, 480))
    assert number == Tiling((64, 64), 16, 0)
    assert number.cuts((65, 1))
    assert not number.cuts((64, 64))


@pytest.mark.parametrize(
    ("word", "overlap", "message"),
    [
        ("big", None, r"--tile: 'big'\. Choose auto, none, or a side of 1 to 16384 pixels"),
        ("0", None, "--tile"),
        ("-5", None, "--tile"),
        ("1000000000", None, "--tile"),
        ("64", 64, r"--overlap: 64\. Choose 0 to 63 pixels, less than a tile's side of 64"),
        ("64", -1, "--overlap: -1"),
    ],
)
def test_wrong_words_are_explained(word, overlap, message):
    with pytest.raises(RecipeError, match=message):
        tiling(word, overlap, (360, 480))
