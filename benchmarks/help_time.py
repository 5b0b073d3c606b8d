"""Verbs -> the seconds until their help is printed: median and range of several processes each.

    python benchmarks/help_time.py --out results/help_time.json

Target: less than half a second on a quiet core. That no help loads torch is a test (`tests/test_cli.py`).
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from segtrial import hardware
from segtrial.files import write_json

VERBS = ("", "train", "inspect", "predict", "compare", "serve")


def main() -> None:
    """Ask for help, again and again."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {verb: [] for verb in VERBS}
    for _ in range(options.rounds + 1):
        for verb in VERBS:
            seconds[verb].append(timed([*([verb] if verb else []), "--help"]))
    rows = {f"segtrial {verb}".strip(): spread(times[1:]) for verb, times in seconds.items()}  # the first fills caches
    for name, row in rows.items():
        print(f"{name} --help: {row['median']:.2f} s ({row['low']:.2f} to {row['high']:.2f}, n = {options.rounds})")
    if options.out:
        write_json(options.out, {"schema": 1, "rounds": options.rounds, "seconds": rows, **hardware.describe()})


def timed(words: list[str]) -> float:
    """Seconds of one process."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "segtrial", *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def spread(times: list[float]) -> dict[str, float]:
    """Median, least and most."""
    return {"median": statistics.median(times), "low": min(times), "high": max(times)}


if __name__ == "__main__":
    main()
