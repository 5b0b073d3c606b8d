"""Scores of photos against scikit-image, torchmetrics and hand arithmetic; rows that add up in any order."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from segtrial.colors import with_ab
from segtrial.image_scores import COLUMNS, DEFINITIONS, VALUES, colour_rows, colourfulness, image_psnr, parts, ssim


def pair(seed: int, height: int, width: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth photos, some of them flat or bright, and answers that differ by noise, light or both."""
    rng = np.random.default_rng(seed)
    truth = gaussian_filter(rng.random((n, 3, height, width)), (0, 0, *rng.uniform(0.1, 4, 2)))
    truth = truth * rng.random((n, 1, 1, 1)) + rng.random((n, 1, 1, 1)) * 0.5
    answer = truth * rng.uniform(0.8, 1.2) + rng.choice([0, 0.01, 0.1]) * rng.standard_normal(truth.shape)
    return torch.from_numpy(answer.clip(0, 1)), torch.from_numpy(truth.clip(0, 1))


def reference_ssim(answer: torch.Tensor, truth: torch.Tensor) -> float:
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}
    return structural_similarity(answer.numpy(), truth.numpy(), **options)


def scores(answer: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    sums = parts(colour_rows(answer, truth).numpy()).sum(0)
    return {name: float(value(sums)) for name, value in VALUES.items()}


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(11, 90), width=st.integers(11, 150))
def test_ssim_and_psnr_are_those_of_scikit_image(seed, height, width):
    answer, truth = pair(seed, height, width)
    expected = [reference_ssim(*images) for images in zip(answer, truth, strict=True)]
    np.testing.assert_allclose(ssim(answer, truth), expected, atol=1e-9)
    found = scores(answer, truth)
    assert found["ssim"] == pytest.approx(np.mean(expected), abs=1e-9)
    decibels = [peak_signal_noise_ratio(t.numpy(), a.numpy(), data_range=1) for a, t in zip(answer, truth, strict=True)]
    np.testing.assert_allclose(image_psnr(colour_rows(answer, truth).numpy()), decibels, atol=1e-9)
    assert found["psnr"] == pytest.approx(np.mean(decibels), abs=1e-9)
    pooled = peak_signal_noise_ratio(truth.numpy(), answer.numpy(), data_range=1)
    assert found["psnr_pooled"] == pytest.approx(pooled, abs=1e-9)


@pytest.mark.parametrize("size", [(11, 11), (74, 75), (138, 139), (139, 202)])  # 1, 64, 65, 128, 129, 192 places
def test_ssim_at_the_edges_of_strips(size):
    answer, truth = pair(1, *size, n=1)
    assert ssim(answer, truth).item() == pytest.approx(reference_ssim(answer[0], truth[0]), abs=1e-12)


def test_ssim_is_torchmetrics_away_from_the_border():
    answer, truth = pair(2, 40, 50, n=1)
    _, places = structural_similarity_index_measure(answer, truth, data_range=1.0, return_full_image=True)
    assert ssim(answer, truth).item() == pytest.approx(places[..., 5:-5, 5:-5].mean().item(), abs=1e-9)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_ssim_of_flat_photos_is_the_term_of_light(level):
    truth = torch.full((1, 3, 20, 20), level)
    assert ssim(truth, truth).item() == pytest.approx(1)
    assert ssim(1 - truth, truth).item() == pytest.approx(
        (2 * level * (1 - level) + 1e-4) / (level**2 + (1 - level) ** 2 + 1e-4)
    )


def test_what_is_smaller_than_the_window_has_no_ssim():
    small, large = pair(3, 10, 30), pair(4, 11, 30)
    assert ssim(*small).isnan().all()
    assert np.isnan(scores(*small)["ssim"])
    rows = np.concatenate([colour_rows(*images).numpy() for images in (small, large)])
    assert VALUES["ssim"](parts(rows).sum(0)) == pytest.approx(scores(*large)["ssim"])


