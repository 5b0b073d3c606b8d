"""What is explained of one image for every task, the folder of many, its pages, and the command."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import segtrial as st
from segtrial import cli, modelfile
from segtrial.classes import Classes
from segtrial.errors import RecipeError, RunError, UnknownName
from segtrial.explaining import Wish, explain_image
from segtrial.explaining.bands import right_share
from segtrial.explaining.targets import choose
from segtrial.reports import explain_report
from segtrial.reports.explain_pictures import FALLS, RISES, outlined, two_sided
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer, make
from tests import tiny
from tests.exporting import parts

TOLD = {
    *("schema", "size", "explained_size", "task", "classes", "answer", "confidence", "right", "truth", "layer"),
    *("patch", "targets", "bands", "calibration"),
}
TASKS = ("segmentation", "binary", "multilabel", "classification")


def loaded_of(path: Path, task: str = "segmentation") -> modelfile.Loaded:
    classes = Classes.named(["no", "yes"]) if task == "binary" else parts.CLASSES
    return modelfile.load(parts.saved(path / f"{task}.safetensors", "compact:width=2", task=task, classes=classes))


@pytest.mark.parametrize("task", TASKS)
def test_every_task_with_classes_is_explained(task, tmp_path):
    """The literal shape that programs rely on; schema 1."""
    loaded = loaded_of(tmp_path, task)
    sample = parts.Memory(1)[0]
    truth = np.minimum(sample.target, len(loaded.classes) - 1).astype(np.uint8)
    if task == "classification":
        truth[:] = 1
    found = explain_image(loaded, sample.image, truth, Wish(patch=12))
    told, arrays = found.told, found.arrays
    assert set(told) == TOLD
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["schema"], told["task"], told["size"]) == (1, task, [16, 33])
    assert set(told["targets"][0]) == {
        *("class", "where", "pixels", "score", "layer_size", "cam_peak", "largest_drop", "largest_rise"),
    }
    assert [band["name"] for band in told["bands"]] == ["red", "green", "blue"]
    assert all(set(band) == {"name", "changed", "right", "drops"} for band in told["bands"])
    assert 0 <= told["calibration"]["ece"] <= 1
    decisions = {"classification": 1, "multilabel": 3 * truth.size}.get(task, truth.size)
    assert np.sum(told["calibration"]["counts"][0]) == decisions
    for number in range(len(told["targets"])):
        assert arrays[f"cam_{number}"].shape == arrays[f"occlusion_{number}"].shape == (16, 33)
    assert told["truth"] == ("ground" if task == "classification" else None)
    if task != "classification":
        assert np.array_equal(arrays["confidence"] > 0, np.ones((16, 33)))


def test_the_answer_is_that_of_predict_and_the_share_of_right_pixels_is_counted(tmp_path):
    loaded, sample = loaded_of(tmp_path), parts.Memory(1)[0]
    truth = sample.target.copy()
    truth[:4] = IGNORE
    found = explain_image(loaded, sample.image, truth, Wish(patch=20))
    with torch.no_grad():
        labels = loaded.network(torch.from_numpy(sample.image)[None])[0].argmax(0).numpy()
    assert np.array_equal(found.arrays["answer"], labels)
    assert found.told["right"] == pytest.approx((labels == truth)[4:].mean())
    shares = {row["class"]: row["share"] for row in found.told["answer"]}
    assert shares == {parts.CLASSES.names[k]: pytest.approx((labels == k).mean()) for k in np.unique(labels)}


def test_a_large_image_is_shrunk_with_its_truth_and_its_region(tmp_path):
    loaded, sample = loaded_of(tmp_path), parts.Memory(2)[1]
    found = explain_image(loaded, sample.image, sample.target, Wish(region=(0, 0, 15, 21), patch=12, most_side=16))
    assert found.told["explained_size"] == [11, 16]
    assert {name: array.shape[:2] for name, array in found.arrays.items() if name != "drops_0"} == dict.fromkeys(
        [name for name in found.arrays if name != "drops_0"], (11, 16)
    )
    assert found.arrays["region_0"].sum() == 8 * 11
    with pytest.raises(RecipeError, match="--most-side"):
        Wish(most_side=1)


def test_what_is_asked_about():
    task = make("segmentation", Classes.numbered(4))
    answer = Answer(np.array([[0, 0, 0, 1], [0, 1, 2, 2]], np.uint8), np.ones((2, 4), np.float32))
    truth = np.array([[0, 0, 1, 1], [3, 1, 2, IGNORE]], np.uint8)
    chosen = choose(task, answer, None)
    assert [(one.index, int(one.region.sum())) for one in chosen] == [(0, 4), (1, 2), (2, 2)]
    mistake = choose(task, answer, truth)[-1]
    assert (mistake.index, mistake.words) == (0, "where it is a mistake for class_1")
    assert np.argwhere(mistake.region).tolist() == [[0, 2]]
    (absent,) = choose(task, answer, truth, ["class_3"])
    assert (absent.index, absent.region.all()) == (3, True)
    (boxed,) = choose(task, answer, truth, box=(2, 1, 99, 99))
    assert (boxed.index, np.argwhere(boxed.region).tolist()) == (2, [[1, 2], [1, 3]])
    with pytest.raises(UnknownName, match="Did you mean 'class_3'"):
        choose(task, answer, None, ["clas_3"])
    with pytest.raises(RecipeError, match="no pixel of an answer of 4x2"):
        choose(task, answer, None, box=(4, 0, 9, 9))


def test_of_several_masks_a_pixel_is_right_if_all_are():
    task = make("multilabel", Classes.numbered(2))
    masks = np.array([[[True, True, False]], [[False, True, False]]])
    truth = np.array([[0, 0, IGNORE]], np.uint8)
    assert right_share(task, Answer(masks), truth) == 0.5
    assert right_share(task, Answer(masks), np.full((1, 3), IGNORE, np.uint8)) is None


def test_colours_of_what_falls_and_rises():
    image = np.full((1, 3, 3), 90, np.uint8)
    picture = two_sided(image, np.array([[2.0, 0.0, -2.0]]))
    assert tuple(picture[0, 0]) == FALLS
    assert tuple(picture[0, 2]) == RISES
    assert np.array_equal(two_sided(image, np.zeros((1, 3))), np.repeat(picture[:, 1:2], 3, axis=1))
    assert outlined(image, np.ones((1, 1), bool)) is image


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The worst two of the val part of the tiny data, by a model that nobody trained."""
    root = tmp_path_factory.mktemp("why")
    data, model = tiny.write_data(root / "data"), parts.saved(root / "m.safetensors", "compact:width=2")
    return st.explain(model, out=root / "out", data=data, worst=2, patch=16), root


