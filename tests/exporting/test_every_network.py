"""Every architecture in every format for 20 sizes, and int8: minutes, so all of it is slow."""

import pytest
import torch

from benchmarks import export_parity
from segtrial import exporting, modelfile, models
from segtrial.exporting import onnx_file, openvino_file, program
from segtrial.exporting.proof import score_on
from segtrial.exporting.wish import Wish
from tests.exporting import parts

pytestmark = pytest.mark.slow

OF_ANOTHER_KIND = {("linear", "openvino fp32"), ("linear", "openvino bf16")}
"""Refused, because OpenVINO computes the smoothing resize of position codes otherwise."""


ROUNDING_DECIDES = {"segnet"}
"""It puts maxima back where it found them: of two that are equal but for rounding, another may be the larger."""


@pytest.mark.parametrize("spec", export_parity.specs())
def test_files_answer_as_torch_does(spec):
    for row in export_parity.rows(spec, list(export_parity.FORMATS)):
        print(export_parity.said(row))
        if (spec, row.format) in OF_ANOTHER_KIND:
            assert "Resize" in row.refused
        elif spec in ROUNDING_DECIDES and row.format != "torch":
            assert row.agreement > (0.999 if row.format != "openvino bf16" else 0.5)
        elif row.format == "openvino bf16":
            assert row.largest_difference < 0.2
            assert row.agreement > 0.95
        else:
            assert row.largest_difference < 1e-4
            assert row.apart == 0


def test_every_architecture_is_measured():
    assert [spec.partition(":")[0] for spec in export_parity.specs()] == models.names()


class Seen(parts.Memory):
    """Scenes of soft colours, whose masks are what the float32 network answers: the truth is its own."""

    def __init__(self, count: int, network: torch.nn.Module):
        super().__init__(count)
        self.network = network

    def __getitem__(self, index: int):
        sample = super().__getitem__(index)
        height, width = self.sizes[index]
        image = export_parity.images_of((1, height, width), index)
        sample.image[:] = image[0].numpy()
        with torch.no_grad():
            sample.target[:] = self.network(image)[0].argmax(0).numpy()
        return sample


SMALL = "unet:width=16,depth=3"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> modelfile.Loaded:
    network = export_parity.settled(SMALL, len(parts.CLASSES))
    path = tmp_path_factory.mktemp("small") / "model.safetensors"
    return modelfile.load(parts.saved(path, SMALL, network=network))


@pytest.mark.parametrize(("form", "suffix"), [("onnx", "onnx"), ("openvino", "xml")])
def test_int8_is_smaller_and_nearly_as_good(small, form, suffix, tmp_path):
    part, calibration = Seen(8, small.network), Seen(20, small.network)
    told = {}
    for precision in ("fp32", "int8"):
        wish = Wish(form, tmp_path / f"{precision}.{suffix}", precision, most_lost=20)
        told[precision] = exporting.export(small, wish, part, calibration)
    assert told["fp32"]["argmax_agreement"] > 0.999
    assert 0.9 < told["int8"]["argmax_agreement"] < 1
    assert told["int8"]["bytes"] < 0.5 * told["fp32"]["bytes"]
    assert told["int8"]["written"] == (100 * (1 - told["int8"]["miou_after"]) <= 20)


def test_int8_that_loses_too_much_is_not_written_unless_forced(small, tmp_path):
    """Against its own float32 answers int8 always loses something."""
    part, calibration, out = Seen(8, small.network), Seen(20, small.network), tmp_path / "int8.onnx"
    refused = exporting.export(small, Wish("onnx", out, "int8", most_lost=0), part, calibration)
    assert refused["difference"] < 0
    assert (refused["written"], list(tmp_path.iterdir())) == (False, [])
    forced = exporting.export(small, Wish("onnx", out, "int8", most_lost=0, force=True), part, calibration)
    assert (forced["written"], out.stat().st_size) == (True, forced["bytes"])
    assert forced["miou_after"] == refused["miou_after"]


def test_accuracy_control_takes_layers_back_to_float32(small, tmp_path):
    """Until what it is given to check loses no more than it may."""
    model = onnx_file.model_of(program.traced(small.network, torch.uint8))
    part = Seen(16, small.network)
    images, checked = exporting._ranges(part), list(range(1, 16, 2))

    def score(answers, chosen) -> float:
        return score_on(answers, part, chosen, small.task)

    lost, layers = {}, {}
    for most in (1.0, 0.04):
        found = openvino_file.quantized(openvino_file.model_of(model), images, checked, score, most)
        layers[most] = sum(op.get_type_name() == "FakeQuantize" for op in found.get_ops())
        openvino_file.save(found, tmp_path / "int8.xml", "{}")
        lost[most] = 1 - score(openvino_file.Compiled(tmp_path / "int8.xml", "int8"), checked)
    assert lost[1.0] > 0.04 >= lost[0.04]
    assert 0 < layers[0.04] < layers[1.0]


def test_int8_is_proved_on_images_that_had_no_say(tmp_path, monkeypatch):
    """Ranges come from every second image of the train part, the accuracy control from the others."""
    used = []
    part = parts.Memory(10)
    monkeypatch.setattr(parts.Memory, "__getitem__", lambda self, index: used.append(index) or GET(self, index))
    exporting._ranges(part)
    assert used == [0, 2, 4, 6, 8]
    assert len(exporting._spread(parts.Memory(1000))) == 2 * exporting.CALIBRATION


GET = parts.Memory.__getitem__
