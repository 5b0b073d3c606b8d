"""A loaded model -> what its exported file says of itself, to programs that do not have Segtrial."""

import json
from importlib.metadata import version
from typing import Any

from segtrial.modelfile import Loaded

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
        "inside": {
            "mean": list(header.mean),
            "std": list(header.std),
            "sees": network.sees,
            "pads_to": network.multiple,
        },
        "tiling": tiling(header.image_sizes.largest, network.multiple),
        "precision": precision,
        "architecture": {"name": header.architecture, "options": header.options},
        "provenance": header.provenance.model_dump(),
        "model": loaded.digest,
    }
    return json.dumps(told, allow_nan=False)


def tiling(seen: tuple[int, int], multiple: int) -> dict[str, Any]:
    """How to answer for images much larger than `seen` (h, w), the largest that the network was scored on.

    Tiles of that size, on the grid of multiples that the network pads to, each overlapping its neighbours by a quarter
    or more; where tiles overlap, their scores are averaged with weights that fall to 0 at a tile's border.
    """
    tile = [side + -side % multiple for side in seen]
    overlap = [side // 4 + -(side // 4) % multiple for side in tile]
    return {"tile": tile, "overlap": overlap, "grid": multiple, "blend": "weights fall linearly to the border"}
