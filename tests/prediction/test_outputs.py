"""What is written beside labels: probabilities, polygons, areas, GeoTIFFs; the same whole and in tiles."""

import csv
import json

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial.classes import Classes
from segtrial.errors import RecipeError
from segtrial.prediction import AREAS, COCO, TABLE, Tiling, predict_files, writing
from segtrial.tasks import make
from tests.prediction.known import CLASSES, Largest, Loaded, labels_in, noise, put, tree, whole

EVERYTHING = ("labels", "overlay", "confidence", "probabilities", "polygons", "areas")
TILES = Tiling((8, 16), 4)


@pytest.fixture
def model() -> Loaded:
    return Loaded()


def test_tiles_leave_the_same_files(model, tmp_path):
    for name, size in (("a.png", (33, 41)), ("b.png", (8, 70)), ("c.png", (5, 5))):
        put(tmp_path / "in" / name, *size)
    outs = [tmp_path / name for name in ("whole", "tiles")]
    for out, tiling in zip(outs, (None, TILES), strict=True):
        predict_files(model, [tmp_path / "in"], out, save=EVERYTHING, tiling=tiling, precision="float32")
    first, second = map(tree, outs)
    assert sorted(first) == sorted(second)
    for name in first:
        if name.endswith(".png"):  # the notes differ, for tiles are another way to ask
            np.testing.assert_array_equal(labels_in(outs[0] / name), labels_in(outs[1] / name))
        elif name not in (AREAS, COCO):
            assert first[name] == second[name], name
    assert first[AREAS] == second[AREAS]
    assert first[COCO] == second[COCO]


def test_strips_may_be_drawn_in_pieces(model, tmp_path, monkeypatch):
    put(tmp_path / "a.png", 23, 11)
    for out, most in (("pieces", 40), ("rows", 5), ("at once", 1000)):
        monkeypatch.setattr(writing, "PIECE", most)
        predict_files(model, [tmp_path / "a.png"], tmp_path / out, save=EVERYTHING)
    for name in tree(tmp_path / "at once"):
        for out in ("pieces", "rows"):
            if name.endswith(".png"):
                np.testing.assert_array_equal(labels_in(tmp_path / out / name), labels_in(tmp_path / "at once" / name))
            else:
                assert (tmp_path / out / name).read_bytes() == (tmp_path / "at once" / name).read_bytes()


def test_probabilities_are_halves_of_each_class(model, tmp_path):
    image = put(tmp_path / "a.png", 7, 9)
    predict_files(model, [tmp_path / "a.png"], tmp_path / "out", save=["probabilities"], precision="float32")
    assert list(tree(tmp_path / "out")) == ["a_probabilities.npz"]
    with np.load(tmp_path / "out" / "a_probabilities.npz") as file:
        probabilities, names = file["probabilities"], file["classes"]
    powers = np.exp(image.astype(np.float64) / 255 / 0.1)
    assert probabilities.dtype == np.float16
    np.testing.assert_allclose(probabilities, (powers / powers.sum(0)).transpose(1, 2, 0), rtol=1e-3, atol=1e-6)
    assert names.tolist() == list(CLASSES.names)


def test_areas_are_counted_and_no_cell_is_a_formula(tmp_path):
    classes = Classes(("=1+1", "@sky", "pole"), ((1, 0, 0), (0, 1, 0), (0, 0, 1)))
    images = {name: put(tmp_path / "in" / name, 5, 6, seed=n) for n, name in enumerate(("-x.png", "+y.png"))}
    predict_files(Loaded(task=make("segmentation", classes)), [tmp_path / "in"], tmp_path / "out", save=["areas"])
    with (tmp_path / "out" / AREAS).open(newline="") as file:
        head, *rows = list(csv.reader(file))
    assert head == ["file", "pixels", "'=1+1", "'@sky", "pole"]
    assert len(rows) == 2
    for file, pixels, *counts in rows:
        labels = images[file.rpartition("/")[2]].argmax(0)
        assert [int(pixels), *map(int, counts)] == [30, *np.bincount(labels.ravel(), minlength=3)]
    assert list(tree(tmp_path / "out")) == [AREAS]


