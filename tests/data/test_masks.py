"""Masks of every encoding, decoded and compared with the indices they were written from."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segtrial.data.encoding import survey, understand
from segtrial.data.masks import Encoding, read_mask
from segtrial.data.pictures import eight_bits, read_header, read_image
from segtrial.data.tables import Table, swaps_of
from segtrial.errors import MaskError
from segtrial.shapes import IGNORE

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLORS = st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=12, unique=True)


def indices(highest: int) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(
        np.uint8, arrays.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, highest)
    )


@QUICK
@given(mask=indices(5), colors=COLORS.filter(lambda colors: len(colors) >= 6))
def test_colours_come_back_as_the_indices_they_were_painted_from(tmp_path: Path, mask, colors):
    path = tmp_path / "mask.png"
    Image.fromarray(np.array(colors, dtype=np.uint8)[mask]).save(path)
    encoding = Encoding(None, {color: index for index, color in enumerate(colors)})
    np.testing.assert_array_equal(read_mask(path, encoding), mask)


@QUICK
@given(mask=indices(200))
def test_palette_and_grey_masks_give_their_numbers(tmp_path: Path, mask):
    encoding = Encoding({value: value for value in range(201)})
    Image.fromarray(mask).save(tmp_path / "grey.png")
    picture = Image.fromarray(mask)
    picture.putpalette(list(range(255, -1, -1)) * 3)  # a palette that has nothing to do with the numbers
    picture.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        np.testing.assert_array_equal(read_mask(tmp_path / name, encoding), mask)


@QUICK
@given(mask=indices(3), noise=arrays.arrays(np.int16, (9, 9, 3), elements=st.integers(-20, 20)))
def test_a_colour_off_the_table_takes_the_nearest_class(tmp_path: Path, mask, noise):
    corners = np.array([(20, 20, 20), (235, 20, 20), (20, 235, 20), (20, 20, 235)])
    height, width = mask.shape
    painted = corners[mask] + noise[:height, :width]  # at most 35 away; classes are 215 apart
    Image.fromarray(painted.astype(np.uint8)).save(tmp_path / "noisy.png")
    table = {tuple(color): index for index, color in enumerate(corners.tolist())}
    np.testing.assert_array_equal(read_mask(tmp_path / "noisy.png", Encoding(None, table, 36.0)), mask)


def understood(tmp_path: Path, *masks: np.ndarray | Image.Image, table: Table | None = None):
    paths = []
    for number, mask in enumerate(masks):
        paths.append(tmp_path / f"{number}.png")
        (mask if isinstance(mask, Image.Image) else Image.fromarray(mask)).save(paths[-1])
    result = understand(survey(tmp_path, paths), table)
    return result, [read_mask(path, result.encoding) for path in paths]


def test_zero_and_255_are_background_and_foreground(tmp_path):
    mask = np.array([[0, 255], [255, 0]], np.uint8)
    result, [decoded] = understood(tmp_path, mask)
    assert result.classes.names == ("background", "foreground")
    assert "0 and 255" in result.notes[0]
    np.testing.assert_array_equal(decoded, [[0, 1], [1, 0]])


def test_the_encoding_is_found_over_all_masks_not_one_by_one(tmp_path):
    # the first mask alone would be read as background and foreground
    result, decoded = understood(tmp_path, np.array([[0, 255]], np.uint8), np.array([[0, 1, 2]], np.uint8))
    assert len(result.classes) == 3
    np.testing.assert_array_equal(decoded[0], [[0, IGNORE]])


def test_one_bit_masks_are_zero_and_one(tmp_path):
    bits = Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    result, [decoded] = understood(tmp_path, bits)
    assert len(result.classes) == 2
    np.testing.assert_array_equal(decoded, [[0, 1, 1]])


def test_grey_saved_as_rgb_is_read_as_numbers(tmp_path):
    grey = np.array([[0, 1, 2]], np.uint8)
    _, [decoded] = understood(tmp_path, np.stack([grey] * 3, axis=2))
    np.testing.assert_array_equal(decoded, grey)


def test_palette_colours_become_the_colours_of_the_classes(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    result, _ = understood(tmp_path, picture)
    assert result.classes.colors == ((10, 20, 30), (40, 50, 60))


def test_a_palette_in_the_colours_of_the_table_is_read_by_colour(tmp_path):
    table = Table(("sky", "road"), "label_colors.txt", ((40, 50, 60), (10, 20, 30)))  # the other way round
    picture = Image.fromarray(np.array([[0, 1]], np.uint8))
    picture.putpalette([10, 20, 30, 40, 50, 60])
    _, [decoded] = understood(tmp_path, picture, table=table)
    np.testing.assert_array_equal(decoded, [[1, 0]])


def test_declared_ids_may_have_holes_and_several_values_a_class(tmp_path):
    table = Table(("ground", "thing"), "data.yaml", None, ((7, 11), (300,)))
    mask = Image.fromarray(np.array([[7, 11, 300]], np.uint16))
    _, [decoded] = understood(tmp_path, mask, table=table)
    np.testing.assert_array_equal(decoded, [[0, 0, 1]])


def test_left_and_right_are_paired_by_name():
    names = ("skin", "l_eye", "r_eye", "u_lip", "l_lip", "left arm", "right arm", "left")
    assert swaps_of(names) == ((1, 2), (5, 6))


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16)  # 257 * v is exactly v of 255
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    np.testing.assert_array_equal(read_image(tmp_path / "ramp.png", 1)[0].ravel(), np.arange(256))
    np.testing.assert_array_equal(eight_bits(ramp).ravel(), np.arange(256))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    # what a camera stores for an upright picture: https://www.media.mit.edu/pia/Research/deepview/exif.html
    undo = {1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud}
    undo |= {5: np.transpose, 6: np.rot90, 7: lambda p: np.rot90(np.transpose(p), 2), 8: lambda p: np.rot90(p, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(undo[orientation](pixels))).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[0], pixels)
    assert read_header(tmp_path / "a.png").size == (3, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_kind_of_picture_becomes_grey_or_rgb(tmp_path, mode):
    grey = Image.fromarray(np.full((2, 3), 255, np.uint8))
    white = Image.fromarray(np.full((2, 3), 65535, np.uint16)) if mode == "I;16" else grey.convert("RGB").convert(mode)
    path = tmp_path / ("white.tif" if mode in ("CMYK", "YCbCr") else "white.png")
    white.save(path)
    pixels = read_image(path, 3)
    assert pixels.shape == (3, 2, 3)
    assert pixels.min() >= 254


def test_values_that_stand_for_nothing_are_counted(tmp_path):
    Image.fromarray(np.array([[0, 1, 7, 7, 9]], np.uint8)).save(tmp_path / "mask.png")
    with pytest.raises(MaskError, match=r"mask\.png: values that stand for no class: 7 \(2 pixels\), 9 \(1 pixels\)"):
        read_mask(tmp_path / "mask.png", Encoding({0: 0, 1: 1}))
