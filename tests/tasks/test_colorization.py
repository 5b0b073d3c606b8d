"""Colours of photos whose lightness is known, against scikit-image and hand arithmetic."""

import json
from io import BytesIO

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import color
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from segtrial.classes import Classes
from segtrial.colors import ab_bins, lab_to_rgb, rgb_to_lab, with_ab
from segtrial.evaluation import Counts, result_json
from segtrial.models._whole import seen
from segtrial.shapes import IGNORE
from segtrial.tasks import make
from segtrial.tasks.colorization import AB

PHOTO = Classes.named(["photo"])
MEAN = (7.5, -12.25)
NAMES = ("colorization", "colorization_rgb", "colorization_bins")
EXACT = NAMES[:2]
seeds = st.integers(0, 2**32 - 1)


def task(name: str):
    return make(name, PHOTO, MEAN)


def photos(seed: int, n: int = 2, size: tuple[int, int] = (14, 17)) -> torch.Tensor:
    """8-bit photos of muted colours, none of them grey."""
    rng = np.random.default_rng(seed)
    tint = rng.integers(-40, 40, (n, 3, 1, 1))
    return torch.from_numpy(
        (rng.integers(60, 190, (n, 1, *size)) + tint + rng.integers(0, 20, (n, 3, *size))).clip(0, 255).astype(np.uint8)
    )


def unit(images: torch.Tensor) -> torch.Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


def planes(images: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(images), *images.shape[-2:], dtype=torch.uint8)


def ab_of(images: torch.Tensor) -> torch.Tensor:
    """a and b by scikit-image."""
    lab = color.rgb2lab(unit(images).movedim(1, -1).double().numpy())
    return torch.from_numpy(lab[..., 1:]).movedim(-1, 1).float()


def scores_for(name: str, rgb: torch.Tensor) -> torch.Tensor:
    """The scores of a network that answers with the colours of `rgb`."""
    if name == "colorization_rgb":
        return rgb
    ab = rgb_to_lab(rgb)[:, 1:]
    if name == "colorization":
        return ab / AB
    apart = (ab.movedim(1, -1)[..., None, :] - ab_bins().float()).norm(dim=-1)  # b h w k
    return 1e4 * torch.nn.functional.one_hot(apart.argmin(-1), len(ab_bins())).movedim(-1, 1).float()


def summary(name: str, scores: torch.Tensor, images: torch.Tensor) -> dict[str, float | None]:
    one = task(name)
    return one.summary(one.rows(scores, images, planes(images)).numpy())


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_scores_are_those_of_scikit_image(name, seed):
    """Of the photo that `answer` gives out: what is scored is what is shown."""
    images, one = photos(seed), task(name)
    scores = torch.randn(2, one.outputs, 14, 17, generator=torch.Generator().manual_seed(seed))
    scores = scores.abs() if name == "colorization_rgb" else 0.3 * scores
    found = summary(name, scores, images)
    answers = np.stack([one.answer(*pair).values for pair in zip(scores, images, strict=True)]).astype(np.float64)
    truth, ab = unit(images).double().numpy(), ab_of(images).double().numpy()
    psnr = [peak_signal_noise_ratio(*pair, data_range=1) for pair in zip(truth, answers, strict=True)]
    ssim = [
        structural_similarity(*pair, data_range=1, channel_axis=0, gaussian_weights=True, use_sample_covariance=False)
        for pair in zip(truth, answers, strict=True)
    ]
    answered = color.rgb2lab(np.moveaxis(answers, 1, -1))[..., 1:]
    assert found["psnr"] == pytest.approx(np.mean(psnr), abs=1e-4)
    assert found["ssim"] == pytest.approx(np.mean(ssim), abs=1e-6)
    squares = ((answered - np.moveaxis(ab, 1, -1)) ** 2).sum(-1)
    assert found["ab_rmse"] == pytest.approx(np.sqrt(squares.mean()), abs=2e-3)


@pytest.mark.parametrize("name", EXACT)
def test_the_true_colours_are_as_good_as_8_bits_can_tell(name):
    images = photos(0)
    found = summary(name, scores_for(name, unit(images)), images)
    assert found["psnr"] == pytest.approx(10 * np.log10(3 * 14 * 17 * 255**2), abs=0.01)  # the least error there is
    assert found["ssim"] == pytest.approx(1)
    assert found["ab_rmse"] == pytest.approx(0, abs=1e-3)
    assert found["colourfulness"] == pytest.approx(found["colourfulness_of_truth"], rel=1e-4)


