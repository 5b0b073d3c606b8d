"""A finished run -> how far its confidence can be believed on images that its temperature was not fitted on.

    python benchmarks/temperature.py runs/first --out results/temperature.json
    python benchmarks/temperature.py runs/first --block-frames 600

The groups of the val part (or, with --block-frames, the stretches of a video) are dealt to two halves in their order,
the first half to the first, so that neighbours stay together. Each half gives a temperature, and the other one is
scored with and without it: calibration error and likelihood. Nothing is written into the run.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from segtrial import api, console
from segtrial.calibration import fit_temperature
from segtrial.explaining.temperature import Drawn, draw, trust
from segtrial.statistics import video_blocks


class Halves:
    """A part whose groups are called "0" and "1": the first and the second half of its blocks, in order."""

    def __init__(self, part: Any, frames: int | None):
        self.part, self.keys, self.sizes = part, part.keys, part.sizes
        blocks = video_blocks(part.keys, part.groups, frames)
        order = list(dict.fromkeys(block for _, block in sorted(zip(part.keys, blocks, strict=True))))
        if len(order) < 2:
            raise SystemExit(f"one block only ({order[0]}): give --block-frames")
        self.groups = [str(int(order.index(block) >= len(order) / 2)) for block in blocks]
        self.blocks = len(order)

    def __getitem__(self, index: int) -> Any:
        sample = self.part[index]
        return type(sample)(sample.image, sample.target, sample.key, self.groups[index])


def measured(drawn: Drawn, fitted_on: int) -> dict[str, Any]:
    """The temperature of one half, and the other half without and with it."""
    here, there = drawn.fold == fitted_on, drawn.fold != fitted_on
    found = fit_temperature(drawn.logits[here], drawn.target[here])
    scores, target = drawn.logits[there], drawn.target[there]
    before, after = (asdict(trust(scores, target, temperature)) for temperature in (1, found))
    pixels = {"fitted_pixels": int(here.sum()), "scored_pixels": int(there.sum())}
    return {"fitted_on": fitted_on, "temperature": found, "before": before, "after": after, **pixels}


def main() -> int:
    """Measure one run, print a line for each half, and write them if asked to."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", default=None)
    parser.add_argument("--block-frames", type=int, default=None)
    parser.add_argument("--out", type=Path, default=None)
    words = parser.parse_args()
    loaded = api.load(words.run)
    with console.watching() as watch:
        part = Halves(api.stores(words.run, loaded, words.data, ("val",), watch)[0], words.block_frames)
        drawn = draw(loaded, part, 2, lambda done, total: watch.bar(done, total, "scoring"))
    rows = [measured(drawn, half) for half in (0, 1)]
    told = {"schema": 1, "network": loaded.header.architecture, "images": len(part.keys), "blocks": part.blocks,
            "torch": torch.__version__, "halves": rows}  # fmt: skip
    for row in rows:
        for name in ("ece", "nll"):
            print(f"half {1 - row['fitted_on']} at T = {row['temperature']:.3f} of the other: {name.upper()} "
                  f"{row['before'][name]:.4f} -> {row['after'][name]:.4f}")  # fmt: skip
    if words.out:
        words.out.parent.mkdir(parents=True, exist_ok=True)
        words.out.write_text(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
