"""Networks by hand whose score rests on one place or one band: explanations are nonzero there and 0 elsewhere."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from segtrial import models, tasks
from segtrial.classes import Classes
from segtrial.errors import RecipeError
from segtrial.explaining.bands import without_bands
from segtrial.explaining.gradcam import grad_cam
from segtrial.explaining.layers import cut_at, default_layer
from segtrial.explaining.occlusion import Patch, occlusion, patch_for
from segtrial.explaining.targets import Target, class_score
from segtrial.models._whole import Whole
from tests.exporting import parts

TASK = tasks.make("segmentation", Classes.numbered(2))
SIZE = (12, 16)
MEAN = torch.tensor([0.25, 0.5, 0.75])
EVERYWHERE = Target(1, np.ones(SIZE, bool), "everywhere")


class OneBox(nn.Module):
    """Class 1 scores the mean of one band over one box (top, bottom, left, right), at every pixel; class 0 scores 0."""

    multiple = 1

    def __init__(self, band: int, box: tuple[int, int, int, int] = (0, 12, 0, 16)):
        super().__init__()
        self.band, self.box = band, box
        self.maps = nn.ReLU(inplace=True)  # in place, as in most networks
        self.unused = nn.Identity()

    def forward(self, image):
        top, bottom, left, right = self.box
        maps = self.maps(image.clone())
        score = maps[:, self.band, top:bottom, left:right].mean((1, 2))[:, None, None].expand(-1, *image.shape[2:])
        return (torch.stack([torch.zeros_like(score), score], 1),)


class Convolutions(nn.Module):
    """Two 3x3 convolutions: a score sees the 5x5 pixels around it."""

    multiple = 1

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, image):
        return (self.second(self.first(image)),)


def whole(core: nn.Module) -> Whole:
    return Whole(core, MEAN, torch.ones(3)).eval()


def two_discs() -> tuple[torch.Tensor, np.ndarray]:
    """An image of the mean colour with a square in band 0 and, elsewhere, one in band 1; the first as a mask."""
    image = MEAN[:, None, None].repeat(1, *SIZE)
    image[0, 2:5, 3:7], image[1, 8:11, 10:14] = 1.0, 1.0
    mask = np.zeros(SIZE, bool)
    mask[2:5, 3:7] = True
    return image, mask


def test_grad_cam_shows_what_the_class_rests_on_and_nothing_else():
    image, mask = two_discs()
    (cam,) = grad_cam(whole(OneBox(0)), TASK, image, [EVERYWHERE], "maps")
    assert np.array_equal(cam.map > 0, mask)
    assert np.array_equal(cam.map[mask], np.ones(mask.sum(), np.float32))
    # the gradient is 1 / (12 * 16) at every place, and so is its mean; A = 1 - .25
    assert cam.peak == pytest.approx(0.75 / (12 * 16), rel=1e-5)
    (none,) = grad_cam(whole(OneBox(2)), TASK, image, [EVERYWHERE], "maps")
    assert not none.map.any()
    assert none.peak == 0


@settings(deadline=None, max_examples=25)
@given(
    top=st.integers(0, 11), left=st.integers(0, 15), high=st.integers(1, 6), wide=st.integers(1, 6),
    side=st.integers(1, 7), step=st.integers(1, 4), seed=st.integers(0, 99),
)  # fmt: skip
def test_hiding_lowers_the_score_by_what_is_hidden_of_the_box(top, left, high, wide, side, step, seed):
    bottom, right = min(12, top + high), min(16, left + wide)
    image = MEAN[:, None, None] + 0.2 * torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(seed))
    patch = Patch(side, min(step, side))
    (found,) = occlusion(whole(OneBox(1, (top, bottom, left, right))), TASK, image, [EVERYWHERE], patch)
    inside = np.zeros(SIZE)
    inside[top:bottom, left:right] = (image[1] - 0.5).numpy()[top:bottom, left:right] / (
        (bottom - top) * (right - left)
    )
    hides, reach = inside > 0, np.zeros(SIZE, bool)
    for row, y in enumerate(patch.places(12)):
        for column, x in enumerate(patch.places(16)):
            expected = inside[y : y + side, x : x + side].sum()
            assert found.drops[row, column] == pytest.approx(expected, abs=1e-6)
            if hides[y : y + side, x : x + side].any():
                reach[y : y + side, x : x + side] = True
            else:
                assert found.drops[row, column] == 0
    assert np.array_equal(found.map != 0, reach), "a pixel shows the mean of the places that hide it"


@settings(deadline=None, max_examples=15)
@given(y=st.integers(0, 11), x=st.integers(0, 15), seed=st.integers(0, 99))
def test_nothing_outside_the_receptive_field_matters(y, x, seed):
    torch.manual_seed(seed)
    network, image = whole(Convolutions()), torch.rand(3, *SIZE)
    region = np.zeros(SIZE, bool)
    region[y, x] = True
    with torch.no_grad():
        (found,) = occlusion(network, TASK, image, [Target(1, region, "one pixel")], Patch(1, 1))
    field = np.zeros(SIZE, bool)
    field[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3] = True
    assert np.abs(found.map[~field]).max() < 1e-6, "the last bits of a score depend on what is in its batch"
    assert found.map[field].all()


def test_only_the_band_that_matters_changes_anything():
    image, _ = two_discs()
    network = whole(OneBox(0))
    answer = TASK.answer(network(image[None])[0], image)
    assert answer.values.all()
    truth = np.ones(SIZE, np.uint8)
    red, green, blue = without_bands(network, TASK, image, answer, truth, [EVERYWHERE])
    score = 0.75 * 12 / (12 * 16)  # 12 pixels of 1 - .25 in 192
    assert red.drops == pytest.approx((score,))
    assert (red.changed.all(), red.right) == (True, 0.0)
    for other in (green, blue):
        assert other.drops == (0.0,)
        assert (other.changed.any(), other.right) == (False, 1.0)


@pytest.mark.parametrize(("spec", "layer"), [("compact:width=4", "stages.1"), ("unet:width=2,depth=3", "down.2")])
def test_grad_cam_is_that_of_plain_autograd(spec, layer):
    """The whole graph kept, gradients by retain_grad, sums written out."""
    network = parts.network_of(spec)
    task = tasks.make("segmentation", parts.CLASSES)
    image = torch.rand(3, 40, 56, generator=torch.Generator().manual_seed(0))
    region = np.zeros((40, 56), bool)
    region[5:20, 30:50] = True
    (cam,) = grad_cam(network, task, image, [Target(2, region, "there")], layer)
    kept = []
    handle = network.core.get_submodule(layer).register_forward_hook(lambda module, given, made: kept.append(made))
    scores = network(image[None])
    handle.remove()
    kept[0].retain_grad()
    (scores[0, 2, 5:20, 30:50].sum() / (15 * 20)).backward()
    maps, grads = kept[0][0], kept[0].grad[0]
    weighed = [grad.mean() * each for grad, each in zip(grads, maps, strict=True)]
    expected = torch.stack(weighed).sum(0).clamp(min=0).detach()
    assert cam.peak == pytest.approx(float(expected.max()), rel=1e-4)
    assert cam.size == tuple(expected.shape)
    big = F.interpolate(expected[None, None], network.padded_size(40, 56), mode="bilinear")[0, 0, :40, :56]
    np.testing.assert_allclose(cam.map, big / expected.max(), atol=1e-4)
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", models.names())
def test_every_network_has_a_last_encoder_map(name):
    """Shapes alone: on the meta device nothing is computed."""
    with torch.device("meta"):
        core = models.build(name, 3).eval()
        image = torch.empty(1, 3, *Whole(core, MEAN, MEAN).padded_size(128, 192))
        with cut_at(core, default_layer(core)) as leaves, torch.enable_grad():
            (scores,) = core(image)
            grads = torch.autograd.grad(scores.sum(), leaves, allow_unused=True)
    used = [leaf for leaf, grad in zip(leaves, grads, strict=True) if grad is not None and leaf.numel()]
    assert used[-1].shape[2] <= image.shape[2] / 8, "coarse: made of the image's content"
    assert used[-1].shape[1] > 3


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        ("map", "is no layer of this network.*Did you mean 'maps'"),
        ("", "is no layer"),
        ("unused", "is never asked by this network"),
    ],
)
def test_a_layer_that_cannot_be_shown_says_why(layer, found):
    with pytest.raises(RecipeError, match=found):
        grad_cam(whole(OneBox(0)), TASK, torch.rand(3, *SIZE), [EVERYWHERE], layer)


def test_maps_of_transformers_lie_the_other_way_round():
    network = parts.network_of("segformer")
    task = tasks.make("segmentation", parts.CLASSES)
    target = Target(1, np.ones((64, 96), bool), "everywhere")
    image = torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))
    (first,) = grad_cam(network, task, image, [target], "encoder.block3")
    assert first.size == (4, 6)


def test_a_mean_over_the_image_is_no_map_of_it():
    target = Target(1, np.ones((32, 160), bool), "everywhere")
    with pytest.raises(RecipeError, match=r"shape \(1, 8, 1, 1\), which is no map of the image"):
        grad_cam(parts.network_of("compact:width=2"), TASK, torch.rand(3, 32, 160), [target], "context")


def test_a_patch_is_an_eighth_of_the_image():
    assert patch_for((360, 480)) == Patch(60, 30)
    assert patch_for((1, 1)) == Patch(2, 1)
    assert patch_for((360, 480), 7) == Patch(7, 3)


def test_background_of_one_score_is_the_score_below_zero():
    task = tasks.make("binary", Classes.numbered(2))
    scores = torch.tensor([[[[1.0, 3.0]]]])
    region = np.array([[True, True]])
    assert class_score(task, scores, Target(1, region, "")) == 2
    assert class_score(task, scores, Target(0, region, "")) == -2
