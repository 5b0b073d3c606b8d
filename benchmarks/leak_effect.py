"""CamSeq01 and CamVid -> what a leaking split makes of a score: one network and recipe, split twice, tested elsewhere.

    python benchmarks/leak_effect.py ../camseq01 ../camvid --work runs/leak --out results/leak_effect.json

CamSeq01 is one clip of 6.7 s. Seven tenths of its frames train, a fifth is val:

    random   val frames drawn at random from the clip: each has a training frame 1/15 s away
    time     val is the end of the clip, a gap before it is dropped: the same street, later

Both networks are then tested on frames that have nothing to do with the clip: CamVid's other sequences. As many
frames train in both, at the size of CamVid's (480x360), with 11 classes, for as many steps, with the same seeds. For
each seed the random split is drawn anew. Intervals are Student's over seeds, so they speak of new training runs and,
for the random split, of new draws; not of new streets. What is in --out already is not run again.
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np
import yaml
from PIL import Image
from scipy import stats

import segtrial as st
from segtrial import hardware
from segtrial.data import open_dataset
from segtrial.data.leakage import leak_report

MERGES = {
    "sky": ["Sky"],
    "building": ["Building", "Wall"],
    "pole": ["Column_Pole"],
    "road": ["Road", "LaneMkgsDriv"],
    "pavement": ["Sidewalk"],
    "tree": ["Tree", "VegetationMisc"],
    "sign": ["SignSymbol", "Misc_Text", "TrafficLight"],
    "fence": ["Fence"],
    "car": ["Car", "Truck_Bus"],
    "pedestrian": ["Pedestrian"],
    "bicyclist": ["Bicyclist"],
}
"""CamVid's 11 classes, of the 32 colours of CamSeq01; the others count nowhere."""

CAMVID_ORDER = tuple(MERGES)
TRAIN, VAL = 65, 20
CLIP, OTHERS = "0016E5", ("0001TP", "0006R0")
"""CamVid's sequences with masks in its train part: that of the clip, and the others."""
SIZE = (480, 360)
SCORE = "miou_dataset"
PLAIN = ("loss.name=cross_entropy", "norm_statistics=running")
"""Said here, so that the record keeps its meaning when defaults change."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camseq01", type=Path, help="the CamSeq01 folder: images/, labels/, label_colors.txt")
    parser.add_argument("camvid", type=Path, help="the CamVid folder: train/, trainannot/")
    parser.add_argument("--work", type=Path, default=Path("runs/leak"), help="where data and runs are put")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("results/leak_effect.json"))
    options = parser.parse_args()
    record = json.loads(options.out.read_text()) if options.out.exists() else {"schema": 1, "runs": []}
    record |= {"machine": hardware.describe(), "steps": options.steps, "train": TRAIN, "val": VAL}
    small_copy(options.camseq01, options.work / "clip")
    elsewhere = other_streets(options.camvid, options.work)
    for seed in range(options.seeds):
        for split in ("random", "time"):
            if not any(run["seed"] == seed and run["split"] == split for run in record["runs"]):
                record["runs"].append(one_run(split, seed, options.steps, elsewhere, options.work))
                options.out.write_text(json.dumps(record | {"table": table(record["runs"])}, indent=1) + "\n")
    for split, cells in table(record["runs"]).items():
        print(split, cells)


def small_copy(source: Path, clip: Path) -> None:
    """The clip at CamVid's size, masks by their nearest pixel."""
    if (clip / "label_colors.txt").exists():
        return
    for folder, method in (("images", Image.Resampling.BOX), ("labels", Image.Resampling.NEAREST)):
        (clip / folder).mkdir(parents=True, exist_ok=True)
        for path in sorted((source / folder).iterdir()):
            with Image.open(path) as picture:
                picture.convert("RGB").resize(SIZE, method).save(clip / folder / f"{path.stem}.png")
    (clip / "label_colors.txt").write_bytes((source / "label_colors.txt").read_bytes())


def other_streets(camvid: Path, work: Path) -> Path:
    """A description of CamVid's frames outside the clip's sequence, with classes in the order that the clip's have."""
    about = {
        "root": str(camvid.resolve()),
        "images": "train",
        "masks": "trainannot",
        "classes": [{"name": name, "ids": [CAMVID_ORDER.index(name)]} for name in order_of(work / "clip")],
        "ignore": [len(CAMVID_ORDER)],
        "splits": {"test": list(OTHERS), "train": [CLIP]},
    }
    path = work / "streets.yaml"
    path.write_text(yaml.safe_dump(about, sort_keys=False))
    return path


def order_of(clip: Path) -> list[str]:
    """The merged classes in the order of the table's colours."""
    merged = {source: name for name, sources in MERGES.items() for source in sources}
    table = [line.split("\t")[-1].strip() for line in (clip / "label_colors.txt").read_text().splitlines()]
    return list(dict.fromkeys(merged[name] for name in table if name in merged))


def one_run(split: str, seed: int, steps: int, elsewhere: Path, work: Path) -> dict[str, object]:
    """Train on the clip with that split, and score val and the other streets."""
    data = described(split, seed, work)
    run = work / f"{split}-{seed}"
    st.train(data=data, out=run, steps=steps, seed=seed, settings=PLAIN)
    near = leak_report(*[open_dataset(data)] * 2, parts=("train", "val")).share
    own, other = st.evaluate(run), st.evaluate(run, data=elsewhere, split="test")
    scores = {"val": own["scores"][SCORE], "elsewhere": other["scores"][SCORE]}
    print(f"{split} seed {seed}: near neighbours {near:.0%}, {scores}", flush=True)
    return {"split": split, "seed": seed, "near": near, **scores, "n_elsewhere": other["n_images"]}


def described(split: str, seed: int, work: Path) -> Path:
    """A description of the clip with that split's lists of frames."""
    names = sorted(path.stem for path in (work / "clip" / "images").iterdir())
    train, val = names[:TRAIN], names[-VAL:]
    if split == "random":
        drawn = random.Random(seed).sample(names, TRAIN + VAL)
        train, val = drawn[:TRAIN], drawn[TRAIN:]
    kept = {name for sources in MERGES.values() for name in sources}
    table = [line.split("\t")[-1].strip() for line in (work / "clip" / "label_colors.txt").read_text().splitlines()]
    about = {
        "root": "clip",
        "merges": {source: name for name, sources in MERGES.items() for source in sources},
        "drops": [name for name in table if name not in kept and name != "Void"],
        "splits": {
            "train": [f"images/{name}" for name in sorted(train)],
            "val": [f"images/{name}" for name in sorted(val)],
        },
    }
    path = work / f"{split}-{seed}.yaml"
    path.write_text(yaml.safe_dump(about, sort_keys=False))
    return path


def table(runs: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Split -> val, elsewhere and what val promises too much: mean and 95 % interval over seeds."""
    cells: dict[str, dict[str, dict[str, float]]] = {}
    for split in ("random", "time"):
        own = [run for run in runs if run["split"] == split]
        columns = {name: np.array([run[name] for run in own]) for name in ("near", "val", "elsewhere")}
        columns["promised"] = columns["val"] - columns["elsewhere"]
        cells[split] = {name: interval(values) for name, values in columns.items() if len(own) > 1}
    return cells


def interval(values: np.ndarray) -> dict[str, float]:
    """Student's interval of the mean."""
    mean = float(values.mean())
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return {"mean": mean, "low": mean - half, "high": mean + half, "n": len(values)}


if __name__ == "__main__":
    main()
