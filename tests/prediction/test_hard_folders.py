"""Folders, names and files that are not kind: nobody's file is overwritten, and one bad file stops no others."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from segtrial import cli
from segtrial.errors import DataError, RunError
from segtrial.prediction import AREAS, COCO, Tiling, folder, predict_files
from segtrial.prediction.journal import FILE
from segtrial.prediction.on_ray import _answer
from segtrial.prediction.sources import sources
from tests.prediction.known import Loaded, labels_in, noise, put, tree
from tests.prediction.test_on_ray import Others

EVERYTHING = ("labels", "overlay", "confidence", "probabilities", "polygons", "areas")
PLACE = [
    (33550, "d", 3, (0.5, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 440720.0, 3751320.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32611), True),
]


@pytest.fixture
def model() -> Loaded:
    return Loaded()


def geotiff(path: Path, *more: tuple) -> np.ndarray:
    path.parent.mkdir(exist_ok=True)
    image = noise(20, 30)
    tifffile.imwrite(path, image.transpose(1, 2, 0), photometric="rgb", extratags=[*PLACE, *more])
    return image


# ---- nobody's file is overwritten


def test_the_labels_of_a_geotiff_never_replace_it(model, tmp_path):
    geotiff(tmp_path / "a.tif")
    before = (tmp_path / "a.tif").read_bytes()
    with pytest.raises(DataError, match=r"a\.tif: an input that would be overwritten"):
        predict_files(model, [tmp_path / "a.tif"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == before
    Image.fromarray(noise(6, 9).transpose(1, 2, 0)).save(tmp_path / "b.tif")  # which lies nowhere
    assert len(predict_files(model, [tmp_path / "b.tif"], tmp_path).done) == 1


@pytest.mark.parametrize(("there", "save"), [("a.png", None), (COCO, ["polygons"]), (AREAS, ["areas"])], ids=str)
def test_what_lies_in_a_folder_before_is_left_alone(there, save, model, tmp_path):
    """A mask beside its image, or the annotations of a data set."""
    put(tmp_path / "a.webp")
    (tmp_path / there).write_bytes(b"somebody's")
    for _ in range(2):
        with pytest.raises(DataError, match=r"there already, and no answer\. Choose another --out"):
            predict_files(model, [tmp_path / "a.webp"], tmp_path, save=save)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a.webp", there])


def test_what_was_answered_before_may_be_answered_anew(model, tmp_path):
    put(tmp_path / "in" / "a.png")
    predict_files(model, [tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out" / FILE).unlink()  # as the message about a damaged one says
    assert len(predict_files(model, [tmp_path / "in"], tmp_path / "out").done) == 1


@pytest.mark.parametrize("words", ["in/*", "in/**/*.png", "in/**"])
def test_a_glob_around_the_answers_does_not_answer_them(words, model, tmp_path):
    put(tmp_path / "in" / "a.png")
    put(tmp_path / "in" / "sub" / "b.png")
    out = tmp_path / "in" / "answers"
    first, again = (predict_files(model, [str(tmp_path / words)], out) for _ in range(2))
    assert (again.done, again.kept, again.skipped) == ((), first.done, ())
    assert len(first.done) == 2


# ---- one bad file stops no others


def test_a_line_of_a_list_that_names_nothing_is_reported(tmp_path):
    put(tmp_path / "a.png")
    (tmp_path / "empty").mkdir()
    lines = ["a.png", "gone[1].png", "*.jpg", "empty", "gone.png"]
    (tmp_path / "list.txt").write_text("\n".join(str(tmp_path / line) for line in lines))
    assert [path.name for path, _ in sources([tmp_path / "list.txt"], tmp_path / "out")] == lines
    report = predict_files(Loaded(), [tmp_path / "list.txt"], tmp_path / "out", save=["labels"])
    assert [path.name for path, _ in report.skipped] == lines[1:]


@pytest.mark.parametrize("others", [False, True], ids=["here", "by a node"])
@pytest.mark.parametrize("change", ["gone", "cut"])
def test_a_picture_that_changes_after_it_was_looked_at_is_skipped(change, others, model, tmp_path, monkeypatch):
    for name in "ab":
        put(tmp_path / "in" / f"{name}.png")

    def look(path: Path) -> folder.Look:
        found = look_at(path)
        if path.name == "b.png":
            path.unlink() if change == "gone" else path.write_bytes(path.read_bytes()[:80])
        return found

    look_at = folder.look_at
    monkeypatch.setattr(folder, "look_at", look)
    elsewhere = Others(model) if others else None
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out", elsewhere=elsewhere)
    assert [path.name for path in report.done] == ["a.png"]
    ((path, reason),) = report.skipped
    assert path.name == "b.png"
    assert ("cannot be opened" if change == "gone" else "truncated") in reason


def test_names_that_are_no_text_or_too_long(model, tmp_path):
    put(tmp_path / "in" / "a.png")
    odd, long = os.fsencode(tmp_path / "in") + b"/\xff\n.png", tmp_path / "in" / f"{'n' * 250}.png"
    os.link(tmp_path / "in" / "a.png", odd)
    os.link(tmp_path / "in" / "a.png", long)
    report = predict_files(model, [tmp_path / "in"], tmp_path / "out", save=EVERYTHING)
    assert len(report.done) == 2
    assert [(path.name, "too long" in reason) for path, reason in report.skipped] == [(long.name, True)]
    assert "\\udcff\n.png" in (tmp_path / "out" / AREAS).read_text("utf-8")
    coco = json.loads((tmp_path / "out" / COCO).read_text("utf-8"))
    assert [image["file_name"] for image in coco["images"]] == ["a.png", "\udcff\n.png"]


def test_a_part_of_a_large_image_that_is_no_image_leaves_nothing(model, tmp_path):
    values = np.random.default_rng(0).random((64, 40, 3)).astype(np.float32)
    values[60] = 7
    np.save(tmp_path / "a.npy", values)
    put(tmp_path / "b.png")
    inputs = [tmp_path / "a.npy", tmp_path / "b.png"]
    report = predict_files(model, inputs, tmp_path / "out", save=EVERYTHING, tiling=Tiling((16, 16), 4))
    assert [path.name for path, _ in report.skipped] == ["a.npy"]
    assert all(name.startswith("b") or name in (AREAS, COCO) for name in tree(tmp_path / "out"))


def test_no_node_answers_by_another_model(tmp_path):
    put(tmp_path / "in" / "a.png")

    def others(how, out, chunks):
        (chunk,) = chunks
        yield _answer(lambda model, device: Loaded(digest="second"), "m", "cpu", str(tmp_path), how, str(out), chunk)

    with pytest.raises(RunError, match=r"another model lies there for whoever answers \(sha256 second, not first\)"):
        predict_files(Loaded(), [tmp_path / "in"], tmp_path / "out", elsewhere=others)
    assert list(tree(tmp_path / "out")) == []


def test_a_node_works_where_the_command_was_given_and_within_its_limit(tmp_path, monkeypatch):
    """A process of a node begins somewhere else, and with Pillow's limit of pixels."""
    put(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)

    def node(how, out, chunks):
        (chunk,) = chunks
        os.chdir("/")
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
        yield _answer(lambda model, device: Loaded(), "m", "cpu", str(tmp_path), how, str(out), chunk)

    report = predict_files(Loaded(), ["in"], Path("out"), max_pixels=6 * 9, elsewhere=node)
    assert (report.done, report.skipped) == ((Path("in/a.png"),), ())
    assert (tmp_path / "out" / "a.png").exists()


