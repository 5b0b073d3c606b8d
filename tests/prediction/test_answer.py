"""One image in, its answer out, against a network whose answer is known: each pixel's largest colour channel."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segtrial.classes import Classes
from segtrial.errors import ImageError
from segtrial.models._whole import Whole
from segtrial.prediction import answer
from segtrial.tasks import make
from tests.prediction.known import Loaded, noise


@pytest.fixture
def model() -> Loaded:
    return Loaded()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (13, 1), (8, 8), (33, 17), (97, 65)], ids=str)
def test_the_answer_is_the_largest_score_and_its_probability(size, model):
    image = noise(*size)
    given = answer(model.network, model.task, image)
    np.testing.assert_array_equal(given.values, image.argmax(0))
    powers = np.exp(image.astype(np.float64) / 255 / 0.1)  # the softmax written out
    np.testing.assert_allclose(given.confidence, powers.max(0) / powers.sum(0), rtol=1e-5)
    assert given.values.dtype == np.uint8


def test_floats_and_bytes_get_one_answer(model):
    image = noise(5, 6)
    np.testing.assert_array_equal(
        answer(model.network, model.task, (image / 255).astype(np.float32)).values,
        answer(model.network, model.task, image).values,
    )


def test_an_array_that_may_not_be_written_to_is_answered(model):
    image = noise(4, 4)
    image.flags.writeable = False
    np.testing.assert_array_equal(answer(model.network, model.task, image).values, image.argmax(0))


def test_bfloat16_computes_in_bfloat16():
    class Spy(nn.Module):
        multiple = 1

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, ...]:
            y = self.conv(x)
            self.seen = y.dtype
            return (y,)

    network = Whole(Spy(), torch.zeros(3), torch.ones(3)).eval()
    task = make("segmentation", Classes.numbered(2))
    assert answer(network, task, noise(3, 3), precision=torch.bfloat16).confidence.dtype == np.float32
    assert network.core.seen == torch.bfloat16
    answer(network, task, noise(3, 3))
    assert network.core.seen == torch.float32


def test_a_network_in_train_mode_is_not_asked(model):
    with pytest.raises(AssertionError, match="train mode"):
        answer(model.network.train(), model.task, noise(3, 3))


def test_channels_that_are_not_the_networks_are_refused(model):
    with pytest.raises(ImageError, match=r"1 channels in shape .* the network was made for 3"):
        answer(model.network, model.task, noise(3, 3, channels=1))
