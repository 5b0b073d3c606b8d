"""A loaded model -> what its exported file says of itself, to programs that do not have Segtrial."""

import json
from importlib.metadata import version
from typing import Any

from segtrial.modelfile import Loaded
from segtrial.prediction import tiling

KEY = "segtrial"
"""The name of the card in a file: in ONNX's metadata, in OpenVINO's rt_info, and of a .pt2's extra file with .json."""

INPUT, OUTPUT = "images", "scores"
"""Names of the one input and the one output of an exported network."""

SCHEMA = 1


def card(loaded: Loaded, *, numbers: str, precision: str) -> str:
    """The card as JSON: classes, task, what goes in and comes out, what was done to it, how to cut large images.

    `numbers` is the type of the images that go in, uint8 or float32; `precision` what the file computes in. It holds
    no time, host or path.
    """
    header, network = loaded.header, loaded.network
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "segtrial": version("segtrial"),
        "task": header.task,
        "classes": header.classes.to_json(),
        "input": {
            "name": INPUT,
            "axes": "b c h w",
            "channels": network.channels,
            "numbers": numbers,
            "range": [0, 255] if numbers == "uint8" else [0, 1],
        },
        "output": {"name": OUTPUT, "axes": "b k h w", "channels": loaded.task.outputs, "numbers": "float32"},
        "temperature": header.temperature,
        "inside": {
            "mean": list(header.mean),
            "std": list(header.std),
            "sees": network.sees,
            "pads_to": network.multiple,
        },
        "tiling": tiles(header.image_sizes.largest, network.multiple),
        "precision": precision,
        "architecture": {"name": header.architecture, "options": header.options},
        "provenance": header.provenance.model_dump(),
        "model": loaded.digest,
    }
    return json.dumps(told, allow_nan=False)


def tiles(scored: tuple[int, int], multiple: int) -> dict[str, Any]:
    """How `segtrial predict` cuts images of more than `whole_pixels`, for a network scored on images of up to `scored`.

    Tiles begin at multiples of `grid`, neighbours share `overlap` pixels; where they do, `window` says how scores are
    averaged.
    """
    cut = tiling("auto", None, scored)
    assert cut is not None, "auto cuts large images"
    window = "weights are 0 in the outer quarter of the overlap, then rise linearly to 1"
    return {
        "whole_pixels": cut.whole,
        "tile": list(cut.side),
        "overlap": cut.overlap,
        "grid": multiple,
        "window": window,
    }
