"""Generated streets with errors planted in 5 % of the masks -> how well runs of k folds find them.

    python benchmarks/label_errors.py --out results/label_errors.json
    python benchmarks/label_errors.py --scenes 40 --steps 150 --work FOLDER

The errors are in the masks before anything is trained, as they are in life. A third each: the whole mask shifted by an
eighth of its width; the two commonest of building, road, pavement and tree exchanged; the largest car, person, tree or
sign painted over by what surrounds it. Runs of k folds of whole scenes are trained, and each image is judged by the one
run that left it out.

    AUROC             the chance that a planted image is ranked above one that is right, with a 95 % interval
                      (2000 draws of images with replacement); .5 is guessing
    precision at n    of the n most suspicious images, the share that was planted; n is the number planted

Each is given for the soft minimum, for the plain share of confident disagreement, and for the share of the largest
region of it; `flagged` are the images under label.suspicious.

What lies in --work already is not made again, and runs that were killed go on: give it the same arguments.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from segtrial import api, console
from segtrial.data.split import SplitOptions
from segtrial.data.street import BUILDING, CAR, PAVEMENT, PERSON, ROAD, SIGN, TREE
from segtrial.data.toytown import Toytown, open_toytown
from segtrial.inspection import inspect
from segtrial.inspection.labels import LabelCheck, check_labels, load_judges
from segtrial.randomness import generator

SHARE = 0.05
GROUNDS, THINGS = (BUILDING, ROAD, PAVEMENT, TREE), (CAR, PERSON, TREE, SIGN)
KINDS = ("shifted", "exchanged", "missing")
DRAWS = 2000
PLAIN = ("loss.name=cross_entropy", "norm_statistics=running")
"""Said here, so that the record keeps its meaning when defaults change."""


def shifted(mask: np.ndarray) -> np.ndarray:
    """Moved to the right; what leaves on one side stays as it was on the other."""
    by = mask.shape[1] // 8
    moved = mask.copy()
    moved[:, by:] = mask[:, :-by]
    return moved


def exchanged(mask: np.ndarray) -> np.ndarray:
    """The two commonest of GROUNDS under each other's name."""
    counts = np.bincount(mask.ravel(), minlength=256)
    one, other = sorted(GROUNDS, key=lambda index: -counts[index])[:2]
    table = np.arange(256, dtype=np.uint8)
    table[[one, other]] = other, one
    return table[mask]


def missing(mask: np.ndarray) -> np.ndarray:
    """The largest connected one of THINGS, painted over with the class that is commonest around it."""
    found: list[np.ndarray] = []
    for thing in THINGS:
        marks = np.zeros(mask.shape, np.int32)
        ndimage.label(mask == thing, output=marks)
        found += [marks == number for number in range(1, marks.max() + 1)]
    largest = max(found, key=lambda where: int(where.sum()))
    around = ndimage.binary_dilation(largest, iterations=2) & ~largest
    painted = mask.copy()
    painted[largest] = np.bincount(mask[around]).argmax()
    return painted


def write_streets(root: Path, town: Toytown, seed: int) -> dict[str, str]:
    """Pictures, masks and data.yaml below `root`, if they are not there; key -> kind of each planted error."""
    told = root.parent / "planted.json"
    if told.exists():
        return json.loads(told.read_text())
    keys = [(scene, frame) for scene in range(town.scenes) for frame in range(town.frames)]
    rng = generator(seed, "label errors")
    chosen = rng.permutation(len(keys))[: round(SHARE * len(keys))].tolist()
    kind_of = {place: KINDS[number % len(KINDS)] for number, place in enumerate(chosen)}
    planted = {}
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    for place, (scene, frame) in enumerate(keys):
        sample = town.read(town.item(scene, frame))
        name = f"scene{scene:03}_{'abcdefghij'[frame]}"
        mask = sample.target
        if place in kind_of:
            mask = {"shifted": shifted, "exchanged": exchanged, "missing": missing}[kind_of[place]](mask)
            planted[f"images/{name}"] = kind_of[place]
        Image.fromarray(sample.image.transpose(1, 2, 0)).save(root / "images" / f"{name}.png")
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    names = open_toytown("toytown:scenes=2,frames=1", SplitOptions()).classes.names
    described = {"classes": [{"name": name, "ids": [n]} for n, name in enumerate(names)], "group": r"(scene\d+)_"}
    (root / "data.yaml").write_text(yaml.safe_dump(described))
    told.write_text(json.dumps(planted))
    return planted


