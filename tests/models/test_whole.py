"""The wrapper of law 5, around a core that hands back what it is given."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import color
from torch import nn

from segtrial import models
from segtrial.errors import ImageError
from segtrial.models._init import initialise
from segtrial.models._whole import Sees, Whole, pad

MEAN, STD = torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.125])


class Echo(nn.Module):
    """Scores are the prepared image; half of it is the auxiliary answer."""

    def __init__(self, multiple: int = 1):
        super().__init__()
        self.multiple = multiple
        self.seen: list[torch.Size] = []

    def forward(self, image):
        self.seen.append(image.shape)
        return image, image / 2


def test_normalises_by_hand():
    images = torch.tensor([0, 255, 51, 255], dtype=torch.uint8).view(1, 2, 1, 2)
    # (0 - .5) / .5, (1 - .5) / .5;  (.2 - .25) / .125, (1 - .25) / .125
    scores = Whole(Echo(), MEAN, STD)(images)
    torch.testing.assert_close(scores.flatten(), torch.tensor([-1.0, 1.0, -0.4, 6.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_floats_from_0_to_1_are_the_same_images(dtype):
    images = torch.tensor([0, 255], dtype=torch.uint8).view(1, 2, 1, 1)  # 0 and 1 are exact in every type
    network = Whole(Echo(), MEAN, STD)
    scores = network((images / 255).to(dtype))
    assert scores.dtype == torch.float32
    assert torch.equal(scores, network(images))


def test_a_prepared_image_is_never_the_users_own():
    images = torch.rand(1, 2, 4, 4)
    before = images.clone()
    Whole(Echo(), torch.zeros(2), torch.ones(2))(images).add_(1)
    assert torch.equal(images, before)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 8), (9, 15), (3, 17)], ids=str)
def test_core_sees_multiples_and_the_answer_is_cropped_back(size):
    images = torch.randint(0, 256, (2, 2, *size), dtype=torch.uint8)
    core = Echo(multiple=8)
    scores = Whole(core, MEAN, STD)(images)
    height, width = size
    assert core.seen == [(2, 2, max(16, 8 * -(-height // 8)), max(16, 8 * -(-width // 8)))]
    expected = (images / 255 - MEAN.view(-1, 1, 1)) / STD.view(-1, 1, 1)
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(
    ("size", "mode"), [((9, 10), "reflect"), ((5, 16), "reflect"), ((4, 3), "edge"), ((1, 1), "edge")], ids=str
)
def test_padding_mirrors_where_it_fits_else_repeats_the_edge(size, mode):
    images = np.random.default_rng(0).integers(0, 256, (1, 1, *size), dtype=np.uint8)
    missing = [(0, 0), (0, 0), *((0, -length % 8) for length in size)]
    assert np.array_equal(
        pad(torch.from_numpy(images), tuple(length + -length % 8 for length in size)).numpy(),
        np.pad(images, missing, mode=mode),
    )


def test_each_axis_pads_as_it_can():
    images = torch.arange(10, dtype=torch.uint8).view(1, 1, 2, 5)
    padded = pad(images, (8, 8))[0, 0]
    assert padded[0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]  # 3 are missing, 5 are there
    assert padded[:, 0].tolist() == [0, 5, 5, 5, 5, 5, 5, 5]  # 6 are missing, 2 are there


def test_main_scores_come_first_and_alone():
    images = torch.rand(1, 2, 5, 5)
    network = Whole(Echo(multiple=4), MEAN, STD)
    main, auxiliary = network.forward_all(images)
    assert main.shape[-2:] == (8, 8)  # of the padded image
    assert torch.equal(network(images), main[..., :5, :5])
    assert torch.equal(auxiliary, main / 2)


def test_a_core_sees_at_least_two_multiples_each_way():
    network = Whole(Echo(multiple=32), MEAN, STD)
    assert network.padded_size(1, 65) == (64, 96)
    assert Whole(Echo(), MEAN, STD).padded_size(1, 1) == (1, 1)


@pytest.mark.parametrize("size", [(352, 32), (200, 20), (32, 32), (1, 1)], ids=str)
def test_bfloat16_answers_narrow_images_like_float32(size):
    """torch 2.15's bfloat16 convolution with stride 2 reads unwritten memory where a map is 2 wide and taller."""
    core = models.build("compact", 3, 3)
    initialise(core, 0)
    network = Whole(core, torch.full((3,), 0.5), torch.ones(3)).eval()
    images = torch.rand(6, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = network(images)
        for _ in range(3):
            dirt = [torch.full((length,), float("inf")) for length in (2**10, 2**14, 2**18) for _ in range(8)]
            del dirt
            with torch.autocast("cpu", torch.bfloat16):
                torch.testing.assert_close(network(images), exact, atol=0.1 * float(exact.std()) + 0.02, rtol=0.1)


class EveryFourthPixel(nn.Module):
    """Scores at stride 2: the mean of each 2 x 2 cell."""

    multiple = 2

    def forward(self, x):
        return (torch.nn.functional.avg_pool2d(x, 2),)


def test_scores_at_a_stride_are_interpolated_to_the_image():
    network = Whole(EveryFourthPixel(), torch.zeros(1), torch.ones(1))
    ramp = torch.arange(8.0).expand(1, 1, 6, 8) / 8  # a plane: bilinear interpolation gives it back inside
    assert network.forward_all(ramp)[0].shape == (1, 1, 3, 4)
    torch.testing.assert_close(network(ramp)[..., 1:-1], ramp[..., 1:-1])
    assert network(ramp[..., :5, :7]).shape == (1, 1, 5, 7)


def test_scores_are_float32_where_the_core_computes_in_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        network = Whole(nn.Sequential(nn.Conv2d(2, 3, 1), Pair()), MEAN, STD)
        network.core.multiple = 1
        assert network(torch.rand(1, 2, 4, 4)).dtype == torch.float32


class Pair(nn.Module):
    def forward(self, x):
        assert x.dtype == torch.bfloat16
        return (x,)


def test_normalisation_travels_with_the_weights():
    source, target = Whole(Echo(), MEAN, STD), Whole(Echo(), torch.zeros(2), torch.ones(2))
    target.load_state_dict(source.state_dict())
    images = torch.rand(1, 2, 3, 3)
    assert torch.equal(source(images), target(images))


def test_nobody_can_change_the_normalisation_from_outside():
    mean = MEAN.clone()
    network = Whole(Echo(), mean, STD)
    mean.zero_()
    assert torch.equal(network.mean, MEAN)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(2, 4, 4), r"shape \(2, 4, 4\)\. Pass b c h w; for one image c h w, add images\[None\]"),
        (torch.rand(1, 3, 4, 4), r"3 channels in shape \(1, 3, 4, 4\), but the network was made for 2\. Convert the"),
        (torch.rand(1, 4, 4, 2), r"looks like b h w c: permute it"),
        (
            torch.zeros(1, 2, 4, 4, dtype=torch.int64),
            r"numbers of type torch.int64\. Pass uint8 \(0 to 255\), or float",
        ),
        (torch.zeros(1, 2, 4, 4, dtype=torch.bool), r"numbers of type torch.bool"),
        (torch.rand(1, 2, 0, 4), r"shape \(1, 2, 0, 4\)\. Pass at least one image of at least one pixel"),
        (torch.rand(0, 2, 4, 4), r"at least one image"),
    ],
    ids=["rank", "channels", "order", "integers", "truth values", "no pixels", "no images"],
)
def test_wrong_images_are_refused_with_the_fix(images, message):
    with pytest.raises(ImageError, match=message):
        Whole(Echo(), MEAN, STD)(images)


