"""PNG and GeoTIFF written row by row against what Pillow and tifffile read of them."""

import io

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segtrial.classes import Classes
from segtrial.drawing import note_of
from segtrial.prediction.geotiff import ROWS, Georeference, TiffRows, georeference
from segtrial.prediction.png import COLOURS, GREY, INDEXED, PngRows
from tests.prediction.known import noise

PALETTE = bytes(Classes.numbered(5).palette())
KINDS = {"grey": (GREY, b"", "L"), "colours": (COLOURS, b"", "RGB"), "indexed": (INDEXED, PALETTE, "P")}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(sorted(KINDS)), st.data())
def test_a_png_in_strips_is_the_picture(height, width, name, data):
    kind, palette, mode = KINDS[name]
    image = noise(height, width).transpose(1, 2, 0) if kind == COLOURS else noise(height, width)[0]
    held = io.BytesIO()
    png = PngRows(held, (height, width), kind, palette=palette, note="of a model")
    for strip in np.split(image, sorted(data.draw(st.sets(st.integers(1, max(1, height - 1)), max_size=3)))):
        if len(strip):
            png.add(strip)
    png.finish()
    held.seek(0)
    with Image.open(held) as read:
        assert read.mode == mode
        assert note_of(read) == "of a model"
        np.testing.assert_array_equal(np.asarray(read), image)
        if palette:
            assert bytes(read.getpalette() or []) == palette


def test_rows_that_are_missing_are_noticed():
    png = PngRows(io.BytesIO(), (3, 2), GREY)
    png.add(np.zeros((2, 2), np.uint8))
    with pytest.raises(AssertionError, match="1 rows are missing"):
        png.finish()


PLACE = Georeference(
    (
        (33550, (0.5, 0.5, 0.0)),
        (33922, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0)),
        (34735, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611)),
        (34736, (6378137.0, 298.257)),
        (34737, "WGS 84 / UTM zone 11N|"),
    )
)


@pytest.mark.parametrize("height", [1, ROWS, 2 * ROWS + 5])
def test_a_geotiff_has_the_labels_and_the_place(height, tmp_path):
    labels = np.random.default_rng(0).integers(0, 5, (height, 33), dtype=np.uint8)
    with (tmp_path / "a.tif").open("wb") as file:
        tiff = TiffRows(file, labels.shape, PALETTE, PLACE)
        for strip in np.split(labels, [height // 3, height // 2]):
            tiff.add(strip)
        tiff.finish()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        page = file.pages[0]
        np.testing.assert_array_equal(page.asarray(), labels)
        assert page.geotiff_tags["ProjectedCSTypeGeoKey"] == 32611
        assert page.geotiff_tags["ModelTiepoint"] == [0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0]
        assert page.geotiff_tags["ModelPixelScale"] == [0.5, 0.5, 0.0]
        assert dict(PLACE.tags).keys() <= {tag.code for tag in page.tags}
    with Image.open(tmp_path / "a.tif") as read:
        np.testing.assert_array_equal(np.asarray(read), labels)
        np.testing.assert_array_equal(
            np.asarray(read.convert("RGB")), np.frombuffer(PALETTE, np.uint8).reshape(256, 3)[labels]
        )
        assert georeference(dict(read.tag_v2)) == PLACE  # what was written can be passed on again


def test_a_tiff_without_a_place_has_none():
    assert georeference({256: 5, 257: 7}) is None
