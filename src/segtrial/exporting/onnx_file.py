"""A torch program -> an ONNX file with its card, its int8 twin, and either of them running in ONNX Runtime."""

import json
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from segtrial.errors import UserError
from segtrial.exporting.card import INPUT, KEY, OUTPUT

OPSET = 20
"""Of ONNX, January 2024."""


def model_of(program: ExportedProgram) -> Any:
    """The program as an onnx.ModelProto of OPSET, its free axes called b, h and w.

    Raises UserError, naming the operator, for one that ONNX has no words for.
    """
    named: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
    named["dynamic_shapes"] = ({0: "b", 2: "h", 3: "w"},)
    try:
        made = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **named)
    except torch.onnx.errors.OnnxExporterError as error:
        operators = re.findall(r"aten[_.:]+\w+", f"{error.__cause__} {error}")
        found = f"its operator {operators[0] if operators else '?'} cannot be written as ONNX for images of any size"
        raise UserError("the network", found, "Use --format torch") from error
    assert made is not None, "the exporter of programs returns what it made"
    return made.model_proto


def save(model: Any, path: Path, card: str) -> None:
    """Write an onnx.ModelProto with the card in its metadata, once ONNX's own checker has passed it."""
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, card
    import_module("onnx").checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def quantized(model: Any, images: Iterable[Tensor], folder: Path) -> Any:
    """The model with convolutions in int8: static quantisation, ranges taken from `images` (`b c h w` each).

    Weights have a scale for each output channel, activations are uint8 with the smallest and largest value seen; the
    graph says so by QuantizeLinear and DequantizeLinear (QDQ). Files it needs on the way are made in `folder`.

    Jacob et al. Quantization and training of neural networks for efficient integer-arithmetic-only inference. CVPR
    2018.
    """
    quantization = import_module("onnxruntime.quantization")
    shape_inference = import_module("onnxruntime.quantization.shape_inference")
    plain, folded, done = (folder / f"{name}.onnx" for name in ("plain", "folded", "int8"))
    plain.write_bytes(model.SerializeToString())
    shape_inference.quant_pre_process(str(plain), str(folded), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(folded),
        str(done),
        _Images(images),
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    return import_module("onnx").load(str(done))


class Session:
    """An ONNX file in ONNX Runtime on the CPU: images `b c h w` -> scores `b k h w`."""

    def __init__(self, path: Path):
        runtime = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # it would slow torch, timed in turn
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def __call__(self, images: Tensor) -> Tensor:
        (scores,) = self._session.run([OUTPUT], {INPUT: images.numpy()})
        return torch.from_numpy(scores)

    @property
    def card(self) -> dict[str, Any]:
        """What the file says of itself."""
        return json.loads(self._session.get_modelmeta().custom_metadata_map[KEY])


class _Images:
    """What onnxruntime calls a CalibrationDataReader."""

    def __init__(self, images: Iterable[Tensor]):
        self._images: Iterator[Tensor] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        images = next(self._images, None)
        return None if images is None else {INPUT: images.numpy()}