def test_saving_nothing_is_a_slip(tmp_path, capsys):
    assert cli.main(["predict", "m", "a.png", "--out", str(tmp_path / "out"), "--save", ","]) == 2
    assert "--save: nothing is named" in capsys.readouterr().err


# ---- where a TIFF lies


def test_a_place_with_one_number_is_kept(model, tmp_path):
    """One value alone, such as a radius, comes without a tuple."""
    geotiff(tmp_path / "a.tif", (34736, "d", 1, (6378137.0,), True))
    assert len(predict_files(model, [tmp_path / "a.tif"], tmp_path / "out").done) == 1
    with tifffile.TiffFile(tmp_path / "out" / "a.tif") as after:
        assert after.pages[0].tags[34736].value in (6378137.0, (6378137.0,))


@pytest.mark.parametrize(
    "tag",
    [(34735, "I", 4, (1, 1, 0, 70000), True), (34735, "B", 4, (1, 1, 0, 3), True), (33550, "s", 0, "hello", True)],
    ids=["large", "bytes", "text"],
)
def test_a_place_that_is_none_is_told(tag, model, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(6, 9).transpose(1, 2, 0), photometric="rgb", extratags=[tag])
    put(tmp_path / "b.png")
    report = predict_files(model, [tmp_path / "a.tif", tmp_path / "b.png"], tmp_path / "out")
    assert [path.name for path in report.done] == ["b.png"]
    assert f"its tag {tag[0]}, of where it lies on the ground" in report.skipped[0][1]
    assert all(name.startswith("b") for name in tree(tmp_path / "out"))


def test_turned_pixels_have_no_place(model, tmp_path):
    """Their place is that of the pixels as they are stored: the upright labels would lie somewhere else."""
    geotiff(tmp_path / "a.tif", (274, "H", 1, 6, True))
    report = predict_files(model, [tmp_path / "a.tif"], tmp_path / "out")
    assert "stored turned" in report.skipped[0][1]


@pytest.mark.parametrize("most", [None, 700], ids=["whole", "by tiles"])
def test_smaller_copies_in_a_tiff_are_no_pictures(most, model, tmp_path):
    """Overviews, as cloud-optimised GeoTIFFs have them; a second page that is none of them is one picture too many."""
    image = noise(40, 48)
    pixels = image.transpose(1, 2, 0)
    for name, kind in (("copies", 1), ("pages", 0)):
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            file.write(pixels, photometric="rgb", tile=(16, 16), extratags=PLACE)
            file.write(pixels[::2, ::2], photometric="rgb", tile=(16, 16), subfiletype=kind)
            file.write(pixels[::4, ::4, 0], photometric="minisblack", subfiletype=1)
    found = [tmp_path / "copies.tif", tmp_path / "pages.tif"]
    report = predict_files(model, found, tmp_path / "out", tiling=Tiling((16, 16), 4), max_pixels=most)
    assert [(path.name, "holds 2 frames" in reason) for path, reason in report.skipped] == [("pages.tif", True)]
    np.testing.assert_array_equal(labels_in(tmp_path / "out" / "copies.png"), image.argmax(0))
    assert (tmp_path / "out" / "copies.tif").exists()
