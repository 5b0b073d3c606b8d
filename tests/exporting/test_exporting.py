"""Exported files: what torch answers for any size, a proof that can be checked by hand, nothing half-written."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from segtrial import cli, exporting, modelfile, prediction
from segtrial.errors import RunError, UnknownName, UserError
from segtrial.exporting import onnx_file, openvino_file, program
from segtrial.exporting.card import card
from segtrial.exporting.proof import Proof, latencies, prove
from segtrial.exporting.wish import Wish, put
from segtrial.models._whole import Whole
from segtrial.statistics import Interval, NoInterval
from segtrial.tasks import make
from tests.exporting import parts

pytestmark = pytest.mark.slow
"""Apart from the others, in a process of their own (.ci/run): where ONNX Runtime and OpenVINO have been, a SIGTERM that
a later test sends itself ends in a segmentation fault."""

TINY = "unet:width=4,depth=3"
"""It pads to multiples of 4."""

SIZES = ((1, 1, 1), (2, 1, 37), (1, 64, 64), (3, 33, 65), (1, 70, 2))
TASK = make("segmentation", parts.CLASSES)
PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> modelfile.Loaded:
    return modelfile.load(parts.saved(tmp_path_factory.mktemp("tiny") / "model.safetensors", TINY))


@pytest.fixture(scope="module")
def files(tiny, tmp_path_factory) -> dict[str, object]:
    """The model in every format, read again."""
    folder = tmp_path_factory.mktemp("files")
    graph, told = program.traced(tiny.network, torch.uint8), card(tiny, numbers="uint8", precision="fp32")
    model = onnx_file.model_of(graph)
    program.save(graph, folder / "made.pt2", told)
    onnx_file.save(model, folder / "made.onnx", told)
    openvino_file.save(openvino_file.model_of(model), folder / "made.xml", told)
    return {
        "torch": program.Program(folder / "made.pt2"),
        "onnx": onnx_file.Session(folder / "made.onnx"),
        "openvino": openvino_file.Compiled(folder / "made.xml", "fp32"),
        "openvino bf16": openvino_file.Compiled(folder / "made.xml", "bf16"),
        "folder": folder,
    }


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize(("form", "tolerance"), [("torch", 1e-5), ("onnx", 1e-4), ("openvino", 1e-4)])
def test_a_file_answers_as_torch_does_for_any_size(tiny, files, form, tolerance):
    for batch, height, width in SIZES:
        images = noise((batch, 3, height, width))
        with torch.no_grad():
            expected = tiny.network(images)
        scale = expected.abs().max()
        torch.testing.assert_close(files[form](images) / scale, expected / scale, rtol=0, atol=tolerance)


def test_bfloat16_is_near_and_is_not_float32(tiny, files):
    images = noise((1, 3, 65, 40))
    with torch.no_grad():
        expected = tiny.network(images)
    off = (files["openvino bf16"](images) - expected).abs().max() / expected.abs().max()
    assert off < 0.1
    if torch.backends.cpu.get_cpu_capability() == "AVX512":  # elsewhere OpenVINO computes in float32
        assert off > 1e-4


@pytest.mark.parametrize("form", ["torch", "onnx", "openvino"])
def test_a_file_says_what_it_is(tiny, files, form):
    told = files[form].card
    assert set(told) == {
        *("schema", "segtrial", "task", "classes", "input", "output", "inside", "tiling", "precision"),
        *("architecture", "provenance", "model", "temperature"),
    }
    assert told["schema"] == 1
    assert told["classes"] == parts.CLASSES.to_json()
    assert told["input"] == {"name": "images", "axes": "b c h w", "channels": 3, "numbers": "uint8", "range": [0, 255]}
    assert told["inside"]["mean"] == pytest.approx(parts.MEAN)
    assert (told["tiling"]["tile"], told["tiling"]["overlap"], told["tiling"]["grid"]) == ([256, 256], 64, 4)
    assert told["model"] == tiny.digest


def test_a_file_names_no_folder_of_this_machine(files):
    for path in files["folder"].glob("made.*"):
        assert b"site-packages" not in path.read_bytes(), path.name
        assert str(Path(__file__).parents[2]).encode() not in path.read_bytes(), path.name


class Paints(nn.Module):
    """Scores that are certain of the class `(pixel of channel 0) * 3 // 256`, then of another where that is `wrong`."""

    def __init__(self, wrong: dict[int, int]):
        super().__init__()
        self.wrong = wrong

    def forward(self, images: Tensor) -> Tensor:
        found = images[:, 0].long() * 3 // 256
        for true, said in self.wrong.items():
            found = torch.where(found == true, said, found)
        return torch.nn.functional.one_hot(found, 3).movedim(-1, 1).float()


class Truth(parts.Memory):
    """Images whose channel 0 says their masks, so that a network can be right."""

    def __getitem__(self, index: int):
        sample = super().__getitem__(index)
        sample.target[:] = sample.image[0].astype(int) * 3 // 256
        return sample


def test_the_proof_by_hand():
    """A file that calls every pole ground: sky 1, ground g / (g + p), pole 0; torch is right everywhere."""
    part = Truth(7)
    found = prove(Paints({}), Paints({2: 1}), part, TASK)
    masks = np.concatenate([part[index].target.ravel() for index in range(7)])
    ground, pole = (masks == 1).sum(), (masks == 2).sum()
    assert found.before == 1
    assert found.after == pytest.approx((1 + ground / (ground + pole)) / 3)
    assert found.agreement == pytest.approx(1 - pole / len(masks))
    assert found.largest_difference == 1
    assert isinstance(found.interval, Interval)
    assert found.interval.low <= found.after - found.before <= found.interval.high < 0
    assert not found.loses_at_most(0.5)
    assert found.loses_at_most(100 * (found.before - found.after))


def test_the_same_file_loses_nothing_and_the_interval_knows():
    """Rows of either are drawn together: a difference that is 0 in every block is 0 in every draw."""
    found = prove(Paints({0: 2}), Paints({0: 2}), Truth(6), TASK)
    assert found.before == found.after
    assert isinstance(found.interval, Interval)
    assert found.interval.low == found.interval.high == 0
    assert (found.agreement, found.largest_difference) == (1, 0)
    told = prove(Paints({}), Paints({}), Truth(4, groups=2), TASK).to_json()
    assert told["interval"] is None
    assert "at least 5" in told["reason"]


def test_what_is_undefined_proves_nothing():
    proof = Proof(1, np.nan, np.nan, NoInterval("", 1), 1.0, 0.0, (1.0, 1.0))
    assert not proof.loses_at_most(100)
    assert proof.to_json()["miou_before"] is None


def test_the_two_are_timed_in_turn():
    order: list[str] = []

    def named(name: str):
        return lambda images: (order.append(name), images)[1]

    latencies(named("torch"), named("file"), torch.zeros(1))
    assert order == ["torch", "file"] * (len(order) // 2)
    assert len(order) > 10


@pytest.fixture
def made(tiny_data, own_cache, tmp_path, capsys):
    """`made(*words)` -> (exit code, the object that --json prints, what was said besides) of an export."""
    model = parts.saved(tmp_path / "model.safetensors", TINY)

    def run(*words: str) -> tuple[int, dict, str]:
        code = cli.main(["--traceback", "export", str(model), "--data", str(tiny_data), "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out or "{}"), said.err

    return run


def test_export_prints_one_object(made, tmp_path):
    """The literal shape that programs rely on; schema 1."""
    code, told, _ = made("--format", "torch", "--out", str(tmp_path / "new" / "model.pt2"))
    assert code == 0
    assert set(told) == {
        *("schema", "format", "precision", "files", "written", "bytes", "n_images", "miou_before", "miou_after"),
        *("difference", "interval", "argmax_agreement", "largest_difference", "latency_ratio", "milliseconds"),
        *("most_loss", "threads"),
    }
    assert (told["schema"], told["format"], told["precision"], told["written"]) == (1, "torch", "fp32", True)
    assert set(told["interval"]) == {"low", "high", "over", "n_blocks"}
    assert set(told["milliseconds"]) == {"torch", "exported"}
    assert told["n_images"] == 6
    assert told["argmax_agreement"] == 1
    assert told["miou_before"] == told["miou_after"]
    assert told["files"] == [str(tmp_path / "new" / "model.pt2")]
    assert Path(told["files"][0]).stat().st_size == told["bytes"]


@pytest.fixture
def lying(monkeypatch):
    """Files that answer pole everywhere, of networks that answer ground, which is much more of the pictures."""
    monkeypatch.setattr(Whole, "forward", lambda self, images: certain(images, 1))

    def make_one(loaded: object, wish: Wish, path: Path, part: object, calibration: object):
        path.write_bytes(b"lies")
        return lambda images: certain(images, 2)

    monkeypatch.setattr(exporting, "_made", make_one)


def certain(images: Tensor, label: int) -> Tensor:
    return torch.nn.functional.one_hot(torch.full_like(images[:, 0], label).long(), 3).movedim(-1, 1).float()


def test_a_file_that_loses_too_much_is_not_written_unless_forced(made, lying, tmp_path):
    out = tmp_path / "model.pt2"
    words = ["--format", "torch", "--out", str(out)]
    code, told, said = made(*words, "--most-loss", "0")
    lost = 100 * (told["miou_before"] - told["miou_after"])
    assert (code, told["written"], out.exists()) == (2, False, False)
    assert lost > 1
    assert f"{out}: not written" in said
    assert "--force" in said
    assert made(*words, "--most-loss", f"{lost - 0.01}")[0] == 2
    assert not out.exists()
    assert made(*words, "--most-loss", f"{lost + 0.01}")[0] == 0
    assert out.read_bytes() == b"lies"
    out.unlink()
    code, told, _ = made(*words, "--most-loss", "0", "--force")
    assert (code, told["written"], out.exists()) == (0, True, True)


def test_words_for_people(tiny_data, own_cache, lying, tmp_path, capsys):
    model = parts.saved(tmp_path / "model.safetensors", TINY)
    words = ["export", str(model), "--data", str(tiny_data), "--format", "torch", "--out", str(tmp_path / "a.pt2")]
    assert cli.main([*words, "--force"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("mIoU of 6 images", "points (95 % interval", "0.0000%", "times as fast"))


WRONG = {
    "format": ({"format": "onx"}, UnknownName, "Did you mean 'onnx'"),
    "precision": ({"precision": "fp16"}, UnknownName, "There are: bf16, fp32, int8"),
    "bf16": ({"precision": "bf16"}, UserError, "Use --precision fp32 or int8, or --format openvino"),
    "suffix": ({"out": "model.xml"}, UserError, r"ends in .onnx. Use --out .*model.xml.onnx"),
    "loss": ({"most_lost": -1}, UserError, "0 or more"),
    "nan": ({"most_lost": float("nan")}, UserError, "0 or more"),
    "folder": ({"out": "folder.onnx"}, RunError, "it is a folder"),
    "below a file": ({"out": "file/model.onnx"}, RunError, "cannot be written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_wishes_are_explained_before_any_work(case, tmp_path):
    words, error, message = WRONG[case]
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "file").touch()
    words = {"format": "onnx", "out": "model.onnx", **words}
    with pytest.raises(error, match=message):
        Wish(**{**words, "out": tmp_path / words["out"]})


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    with pytest.raises(
        UserError, match=r"not installed: onnxruntime. Install the extra: pip install 'segtrial\[export\]'"
    ):
        Wish("onnx", tmp_path / "model.onnx")
    with pytest.raises(
        UserError,
        match=r"pip install 'segtrial\[export,openvino\]', or uv sync --inexact --extra export --extra openvino",
    ):
        Wish("openvino", tmp_path / "model.xml")
    Wish("torch", tmp_path / "model.pt2")


def test_colours_are_not_exported(tmp_path):
    loaded = modelfile.load(parts.saved(tmp_path / "c.safetensors", TINY, task="classification"))
    with pytest.raises(UserError, match="it is not scored by miou_dataset"):
        exporting.export(loaded, Wish("torch", tmp_path / "model.pt2"), Truth(2))


def test_of_two_files_the_one_that_is_opened_is_never_there_without_its_other(tmp_path, monkeypatch):
    weights, opened = tmp_path / "model.bin", tmp_path / "model.xml"
    put({weights: b"old weights", opened: b"old"})

    def stop_at_the_second(path: Path, data: bytes) -> None:
        assert path == weights
        path.write_bytes(data)

    monkeypatch.setattr(exporting.wish, "write_atomic", stop_at_the_second)
    with pytest.raises(AssertionError):
        put({weights: b"new weights", opened: b"new"})
    assert weights.read_bytes() == b"new weights"
    assert not opened.exists()


class Decides(nn.Module):
    """A core that does something else with large images."""

    multiple = 1

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, image: Tensor) -> tuple[Tensor]:
        scores = self.conv(image)
        return (scores * 2 if image.shape[-1] > 100 else scores,)


class Fixed(Decides):
    """A core that knows one size only."""

    def forward(self, image: Tensor) -> tuple[Tensor]:
        _, height, width = program.EXAMPLE
        return (self.conv(image) + torch.zeros(1, 3, height, width),)


@pytest.mark.parametrize("core", [Decides, Fixed])
def test_a_network_for_one_size_is_refused_by_name(core):
    network = Whole(core(), torch.tensor(parts.MEAN), torch.tensor(parts.STD)).eval()
    with pytest.raises(UserError, match=r"test_exporting.py, line \d+: .*(image.shape|self.conv\(image\))"):
        program.traced(network, torch.uint8)


def test_float_images_go_in_where_the_data_are_floats(tmp_path):
    loaded = modelfile.load(parts.saved(tmp_path / "b.safetensors", "unet:width=4,depth=2", "binary", BINARY))
    told = exporting.export(loaded, Wish("onnx", tmp_path / "model.onnx"), Two(3, dtype=np.float32))
    assert told["argmax_agreement"] > 0.999
    session = onnx_file.Session(tmp_path / "model.onnx")
    assert session.card["input"]["numbers"] == "float32"
    images = noise((1, 3, 9, 14))
    with torch.no_grad():
        torch.testing.assert_close(session(images / 255), loaded.network(images), rtol=1e-4, atol=1e-4)


BINARY = type(parts.CLASSES).named(["background", "pole"])


class Two(parts.Memory):
    """Masks of two classes."""

    def __getitem__(self, index: int):
        sample = super().__getitem__(index)
        np.minimum(sample.target, 1, out=sample.target)
        return sample


def test_the_reader_in_the_docs_needs_no_segtrial(files, tiny, tmp_path):
    """Its answers are those of `segtrial predict`, but where torch's two best scores nearly agree."""
    reader = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1]
    assert len([line for line in reader.splitlines() if line.strip()]) <= 20
    (tmp_path / "reader.py").write_text(reader)
    picture = tmp_path / "picture.png"
    Image.fromarray(noise((45, 70, 3), 3).numpy()).save(picture)
    words = [str(files["folder"] / "made.onnx"), str(picture), str(tmp_path / "read.png")]
    done = subprocess.run([sys.executable, tmp_path / "reader.py", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    prediction.predict_files(tiny, [picture], tmp_path / "out", precision="float32")
    with Image.open(tmp_path / "read.png") as read, Image.open(tmp_path / "out" / "picture.png") as predicted:
        assert read.getpalette()[:9] == predicted.getpalette()[:9]
        mine, theirs = np.asarray(read), np.asarray(predicted)
    with torch.no_grad():
        first, second = tiny.network(noise((45, 70, 3), 3).movedim(-1, 0)[None])[0].topk(2, dim=0).values
    near = (first - second < 1e-3).numpy()
    assert (mine == theirs)[~near].all()
    assert near.mean() < 0.03
    assert len(np.unique(mine)) > 1