def test_a_name_that_is_a_formula_is_text(model, tmp_path, monkeypatch):
    put(tmp_path / "=cmd.png")
    monkeypatch.chdir(tmp_path)
    predict_files(model, ["=cmd.png"], tmp_path / "out", save=["areas"])
    assert "\n'=cmd.png,54," in (tmp_path / "out" / AREAS).read_text()


def test_tables_hold_what_was_kept_too(model, tmp_path):
    for name in "ab":
        put(tmp_path / "in" / f"{name}.png", seed=ord(name))
    predict_files(model, [tmp_path / "in" / "a.png"], tmp_path / "out", save=EVERYTHING)
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out", save=EVERYTHING)
    assert (len(report.done), len(report.kept)) == (1, 1)
    predict_files(model, [tmp_path / "in"], tmp_path / "at once", save=EVERYTHING)
    assert tree(tmp_path / "out") == tree(tmp_path / "at once")
    coco = json.loads((tmp_path / "out" / COCO).read_text())
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "b.png"]
    assert {one["image_id"] for one in coco["annotations"]} == {1, 2}
    assert sum(one["area"] for one in coco["annotations"]) == 2 * 6 * 9


GEO = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611), True),
]


@pytest.mark.parametrize("tiling", [None, TILES], ids=["whole", "tiles"])
def test_a_geotiff_gets_a_geotiff_at_its_place(tiling, model, tmp_path):
    image = noise(40, 37)
    tifffile.imwrite(tmp_path / "a.tif", image.transpose(1, 2, 0), photometric="rgb", tile=(16, 16), extratags=GEO)
    most = None if tiling is None else 1000
    predict_files(model, [tmp_path / "a.tif"], tmp_path / "out", save=["labels"], tiling=tiling, max_pixels=most)
    assert list(tree(tmp_path / "out")) == ["a.png", "a.tif"]
    np.testing.assert_array_equal(labels_in(tmp_path / "out" / "a.png"), image.argmax(0))
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "out" / "a.tif") as after:
        assert after.pages[0].geotiff_tags == before.pages[0].geotiff_tags
        np.testing.assert_array_equal(after.pages[0].asarray(), image.argmax(0))
    (tmp_path / "out" / "a.tif").write_bytes(b"cut")
    report = predict_files(
        model, [tmp_path / "a.tif"], tmp_path / "out", save=["labels"], tiling=tiling, max_pixels=most
    )
    assert len(report.done) == 1


def test_a_tiff_without_a_place_gets_a_picture(model, tmp_path):
    Image.fromarray(noise(6, 7).transpose(1, 2, 0)).save(tmp_path / "a.tif")
    predict_files(model, [tmp_path / "a.tif"], tmp_path / "out", save=["labels"])
    assert list(tree(tmp_path / "out")) == ["a.png"]


def test_a_large_picture_that_is_damaged_leaves_nothing(model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(40, 37).transpose(1, 2, 0), photometric="rgb", tile=(16, 16))
    data = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last = file.pages[0].dataoffsets[-1]
    (tmp_path / "a.tif").write_bytes(data[:last])
    put(tmp_path / "b.png")
    inputs = [tmp_path / name for name in ("a.tif", "b.png")]
    report = predict_files(model, inputs, tmp_path / "out", save=EVERYTHING, tiling=TILES, max_pixels=1000)
    assert [path.name for path in report.done] == ["b.png"]
    assert "truncated or damaged" in report.skipped[0][1]
    assert not [name for name in tree(tmp_path / "out") if name.startswith(("a", ".a")) and name not in (AREAS, COCO)]


