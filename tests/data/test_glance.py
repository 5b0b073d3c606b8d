"""What is seen of a file, against numpy and Pillow asked one thing after another; and what processes make of it."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segtrial.data import glance as room
from segtrial.data.glance import GLANCES, MASK_GLANCES, MOST_NUMBERS, Glance, glance, mask_glance, tally
from segtrial.data.masks import unpack
from segtrial.data.memory import Kind, Seen
from segtrial.errors import ImageError, MaskError
from tests.data.drawn import labels, photo

SIZE = (9, 14)
COLORS = np.array([(255, 0, 0), (0, 0, 255), (7, 8, 9)], np.uint8)


def palette(indices: np.ndarray, colors: np.ndarray = COLORS) -> bytes:
    """A PNG of numbers and their colours; Pillow would not write numbers that have no colour."""
    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)), (b"PLTE", colors.tobytes())]
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    packed = [struct.pack(">I", len(data)) + kind + data for kind, data in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(one + struct.pack(">I", zlib.crc32(one[4:])) for one in packed)


MASKS = {  # the picture or its file, its numbers as they are meant, and whether these are colours
    "grey": (Image.fromarray(labels([0, 3, 255], SIZE)), labels([0, 3, 255], SIZE), False),
    "grey RGB": (Image.fromarray(np.repeat(labels([4, 9], SIZE)[:, :, None], 3, 2)), labels([4, 9], SIZE), False),
    "palette": (palette(labels([0, 2, 1, 1], SIZE)), labels([0, 2, 1, 1], SIZE), False),
    "a colour twice": (palette(labels([0, 1, 2, 3], SIZE), COLORS[[0, 1, 2, 1]]), labels([0, 1, 2, 3], SIZE), False),
    "off the palette": (palette(labels([0, 200], SIZE)), labels([0, 200], SIZE), False),
    "one bit": (Image.fromarray(labels([0, 255], SIZE)).convert("1"), labels([0, 1], SIZE), False),
    "deep": (Image.fromarray(labels([0, 9], SIZE).astype(np.uint16) * 100), labels([0, 9], SIZE) * 100.0, False),
    "colours": (
        Image.fromarray(COLORS[labels([0, 1, 2, 2], SIZE)]),
        np.array([0xFF0000, 0x0000FF, 0x070809])[labels([0, 1, 2, 2], SIZE)],
        True,
    ),
}


def saved(picture: Image.Image | bytes, folder: Path) -> Path:
    if isinstance(picture, bytes):
        (folder / "mask.png").write_bytes(picture)
    else:
        picture.save(folder / "mask.png")
    return folder / "mask.png"


@pytest.mark.parametrize("name", MASKS)
def test_a_mask_is_its_numbers_and_their_pixels(tmp_path, name):
    picture, meant, colored = MASKS[name]
    seen = mask_glance(saved(picture, tmp_path))
    numbers, counts = np.unique(meant, return_counts=True)
    assert (seen.colored, seen.distinct, seen.size, seen.fault) == (colored, len(numbers), SIZE, None)
    assert (seen.numbers, seen.counts) == (tuple(numbers), tuple(counts))
    colors, shown = seen.colors(), np.asarray(Image.open(tmp_path / "mask.png").convert("RGB"))
    assert (colors is None) == (name in ("deep", "off the palette"))
    for value, color in zip(seen.numbers, colors or (), strict=colors is not None):
        assert {tuple(pixel) for pixel in shown[meant == value].tolist()} == {unpack(color)}
    palettes = {"palette": (0xFF0000, 0x0000FF, 0x070809), "off the palette": (0xFF0000, -1)}
    palettes["a colour twice"] = (0xFF0000, 0x0000FF, 0x070809, 0x0000FF)
    assert seen.shown == palettes.get(name, ())


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 999), most=st.sampled_from([2, 300, 2**24]), shape=st.tuples(*[st.integers(1, 9)] * 2))
def test_numbers_are_counted_as_numpy_counts_them(seed, most, shape):
    pixels = np.random.default_rng(seed).integers(0, most, shape).astype(np.uint8 if most == 2 else np.int64)
    for found, expected in zip(tally(pixels), np.unique(pixels, return_counts=True), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_of_a_full_mask_only_the_count_is_kept(tmp_path):
    for count in (MOST_NUMBERS, MOST_NUMBERS + 1):
        Image.fromarray(np.resize(np.arange(count, dtype=np.uint16), (20, 20))).save(tmp_path / "mask.png")
        seen = mask_glance(tmp_path / "mask.png")
        assert (seen.distinct, len(seen.numbers)) == (count, MOST_NUMBERS if count == MOST_NUMBERS else 0)


def test_an_image_is_its_header_and_more(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(1, SIZE)).save(tmp_path / "turned.jpg", exif=exif, subsampling=2)
    Image.fromarray(np.full((*SIZE, 3), 7, np.uint8)).save(tmp_path / "flat.png")
    turned, flat = glance(tmp_path / "turned.jpg"), glance(tmp_path / "flat.png")
    assert turned[:4] == ("JPEG", "RGB", SIZE[::-1], True)
    assert (turned.halved, turned.constant, turned.alpha) == (True, False, False)
    assert (flat[:4], flat.constant) == (("PNG", "RGB", SIZE, False), True)


def test_what_is_wrong_with_the_pixels_is_a_fault_and_with_the_header_an_error(tmp_path):
    Image.fromarray(np.dstack([photo(1, SIZE), labels([255, 9], SIZE)])).save(tmp_path / "see-through.png")
    (tmp_path / "text.png").write_text("{}")
    Image.fromarray(photo(1, (60, 60))).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-500])
    for look, kind in ((glance, ImageError), (mask_glance, MaskError)):
        fault = look(tmp_path / "see-through.png").fault
        assert fault is not None
        assert "alpha down to 9" in fault[0]
        cut = look(tmp_path / "cut.jpg")
        assert cut.fault is not None
        assert "truncated or damaged" in cut.fault[0]
        with pytest.raises(kind, match=r"text\.png: not a picture but text"):
            look(tmp_path / "text.png")
    assert glance(tmp_path / "see-through.png").likeness is not None
    assert glance(tmp_path / "cut.jpg").likeness is None


def turned(kind: Kind[Path, Seen]) -> Callable[[Path], tuple[Seen, Seen]]:
    """What is seen of a file, and that after a turn through JSON."""

    def look(path: Path) -> tuple[Seen, Seen]:
        found = kind.look(path)
        return found, kind.load(json.loads(json.dumps(kind.dump(found))))

    return look


def test_what_was_seen_survives_json(tmp_path):
    Image.fromarray(photo(1, SIZE)).save(tmp_path / "image.png")
    Image.fromarray(np.dstack([photo(1, SIZE), labels([255, 9], SIZE)])).save(tmp_path / "faulty.png")
    saved(MASKS["palette"][0], tmp_path)
    images, masks = [[tmp_path / f"{name}.png" for name in (kind, "faulty")] for kind in ("image", "mask")]
    for found, again in (*map(turned(GLANCES), images), *map(turned(MASK_GLANCES), masks)):
        assert (type(again), again) == (type(found), found)
        assert hash(again) == hash(found)  # tuples all the way down


def test_a_file_is_opened_once_and_decoded_once(tmp_path, monkeypatch):
    Image.fromarray(photo(1, SIZE)).save(tmp_path / "image.png")
    opened: list[str] = []
    real = room.opened
    monkeypatch.setattr(room, "opened", lambda path: opened.append(path.name) or real(path))
    assert isinstance(glance(tmp_path / "image.png"), Glance)
    assert opened == ["image.png"]
