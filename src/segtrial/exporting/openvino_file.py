"""An ONNX model -> OpenVINO's pair of files with the card, its int8 twin, and either of them running."""

import json
import os
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtrial.errors import UserError
from segtrial.exporting.card import INPUT, KEY

HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""What OpenVINO is asked to compute in (INFERENCE_PRECISION_HINT), by precision; int8 where the file says so."""


def model_of(onnx_model: Any) -> Any:
    """The same network as an openvino.Model.

    Raises UserError for the operator that OpenVINO reads and computes otherwise: cubic resizing that smooths where it
    shrinks, by which a vision transformer fits its position codes to the image.
    """
    for node in onnx_model.graph.node:
        if node.op_type == "Resize" and any(each.name == "antialias" and each.i for each in node.attribute):
            found = "OpenVINO computes its operator Resize(antialias=1) otherwise (position codes of a transformer)"
            raise UserError("the network", found, "Use --format onnx or torch")
    return import_module("openvino").Core().read_model(onnx_model.SerializeToString())


def save(model: Any, path: Path, card: str) -> None:
    """Write `path` (.xml) and beside it the weights (.bin), in the numbers that the model has, with the card."""
    model.set_rt_info(card, [KEY])
    import_module("openvino").save_model(model, path, compress_to_fp16=False)


def quantized(
    model: Any,
    images: Sequence[Tensor],
    checked: Sequence[int],
    score: Callable[[Callable[[Tensor], Tensor], Sequence[int]], float],
    most_lost: float,
) -> Any:
    """The model in int8, as far as it keeps its score: static quantisation with accuracy control (NNCF).

    Ranges are taken from `images` (`b c h w` each). `score(answers, numbers)` scores a network on the images of those
    numbers; layers go back to float32, those that hurt most first, until the score on `checked` falls by no more than
    `most_lost`.
    """
    os.environ.setdefault("NNCF_CI", "1")  # else it reports to its makers that it was used
    nncf = import_module("nncf")

    def validate(compiled: Any, numbers: Any) -> tuple[float, None]:
        return score(lambda pixels: torch.from_numpy(compiled({INPUT: pixels.numpy()})[0]), list(numbers)), None

    return nncf.quantize_with_accuracy_control(
        model,
        calibration_dataset=nncf.Dataset(images, lambda pixels: {INPUT: pixels.numpy()}),
        validation_dataset=nncf.Dataset(checked),
        validation_fn=validate,
        max_drop=most_lost,
        preset=nncf.QuantizationPreset.MIXED,  # activations need not lie evenly around 0
        subset_size=len(images),
    )


class Compiled:
    """A pair of files, compiled for this CPU: images `b c h w` -> scores `b k h w`."""

    def __init__(self, path: Path, precision: str):
        core = import_module("openvino").Core()
        config = {"INFERENCE_PRECISION_HINT": HINTS[precision], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        model = core.read_model(path)
        self.card: dict[str, Any] = json.loads(model.get_rt_info([KEY]).value)
        self._compiled = core.compile_model(model, "CPU", config)

    def __call__(self, images: Tensor) -> Tensor:
        return torch.from_numpy(self._compiled({INPUT: images.numpy()})[0].copy())
