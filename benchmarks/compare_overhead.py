"""Generated counts of 10 runs x 233 images x 12 classes -> the seconds that a comparison takes besides its runs.

    python benchmarks/compare_overhead.py --out results/compare_overhead.json

The runs train two steps of a tiny network and then get generated counts, each image a scene of its own; what they take
is not counted. What is counted is all the rest of `segtrial compare`:

    planning     data opened and decoded, a few steps of each variant timed, leaks looked for, the rule written
    statistics   intervals and verdicts of all pairs with 10,000 draws, images on which they differ most, the result
    page         the page with its figures and classes, and its tables

One core, a minute.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtrial import comparison
from segtrial.comparison.cells import Cell, run_cell
from segtrial.comparison.pool import Failure
from segtrial.evaluation import Counts, save_counts
from segtrial.files import write_json
from segtrial.reports import comparison_report
from segtrial.signals import StopRequest
from segtrial.training.watch import Watch

SHAPES = ((2, 5), (5, 2))
"""Variants and seeds: ten runs each."""
IMAGES, CLASSES, SIZE, TRAIN = 233, 12, (48, 64), 24
MOST_SECONDS = 20.0
BASE: Mapping[str, Any] = {
    "model": "compact:width=4",
    "steps": 2,
    "phases": [{"share": 1, "batch": 2, "crop": 1, "scale": [1, 1]}],
    "schedule": {"name": "constant", "warmup": 0},
    "evaluations": 2,
    "threads": 1,
    "precision": "float32",
    "device": "cpu",
    "checkpoint_seconds": 1000,
}


def write_data(root: Path) -> Path:
    """Pictures of noise with masks of all classes; train, and val with as many images as are compared on."""
    rng = np.random.default_rng(0)
    for part, number in (("train", TRAIN), ("val", IMAGES)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True)
        for index in range(number):
            mask = rng.integers(0, CLASSES, (SIZE[0] // 8, SIZE[1] // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
            image = (mask[..., None] * 15 + rng.integers(0, 60, (*SIZE, 3))).astype(np.uint8)
            Image.fromarray(image).save(root / part / "images" / f"{index}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("".join(f"class{number}\n" for number in range(CLASSES)))
    return root


class Runs:
    """A runner whose runs end with generated counts; `seconds` is what they took."""

    def __init__(self) -> None:
        self.seconds, self.began = 0.0, 0.0

    def __call__(
        self, cells: Sequence[Cell], workers: int, watch: Watch, stop: StopRequest, seconds: Mapping[str, float]
    ) -> list[Failure]:
        self.began = time.perf_counter()
        for number, cell in enumerate(cells):
            run_cell(cell)
            with np.load(cell.rows) as rows:
                keys, groups, truth = rows["keys"], rows["groups"], rows["counts"].sum(axis=2)
            save_counts(cell.rows, Counts(tuple(keys.tolist()), tuple(groups.tolist()), answered(truth, number)))
        self.seconds = time.perf_counter() - self.began
        return []


def answered(truth: np.ndarray, number: int) -> np.ndarray:
    """Counts `n k k` of a network that is right about 60 % of the pixels, some classes more and some runs more."""
    rng = np.random.default_rng(number)
    right = rng.binomial(truth, np.clip(0.6 + 0.02 * rng.standard_normal((1, CLASSES)), 0, 1))
    wrong = rng.multinomial(truth - right, np.full(CLASSES, 1 / CLASSES))
    wrong[:, np.arange(CLASSES), np.arange(CLASSES)] += right
    return wrong.astype(np.int64)


def measured(data: Path, out: Path, variants: int, seeds: int) -> dict[str, Any]:
    """Seconds of each stage."""
    names = {f"v{number}": {"optimizer.lr": 0.01 * (number + 1)} for number in range(variants)}
    request, runs = {"base": {**BASE, "data": str(data)}, "variants": names, "seeds": seeds}, Runs()
    start = time.perf_counter()
    comparison.compare(request, out, workers=1, run=runs)
    compared = time.perf_counter()
    comparison_report.write(out)
    page = time.perf_counter() - compared
    planning = runs.began - start
    statistics = compared - runs.began - runs.seconds
    told = {"variants": variants, "seeds": seeds, "images": IMAGES, "classes": CLASSES}
    stages = {"planning": planning, "statistics": statistics, "page": page, "all": planning + statistics + page}
    return told | {"seconds": {name: round(each, 2) for name, each in stages.items()}}


def main() -> None:
    """Measure each shape in a folder of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as place:
        data = write_data(Path(place) / "data")
        for variants, seeds in SHAPES:
            found.append(measured(data, Path(place) / f"{variants}x{seeds}", variants, seeds))
            print(json.dumps(found[-1]), flush=True)
    if args.out:
        write_json(args.out, {"schema": 1, "most_seconds": MOST_SECONDS, "threads": 1, "cases": found})


if __name__ == "__main__":
    main()
