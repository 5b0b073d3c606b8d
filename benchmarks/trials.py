"""CamVid and a folder of photos -> the trials of recipes/trials, run or continued; what they found: results/trials.

    python benchmarks/trials.py ../camvid ../scenes64
    python benchmarks/trials.py ../camvid ../scenes64 --only segnet networks --workers 2

CamVid is made small first (128x96; for the trial of the defaults 240x180): two cores can then train five seeds of
everything. A trial that is in results/trials with the seeds and variants of its file is not run again; one that was
stopped goes on. Of each, results keep what holds no picture of the data: the rule, the result, curves, tables, page.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the small copies, which other benchmarks make too

import segtrial as st
from benchmarks.small_copies import make_small
from segtrial.comparison.request import read_request
from segtrial.console import watching
from segtrial.files import write_atomic
from segtrial.reports import comparison_records, comparison_report
from segtrial.reports.comparison_records import Comparison

HERE = Path(__file__).resolve().parent.parent
SMALL = {"camvid": (128, 96), "camvid-half": (240, 180)}
"""Folder below runs/small -> the pixels of CamVid's pictures there, from left to right and down."""
CLASSIFIER = {
    "task": "classification",
    "model": "classifier",
    "steps": 600,
    "phases": [{"share": 1, "batch": 64, "crop": 1, "scale": [0.8, 1.25]}],
    "threads": 1,
}
"""Of six kinds of photos; its encoder is carried into a segmenter."""
CURVES = "curves.json"
KEPT = ("comparison.yaml", "comparison.json", "comparison.csv", "comparison.md", "comparison.tex")


def main() -> None:
    """Run what is asked for, one trial after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("camvid", type=Path, help="the folder with train, trainannot, val and valannot")
    parser.add_argument("photos", type=Path, help="a folder of photos, train and val, such as scenes64")
    parser.add_argument("--only", nargs="*", help="names of trials; default: all of recipes/trials")
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    for name, size in SMALL.items():
        make_small(args.camvid, HERE / "runs/small" / name, size)
    photos = HERE / "runs/small/scenes64"
    if not photos.exists():
        photos.symlink_to(args.photos.resolve())
    if not args.only or "carried" in args.only:
        st.train(recipe=CLASSIFIER | {"data": str(photos)}, out=HERE / "runs/small/classifier")
    for file in sorted((HERE / "recipes/trials").glob("*.yaml")):
        if not args.only or file.stem in args.only:
            run(file, args.workers)


def run(file: Path, workers: int) -> None:
    """One trial, unless its result is there; its files go to results/trials."""
    kept, out = HERE / "results/trials" / file.stem, HERE / "runs/trials" / file.stem
    if is_done(file, kept):
        print(f"{file.stem}: in {kept.relative_to(HERE)}")
        if not (kept / CURVES).exists() and (out / "comparison.json").exists():
            keep(out, kept)
        return
    print(f"{file.stem}: running in {out.relative_to(HERE)}", flush=True)
    with watching() as watch:
        result = st.compare(file, out, workers=workers, watch=watch)
    keep(out, kept)
    for pair in result["pairs"]:
        print(f"{file.stem}: {pair['sentence']}", flush=True)


def is_done(file: Path, kept: Path) -> bool:
    """Whether the kept result has all variants and seeds that the file asks for, each finished."""
    if not (kept / "comparison.json").exists():
        return False
    request, _ = read_request(file)
    told: dict[str, Any] = json.loads((kept / "comparison.json").read_text())
    runs = {variant["name"]: variant["seeds"] for variant in told["variants"]}
    return runs == {name: list(request.seed_list) for name in request.variants}


def keep(out: Path, kept: Path) -> None:
    """Copy rule, result and tables, and the runs' curves; the page is the one without pictures of the data."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        shutil.copyfile(out / name, kept / name)
    found = replace(comparison_records.read(out), shown=())
    write_atomic(kept / "comparison.html", comparison_report.render(found).encode())
    write_atomic(kept / CURVES, (json.dumps(curves(found), separators=(",", ":")) + "\n").encode())


def curves(found: Comparison) -> dict[str, Any]:
    """Of each variant and seed: steps, losses and scores, of train (single batches) and of val."""
    score = found.told["score"]
    lines = {
        variant: {str(seed): {"train": runs[0].train, "val": runs[0].val} for seed, runs in seeds.items()}
        for variant, seeds in found.runs.items()
    }
    return {
        "schema": 1,
        "score": score,
        "variants": {
            variant: {seed: {part: _columns(log, score) for part, log in run.items()} for seed, run in seeds.items()}
            for variant, seeds in lines.items()
        },
    }


def _columns(log: Sequence[Mapping[str, Any]], score: str) -> dict[str, list[Any]]:
    columns = {"steps": "step", "losses": "loss", "scores": score}
    return {name: [_rounded(line.get(field)) for line in log] for name, field in columns.items()}


def _rounded(value: float | None) -> float | None:
    return float(f"{value:.4g}") if isinstance(value, float) else value


if __name__ == "__main__":
    main()
