"""Every network learns eight real pictures by heart (slow), and the ceiling that it is held to is right (fast)."""

import pytest
import torch

from benchmarks.overfit import CASES, Pictures, ceiling, eight_pictures, overfit, said
from segtrial import hardware, models
from segtrial.shapes import IGNORE

ANSWERS_FOR_IMAGES = {"classifier"}
"""One score for the whole image: nothing to learn by heart, pixel by pixel."""


def test_every_architecture_is_held_to_it():
    assert {spec.partition(":")[0] for spec in CASES} == set(models.names()) - ANSWERS_FOR_IMAGES
    assert all(models.parse(spec) for spec in CASES)


def pictures_of(target) -> Pictures:
    target = torch.tensor(target, dtype=torch.uint8)[None]
    return Pictures(
        torch.zeros(1, 3, *target.shape[1:], dtype=torch.uint8), target, int(target[target < IGNORE].max()) + 1
    )


def test_the_truth_itself_is_the_ceiling_at_stride_1():
    assert ceiling(pictures_of([[0, 1, 0], [1, 0, 1], [0, 0, 1]]), 1) == 1


def test_a_lone_pixel_is_lost_in_its_cell():
    """One pixel of class 1 among 16: its 2x2 cell is three quarters of class 0, so IoU is 15/16 and 0."""
    assert ceiling(pictures_of([[1, 0, 0, 0], *[[0, 0, 0, 0]] * 3]), 2) == pytest.approx((15 / 16 + 0) / 2)


def test_whole_cells_survive():
    target = torch.zeros(16, 16)
    target[:, 8:] = 1
    assert ceiling(pictures_of(target.tolist()), 8) == 1  # the border between two cells lies between two pixels


def test_ignored_pixels_neither_weigh_nor_count():
    """The cell's one counted pixel decides it."""
    assert ceiling(pictures_of([[1, IGNORE, 0, 0], [IGNORE, IGNORE, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]), 2) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("spec", CASES)
def test_learns_eight_pictures_by_heart(spec, real):
    torch.set_num_threads(hardware.threads())
    outcome = overfit(spec, CASES[spec], eight_pictures(real("camvid")))
    print(said(outcome))
    assert outcome.miou >= outcome.aim