def test_an_image_of_many_pixels_is_predicted_if_it_is_allowed(model, tmp_path):
    put(tmp_path / "a.png", 20, 20)
    first = predict_files(model, [tmp_path / "a.png"], tmp_path / "out", max_pixels=399)
    assert "--max-pixels 400" in first.skipped[0][1]
    assert len(predict_files(model, [tmp_path / "a.png"], tmp_path / "out", max_pixels=400).done) == 1


class Numbers(nn.Module):
    """As many scores as a task wants."""

    multiple = 1

    def __init__(self, outputs: int):
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (x[:, :1] - 1 + torch.linspace(-0.5, 0.5, self.outputs)[:, None, None],)


@pytest.mark.parametrize("tiling", [None, Tiling((4, 4), 1)], ids=["whole", "tiles"])
@pytest.mark.parametrize(
    ("task", "words", "names"),
    [
        ("binary", EVERYTHING, "a.geojson a.png a_confidence.png a_overlay.png a_probabilities.npz"),
        (
            "multilabel",
            ("labels", "overlay", "probabilities", "polygons", "areas"),
            "a.geojson a.png a_0-class-0.png a_1-class-1.png a_overlay.png a_probabilities.npz",
        ),
        ("colorization", ("labels",), "a.png"),
    ],
)
def test_every_task_writes_what_it_has(task, words, names, tiling, tmp_path):
    made = make(task, Classes.numbered(2))
    network = whole(Numbers(made.outputs), 3 if made.sees == "image" else 1)
    network.sees = made.sees
    put(tmp_path / "a.png", 9, 7)
    predict_files(Loaded(network, made), [tmp_path / "a.png"], tmp_path / "out", save=words, tiling=tiling)
    assert [name for name in tree(tmp_path / "out") if name not in (AREAS, COCO)] == names.split()
    if "areas" in words:
        areas = (tmp_path / "out" / AREAS).read_text().splitlines()[1].split(",")[1:]
        features = json.loads((tmp_path / "out" / "a.geojson").read_text())["features"]
        summed = [sum(f["properties"]["pixels"] for f in features if f["properties"]["index"] == i) for i in range(2)]
        assert list(map(int, areas)) == [63, *summed]


def test_a_classifier_keeps_its_answers_too(tmp_path):
    task = make("classification", Classes(("cat", "=dog"), ((1, 2, 3), (3, 2, 1))))
    model = Loaded(whole(Numbers(2)), task)
    for name in "ab":
        put(tmp_path / "in" / f"{name}.png", seed=ord(name))
    first = predict_files(model, [tmp_path / "in" / "a.png"], tmp_path / "out", tiling=Tiling((2, 2), 0))
    again = predict_files(model, [tmp_path / "in"], tmp_path / "out", tiling=Tiling((2, 2), 0))
    assert (len(first.done), len(again.done), len(again.kept)) == (1, 1, 1)
    rows = (tmp_path / "out" / TABLE).read_text().splitlines()
    assert rows[0] == "file,class,probability"
    assert [row.split(",")[1] for row in rows[1:]] == ["'=dog", "'=dog"]


@pytest.mark.parametrize(
    ("task", "word", "message"),
    [
        (
            "segmentation",
            "label",
            r"--save: 'label' is nothing that segmentation writes\. Did you mean 'labels'\? Choo",
        ),
        ("colorization", "polygons", r"'polygons' is nothing that colorization writes\. Choose among labels"),
        ("multilabel", "confidence", r"Choose among labels, overlay, probabilities, polygons, areas"),
        ("classification", "labels", r"Leave it out: the answers are a table"),
    ],
)
def test_what_a_task_does_not_write_is_refused(task, word, message, tmp_path):
    put(tmp_path / "a.png")
    model = Loaded(whole(Largest()), make(task, Classes.numbered(3)))
    with pytest.raises(RecipeError, match=message):
        predict_files(model, [tmp_path / "a.png"], tmp_path / "out", save=[word])
    assert not (tmp_path / "out").exists()
