"""Random kills -> how many runs ended with the same bits as an undisturbed one (law 3).

    python benchmarks/kills.py --kills 200 --out results/kills.json

Each run is killed by SIGKILL at a random moment and started again with the same command; then SHA-256 of its model,
metrics, counts and evaluation are compared with those of a run that nobody disturbed. No failure in n kills means
a rate of at most 3/n at 95 % confidence.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the harness lives with the tests that use it

from tests.training.killing import Forks, digests, killed_at_random, train_words, until_done


def main() -> int:
    """Run the kills, print the tally, and return 0 if every run ended with the same bits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tally = storm(Path(folder), words.kills, words.seed)
    print(json.dumps(tally, indent=1))
    if words.out:
        words.out.write_text(json.dumps(tally, indent=1) + "\n")
    return 0 if tally["equal"] == tally["runs"] else 1


def storm(folder: Path, kills: int, seed: int) -> dict:
    """{"runs", "equal", "killed", ...}: `killed` of the `runs` starts were hit before they had ended."""
    forks = Forks(folder / "cache")
    until_done(forks, train_words(folder / "first"))
    seconds = until_done(forks, train_words(folder / "whole"))["seconds"]
    wanted = digests(folder / "whole")
    equal = killed = 0
    for number in range(kills):
        run = folder / f"run{number}"
        code = killed_at_random(forks, run, seconds, random.Random(f"{seed}/{number}"))
        killed += code != 0
        equal += digests(run) == wanted
        print(f"{number + 1}/{kills}: {killed} killed, {equal} equal", file=sys.stderr)
    forks.close()
    return {
        "runs": kills,
        "equal": equal,
        "killed": killed,
        "seconds_undisturbed": round(seconds, 2),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    sys.exit(main())
