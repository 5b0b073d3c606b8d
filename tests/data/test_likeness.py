"""Likeness: hashes and distances against scipy and numpy; copies are found, and what has nothing in common never is."""

import base64
import io
import tracemalloc
from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.fft import dctn

from segtrial.data import likeness
from segtrial.data.likeness import (
    COPY,
    COPY_BITS,
    Looks,
    close_hashes,
    copies,
    distance,
    look_at,
    nearest,
    pixel_digest,
    usual_distance,
)
from segtrial.data.perceptual import hash_of, likeness_of
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
        low = np.asarray(dctn(grey.astype(np.float64), type=2))[1:9, 1:9].ravel()
        bits = "".join("1" if value > np.median(low) else "0" for value in low)
        assert f"{int(found):064b}" == bits


def test_a_picture_has_one_hash_in_whatever_company():
    greys = np.random.default_rng(0).uniform(0, 255, (40, 32, 32)).astype(np.float32)
    alone = [int(hash_of(grey[None])[0]) for grey in greys]
    assert alone == hash_of(greys).tolist() == hash_of(greys[::-1])[::-1].tolist()


def test_a_likeness_has_the_means_of_the_greys():
    picture = Image.fromarray(scene(1)).convert("L")
    small = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), np.float64)
    grey = np.frombuffer(base64.b64decode(likeness_of(picture).grey), "<u2") / 256
    np.testing.assert_array_equal(grey.reshape(16, 16), small.reshape(16, 2, 16, 2).mean((1, 3)))


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
    pairs = close_hashes(one, other, most)
    assert sorted(zip(*(side.tolist() for side in pairs), strict=True)) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "AT_ONCE", 30)  # so that there are several blocks
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


def alike(seed: int) -> Looks:
    """24 pictures of three kinds, each bit and grey a little different, in four groups; some hashes are equal."""
    draw = np.random.default_rng(seed)
    count = 24
    kind = draw.integers(0, 3, count)
    bases, greys = draw.integers(0, 2**63, 3, dtype=np.uint64), draw.normal(size=(3, 16, 16))
    mirrored = draw.random(count) < 0.3
    hashes = [bases[kind] ^ (np.uint64(1) << draw.integers(0, 9, count).astype(np.uint64)) for _ in range(2)]
    hashes[1] ^= np.where(mirrored[0] == mirrored, 0, 2**62).astype(np.uint64)
    pixels = np.where(mirrored[:, None, None], greys[kind][:, :, ::-1], greys[kind])
    pixels = (pixels + draw.normal(scale=0.07, size=pixels.shape)).reshape(count, 256)
    pixels = (pixels / np.linalg.norm(pixels, axis=1, keepdims=True)).astype(np.float32)
    items = tuple(Item(str(n), str(group)) for n, group in enumerate(draw.integers(0, 4, count).tolist()))
    return Looks(items, hashes[0], hashes[1], pixels, ("",) * count)


def copies_by_a_loop(looks: Looks) -> list[tuple[int, int, bool]]:
    """As `copies` is described, one pair after another."""
    count, straight, mirror = len(looks.items), looks.hashes.tolist(), looks.mirrored.tolist()
    greys = looks.greys.astype(np.float64).reshape(count, 16, 16)
    first = [straight.index(one) == place for place, one in enumerate(straight)]
    found = {}
    for later in range(count):
        for turned in (True, False):
            for one in range(later):
                bits = [(straight[one], mirror[later])] if first[one] else []
                bits += [(mirror[one], straight[later])] if first[later] else []
                if not turned:
                    both = first[one] and first[later]
                    bits = [(straight[one], straight[later])] if both or straight.index(straight[later]) == one else []
                close = any(bin(a ^ b).count("1") <= COPY_BITS for a, b in bits)
                apart = np.linalg.norm(greys[one] - (greys[later][:, ::-1] if turned else greys[later]))
                if close and looks.items[one].group != looks.items[later].group and apart <= COPY:
                    found[one, later] = turned
                    break
    return [(*pair, turned) for pair, turned in sorted(found.items())]


@settings(deadline=None, max_examples=40)
@given(seed=SEEDS, paired=st.sampled_from([1, 30, 100, 10_000]), rows=st.sampled_from([1, 5, 4096]))
def test_copies_are_those_of_a_plain_loop_in_whatever_blocks(seed, paired, rows):
    looks = alike(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "PAIRED", paired)
        patch.setattr(likeness, "ROWS", rows)
        assert copies(looks) == copies_by_a_loop(looks)


def test_some_of_these_are_copies():
    found = [pair for seed in range(20) for pair in copies_by_a_loop(alike(seed))]
    assert {turned for _, _, turned in found} == {False, True}
    assert len(found) > 20


def test_thousands_of_like_pictures_take_little_memory():
    """All 3000 are copies of each other, with different hashes: 4.5 million pairs."""
    words = islice(combinations(range(64), 3), 3000)  # of 64 bits with 3 set: any two differ in at most 6
    hashes = np.array([sum(1 << bit for bit in word) for word in words], dtype=np.uint64)
    greys = np.tile(np.random.default_rng(0).normal(size=256).astype(np.float32), (3000, 1))
    greys /= np.linalg.norm(greys, axis=1, keepdims=True)
    looks = Looks(tuple(Item(str(n), str(n)) for n in range(3000)), hashes, ~hashes, greys, ("",) * 3000)
    tracemalloc.start()
    found = copies(looks)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [pair[:2] for pair in found] == [(0, later) for later in range(1, 3000)]
    assert peak < 60e6