def test_the_true_bins_are_half_a_bin_off_at_most():
    images = photos(1)
    found = summary("colorization_bins", scores_for("colorization_bins", unit(images)), images)
    assert 0 < found["ab_rmse"] < np.hypot(5, 5) + 0.1  # type: ignore[operator]


@pytest.mark.parametrize(("baseline", "ab"), [("grey", (0, 0)), ("mean_color", MEAN)])
@pytest.mark.parametrize("name", EXACT)
def test_an_answer_that_is_a_baseline_scores_like_it(name, baseline, ab):
    images, one = photos(2, n=3), task(name)
    rows = one.rows(scores_for(name, with_ab(unit(images), ab)), images, planes(images)).numpy()
    found, baselines = one.summary(rows), one.words(rows, PHOTO.names)["baselines"]
    assert list(baselines) == ["grey", "mean_color"]
    assert found == pytest.approx(baselines[baseline], rel=1e-4, abs=1e-5)
    other = {"grey": "mean_color", "mean_color": "grey"}[baseline]
    assert abs(found["ab_rmse"] - baselines[other]["ab_rmse"]) > 0.1  # type: ignore[operator]


def test_the_certain_grey_bin_scores_like_grey():
    images, one = photos(3), task("colorization_bins")
    scores = torch.zeros(2, one.outputs, 14, 17)
    scores[:, ab_bins().abs().sum(1).argmin()] = 1e4
    rows = one.rows(scores, images, planes(images)).numpy()
    assert one.summary(rows) == pytest.approx(one.words(rows, PHOTO.names)["baselines"]["grey"], rel=1e-4, abs=1e-5)


def test_baselines_by_scikit_image():
    images, one = photos(4), task("colorization")
    rows = one.rows(torch.zeros(2, 2, 14, 17), images, planes(images)).numpy()
    lab = color.rgb2lab(unit(images).movedim(1, -1).double().numpy())
    for name, ab in (("grey", (0, 0)), ("mean_color", MEAN)):
        flat = color.lab2rgb(np.concatenate([lab[..., :1], np.broadcast_to(ab, lab[..., 1:].shape)], -1))
        truth = unit(images).movedim(1, -1).double().numpy()
        psnr = np.mean([peak_signal_noise_ratio(*pair, data_range=1) for pair in zip(truth, flat, strict=True)])
        assert one.words(rows, PHOTO.names)["baselines"][name]["psnr"] == pytest.approx(psnr, abs=1e-3)


@pytest.mark.parametrize("name", ["colorization", "colorization_bins"])
@settings(deadline=None, max_examples=15)
@given(seed=seeds)
def test_lightness_is_passed_through_wherever_a_screen_has_the_colour(name, seed):
    images, one = photos(seed), task(name)
    scores = torch.randn(2, one.outputs, 14, 17, generator=torch.Generator().manual_seed(seed))
    answer = one.colored(scores * 0.3 if name == "colorization" else scores, unit(images))
    shown = ((answer > 1e-5) & (answer < 1 - 1e-5)).all(1).numpy()  # nothing is clipped
    assert shown.mean() > 0.3
    before, after = (color.rgb2lab(each.movedim(1, -1).double().numpy())[..., 0] for each in (unit(images), answer))
    assert np.abs(before - after)[shown].max() < 5e-3


@pytest.mark.parametrize("name", NAMES)
def test_float_photos_are_the_same_photos(name):
    images, one = photos(5), task(name)
    scores = torch.rand(2, one.outputs, 14, 17) / 4
    rows = one.rows(scores, images, planes(images))
    torch.testing.assert_close(rows, one.rows(scores, unit(images), planes(images)), rtol=0, atol=0)
    torch.testing.assert_close(one.target(images, planes(images)), one.target(unit(images), planes(images)))
    np.testing.assert_array_equal(
        one.answer(scores[0], images[0]).values, one.answer(scores[0], unit(images)[0]).values
    )


@pytest.mark.parametrize("name", NAMES)
def test_of_the_photo_only_what_the_network_sees_is_used(name):
    """Another photo of the same lightness is answered alike."""
    one, seed = task(name), 6
    rgb = unit(photos(seed)).double()
    other = with_ab(rgb, (3, 4))
    assert (other - rgb).abs().max() > 0.02
    scores = torch.rand(2, one.outputs, 14, 17) / 9
    torch.testing.assert_close(one.colored(scores, rgb.float()), one.colored(scores, other.float()), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=8)
