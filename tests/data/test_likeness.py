"""Likeness: hashes and distances against scipy and numpy; copies are found, and what has nothing in common never is."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from segtrial.data import likeness
from segtrial.data.likeness import (
    close_hashes,
    copies,
    distance,
    hash_of,
    look_at,
    nearest,
    pixel_digest,
    usual_distance,
)
from segtrial.data.sample import Item, Sample
from tests.data.drawn import scene

SEEDS = st.integers(0, 10_000)


def read(item: Item) -> Sample:
    """A sample of a seed, which the key says."""
    image = scene(int(item.key)).transpose(2, 0, 1)
    return Sample(image, np.zeros(image.shape[1:], np.uint8), item.key, item.group)


def looks_of(tmp_path, pictures):
    for number, picture in enumerate(pictures):
        (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(tmp_path / f"{number:03}.png")
    return look_at([Item(path.stem, path.stem, path) for path in sorted(tmp_path.glob("*.png"))], read)


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


@settings(deadline=None, max_examples=20)
@given(seed=SEEDS)
def test_the_hash_is_the_median_cut_of_scipys_low_cosine_waves(seed):
    greys = np.random.default_rng(seed).uniform(0, 255, (3, 32, 32)).astype(np.float32)
    for grey, found in zip(greys, hash_of(greys), strict=True):
        low = dctn(grey.astype(np.float64), type=2)[1:9, 1:9].ravel()
        bits = "".join("1" if value > np.median(low) else "0" for value in low)
        assert f"{int(found):064b}" == bits


def test_the_distance_is_that_of_the_correlation(tmp_path):
    looks = looks_of(tmp_path, [scene(seed) for seed in range(4)])
    expected = [np.sqrt(2 - 2 * np.corrcoef(looks.greys[0], grey)[0, 1]) for grey in looks.greys[1:]]
    found = distance(looks.greys[[0, 0, 0]], looks.greys[1:])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS, sizes=st.tuples(st.integers(0, 20), st.integers(1, 20)), most=st.integers(0, 40))
def test_searches_find_what_a_plain_loop_finds(seed, sizes, most):
    draw = np.random.default_rng(seed)
    one, other = (draw.integers(0, 2**63, size, dtype=np.uint64) for size in sizes)
    expected = [
        (i, j) for i, a in enumerate(one) for j, b in enumerate(other) if bin(int(a) ^ int(b)).count("1") <= most
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "AT_ONCE", 30)  # so that there are several blocks
        pairs = close_hashes(one, other, most)
        assert sorted(zip(*(side.tolist() for side in pairs), strict=True)) == expected
        greys = [draw.normal(size=(size, 256)).astype(np.float32) for size in sizes]
        few, many = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in greys)
        places, away = nearest(few, many)
    for grey, place, found in zip(few, places, away, strict=True):
        loop = [np.linalg.norm(grey - known) for known in many]
        assert place == int(np.argmin(loop))
        assert found == pytest.approx(min(loop), abs=1e-5)


@settings(deadline=None, max_examples=15)
@given(seed=SEEDS)
def test_a_copy_stays_near(seed, tmp_path_factory):
    """Encoded anew, at half the size, brighter, darker, mirrored: each is a copy of the first and of nothing else."""
    picture, strange = Image.fromarray(scene(seed)), Image.fromarray(scene(seed + 1))
    changed = [
        as_jpeg(picture, 50),
        picture.resize((picture.width // 2, picture.height // 2)),
        ImageEnhance.Brightness(picture).enhance(0.85),
        ImageEnhance.Contrast(picture).enhance(0.85),
    ]
    mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    looks = looks_of(tmp_path_factory.mktemp("copies"), [picture, *changed, mirrored, strange])
    found = {(one, other): turned for one, other, turned in copies(looks)}
    known = {0}
    for one, other in found:
        known |= {other} if one in known else set()
    assert known == {0, 1, 2, 3, 4, 5}
    assert all(turned == (5 in pair) for pair, turned in found.items())
    assert not any(6 in pair for pair in found)


def test_noise_has_no_copies(tmp_path):
    draw = np.random.default_rng(0)
    noise = [draw.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(150)]
    assert copies(looks_of(tmp_path, noise)) == []


def test_many_copies_are_few_pairs(tmp_path):
    pairs = copies(looks_of(tmp_path, [scene(3)] * 30))
    assert [(one, other) for one, other, _ in pairs] == [(0, other) for other in range(1, 30)]


def test_a_flat_picture_is_near_to_nothing(tmp_path):
    looks = looks_of(tmp_path, [np.full((20, 20, 3), grey, np.uint8) for grey in (0, 0, 7)])
    assert copies(looks) == []
    assert usual_distance(looks) == pytest.approx(np.sqrt(2))


def test_a_turned_photograph_looks_like_the_upright_one(tmp_path):
    picture = Image.fromarray(scene(5))
    picture.save(tmp_path / "a.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "b.jpg", exif=exif)
    looks = look_at([Item(name, name, tmp_path / f"{name}.jpg") for name in "ab"], read)
    assert [pair[:2] for pair in copies(looks)] == [(0, 1)]


def test_deep_greys_look_like_shallow_ones(tmp_path):
    grey = scene(6)[:, :, 0]
    looks = looks_of(tmp_path, [grey, Image.fromarray(grey.astype(np.uint16) * 100)])
    assert distance(looks.greys[:1], looks.greys[1:])[0] < 0.01


def test_what_is_no_picture_file_is_looked_at_through_the_reader(tmp_path):
    Image.fromarray(scene(7)).save(tmp_path / "7.png")
    looks = look_at([Item("7", "7"), Item("8", "8"), Item("7", "file", tmp_path / "7.png")], read)
    assert [pair[:2] for pair in copies(looks)] == [(0, 2)]
    assert pixel_digest(Item("7", "7"), read) == pixel_digest(Item("7", "other"), read)
    assert pixel_digest(Item("7", "7"), read) != pixel_digest(Item("8", "8"), read)


def test_damaged_files_are_left_out_and_progress_is_told(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    told = []
    looks = look_at([Item("x", "x", tmp_path / "broken.png"), Item("7", "7")], read, lambda *done: told.append(done))
    assert [item.key for item in looks.items] == ["7"]
    assert told == [(1, 2), (2, 2)]
