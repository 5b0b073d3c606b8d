"""Every architecture in every format for 20 sizes, and int8: minutes, so all of it is slow."""

import pytest
import torch

from benchmarks import export_parity
from segtrial import exporting, modelfile, models
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


@pytest.mark.parametrize(("form", "suffix"), [("onnx", "onnx"), ("openvino", "xml")])
def test_int8_is_smaller_and_nearly_as_good(form, suffix, tmp_path):
    network = export_parity.settled("unet:width=16,depth=3", len(parts.CLASSES))
    loaded = modelfile.load(parts.saved(tmp_path / "model.safetensors", "unet:width=16,depth=3", network=network))
    part, calibration = Seen(8, loaded.network), Seen(20, loaded.network)
    told = {}
    for precision in ("fp32", "int8"):
        wish = Wish(form, tmp_path / f"{precision}.{suffix}", precision, most_lost=20)
        told[precision] = exporting.export(loaded, wish, part, calibration)
    assert told["fp32"]["argmax_agreement"] > 0.999
    assert 0.9 < told["int8"]["argmax_agreement"] < 1
    assert told["int8"]["bytes"] < 0.5 * told["fp32"]["bytes"]
    assert told["int8"]["written"] == (100 * (1 - told["int8"]["miou_after"]) <= 20)


def test_int8_is_proved_on_images_that_had_no_say(tmp_path, monkeypatch):
    """Ranges come from every second image of the train part, the accuracy control from the others."""
    used = []
    part = parts.Memory(10)
    monkeypatch.setattr(parts.Memory, "__getitem__", lambda self, index: used.append(index) or GET(self, index))
    exporting._ranges(part)
    assert used == [0, 2, 4, 6, 8]
    assert len(exporting._spread(parts.Memory(1000))) == 2 * exporting.CALIBRATION


GET = parts.Memory.__getitem__
