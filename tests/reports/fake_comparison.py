"""Differences in, a comparison folder out: what `segtrial compare` would leave, made in a second."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segtrial.classes import Classes
from segtrial.evaluation import Counts, save_counts
from segtrial.plain_yaml import to_yaml
from segtrial.recipe import from_tree
from tests.reports import fake_run

NAMES = ("sky", "road", "pole")
GROUPS = tuple(f"clip{number // 2}" for number in range(6))
KEYS = tuple(f"clip{number // 2}/{number}" for number in range(6))
PIXELS = 1000


def rows(seed: int, gain: int) -> np.ndarray:
    """Six images; `gain` more pixels of poles are right, and each seed has its own luck with the road."""
    random = np.random.default_rng(seed)
    found = np.zeros((6, 3, 3), np.int64)
    for image in found:
        luck = int(random.integers(0, 40))
        image[0] = (PIXELS, 0, 0)
        image[1] = (0, PIXELS - luck, luck)
        image[2] = (0, PIXELS // 2 - gain, PIXELS // 2 + gain)
    return found


def variant(name: str, values: list[float], parameters: int) -> dict[str, Any]:
    cost = {"parameters": parameters, "steps": 360, "multiply_adds": parameters * 10**6}
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
    mean = float(np.mean(values)) if values else None
    return {"name": name, "n": len(values), "mean": mean, "sd": spread, "seeds": list(range(len(values)))} | {
        "values": values, **cost,
    }  # fmt: skip


def pair(a: str, b: str, verdict: str, difference: float | None = 0.05, *, scenes: bool = False) -> dict[str, Any]:
    around = None if difference is None else {"low": difference - 0.02, "high": difference + 0.02, "over": "seeds"}
    return {
        "a": a, "b": b, "difference": difference, "interval": around, "interval_new_scenes": around if scenes else None,
        "probability_better": None if difference is None else 1.0, "verdict": verdict, "n_seeds": 3, "mde": 0.03,
        "speaks_of": "new scenes" if scenes else "these images",
        "seeds": [0, 1, 2], "seeds_needed": None, "reason": "one seed" if difference is None else None,
        "reason_new_scenes": None if scenes else "one block", "sentence": f"{b} is {verdict} than {a}.",
    }  # fmt: skip


def rule(names: list[str], seeds: int) -> dict[str, Any]:
    """What a manifest holds of what was asked for."""
    asked = from_tree({"data": "toytown", "steps": 360}).model_dump(mode="json")
    return {
        "schema": 1, "score": "miou_dataset", "margin": 0.005, "budget": "steps", "seeds": list(range(seeds)),
        "threads": 1, "held_out": {"part": "val", "block_frames": None}, "tune": None,
        "variants": {name: {"asked": asked} for name in names},
    }  # fmt: skip


def write(folder: Path, gains: dict[str, int], *, seeds: int = 3, **told: Any) -> Path:
    """A comparison of one variant for each gain; `told` replaces parts of the result."""
    classes = Classes.named(NAMES)
    folder.mkdir(parents=True)
    (folder / "comparison.yaml").write_text(to_yaml(rule(list(gains), seeds)))
    variants = []
    for number, (name, gain) in enumerate(gains.items()):
        for seed in range(seeds):
            run = fake_run.whole(folder / "runs" / name / str(seed), classes)
            save_counts(run / "counts" / "val.npz", Counts(KEYS, GROUPS, rows(seed, gain)))
        variants.append(variant(name, [0.6 + gain / 5000 + seed / 100 for seed in range(seeds)], 10_000 * (number + 1)))
    first, *others = gains
    result = {
        "schema": 1, "score": "miou_dataset", "definition": "Mean over classes.", "margin": 0.005, "ranked": True,
        "pairs": [pair(first, other, "better", scenes=True) for other in others], "variants": variants,
        "held_out": {"part": "val", "images": 6, "groups": 3}, "budget": "steps", "failures": [], "tuning": None,
        "notes": ["A note."],
    }  # fmt: skip
    (folder / "comparison.json").write_text(json.dumps(result | told))
    return folder


def show(folder: Path, names: tuple[str, ...]) -> None:
    """One image under every variant."""
    (folder / "pictures").mkdir()
    files = {name: f"0.{number}.png" for number, name in enumerate(("image", "truth", *names))}
    for name in files.values():
        Image.new("RGB", (32, 24), (200, 100, 50)).save(folder / "pictures" / name)
    entry = {"key": KEYS[0], "apart": 0.25, "pictures": files, "scores": dict.fromkeys(names, 0.5)}
    (folder / "pictures" / "index.json").write_text(json.dumps({"schema": 1, "images": [entry]}))
