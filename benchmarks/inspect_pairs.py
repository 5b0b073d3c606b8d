"""20,000 generated pairs of 64x64 -> segtrial.inspection.inspect against a plain loop: pairs/s, ratio, peak memory.

    python benchmarks/inspect_pairs.py --out results/inspect_pairs.json

The folder is made in a temporary place: smooth RGB pictures and masks of six classes as PNG, train and val, with copies
planted in val. Inspection runs whole, with all its checks (copies and near neighbours, too): cold, and warm from its
cache. The plain loop does the least that such a check must do, with Pillow and numpy: open both, convert, compare
sizes, count the classes, find equal files. Every run is a process of its own on the cores that it is given, turn by
turn; the files are in the page cache for all. Both must count the same pixels and find the same copies.
Targets: >= 500 pairs/s on one core, cold; memory that grows by a few kB a pair.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

SIDE, CLASSES, COPIES = 64, 6, 0.01
SMALL, LARGE = 5_000, 20_000


def picture(seed: int, channels: int, coarse: int) -> np.ndarray:
    """Smooth random shades, h w c."""
    pixels = np.random.default_rng((seed, channels)).integers(0, 256, (coarse, coarse, channels), dtype=np.uint8)
    layers = [
        Image.fromarray(pixels[:, :, one]).resize((SIDE, SIDE), Image.Resampling.BICUBIC) for one in range(channels)
    ]
    return np.stack([np.asarray(layer) for layer in layers], axis=2)


def generate(folder: Path, pairs: int) -> None:
    """Write the pairs: the last hundredth are pictures of train in val, byte for byte, with the same masks."""
    fresh = pairs - int(COPIES * pairs)
    for part in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / part / kind).mkdir(parents=True)
    for number in range(pairs):
        part = "train" if number < 0.8 * pairs else "val"
        seed = number if number < fresh else number - fresh
        Image.fromarray(picture(seed, 3, 8)).save(folder / part / "images" / f"{number:05}.png")
        mask = picture(seed, CLASSES, 4).argmax(2).astype(np.uint8)
        Image.fromarray(mask).save(folder / part / "masks" / f"{number:05}.png")


def plain_loop(folder: Path) -> tuple[list[int], int]:
    """Pixels of each class and copies of earlier files, by Pillow and numpy. Raises if a pair does not fit."""
    totals, digests, copies = np.zeros(256, np.int64), set(), 0
    for image in sorted(folder.glob("*/images/*.png")):
        with Image.open(image) as opened:
            pixels = np.asarray(opened.convert("RGB"))
        with Image.open(image.parents[1] / "masks" / image.name) as opened:
            mask = np.asarray(opened)
        assert mask.shape == pixels.shape[:2], image
        totals += np.bincount(mask.ravel(), minlength=256)
        digest = hashlib.sha256(image.read_bytes()).digest()
        copies += digest in digests
        digests.add(digest)
    return totals.tolist()[:CLASSES], copies


def inspection(folder: Path, cache: Path, processes: int) -> tuple[list[int], int]:
    """The same of a whole inspection."""
    from segtrial.inspection import inspect

    found = inspect(folder, cache=cache, processes=processes)
    totals = np.sum([record.counts for record in found.records], axis=0).tolist()
    return totals[:CLASSES], sum(one.count for one in found.findings if one.code == "duplicate.across")


def peak() -> int:
    """Bytes of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def run_here(how: str, folder: Path, cache: Path, cores: int) -> dict:
    """What one process of the benchmark does and measures."""
    import segtrial.inspection  # noqa: F401 (loading is no part of what is timed)

    before, start = peak(), time.perf_counter()
    totals, copies = plain_loop(folder) if how == "plain" else inspection(folder, cache, cores)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "before": before, "peak": peak(), "totals": totals, "copies": copies}


def run(how: str, folder: Path, cache: Path, cores: int) -> dict:
    """One run, in a process of its own, on the first `cores` cores that there are."""
    environment = os.environ | {"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)}
    given = sorted(os.sched_getaffinity(0))[:cores]
    command = [sys.executable, __file__, "--one", how, str(folder), str(cache), str(cores)]
    answer = subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment,
        preexec_fn=lambda: os.sched_setaffinity(0, given),
    )  # fmt: skip
    return json.loads(answer.stdout)


def measure(base: Path, pairs: int, rounds: int, cores: int) -> dict[str, list[dict]]:
    """All runs on one folder: cold and warm after the plain loop, on one core and on all."""
    folder = base / f"pairs-{pairs}"
    generate(folder, pairs)
    runs: dict[str, list[dict]] = {}
    for number in range(rounds):
        cache = base / f"cache-{pairs}-{number}"
        one = [("plain", "plain", 1), ("cold", "inspect", 1), ("warm", "inspect", 1)]
        several = [(f"{name}_{cores}_cores", how, cores) for name, how, _ in one[1:]] if cores > 1 else []
        for name, how, count in (*one, *several):
            runs.setdefault(name, []).append(run(how, folder, cache / str(count), count))
            print(
                f"{pairs} pairs, {name}: {pairs / runs[name][-1]['seconds']:.0f} pairs/s", file=sys.stderr, flush=True
            )
    answers = {json.dumps([one["totals"], one["copies"]]) for members in runs.values() for one in members}
    assert answers == {json.dumps([runs["plain"][0]["totals"], int(COPIES * pairs)])}, "not the same counts and copies"
    return runs


def rate(runs: list[dict], pairs: int) -> float:
    return round(pairs / statistics.median(one["seconds"] for one in runs), 1)


def megabytes(runs: list[dict]) -> float:
    """What a run adds to what it holds before it begins."""
    return max(one["peak"] - one["before"] for one in runs) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--pairs", type=int, nargs=2, default=[SMALL, LARGE], metavar=("SMALL", "LARGE"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cores", type=int, default=min(2, len(os.sched_getaffinity(0))))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        how, folder, cache, cores = options.one
        print(json.dumps(run_here(how, Path(folder), Path(cache), int(cores))))
        return

    small, large = options.pairs
    with tempfile.TemporaryDirectory() as base:
        few = measure(Path(base), small, options.rounds, options.cores)
        many = measure(Path(base), large, options.rounds, options.cores)
    ratios = sorted(plain["seconds"] / cold["seconds"] for plain, cold in zip(many["plain"], many["cold"], strict=True))
    grown = {name: (megabytes(many[name]) - megabytes(few[name])) / (large - small) * 1e3 for name in few}  # kB a pair
    record = {
        "schema": 1,
        "what": f"pairs of {SIDE}x{SIDE} PNG: a plain loop with Pillow and numpy / a whole inspection, turn by turn",
        "pairs": large,
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[0], 2),
        "ratio_high": round(ratios[-1], 2),
        "n": len(ratios),
        "pairs_per_second": {name: rate(runs, large) for name, runs in many.items()},
        f"pairs_per_second_of_{small}": {name: rate(runs, small) for name, runs in few.items()},
        "peak_mb": {name: round(max(one["peak"] for one in runs) / 1e6, 1) for name, runs in many.items()},
        f"peak_mb_of_{small}": {name: round(max(one["peak"] for one in runs) / 1e6, 1) for name, runs in few.items()},
        "kb_per_pair": {name: round(one, 2) for name, one in grown.items()},
        "copies_found": many["cold"][0]["copies"],
        "cores": options.cores,
        "versions": {"pillow": PIL.__version__, "numpy": np.__version__, "python": platform.python_version()},
    }
    print(json.dumps(record, indent=2))
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
