"""Pictures are small enough for a page, show what the files hold, and can be told in words."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from segtrial.classes import Classes
from segtrial.drawing import image_png, label_png
from segtrial.errors import RunError
from segtrial.reports import pictures
from segtrial.reports.records import Example
from segtrial.shapes import IGNORE

CLASSES = Classes(("sky", "road"), ((0, 0, 255), (128, 64, 128)))


def example(folder, height=40, width=60, miou=0.5, name="0"):
    truth = np.zeros((height, width), np.uint8)
    truth[height // 2 :] = 1
    truth[0] = IGNORE
    answer = truth.copy()
    answer[answer == IGNORE] = 1  # not counted: no mistake
    answer[1, :6] = 1
    files = {
        "image": image_png(np.full((3, height, width), 99, np.uint8)),
        "truth": label_png(truth, CLASSES),
        "answer": label_png(answer, CLASSES),
        "confidence": image_png(np.full((1, height, width), 204, np.uint8)),
    }
    paths = {what: folder / f"{name}.{what}.png" for what in files}
    for what, data in files.items():
        paths[what].write_bytes(data)
    return Example("clip/one", "clip", "worst", miou, paths, {})


def decoded(panel):
    return Image.open(io.BytesIO(base64.b64decode(panel.source.split(",")[1])))


def test_a_row_shows_image_truth_answer_error_confidence(tmp_path):
    row = pictures.rows((example(tmp_path),), CLASSES)[0]
    assert [panel.title for panel in row.panels] == ["image", "truth", "answer", "error", "confidence"]
    assert row.words == "mIoU 0.500 · 0.3 % of pixels wrong"  # 6 of 39 x 60
    assert row.panels[1].alt == "Truth: road 51 %, sky 49 %"  # 20 of 39 rows that count
    assert row.panels[4].alt == "Confidence 0.80 on average"


def test_label_maps_have_the_class_colours_exactly(tmp_path):
    shown = decoded(pictures.rows((example(tmp_path),), CLASSES)[0].panels[1]).convert("RGB")
    assert [shown.getpixel((0, y)) for y in (0, 5, 39)] == [(0, 0, 0), (0, 0, 255), (128, 64, 128)]


def test_wide_pictures_shrink_and_keep_their_form(tmp_path):
    row = pictures.rows((example(tmp_path, height=300, width=1000),), CLASSES)[0]
    assert {(panel.width, panel.height) for panel in row.panels} == {(480, 144)}
    assert {decoded(panel).size for panel in row.panels} == {(480, 144)}


def test_the_worst_is_on_top_and_there_is_an_end(tmp_path):
    many = tuple(example(tmp_path, 8, 8, miou, str(n)) for n, miou in enumerate([0.9, None, 0.1] * 10))
    shown = pictures.rows(many, CLASSES)
    assert len(shown) == pictures.MOST
    assert [row.words[:10] for row in shown] == ["mIoU 0.100"] * 8 + ["mIoU 0.900"] * 8 + ["mIoU – · 1"] * 8


def test_what_is_no_picture_is_named(tmp_path):
    one = example(tmp_path)
    one.pictures["truth"].write_bytes(b"not a PNG")
    with pytest.raises(RunError, match=r"0\.truth\.png: not a picture"):
        pictures.rows((one,), CLASSES)


def test_labels_must_be_indices_of_the_images_size(tmp_path):
    one = example(tmp_path)
    one.pictures["answer"].write_bytes(image_png(np.zeros((3, 40, 60), np.uint8)))
    with pytest.raises(RunError, match=r"0.answer.png: a RGB picture of \(60, 40\), not class indices"):
        pictures.rows((one,), CLASSES)
