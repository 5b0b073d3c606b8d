"""Frames of a video become blocks of so many frames, by the numbers that end their names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segtrial.errors import DataError
from segtrial.statistics import video_blocks


def test_frames_by_hand():
    keys = ["a_f0010", "a_f0599", "a_f0600_L", "b_f0010"]
    assert video_blocks(keys, ["a", "a", "a", "b"], 600) == ["a 0", "a 0", "a 1", "b 0"]


def test_whole_groups_where_no_length_is_asked_for():
    assert video_blocks(["one", "two"], ["a", "b"], None) == ["a", "b"]


@given(st.lists(st.integers(0, 10_000), min_size=2, unique=True), st.integers(1, 500))
def test_frames_of_a_block_are_nearer_than_its_length(numbers, frames):
    found = video_blocks([f"clip_{number}" for number in numbers], ["clip"] * len(numbers), frames)
    for block in set(found):
        mine = [number for number, name in zip(numbers, found, strict=True) if name == block]
        assert max(mine) - min(mine) < frames


def test_a_name_without_a_number_is_refused():
    with pytest.raises(DataError, match="no number in its name"):
        video_blocks(["left"], ["a"], 10)
