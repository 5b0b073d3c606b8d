"""Run folders -> tests/real_runs: the records of real runs that tests read, without weights, pictures or places.

    python benchmarks/collect.py runs/a runs/b --out tests/real_runs

Copies recipe, plan, metrics, evaluation, environment and counts of each run. The place where the data lay is replaced
by the layout that was recognised there; everything else is as the run wrote it.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

COPIED = ("metrics.jsonl", "evaluation.json", "environment.json", "counts/val.npz")


def main() -> int:
    """Collect the runs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    for run in words.runs:
        collect(run, words.out / run.name)
    return 0


def collect(run: Path, out: Path) -> None:
    """Copy the records of one finished run."""
    (out / "counts").mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        shutil.copyfile(run / name, out / name)
    plan = json.loads((run / "plan.json").read_text())
    place, plan["recipe"]["data"] = plan["recipe"]["data"], plan["layout"]
    (out / "plan.json").write_text(json.dumps(plan, indent=1) + "\n")
    recipe = (run / "recipe.yaml").read_text()
    (out / "recipe.yaml").write_text(recipe.replace(f"data: {place}\n", f"data: {plan['layout']}\n"))


if __name__ == "__main__":
    sys.exit(main())