def test_without_images_the_worst_of_a_part_are_explained(made):
    told, root = made
    assert set(told) == {
        *("schema", "model", "task", "temperature", "images", "skipped", "calibration", "out", "index", "pages"),
    }
    assert (told["schema"], len(told["images"]), told["skipped"]) == (1, 2, [])
    scored = st.evaluate(root / "m.safetensors", root / "data", extras=True, precision="float32")
    assert told["calibration"]["ece"] == pytest.approx(scored["scores"]["ece"])
    assert told["calibration"]["n_images"] == 6
    found = [json.loads((root / f"out/{name}.json").read_text()) for name in told["images"]]
    assert {"name", "file"} == set(found[0]) - TOLD


def test_pages_are_whole_in_themselves(made):
    told, root = made
    index = Path(told["index"]).read_text()
    for name, place in zip(told["images"], told["pages"], strict=True):
        assert f'href="{name}.html"' in index
        page = Path(place).read_text()
        for text in (page, index):
            assert "http" not in text.replace("http-equiv", "").replace("http://www.w3.org/", "")
            assert "<script" not in text
        assert all(f'id="{part}"' in page for part in ("answer", "target-1", "bands", "calibration", "reading"))
        assert page.count("<img") >= 5 + 3 + 3
    (root / "out" / f"{told['images'][0]}.npz").write_bytes(b"no arrays")
    with pytest.raises(RunError, match="cannot be read"):
        explain_report.write(root / "out")


def test_the_pages_need_no_torch():
    asked = "import sys, segtrial.reports.explain_report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked]).returncode == 0


def test_the_command_explains_what_it_can_and_lists_the_rest(made, tiny_data, tmp_path, capsys):
    _, root = made
    Image.open(tiny_data / "val/images/0.png").save(tmp_path / "new.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    images = [str(tiny_data / "val/images/1.png"), str(tmp_path / "new.png"), str(tmp_path / "bad.png")]
    words = ["--out", str(tmp_path / "out"), "--data", str(tiny_data), "--class", "pole", "--patch", "20"]
    words += ["--region", "0,0,20,20", "--json"]
    assert cli.main(["--traceback", "explain", str(root / "m.safetensors"), *images, *words]) == 3
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert told["images"] == ["1", "new"]
    assert told["calibration"] is None
    assert "bad.png" in said.err
    with_truth, without = (json.loads((tmp_path / f"out/{name}.json").read_text()) for name in told["images"])
    assert with_truth["right"] is not None
    assert without["right"] is None
    assert [target["class"] for target in without["targets"]] == ["pole"]
    assert "calibration" not in (tmp_path / "out/new.html").read_text().split("<nav")[1].split("</nav>")[0]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--region", "1,2,3"], "left,top,right,bottom"),
        (["--class", "sky!"], "Did you mean 'sky'"),
        (["--layer", "stage"], "is no layer"),
        (["--patch", "0"], "--patch"),
    ],
)
def test_a_wrong_word_is_explained(words, found, made, tiny_data, tmp_path, capsys):
    model, image = made[1] / "m.safetensors", tiny_data / "val/images/0.png"
    assert cli.main(["explain", str(model), str(image), "--out", str(tmp_path / "out"), *words]) == 2
    assert found in capsys.readouterr().err
