"""explain-metric on what other tools leave: label pictures, counts and runs, and what is none of them."""

import json

import numpy as np
import pytest
from PIL import Image

from segtrial import api, cli, cli_metric
from segtrial.errors import UserError
from tests import tiny

BY_HAND = "right pixels"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tiny.write_data(tmp_path_factory.mktemp("data"), val=3)


@pytest.fixture
def answers(data, tmp_path):
    """The masks themselves, one of them with its first row answered as poles."""
    for number in range(3):
        labels = np.asarray(Image.open(data / f"val/masks/{number}.png")).copy()
        if number == 1:
            labels[0] = 2
        Image.fromarray(labels).save(tmp_path / f"{number}.png")
    return tmp_path


def test_label_pictures_of_any_tool_are_counted(data, answers):
    told = api.explain_metric(answers, data)
    height, width = tiny.SIZE
    assert told["n_images"] == 3
    assert value_of(told) == pytest.approx(1 - width / (3 * height * width))


def value_of(told: dict) -> float:
    return next(row["value"] for row in told["definitions"] if row["name"] == BY_HAND)


FAULTS = {
    "no picture": (lambda path: path.unlink(), "no answer to 1 of 3 images"),
    "text": (lambda path: path.write_text("x"), "no picture that can be read"),
    "other size": (lambda path: Image.new("L", (5, 4)).save(path), "4x5 .height x width., and its mask is 24x32"),
    "colours": (lambda path: Image.new("RGB", (32, 24)).save(path), "24x32x3"),
    "no class": (lambda path: Image.new("L", (32, 24), 9).save(path), "the number 9, and there are 3 classes"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_is_none_is_named(data, answers, fault):
    spoil, said = FAULTS[fault]
    spoil(answers / "1.png")
    with pytest.raises(UserError, match=said) as caught:
        api.explain_metric(answers, data)
    assert "as large as its image" in str(caught.value)


def test_counts_of_a_run_say_what_its_evaluation_says(data, tmp_path, capsys):
    assert cli.main(tiny.words(data, tmp_path / "run")) == 0
    capsys.readouterr()
    assert cli.main(["explain-metric", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    own = json.loads((tmp_path / "run" / "evaluation.json").read_text())["scores"]
    assert told["scores"] == {name: pytest.approx(own[name]) for name in told["scores"]}
    assert api.explain_metric(tmp_path / "run" / "counts" / "val.npz") == told
    (tmp_path / "alone.npz").write_bytes((tmp_path / "run" / "counts" / "val.npz").read_bytes())
    assert api.explain_metric(tmp_path / "alone.npz")["definitions"] == told["definitions"]
    assert cli.main(["explain-metric", str(tmp_path / "run")]) == 0
    assert f"{own['miou_dataset']:.4f}" in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK nothing", b"text"])
def test_what_is_no_file_of_counts_is_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(UserError, match="counts"):
        api.explain_metric(tmp_path / "a.npz")
    with pytest.raises(UserError):
        api.explain_metric(tmp_path / "nothing.npz")
    with pytest.raises(UserError):
        api.explain_metric(tmp_path)


def test_lines_are_for_people(answers, data):
    lines = list(cli_metric._lines(api.explain_metric(answers, data)))
    assert any("nnU-Net" in line for line in lines)
    assert max(map(len, lines)) <= cli_metric.WIDTH