def test_three_photos_by_hand():
    truth = torch.full((3, 3, 2, 2), 0.5)
    answer = truth.clone()
    answer[1] += 0.1  # mean squared error .01: 20 dB
    answer[2, 0] += 0.2  # .04 in one of three channels: 18.75 dB
    rows = colour_rows(answer, truth).numpy()
    np.testing.assert_allclose(rows[:, :2], [[0, 12], [0.12, 12], [0.16, 12]], atol=1e-7)
    decibels = image_psnr(rows)
    np.testing.assert_allclose(decibels, [np.inf, 20, 10 * np.log10(75)], atol=1e-5)
    found = scores(answer, truth)
    exact = 10 * np.log10(12 * 255**2)  # of 12 values one is off by one level
    assert found["psnr"] == pytest.approx((exact + 20 + 10 * np.log10(75)) / 3, abs=1e-5)
    assert found["psnr_pooled"] == pytest.approx(10 * np.log10(36 / 0.28), abs=1e-5)
    assert found["colourfulness_of_truth"] == 0


def test_identical_photos():
    truth = pair(5, 16, 16)[1]
    found = scores(truth, truth)
    assert found["ssim"] == pytest.approx(1)
    assert found["ab_rmse"] == 0
    assert found["psnr_pooled"] == np.inf
    assert found["psnr"] == pytest.approx(10 * np.log10(3 * 16 * 16 * 255**2))
    assert found["colourfulness"] == found["colourfulness_of_truth"]


def test_one_level_off_is_never_better_than_identical():
    truth = torch.full((1, 3, 12, 12), 0.5, dtype=torch.float64)
    off = truth.clone()
    off[0, 0, 0, 0] += 1 / 255
    assert scores(off, truth)["psnr"] == pytest.approx(scores(truth, truth)["psnr"], abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_ab_rmse_is_the_distance_in_scikit_images_lab(seed):
    answer, truth = pair(seed, 9, 13)
    lab = [rgb2lab(x.movedim(1, -1).numpy())[..., 1:] for x in (answer, truth)]
    expected = np.sqrt(((lab[0] - lab[1]) ** 2).sum(-1).mean())
    assert scores(answer, truth)["ab_rmse"] == pytest.approx(expected, abs=1e-3)


def test_grey_is_off_by_the_chroma_and_mean_colour_is_the_best_single_colour():
    truth = pair(6, 14, 15)[1].clamp(0.3, 0.6)
    ab = rgb2lab(truth.movedim(1, -1).numpy())[..., 1:].reshape(-1, 2)
    grey, mean = (scores(with_ab(truth, c), truth)["ab_rmse"] for c in ((0.0, 0.0), tuple(ab.mean(0).tolist())))
    assert grey == pytest.approx(np.sqrt((ab**2).sum(1).mean()), abs=1e-2)
    assert mean == pytest.approx(np.sqrt(ab.var(0).sum()), abs=1e-2)


def test_colourfulness_by_hand():
    # left red (255, 0, 0), right blue (0, 0, 255): rg = 255, 0; yb = 127.5, -255
    photo = torch.zeros(1, 3, 2, 2)
    photo[0, 0, :, 0] = photo[0, 2, :, 1] = 1
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, -63.75)
    assert colourfulness(photo).item() == pytest.approx(expected)
    assert colourfulness(torch.full((1, 3, 4, 4), 0.7)).item() == 0


def test_a_row_does_not_depend_on_its_batch_and_its_numbers_are_named():
    answer, truth = pair(7, 30, 80, n=4)
    rows = colour_rows(answer, truth)
    alone = torch.cat([colour_rows(answer[i : i + 1], truth[i : i + 1]) for i in range(4)])
    assert torch.equal(rows, alone)
    assert rows.shape == (4, len(COLUMNS))
    assert rows[0, [1, 3, 5, 8]].tolist() == [3 * 30 * 80, 3 * 20 * 70, 30 * 80, 1]
    assert list(VALUES) == list(DEFINITIONS)


def test_scores_take_sums_of_many_draws_at_once():
    rows = parts(colour_rows(*pair(8, 12, 12, n=3)).numpy())
    draws = np.stack([rows[:2].sum(0), rows.sum(0), 0 * rows[0]])
    for value in VALUES.values():
        np.testing.assert_allclose(value(draws), [*(value(draw) for draw in draws[:2]), np.nan])


def test_float32_input_is_computed_in_float64():
    answer, truth = (x.float() for x in pair(9, 20, 20))
    torch.testing.assert_close(colour_rows(answer, truth), colour_rows(answer.double(), truth.double()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssim(answer, truth), ssim(answer.double(), truth.double()))
