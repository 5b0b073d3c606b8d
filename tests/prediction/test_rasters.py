"""Pixels by rows against pixels at once: arrays against numpy, large TIFFs against Pillow, which training uses."""

import re
import struct
import sys
import zlib
from contextlib import suppress

import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrial.data.pictures import read_image
from segtrial.errors import ImageError
from segtrial.prediction.rasters import look_at, pixel_limit, rows_of
from tests.prediction.known import noise


def pixels(path, channels: int = 3, step: int = 7) -> np.ndarray:
    """All rows, `step` at a time."""
    look = look_at(path)
    with rows_of(look, channels) as raster:
        height = raster.size[0]
        return np.concatenate([raster.read(row, min(row + step, height)) for row in range(0, height, step)], 1)


# ---- arrays

IMAGE = noise(20, 31)  # c h w
ARRAYS = {
    "h w c": (IMAGE.transpose(1, 2, 0), IMAGE),
    "c h w": (IMAGE, IMAGE),
    "h w": (IMAGE[0], IMAGE[:1].repeat(3, 0)),
    "h w 1": (IMAGE[0, :, :, None], IMAGE[:1].repeat(3, 0)),
    "16 bits": (IMAGE.astype(np.uint16) * 257, IMAGE),
    "floats": ((IMAGE / 255).astype(np.float32).transpose(1, 2, 0), (IMAGE / 255).astype(np.float32)),
    "doubles": (IMAGE / 255, (IMAGE / 255).astype(np.float32)),
}