@given(seed=seeds)
def test_rows_do_not_know_their_batch_and_add_up(name, seed):
    images, one = photos(seed, n=4), task(name)
    scores = torch.rand(4, one.outputs, 14, 17, generator=torch.Generator().manual_seed(seed)) / 3
    rows = one.rows(scores, images, planes(images))
    apart = [one.rows(scores[i : i + 1], images[i : i + 1], planes(images)[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(rows, torch.cat(apart), rtol=1e-4, atol=1e-4)  # float32 colours
    each = one.of_image(rows.numpy())
    assert one.summary(rows.numpy())["psnr"] == pytest.approx(each.mean())


@pytest.mark.parametrize("name", NAMES)
def test_targets_are_what_was_asked_for_and_nothing_where_nothing_counts(name):
    images, one = photos(7), task(name)
    mask = planes(images)
    mask[0, :3], mask[1] = IGNORE, IGNORE
    target = one.target(images, mask)
    assert target[0, :, :3].isnan().all()
    assert target[1].isnan().all()
    expected = {
        "colorization": ab_of(images) / AB,
        "colorization_bins": ab_of(images),
        "colorization_rgb": unit(images),
    }
    torch.testing.assert_close(target[0, :, 3:], expected[name][0, :, 3:], atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_pixels_beyond_the_border_count_nowhere(name):
    """A crop that leaves its photo is scored by what is left of it, but for SSIM; where nothing is left, by nothing."""
    images, one = photos(8), task(name)
    scores = torch.rand(2, one.outputs, 14, 17) / 3
    whole = one.summary(one.rows(scores, images, planes(images)).numpy()) | {"ssim": None}
    larger, wide = torch.zeros(2, 3, 20, 30, dtype=torch.uint8), torch.rand(2, one.outputs, 20, 30)
    larger[..., 2:16, 5:22], wide[..., 2:16, 5:22] = images, scores
    mask = torch.full((2, 20, 30), IGNORE, dtype=torch.uint8)
    mask[:, 2:16, 5:22] = 0
    rows = one.rows(wide, larger, mask).numpy()
    assert one.summary(rows) == pytest.approx(whole)
    nothing = one.rows(wide, larger, torch.full_like(mask, IGNORE)).numpy()
    assert set(one.summary(nothing).values()) == {None}
    assert np.isnan(one.of_image(nothing)).all()
    assert one.summary(np.concatenate([rows, nothing])) == pytest.approx(whole)


@pytest.mark.parametrize("name", NAMES)
def test_photos_too_small_for_ssim_have_none(name):
    images, one = photos(9, size=(5, 20)), task(name)
    found = one.summary(one.rows(torch.rand(2, one.outputs, 5, 20), images, planes(images)).numpy())
    assert found["ssim"] is None
    assert found["psnr"] is not None


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_of_a_photo_is_what_the_network_sees(name):
    images, one = photos(10, n=1), task(name)
    answer = one.answer(torch.rand(one.outputs, 14, 17), images[0])
    assert answer.values.dtype == np.float32
    assert 0 <= answer.values.min() <= answer.values.max() <= 1
    pictures = one.example(images[0].numpy(), planes(images)[0].numpy(), answer)
    assert sorted(pictures) == ["answer", "image", "truth"]
    shown = {what: np.asarray(Image.open(BytesIO(data))) for what, data in pictures.items()}
    grey = seen(unit(images), one.sees)[0, 0].numpy()
    np.testing.assert_array_equal(shown["truth"], images[0].permute(1, 2, 0))
    np.testing.assert_allclose(shown["answer"], 255 * answer.values.transpose(1, 2, 0), atol=0.51)
    np.testing.assert_allclose(shown["image"], 255 * grey, atol=0.51)


def test_every_photo_reproduced_exactly_is_no_number_too_much():
    """Grey answered for grey: the pooled PSNR is infinite, which JSON has no number for; nor have its draws."""
    images, one = photos(11, n=6), task("colorization_rgb")
    rows = one.rows(unit(images), images, planes(images)).numpy()
    assert (rows[:, 0, 0] == 0).all()
    keys = tuple("abcdef")
    found = result_json(Counts(keys, keys, rows), one)
    assert json.loads(json.dumps(found, allow_nan=False))["scores"]["psnr_pooled"] is None
    assert found["scores"]["psnr"] > 70


def test_half_a_screen_is_clipped_and_nothing_is_nan():
    one = task("colorization")
    images = photos(12)
    for size in (1.0, -1.0, 100.0):
        answer = one.colored(torch.full((2, 2, 14, 17), size), unit(images))
        assert torch.isfinite(answer).all()
        assert torch.equal(answer, answer.clamp(0, 1))
    assert torch.isfinite(lab_to_rgb(torch.tensor([0.0, 300, -300]).view(1, 3, 1, 1))).all()
