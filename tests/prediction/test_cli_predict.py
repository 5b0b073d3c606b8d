"""`segtrial predict`: every word reaches the verb, and what it says."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrial import api, cli
from segtrial.prediction import PredictionReport
from tests import tiny


def test_every_word_reaches_the_verb(monkeypatch, capsys):
    given: dict[str, object] = {}

    def predict(model: Path, images: list[str], out: Path, **rest: object) -> PredictionReport:
        given.update(rest, model=model, images=images, out=out)
        return PredictionReport((Path("a.png"),), (), ())

    monkeypatch.setattr(api, "predict", predict)
    words = ["run", "a.png", "-", "--out", "answers", "--save", "labels, areas", "--tile", "64", "--overlap", "8"]
    words += [
        "--tta",
        "d4",
        "--max-pixels",
        "5",
        "--no-resume",
        "--no-overlay",
        "--device",
        "cpu",
        "--on",
        "ray",
        "--json",
    ]
    assert cli.main(["--traceback", "predict", *words]) == 0
    del given["watch"]
    assert given == {
        "model": Path("run"),
        "images": ["a.png", "-"],
        "out": Path("answers"),
        "save": ["labels", "areas"],
        "tile": "64",
        "overlap": 8,
        "tta": "d4",
        "max_pixels": 5,
        "resume": False,
        "overlay": False,
        "confidence": True,
        "device": "cpu",
        "on": "ray",
    }
    assert json.loads(capsys.readouterr().out) == {
        "schema": 1,
        "out": "answers",
        "done": ["a.png"],
        "kept": [],
        "skipped": [],
    }


def test_tiles_of_stdin_into_everything(tiny_data, tiny_run, tmp_path, monkeypatch, capsys):
    images = sorted((tiny_data / "val/images").glob("*.png"))
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(map(str, [*images, tmp_path / "absent.png"]))))
    words = ["predict", str(tiny_run), "-", "--out", str(tmp_path / "out"), "--tile", "16", "--tta", "flip"]
    assert cli.main([*words, "--save", "labels,polygons,areas,probabilities,overlay"]) == 3
    said = capsys.readouterr()
    assert "6 images answered, in" in said.out
    written = [line.split()[0] for line in said.out.splitlines()[1:]]
    assert written == ["x.png", "x_overlay.png", "x_probabilities.npz", "x.geojson,", "areas.csv"]
    assert "absent.png" in said.err
    for image in images:
        assert np.asarray(Image.open(tmp_path / "out" / image.name)).shape == tiny.SIZE
    coco = json.loads((tmp_path / "out" / "annotations.json").read_text())
    assert sum(one["area"] for one in coco["annotations"]) == 6 * tiny.SIZE[0] * tiny.SIZE[1]
    assert [one["name"] for one in coco["categories"]] == list(tiny.NAMES)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tile", "big"], "--tile: 'big'"),
        (["--tile", "64", "--overlap", "64"], "--overlap: 64"),
        (["--tta", "flop"], "--tta: 'flop'"),
        (["--save", "label"], "Did you mean 'labels'?"),
        (["--max-pixels", "0"], "--max-pixels: 0"),
    ],
)
def test_wrong_words_are_the_users(words, message, tiny_data, tiny_run, tmp_path, capsys):
    image = str(tiny_data / "val/images/0.png")
    assert cli.main(["predict", str(tiny_run), image, "--out", str(tmp_path / "out"), *words]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
