"""Views of an image come back exactly where they can, and what is averaged over them are probabilities."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segtrial.classes import Classes
from segtrial.errors import RecipeError
from segtrial.prediction import Asker, answer
from segtrial.prediction.flips import View, views
from segtrial.tasks import TASKS, Task, make
from tests.prediction.known import TASK, Largest, noise, whole

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def codes(size: tuple[int, int]) -> Tensor:
    """(1, 2, h, w): at each pixel its row and its column."""
    return torch.from_numpy(np.indices(size).astype(np.float32))[None]


@given(SIZES, st.sampled_from([*views("flip"), *views("d4")]))
def test_flips_and_turns_come_back_exactly(size, view):
    assert torch.equal(view.back(view.of(codes(size)), size, (0, 1)), codes(size))


def test_the_eight_ways_are_the_symmetries_of_a_square():
    seen = {tuple(view.of(codes((3, 3))).flatten().tolist()) for view in views("d4")}
    array = codes((3, 3))[0].numpy()
    wanted = {
        tuple(np.rot90(turned, turns, (1, 2)).flatten().tolist())
        for turned in (array, array[:, :, ::-1])
        for turns in range(4)
    }
    assert seen == wanted
    assert len(seen) == 8


@pytest.mark.parametrize("word", ["none", "flip", "d4", "scales=1"])
@pytest.mark.parametrize("size", [(1, 1), (5, 8), (17, 3)], ids=str)
def test_views_of_what_flips_with_the_image_change_no_label(word, size):
    image = noise(*size)
    found = Asker(whole(Largest()), TASK, views=views(word))(torch.from_numpy(image)[None])
    np.testing.assert_array_equal(TASK.answer(found[0], torch.from_numpy(image)).values, image.argmax(0))


class Ramp(nn.Module):
    """Scores that a flip of the image does not flip: they grow to the right and downwards."""

    multiple = 1

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        row, column = (torch.linspace(0, 3, side) for side in x.shape[-2:])
        return (x * (1 + row[:, None] + 2 * column),)


def test_probabilities_are_averaged_not_scores():
    image = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network = whole(Ramp())
    found = TASK.probabilities(Asker(network, TASK, views=views("d4"))(image)).double()
    total = np.zeros((3, 4, 4))
    for mirror in (False, True):
        for turns in range(4):
            seen = np.rot90(image[0].numpy()[:, :, ::-1] if mirror else image[0].numpy(), turns, (1, 2))
            scores = network(torch.from_numpy(seen.copy())[None])[0].double().numpy()
            powers = np.exp(scores - scores.max(0))
            back = np.rot90(powers / powers.sum(0), -turns, (1, 2))
            total += back[:, :, ::-1] if mirror else back
    np.testing.assert_allclose(found[0].numpy(), total / 8, rtol=1e-5, atol=1e-7)


def test_a_mirror_exchanges_left_and_right():
    """A network that calls the left half "left": of a face in a mirror too."""

    class Sides(nn.Module):
        multiple = 1

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            half = (torch.arange(x.shape[-1]) < x.shape[-1] / 2).float().expand(len(x), x.shape[-2], -1)
            return (torch.stack([half, 1 - half], 1) * 9,)

    sides = Classes(("left", "right"), ((9, 0, 0), (0, 9, 0)), swaps=((0, 1),))
    image = torch.from_numpy(noise(2, 6))[None]
    for classes, exact in ((sides, True), (Classes.numbered(2), False)):
        task = make("segmentation", classes)
        scores = Asker(whole(Sides()), task, views=views("flip"))(image)
        assert (task.answer(scores[0], image[0]).values == [0, 0, 0, 1, 1, 1]).all() == exact


def test_scaled_views_have_the_images_size_and_leave_a_plain_one_plain():
    image = torch.full((1, 3, 13, 6), 77, dtype=torch.uint8)
    image[:, 1] = 99
    core = Largest(1)
    found = Asker(whole(core), TASK, views=views("scales=0.5,1,2"))(image)
    assert [shape[2:] for shape in core.seen] == [(6, 3), (13, 6), (26, 12)]
    assert found.shape == (1, 3, 13, 6)
    plain = Asker(whole(core), TASK)(image).softmax(1)
    torch.testing.assert_close(found.softmax(1), plain, rtol=1e-4, atol=1e-5)


def test_nothing_is_too_small_to_be_scaled():
    found = Asker(whole(Largest()), TASK, views=views("scales=0.1"))(torch.zeros(2, 3, 1, 1, dtype=torch.uint8))
    assert found.shape == (2, 3, 1, 1)


def tasks() -> list[Task]:
    two, three = Classes.numbered(2), Classes.numbered(3)
    return [make(name, two if name == "binary" else three) for name in TASKS]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99))
def test_scores_of_probabilities_have_these_probabilities(seed):
    for task in tasks():
        scores = 4 * torch.randn(2, task.outputs, 3, 4, generator=torch.Generator().manual_seed(seed))
        wanted = task.probabilities(scores)
        torch.testing.assert_close(task.probabilities(task.scores_of(wanted)), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_every_task_can_be_asked_in_views(task):
    class Same(nn.Module):
        multiple = 1

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            return (x[:, :1].expand(-1, task.outputs, -1, -1) * torch.linspace(1, 2, task.outputs)[:, None, None],)

    network = whole(Same(), 3 if task.sees == "image" else 1)
    network.sees = task.sees
    image = noise(5, 7)
    plain = answer(network, task, image)
    given = task.answer(Asker(network, task, views=views("d4"))(torch.from_numpy(image)[None])[0], torch.tensor(image))
    np.testing.assert_allclose(given.values.astype(np.float64), plain.values.astype(np.float64), atol=1e-4)


@pytest.mark.parametrize("word", ["", "flips", "scales=", "scales=0", "scales=1,", "scales=nan", "scales=1e9", "d8"])
def test_wrong_words_are_explained(word):
    with pytest.raises(RecipeError, match=r"--tta: .*Choose none, flip .*d4 .*scales=0\.75,1,1\.25"):
        views(word)


def test_views_are_what_the_words_say():
    assert views("none") == (View(),)
    assert views("scales=0.75,1,1.25") == (View(scale=0.75), View(scale=1.0), View(scale=1.25))
