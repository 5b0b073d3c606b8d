"""A loaded model and the user's own images -> a file for another engine, and the proof of what it keeps.

    onnx      FILE.onnx              for ONNX Runtime and whatever else reads ONNX; fp32 or int8
    openvino  FILE.xml and FILE.bin  for OpenVINO; fp32, bf16 or int8
    torch     FILE.pt2               for torch.export.load; fp32

The file holds the whole network (`segtrial.models._whole`): normalisation, padding and crop, for any batch and size. It
is made in a temporary folder, loaded from there, and run beside torch on every image of the part that proves it; only
then is it put in place.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtrial.errors import UserError
from segtrial.evaluation import Part
from segtrial.exporting import onnx_file, openvino_file, program
from segtrial.exporting.card import card
from segtrial.exporting.proof import SCORE, Answers, prove, score_on
from segtrial.exporting.wish import Wish, put
from segtrial.modelfile import Loaded

CALIBRATION = 32
"""Images of the train part that int8 takes its ranges from; so many others say what a layer in int8 costs."""


def export(
    loaded: Loaded,
    wish: Wish,
    part: Part,
    calibration: Part | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make the file that is wished for, prove it on `part`, and write it if it loses no more than it may.

    Returns the object that `segtrial export --json` prints, schema 1; `written` says whether there is a file. int8
    needs `calibration`: another part, with masks. `progress(done, of)` counts the images of the proof.

    Raises UserError for a task without mIoU, and for a network whose sizes cannot be left open.
    """
    task = loaded.task
    if SCORE not in task.table:
        found = f"it is not scored by {SCORE}, by which a file proves what it keeps"
        raise UserError(f"task {task.name}", found, "Export a network for segmentation, binary or multilabel")
    with tempfile.TemporaryDirectory(prefix="segtrial-") as folder:
        place = Path(folder) / wish.out.name
        exported = _made(loaded, wish, place, part, calibration)
        proof = prove(loaded.network, exported, part, task, progress)
        made = {file: (place.parent / file.name).read_bytes() for file in wish.files}
    written = wish.force or proof.loses_at_most(wish.most_lost)
    if written:
        put(made)
    return {
        "schema": 1,
        "format": wish.format,
        "precision": wish.precision,
        "files": [str(file) for file in reversed(wish.files)],
        "written": written,
        "bytes": sum(map(len, made.values())),
        **proof.to_json(),
        "most_loss": wish.most_lost,
        "threads": torch.get_num_threads(),
    }


def _made(loaded: Loaded, wish: Wish, path: Path, part: Part, calibration: Part | None) -> Answers:
    """Make the file at `path`, and read it again."""
    numbers = torch.tensor(part[0].image).dtype
    graph = program.traced(loaded.network, numbers)
    words = card(loaded, numbers=str(numbers).removeprefix("torch."), precision=wish.precision)
    if wish.format == "torch":
        program.save(graph, path, words)
        return program.Program(path)
    model = onnx_file.model_of(graph)
    if wish.format == "onnx":
        if wish.precision == "int8":
            model = onnx_file.quantized(model, _ranges(calibration), path.parent)
        onnx_file.save(model, path, words)
        return onnx_file.Session(path)
    network = openvino_file.model_of(model)
    if wish.precision == "int8":
        network = _openvino_int8(network, loaded, wish, calibration)
    openvino_file.save(network, path, words)
    return openvino_file.Compiled(path, wish.precision)


def _openvino_int8(network: Any, loaded: Loaded, wish: Wish, calibration: Part | None) -> Any:
    """It may lose half of what the file may: the images that decide here are not those that prove it."""
    assert calibration is not None, "int8 takes its ranges from images"

    def score(answers: Answers, chosen: Sequence[int]) -> float:
        return score_on(answers, calibration, chosen, loaded.task)

    checked = _spread(calibration)[1::2] or [0]
    return openvino_file.quantized(network, _ranges(calibration), checked, score, wish.most_lost / 200)


def _ranges(part: Part | None) -> list[Tensor]:
    """The images `1 c h w` that int8 takes its ranges from."""
    assert part is not None, "int8 takes its ranges from images"
    return [torch.tensor(part[index].image)[None] for index in _spread(part)[::2]]


def _spread(part: Part) -> list[int]:
    """Numbers of at most 2 * CALIBRATION images, evenly spread over the part."""
    count, most = len(part.keys), 2 * CALIBRATION
    return list(range(count)) if count <= most else [number * count // most for number in range(most)]