PHOTOS = torch.randint(0, 256, (2, 3, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def of_photos(sees: Sees, mean: float = 0.5, std: float = 0.25) -> Whole:
    return Whole(Echo(multiple=4), torch.tensor([mean]), torch.tensor([std]), sees)


def test_a_core_is_shown_the_lightness_alone():
    """L by scikit-image, 0 to 100, becomes 0 to 1 and is normalised."""
    light = color.rgb2lab(PHOTOS.numpy().transpose(0, 2, 3, 1) / 255)[..., 0] / 100
    scores = of_photos("lightness")(PHOTOS)
    assert scores.shape == (2, 1, 5, 7)
    np.testing.assert_allclose(scores[:, 0].numpy(), (light - 0.5) / 0.25, atol=1e-4)


def test_a_core_is_shown_the_grey_value_alone():
    """That of PIL, which rounds it to 8 bits."""
    grey = np.stack([np.asarray(Image.fromarray(photo.permute(1, 2, 0).numpy()).convert("L")) for photo in PHOTOS])
    scores = of_photos("luma", 0.0, 1.0)(PHOTOS)
    np.testing.assert_allclose(255 * scores[:, 0].numpy(), grey, atol=0.51)


@pytest.mark.parametrize("sees", ["lightness", "luma"])
def test_photos_of_any_kind_are_seen_alike(sees):
    network = of_photos(sees)
    assert network.channels == 3
    assert torch.equal(network(PHOTOS / 255), network(PHOTOS))
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(network(PHOTOS), network(PHOTOS / 255), rtol=0, atol=0)
        assert network(PHOTOS).dtype == torch.float32
    black_and_white = network(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 3, 3))
    torch.testing.assert_close(black_and_white[:, 0, 0, 0], torch.tensor([-2.0, 2.0]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("sees", ["lightness", "luma"])
def test_a_photo_of_one_channel_is_refused_with_the_fix(sees):
    with pytest.raises(ImageError, match=r"1 channels in shape \(2, 1, 5, 7\), but the network was made for 3"):
        of_photos(sees)(PHOTOS[:, :1])