def trained(root: Path, words: argparse.Namespace) -> list[Path]:
    """A finished run for each fold."""
    runs = []
    with console.watching() as watch:
        for fold in range(words.folds):
            settings = [f"split.folds={words.folds}", f"split.fold={fold}", "evaluations=1", "threads=1", *PLAIN]
            run = api.train(
                None, root, root.parent / f"fold{fold}", steps=words.steps, seed=words.seed, settings=settings,
                watch=watch,
            )  # fmt: skip
            runs.append(run.path)
    return runs


def auroc(suspicion: np.ndarray, wrong: np.ndarray) -> dict[str, float]:
    """Value and interval; draws without both kinds are drawn again."""
    rng = generator(0, "auroc")
    values: list[float] = []
    while len(values) < DRAWS:
        draw = rng.integers(len(wrong), size=len(wrong))
        if 0 < wrong[draw].sum() < len(wrong):
            values.append(float(roc_auc_score(wrong[draw], suspicion[draw])))
    low, high = np.quantile(values, (0.025, 0.975))
    return {"value": float(roc_auc_score(wrong, suspicion)), "low": float(low), "high": float(high)}


def measured(check: LabelCheck, planted: dict[str, str]) -> dict[str, Any]:
    """How well each score finds the planted images, and how well the finding does."""
    wrong = np.array([row.key in planted for row in check.rows])
    kinds = np.array([planted.get(row.key, "") for row in check.rows])
    scores = {
        "soft_minimum": np.array([-row.quality for row in check.rows]),
        "disagreement": np.array([row.disagreement for row in check.rows]),
        "largest_region": np.array([row.region.pixels / row.pixels if row.region else 0.0 for row in check.rows]),
    }
    flagged = np.array([row.suspicious for row in check.rows])
    return {
        "images": len(check.rows),
        "planted": dict(Counter(planted.values())),
        "models": {name: round(value, 4) for name, value in check.score.items()},
        "scores": {name: _score(values, wrong, kinds) for name, values in scores.items()},
        "flagged": {
            "images": int(flagged.sum()),
            "precision": _share(wrong[flagged]),
            "recall": _share(flagged[wrong]),
            "recall_of": {kind: _share(flagged[kinds == kind]) for kind in KINDS},
        },
    }


def _score(values: np.ndarray, wrong: np.ndarray, kinds: np.ndarray) -> dict[str, Any]:
    top = np.argsort(-values, kind="stable")[: int(wrong.sum())]
    by_kind = {}
    for kind in KINDS:
        some = (kinds == kind) | ~wrong
        by_kind[kind] = round(float(roc_auc_score(wrong[some], values[some])), 4)
    interval = {name: round(value, 4) for name, value in auroc(values, wrong).items()}
    return {"auroc": interval, "auroc_of": by_kind, "precision_at_n": _share(wrong[top])}


def _share(values: Sequence[bool] | np.ndarray) -> float | None:
    return round(float(np.mean(values)), 4) if len(values) else None


def main() -> int:
    """Write the streets, train, judge, print and perhaps keep what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=80)
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--size", type=int, nargs=2, default=(64, 96))
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="keep streets and runs in this folder")
    parser.add_argument("--out", type=Path)
    words = parser.parse_args()
    with nullcontext(words.work) if words.work else tempfile.TemporaryDirectory() as folder:
        os.environ["SEGTRIAL_CACHE"] = str(Path(folder) / "cache")
        root = Path(folder) / "streets"
        town = Toytown(scenes=words.scenes, frames=words.frames, size=tuple(words.size))
        planted = write_streets(root, town, words.seed)
        runs = trained(root, words)
        check = check_labels(inspect(root), load_judges(runs))
        result = {"schema": 1, "arguments": {k: v for k, v in vars(words).items() if k not in ("work", "out")}}
        result |= measured(check, planted)
    print(json.dumps(result, indent=1))
    if words.out:
        words.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
