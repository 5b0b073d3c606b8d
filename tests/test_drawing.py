"""Pictures against values worked out by hand, Pillow reading them back, and scikit-image's CIELAB."""

import io

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from segtrial.classes import Classes
from segtrial.drawing import (
    WRONG,
    borders,
    colored,
    confidence_map,
    error_map,
    image_png,
    label_png,
    legend,
    note_of,
    overlay,
    picture_of,
    picture_png,
)
from segtrial.shapes import IGNORE

CLASSES = Classes(("sky", "road", "pole"), ((0, 0, 250), (100, 100, 100), (255, 255, 0)))
LABELS = np.array([[0, 0, 1], [0, 0, 1], [2, 2, IGNORE]], np.uint8)
GREY = np.full((1, 3, 3), 200, np.uint8)


@pytest.mark.parametrize(("channels", "expected"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (4, [0, 1, 2])])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_any_number_of_channels_can_be_looked_at(channels, expected, dtype):
    image = np.arange(channels, dtype=np.uint8)[:, None, None].repeat(2, 1).repeat(4, 2)  # each channel its number
    shown = picture_of(image if dtype == np.uint8 else (image / 255).astype(np.float32))
    assert shown.shape == (2, 4, 3)
    assert (shown == expected).all()


def test_floats_beyond_their_range_do_not_wrap_around():
    assert picture_of(np.array([[[-0.5, 1.5]]], np.float32)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_each_class_has_its_colour_and_void_is_black():
    assert colored(LABELS, CLASSES)[[0, 0, 2, 2], [0, 2, 0, 2]].tolist() == [
        [0, 0, 250],
        [100, 100, 100],
        [255, 255, 0],
        [0, 0, 0],
    ]


def test_borders_are_one_pixel_wide():
    assert borders(LABELS).astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 1, 0]]


def test_overlay_mixes_inside_and_is_full_on_borders():
    drawn = overlay(GREY, LABELS, CLASSES, opacity=0.25)
    assert drawn[0, 0].tolist() == [150, 150, 212]  # 3/4 of 200, and 3/4 of 200 + 1/4 of 250 = 212.5, to even
    assert drawn[0, 1].tolist() == [0, 0, 250]  # a border
    assert drawn[2, 2].tolist() == [200, 200, 200]  # ignored


def test_overlay_without_opacity_inside_one_class_is_the_image():
    assert (overlay(GREY, np.zeros((3, 3), np.uint8), CLASSES, opacity=0) == 200).all()


def test_error_map_shows_wrong_right_and_ignored():
    truth = np.array([[0, 0], [1, IGNORE]], np.uint8)
    answer = np.array([[0, 1], [1, 2]], np.uint8)
    drawn = error_map(GREY[:, :2, :2], truth, answer)
    assert drawn[0, 1].tolist() == list(WRONG)
    assert drawn[0, 0].tolist() == drawn[1, 0].tolist() == [90, 90, 90]  # 0.45 of 200
    assert drawn[1, 1].max() <= 80


def test_ignored_regions_are_hatched():
    ignored = np.full((16, 16), IGNORE, np.uint8)
    drawn = error_map(np.zeros((1, 16, 16), np.uint8), ignored, np.zeros_like(ignored))
    assert sorted(np.unique(drawn).tolist()) == [24, 80]
    assert (drawn == 80).mean() == pytest.approx(2 / 8)


def test_confidence_rises_in_even_steps_of_lightness():
    lab = rgb2lab(confidence_map(np.linspace(0, 1, 256, dtype=np.float32)[None]))[0]
    assert np.abs(lab[:, 0] - np.linspace(lab[0, 0], lab[-1, 0], 256)).max() < 1  # one unit of L* is hardly seen
    assert lab[0, 0] < 15 < 90 < lab[-1, 0]
    steps = np.linalg.norm(np.diff(lab[::15], axis=0), axis=1)
    assert steps.max() / steps.min() < 1.25


def test_label_png_is_data_and_picture_in_one():
    png = label_png(LABELS, CLASSES, note="made by hand")
    opened = Image.open(io.BytesIO(png))
    assert (opened.format, opened.mode) == ("PNG", "P")
    np.testing.assert_array_equal(np.asarray(opened), LABELS)
    np.testing.assert_array_equal(np.asarray(opened.convert("RGB")), colored(LABELS, CLASSES))
    assert note_of(opened) == "made by hand"


def test_a_table_of_255_classes_fits():
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    opened = Image.open(io.BytesIO(label_png(labels, Classes.numbered(255))))
    np.testing.assert_array_equal(np.asarray(opened), labels)


def test_pictures_are_lossless_and_their_bytes_repeat():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture_png(picture)))), picture)
    assert picture_png(picture) == picture_png(picture.copy())
    assert label_png(LABELS, CLASSES) == label_png(LABELS.copy(), CLASSES)
    assert note_of(Image.open(io.BytesIO(picture_png(picture)))) == ""


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGB")])
def test_an_image_is_kept_as_it_is(channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (channels, 5, 7), np.uint8)
    opened = Image.open(io.BytesIO(image_png(image)))
    assert opened.mode == mode
    np.testing.assert_array_equal(np.asarray(opened).reshape(5, 7, -1).transpose(2, 0, 1), image[:3])


def test_legend_shows_every_colour_and_wraps():
    wide, narrow = legend(CLASSES, 600), legend(CLASSES, 80)
    assert wide.shape[1] == 600
    assert narrow.shape[0] > wide.shape[0]
    for strip in (wide, narrow):
        found = {tuple(color) for color in strip.reshape(-1, 3).tolist()}
        assert found >= set(CLASSES.colors)


def test_a_legend_with_a_long_foreign_name_is_as_wide_as_it_needs():
    assert legend(Classes.named(["Straße und Gehweg, 道路, " * 5]), 50).shape[1] > 400
