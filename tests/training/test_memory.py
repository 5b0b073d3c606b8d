"""Out of memory: the error names the largest batch that fits, and other faults stay what they are."""

import weakref

import pytest
import torch

from segtrial.errors import DeviceError
from segtrial.recipe import Recipe
from segtrial.training.memory import largest_that_fits, too_small
from tests.training.small import learner_on_toytown


class Cramped(torch.nn.Module):
    """A network that has memory for `room` images at once."""

    def __init__(self, core, room: int):
        super().__init__()
        self.core, self.room, self.multiple = core, room, core.multiple

    def forward(self, images):
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return self.core(images)


def learner_with(room: int, **chosen):
    learner, batches = learner_on_toytown(Recipe(model="compact:width=8", steps=3, **chosen), batch=7, size=(32, 32))
    learner.network.core = Cramped(learner.network.core, room)
    return learner, batches


@pytest.mark.parametrize(("room", "pieces"), [(1, 7), (2, 4), (3, 3), (4, 2), (6, 2)])
def test_the_largest_batch_that_fits_is_named_and_the_fix_works(room, pieces):
    learner, batches = learner_with(room)
    with pytest.raises(DeviceError, match=rf"7 images of \d+x\d+ .*fits is {room}\. Set accumulate={pieces} "):
        learner.step(batches.batch(0))
    learner, batches = learner_with(room, accumulate=pieces)
    assert learner.step(batches.batch(0)).isfinite()


def test_what_the_failed_step_held_is_free_when_the_search_begins():
    """A device with room for 4 images' maps, counted while they are alive: the search must not start on a full one."""
    learner, batches = learner_with(99)
    core, alive = learner.network.core.core, []

    def forward(images):
        alive[:] = [maps for maps in alive if maps() is not None]
        made = core(images)
        kept = [made[0].clone() for _ in images]  # one for each image, alive as long as somebody holds the frame
        alive.extend(weakref.ref(each) for each in kept)
        if sum(maps() is not None for maps in alive) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return made

    learner.network.core.forward = forward
    with pytest.raises(DeviceError, match="fits is 4"):
        learner.step(batches.batch(0))


def test_where_not_one_image_fits_the_batch_is_not_blamed():
    learner, batches = learner_with(0)
    with pytest.raises(DeviceError, match=r"nor does a single one\. Set crop_pixels lower"):
        learner.step(batches.batch(0))


def test_where_ranks_share_a_batch_nobody_tries():
    assert "Set accumulate higher" in str(too_small((4, 3, 64, 64), None, 4))


def test_other_faults_are_not_called_a_lack_of_memory():
    learner, batches = learner_with(7)
    learner.network.core.forward = lambda images: torch.ones(2, 3) @ torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        learner.step(batches.batch(0))


@pytest.mark.parametrize(
    "said", ["DefaultCPUAllocator: can't allocate memory: you tried to", "MPS backend out of memory"]
)
def test_every_kind_of_memory_is_understood(said):
    def attempt(count: int) -> None:
        if count > 5:
            raise RuntimeError(said)

    assert largest_that_fits(attempt, 100) == 5
    assert largest_that_fits(attempt, 4) == 4