@pytest.mark.parametrize(("array", "expected"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_are_read_by_rows(array, expected, tmp_path):
    np.save(tmp_path / "a.npy", np.ascontiguousarray(array))
    assert look_at(tmp_path / "a.npy").size == (20, 31)
    found = pixels(tmp_path / "a.npy")
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_arrays_of_any_number_of_channels_are_read(tmp_path):
    np.save(tmp_path / "a.npy", noise(9, 8, 6))
    np.testing.assert_array_equal(pixels(tmp_path / "a.npy", 6), noise(9, 8, 6))


WRONG_ARRAYS = {
    "objects": (np.array([[{}]], object), r"numbers of type object\. Save uint8"),
    "integers": (np.zeros((4, 5), np.int64), "numbers of type int64"),
    "columns first": (np.asfortranarray(IMAGE), r"Fortran order.*ascontiguousarray"),
    "four axes": (np.zeros((1, 2, 4, 5), np.uint8), r"shape \(1, 2, 4, 5\)\. Save one image"),
    "nothing": (np.zeros((0, 5), np.uint8), r"0 bytes for \(0, 5\)"),
    "above 1": (np.full((4, 5), 2, np.float32), r"numbers from 2 to 2, and floats must lie in \[0, 1\]"),
    "not numbers": (np.full((4, 5), np.nan, np.float32), "numbers from nan to nan"),
    "channels": (np.zeros((4, 5, 2), np.uint8), r"it has 2 channels, not 3\. Convert it"),
}


@pytest.mark.parametrize(("array", "message"), WRONG_ARRAYS.values(), ids=WRONG_ARRAYS.keys())
def test_arrays_that_are_no_images_are_refused(array, message, tmp_path):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ImageError, match=rf"a\.npy: .*{message}"):
        pixels(tmp_path / "a.npy")


@pytest.mark.parametrize("data", [b"", b"no array", b"\x93NUMPY\x01\x00\xff\xff{", b"\x93NUMPY\x09\x00"], ids=str)
def test_damaged_arrays_are_refused(data, tmp_path):
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.npy: damaged, or no \.npy file"):
        look_at(tmp_path / "a.npy")


def test_a_cut_off_array_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", IMAGE)
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    with pytest.raises(ImageError, match=rf"{IMAGE.size - 1} bytes for \(3, 20, 31\) of uint8"):
        look_at(tmp_path / "a.npy")


# ---- large TIFFs

TIFFS = {
    "tiles": {"tile": (16, 16)},
    "strips": {"rowsperstrip": 3},
    "deflate": {"tile": (16, 32), "compression": "zlib"},
    "planes": {"tile": (16, 16), "planarconfig": "separate"},
    "big": {"tile": (16, 16), "bigtiff": True},
}


def put_tiff(path, image: np.ndarray, **options: object) -> None:
    """`image` is c h w, or h w."""
    planes = options.get("planarconfig") == "separate"
    pixels = image if image.ndim == 2 or planes else image.transpose(1, 2, 0)
    big = bool(options.pop("bigtiff", False))
    photometric = options.pop("photometric", "rgb" if image.ndim == 3 else "minisblack")
    tifffile.imwrite(path, np.ascontiguousarray(pixels), bigtiff=big, photometric=photometric, **options)


def large(path, channels: int = 3, most: int = 700) -> np.ndarray:
    with pixel_limit(most):
        assert look_at(path).large
        return pixels(path, channels)


@pytest.mark.parametrize("options", TIFFS.values(), ids=TIFFS.keys())
@pytest.mark.parametrize("kind", ["colour", "grey", "16 bits", "opaque"])
def test_a_large_tiff_has_the_pixels_that_training_reads(kind, options, tmp_path):
    path, image = tmp_path / "a.tif", noise(40, 37)
    if kind == "opaque":
        image = np.concatenate([image, np.full((1, 40, 37), 255, np.uint8)])
        options = {**options, "extrasamples": ["unassalpha"]}
    elif kind != "colour":
        options = {name: value for name, value in options.items() if name != "planarconfig"}
        image = image[0] if kind == "grey" else image[0].astype(np.uint16) * 200
    put_tiff(path, image, **options)
    found = large(path, most=1479)
    if (options.get("planarconfig"), kind) != ("separate", "opaque"):  # Pillow cannot read these
        np.testing.assert_array_equal(found, read_image(path, 3))
    else:
        np.testing.assert_array_equal(found, image[:3])


def test_grey_stays_grey_for_a_grey_network(tmp_path):
    put_tiff(tmp_path / "a.tif", noise(40, 37)[0], tile=(16, 16))
    np.testing.assert_array_equal(large(tmp_path / "a.tif", 1), noise(40, 37)[:1])


WRONG_TIFFS = {
    "transparent": (noise(40, 37, 4), {"extrasamples": ["unassalpha"]}, "transparent pixels"),
    "white is zero": (noise(40, 37)[0], {"photometric": "miniswhite"}, "Save it as 8-bit grey or RGB"),
    "16-bit colour": (
        noise(40, 37).astype(np.uint16),
        {},
        "its pixels are of kind|cannot identify|not a picture|8-bit",
    ),
    "floats": (noise(40, 37)[0].astype(np.float32), {}, "float32"),
    "turned": (noise(40, 37), {"extratags": [(274, 3, 1, 6, True)]}, "stored turned"),
    "colour for grey": (noise(40, 37), {"channels": 1}, r"3 channels, not 1"),
    "one piece too large": (noise(40, 37), {"tile": None, "rowsperstrip": 40}, r"pieces of 40x37\. Save it in tiles"),
}


@pytest.mark.parametrize(("image", "options", "message"), WRONG_TIFFS.values(), ids=WRONG_TIFFS.keys())
def test_large_tiffs_that_would_be_read_otherwise_are_refused(image, options, message, tmp_path):
    options = {"tile": (16, 16), **options}
    channels = options.pop("channels", 3)
    put_tiff(tmp_path / "a.tif", image, **options)
    with pytest.raises(ImageError, match=message):
        large(tmp_path / "a.tif", channels)


def test_a_large_tiff_cut_short_is_refused(tmp_path):
    put_tiff(tmp_path / "a.tif", noise(40, 37), tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last = file.pages[0].dataoffsets[-1]
    data = bytearray((tmp_path / "a.tif").read_bytes())
    (tmp_path / "a.tif").write_bytes(data[: last + 50])
    with pytest.raises(ImageError, match=r"a\.tif: truncated or damaged .*Copy the file again"):
        large(tmp_path / "a.tif")


def test_what_is_missing_for_a_large_tiff_is_named(tmp_path, monkeypatch):
    put_tiff(tmp_path / "a.tif", noise(40, 37), tile=(16, 16))
    monkeypatch.setitem(sys.modules, "tifffile", None)
    with pytest.raises(
        ImageError, match=r"tifffile.* is not installed\. Install the extra: pip install 'segtrial\[ima"
    ):
        large(tmp_path / "a.tif")


def test_a_compression_that_needs_more_names_the_extra(tmp_path, monkeypatch):
    Image.fromarray(noise(40, 37).transpose(1, 2, 0)).save(
        tmp_path / "a.tif", compression="tiff_lzw", tiffinfo={278: 8}
    )
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ImageError, match=r"a\.tif: .*imagecodecs.*Install the extra: pip install 'segtrial\[images\]'"):
        large(tmp_path / "a.tif", most=1479)


# ---- the limit


def test_other_pictures_beyond_the_limit_are_named_with_the_word_that_lifts_it(tmp_path):
    Image.fromarray(noise(40, 37).transpose(1, 2, 0)).save(tmp_path / "a.png")
    with (
        pixel_limit(1479),
        pytest.raises(ImageError, match=r"40x37 pixels; the limit is 1479 pixels\)\. .*--max-pixels 1480"),
    ):
        look_at(tmp_path / "a.png")
    with pixel_limit(1480):
        np.testing.assert_array_equal(pixels(tmp_path / "a.png"), noise(40, 37))


def test_the_limit_is_lifted_here_alone(tmp_path):
    before = Image.MAX_IMAGE_PIXELS
    with suppress(ZeroDivisionError), pixel_limit(5):
        assert Image.MAX_IMAGE_PIXELS == 5
        raise ZeroDivisionError
    assert before == Image.MAX_IMAGE_PIXELS
    with pixel_limit(None):
        assert before == Image.MAX_IMAGE_PIXELS


def test_a_bomb_is_not_decoded(tmp_path):
    """60000 x 60000 pixels of a file of a kilobyte."""
    Image.new("1", (10, 10)).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    head = b"IHDR" + struct.pack(">II", 60000, 60000) + data[24:29]
    (tmp_path / "a.png").write_bytes(data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:])
    with pytest.raises(ImageError, match=re.escape("60000x60000 pixels")):
        look_at(tmp_path / "a.png")
