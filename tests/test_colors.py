"""Colours against scikit-image, PIL and hand arithmetic; what goes to Lab and back is what it was."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from skimage import color

from segtrial import colors
from segtrial.colors import (
    BIN_STEP,
    ab_bins,
    ab_sums,
    coloured_share,
    decode_ab,
    is_grey,
    lab_to_rgb,
    lightness,
    luma,
    nearest_bin,
    rgb_to_lab,
    with_ab,
)


def photos(seed: int, shape: tuple[int, int] = (7, 9), n: int = 2, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Random colours, dark ones (down to black) as likely as bright ones."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((n, 3, *shape)) * rng.random((n, 1, *shape)) ** 3).to(dtype)


def last(x: torch.Tensor) -> np.ndarray:
    return x.movedim(1, -1).numpy()


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1))
def test_lab_is_that_of_scikit_image_there_and_back(seed):
    rgb = photos(seed)
    lab = rgb_to_lab(rgb)
    np.testing.assert_allclose(last(lab), color.rgb2lab(last(rgb)), atol=2e-4)  # it rounds CIE's junction
    np.testing.assert_allclose(last(lab_to_rgb(lab)), color.lab2rgb(last(lab)), atol=1e-5)
    stretched = lab * torch.tensor([1, 1.3, 1.3], dtype=torch.float64)[:, None, None]
    there = (stretched[:, 0] + 16) / 116 - stretched[:, 2] / 200 >= 0  # else it clips Z as well
    ours, theirs = last(lab_to_rgb(stretched)), color.lab2rgb(last(stretched.where(there[:, None], 0)))
    np.testing.assert_allclose(ours[there.numpy()], theirs[there.numpy()], atol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-7), (torch.float32, 2e-5)], ids=str)
@pytest.mark.parametrize("seed", range(5))
def test_there_and_back_is_where_it_was(dtype, atol, seed):
    rgb = photos(seed, dtype=dtype)
    back = lab_to_rgb(rgb_to_lab(rgb))
    assert back.dtype == dtype
    torch.testing.assert_close(back, rgb, atol=atol, rtol=0)


def test_8_bit_colours_come_back_exactly_in_float32():
    steps = torch.arange(0, 256, 5, dtype=torch.uint8)
    rgb = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).flatten(2)[None]
    back = lab_to_rgb(rgb_to_lab(rgb.float() / 255))
    assert torch.equal((back * 255).round().to(torch.uint8), rgb)


def test_known_colours():
    black, white, red, middle = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.5, 0.5)
    rgb = torch.tensor([black, white, red, middle], dtype=torch.float64).T[None, :, :, None]
    lab = rgb_to_lab(rgb)[0, :, :, 0].T
    grey = 116 * ((0.5 + 0.055) / 1.055) ** 0.8 - 16  # the cube root of the power of 2.4
    torch.testing.assert_close(lab[:, 0], lab.new_tensor([0, 100, 53.2408, grey]), atol=1e-3, rtol=0)
    torch.testing.assert_close(lab[2, 1:], lab.new_tensor([80.0925, 67.2032]), atol=1e-3, rtol=0)
    assert lab[[0, 1, 3], 1:].abs().max() < 0.005


def test_both_ways_have_the_right_gradient():
    rgb = photos(0, (2, 2), n=1).clamp(0.01, 0.99).requires_grad_()
    assert torch.autograd.gradcheck(rgb_to_lab, (rgb,))
    assert torch.autograd.gradcheck(lab_to_rgb, (rgb_to_lab(rgb).detach().requires_grad_(),))


@pytest.mark.parametrize("value", [0, 1])
def test_the_gradient_is_finite_at_black_and_white(value):
    rgb = torch.full((1, 3, 1, 1), float(value), requires_grad=True)
    lab_to_rgb(rgb_to_lab(rgb)).sum().backward()
    assert torch.isfinite(rgb.grad).all()  # type: ignore[arg-type]


def test_what_no_screen_shows_is_clipped():
    lab = torch.tensor([[100.0, 90, 90], [0, -90, 90], [50, 0, -200]]).T[None, :, :, None]
    rgb = lab_to_rgb(lab)
    assert rgb.min() == 0
    assert 1 - 1e-6 < rgb.max() <= 1


def test_half_precision_and_autocast_cost_nothing():
    rgb = photos(1, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        lab, ab = rgb_to_lab(rgb), decode_ab(torch.zeros(1, 261, 1, 1, dtype=torch.bfloat16))
    torch.testing.assert_close(lab, rgb_to_lab(rgb.float()))
    torch.testing.assert_close(ab[0, :, 0, 0], ab_bins().mean(0).float(), atol=1e-4, rtol=0)


def test_luma_is_pils_grey():
    rgb = (photos(2, (40, 50), n=1) * 255).round().to(torch.uint8)
    pil = np.asarray(Image.fromarray(last(rgb)[0]).convert("L"))
    assert np.abs(255 * luma(rgb / 255)[0, 0].numpy() - pil).max() < 0.501


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_lightness_is_l_of_lab(seed):
    rgb = photos(seed)
    torch.testing.assert_close(lightness(rgb), rgb_to_lab(rgb)[:, :1], rtol=0, atol=0)
    np.testing.assert_allclose(lightness(rgb)[:, 0].numpy(), color.rgb2lab(last(rgb))[..., 0], atol=2e-4)
    assert lightness(torch.ones(1, 3, 1, 1)).item() == pytest.approx(100, abs=1e-4)


def compressed(image: Image.Image, quality: int) -> torch.Tensor:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=quality)
    return torch.from_numpy(np.asarray(Image.open(file).convert("RGB")).copy()).movedim(-1, 0)[None]


def test_grey_photos_are_known_after_compression_and_a_spot_of_colour_is_seen():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    grey = compressed(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)).convert("RGB"), 40)
    spot, dot = grey.clone(), grey.clone()
    spot[..., :7, :7] = torch.tensor([200, 30, 30], dtype=torch.uint8)[:, None, None]  # 49 of 4096: 1.2 %
    dot[..., :6, :6] = torch.tensor([200, 30, 30], dtype=torch.uint8)[:, None, None]  # 36: .9 %
    assert is_grey(torch.cat([grey, spot, dot])) == [True, False, True]
    assert coloured_share(spot).tolist() == [49 / 4096]


def test_the_baselines_keep_the_light_and_have_one_colour():
    rgb = photos(3).clamp(0.3, 0.6)
    lab = rgb_to_lab(rgb)
    for ab in ((0, 0), (4.5, -3)):
        flat = rgb_to_lab(with_ab(rgb, ab))
        torch.testing.assert_close(flat[:, 0], lab[:, 0], atol=1e-3, rtol=0)
        expected = lab.new_tensor(ab).view(1, 2, 1, 1).expand(2, 2, 7, 9)
        torch.testing.assert_close(flat[:, 1:], expected, atol=1e-3, rtol=0)


def test_sums_of_ab_add_up_to_the_mean_colour():
    rgb = photos(4, n=3)
    sums = ab_sums(rgb.float()).sum(0)
    mean = color.rgb2lab(last(rgb))[..., 1:].reshape(-1, 2).mean(0)
    np.testing.assert_allclose((sums[:2] / sums[2]).numpy(), mean, atol=1e-4)


def test_the_bins_are_those_that_a_colour_of_a_coarse_cube_falls_into():
    steps = np.arange(0, 256, 3) / 255
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(1, -1, 3)
    found = {tuple(pair) for pair in (BIN_STEP * np.round(color.rgb2lab(cube)[0, :, 1:] / BIN_STEP)).astype(int)}
    ours = {tuple(pair) for pair in ab_bins().int().tolist()}
    assert found <= ours
    assert len(found) >= 255  # the coarse cube misses the tips of a few
    assert len(ours) == len(ab_bins()) == 261
    assert ab_bins().tolist() == sorted(ab_bins().tolist())


def test_the_bins_have_memory_also_where_networks_are_made_without():
    """The first thing that a process does may be to load a model that tells them apart."""
    for table in (ab_bins, colors._occupied, colors._nearest_of_cell):
        table.cache_clear()
    with torch.device("meta"):
        assert ab_bins().device.type == colors._nearest_of_cell().device.type == "cpu"


@pytest.mark.slow
def test_the_bins_are_those_of_all_16_million_colours():
    found, steps = set(), np.arange(256) / 255
    for red in steps:
        plane = np.stack([np.full((256, 256), red), *np.meshgrid(steps, steps, indexing="ij")], -1)
        cells = np.round(color.rgb2lab(plane)[..., 1:].reshape(-1, 2) / BIN_STEP).astype(int) + 50
        found |= set(np.unique(cells[:, 0] * 100 + cells[:, 1]).tolist())
    ours = (ab_bins() / BIN_STEP).long() + 50
    assert found == set((ours[:, 0] * 100 + ours[:, 1]).tolist())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_colour_falls_into_its_nearest_bin(seed):
    ab = rgb_to_lab(photos(seed, (20, 20)))[:, 1:]
    distance = torch.cdist(ab.flatten(2).mT, ab_bins()[None].expand(2, -1, -1)).view(2, 20, 20, -1)
    chosen = distance.gather(-1, nearest_bin(ab)[..., None])[..., 0]
    torch.testing.assert_close(chosen, distance.amin(-1), atol=1e-9, rtol=0)


def test_far_out_of_gamut_the_bin_is_one_at_the_edge():
    ab = torch.tensor([[-500.0, 0], [500, 500], [0, 500]]).T[None, :, :, None]
    distance = torch.cdist(ab[0, :, :, 0].T.clamp(-120, 120), ab_bins().float())
    assert nearest_bin(ab)[0, :, 0].tolist() == distance.argmin(1).tolist()


def test_every_bin_is_its_own_nearest_and_is_decoded_from_a_certain_answer():
    bins = ab_bins()
    index = nearest_bin(bins.T[None, :, :, None])
    assert index.flatten().tolist() == list(range(len(bins)))
    logits = 1e4 * torch.eye(len(bins))[None, :, :, None]
    torch.testing.assert_close(decode_ab(logits)[0, :, :, 0].T, bins.float())


def test_the_annealed_mean_by_hand():
    logits = torch.full((1, 261, 1, 1), -1e4, dtype=torch.float64)
    logits[0, 3], logits[0, 200] = np.log(0.2), np.log(0.8)
    sharp = 0.2 ** (1 / 0.38), 0.8 ** (1 / 0.38)
    for weights, ab in ((sharp, decode_ab(logits)), ((0.2, 0.8), decode_ab(logits, 1))):
        expected = (weights[0] * ab_bins()[3] + weights[1] * ab_bins()[200]) / sum(weights)
        torch.testing.assert_close(ab.flatten(), expected)
