"""A seed in, a run folder out: what training would leave, made of numpy shapes in a second."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.classes import Classes
from segtrial.drawing import image_png, label_png
from segtrial.evaluation import Counts, result_json, save_counts
from segtrial.recipe import from_tree
from segtrial.shapes import IGNORE
from segtrial.tasks import make

NAMES = ("sky", "building", "road", "pavement", "tree", "car", "person", "pole")
H, W = 96, 128
PHASES = [(160, 16, 64), (120, 8, 80), (80, 6, 96)]
KEYS = tuple(f"clip{number // 2}/frame_{number:04d}" for number in range(14))
PLACES = (["worst"] * 3) + (["middle"] * 2) + (["best"] * 3)


def scene(random: np.random.Generator, k: int) -> np.ndarray:
    """Bands from top to bottom and boxes before them; a border of one pixel is ignored. The last class is absent."""
    rows = np.linspace(0, min(k - 1, 3) + 0.999, H).astype(np.uint8)
    truth = np.repeat(rows[:, None], W, axis=1)
    for _ in range(6):
        label = random.integers(0, max(k - 1, 1))
        y, x = random.integers(0, H - 20), random.integers(0, W - 24)
        h, w = random.integers(8, 30), random.integers(6, 36)
        truth[y : y + h, x : x + w] = label
    truth[[0, -1], :] = IGNORE
    return truth


def answer_to(truth: np.ndarray, random: np.random.Generator, k: int, error: float) -> np.ndarray:
    """The truth, shifted by two pixels, with boxes of a wrong class."""
    answer = np.roll(np.where(truth == IGNORE, 0, truth), (1, 2), (0, 1)).astype(np.uint8)
    for _ in range(int(error * 12)):
        y, x = random.integers(0, H - 20), random.integers(0, W - 24)
        answer[y : y + 20, x : x + 24] = random.integers(0, max(k - 1, 1))
    return answer


def photo_of(truth: np.ndarray, classes: Classes, random: np.random.Generator) -> np.ndarray:
    table = np.array(classes.palette(), np.float64).reshape(256, 3)
    shade = np.linspace(0.8, 1.1, truth.shape[0])[:, None, None]
    image = (table[truth] * 0.6 + 70) * shade + random.normal(0, 12, (*truth.shape, 3))
    return image.clip(0, 255).astype(np.uint8)


def confusion_of(truth: np.ndarray, answer: np.ndarray, k: int) -> np.ndarray:
    counts = np.zeros((k, k), np.int64)
    valid = truth != IGNORE
    np.add.at(counts, (truth[valid].astype(int), answer[valid].astype(int)), 1)
    return counts


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


def write_plan(run: Path, classes: Classes, notes: Sequence[str], shares: Sequence[float]) -> None:
    plan = {
        "schema_version": 1,
        "recipe": from_tree({"model": "compact:width=32", "epochs": 40.0, "data": "toytown"}).model_dump(mode="json"),
        "recipe_hash": "3f" * 32,
        "manifest": "a7" * 32,
        "steps": sum(steps for steps, _, _ in PHASES),
        "evaluate_at": [90, 180, 270],
        "phases": [
            {"steps": steps, "batch": batch, "size": [size, size * 4 // 3], "scale": [0.6, 1.1]}
            for steps, batch, size in PHASES
        ],
        "threads": 2,
        "precision": "bfloat16",
        "device": "cpu",
        "world": 1,
        "classes": classes.to_json(),
        "in_channels": 3,
        "mean": [0.41, 0.42, 0.43],
        "std": [0.29, 0.3, 0.31],
        "class_weights": [round(float(1 / (0.2 + s)), 3) for s in shares],
        "class_pixels": [int(s * 1e6) for s in shares],
        "parts": {"train": 96, "val": 14},
        "layout": "toytown",
        "notes": list(notes),
        "model": {"name": "compact", "options": {"width": 32}, "parameters": 712345, "multiple": 16},
        "seconds_per_step": None,
    }
    write_json(run / "plan.json", plan)


def write_logs(run: Path, until: int) -> None:
    random = np.random.default_rng(5)
    lines, timing = [], [{"event": "start", "step": 0}]
    for step in range(5, until + 1, 5):
        progress = step / 360
        loss = 0.25 + 1.9 * np.exp(-4 * progress) + random.normal(0, 0.06)
        miou = 0.75 * (1 - np.exp(-3 * progress)) + random.normal(0, 0.02)
        lines.append(
            {
                "step": step,
                "epoch": step // 9,
                "split": "train",
                "loss": loss,
                "learning_rate": rate(progress),
                "miou_dataset": miou,
            }
        )
        timing.append({"step": step, "seconds": step * 0.42, "images_per_second": 24.0 + random.normal()})
        if step % 90 == 0:
            val = {"loss": loss + 0.1, "miou_dataset": miou - 0.03, "pixel_accuracy": miou + 0.1}
            lines.append({"step": step, "epoch": step // 9, "split": "val", **val})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timing))


def rate(progress: float) -> float:
    return 0.02 * min(1, progress / 0.08) * (0.5 + 0.5 * float(np.cos(np.pi * progress)))


def write_examples(folder: Path, pictures: list, classes: Classes, keys: Sequence[str], groups: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    images = []
    for number, (place, (image, truth, answer, confidence)) in enumerate(zip(PLACES, pictures, strict=False)):
        files = {name: f"{number}.{name}.png" for name in ("image", "truth", "answer", "confidence")}
        (folder / files["image"]).write_bytes(image_png(image.transpose(2, 0, 1).copy()))
        (folder / files["truth"]).write_bytes(label_png(truth, classes))
        (folder / files["answer"]).write_bytes(label_png(answer, classes))
        (folder / files["confidence"]).write_bytes(image_png(confidence[None]))
        about = {"key": keys[number], "group": groups[number], "score": 0.2 + 0.1 * number, "rank": place}
        images.append(about | {"pictures": files, "said": {}})
    write_json(folder / "index.json", {"schema": 1, "images": images})


def start(run: Path, classes: Classes, notes: Sequence[str] = ()) -> None:
    """What is there after a minute: a plan, an environment."""
    run.mkdir(parents=True)
    shares = np.random.default_rng(1).dirichlet(np.ones(len(classes)))
    write_plan(run, classes, notes, shares.tolist())
    versions = {"segtrial": "0.1.0", "python": "3.12.1", "torch": "2.15.0"}
    machine = {"cpu": "Some CPU", "cores": 2, "memory_gib": 15.6, "gpus": [], "system": "Linux 6.1 x86_64"}
    write_json(run / "environment.json", {"schema": 1, **versions, **machine})


def finish(run: Path, classes: Classes, keys: Sequence[str] = KEYS, images_per_group: int = 2) -> None:
    """The rest: logs, model file, counts, examples, evaluation."""
    random, k = np.random.default_rng(3), len(classes)
    write_logs(run, until=360)
    pictures, counts = [], []
    for number in range(len(keys)):
        truth = scene(random, k)
        answer = answer_to(truth, random, k, error=0.8 - number * 0.05)
        confidence = np.where(truth == answer, 230, 120).astype(np.uint8)
        pictures.append((photo_of(truth, classes, random), truth, answer, confidence))
        counts.append(confusion_of(truth, answer, k))
    groups = tuple(f"clip{number // images_per_group}" for number in range(len(keys)))
    (run / "model.safetensors").write_bytes(b"weights")
    write_examples(run / "examples" / "val", pictures, classes, keys, groups)
    result = Counts(tuple(keys), groups, np.stack(counts))
    save_counts(run / "counts" / "val.npz", result)
    write_json(run / "evaluation.json", {**result_json(result, make("segmentation", classes)), "split": "val"})


def whole(run: Path, classes: Classes | None = None, notes: Sequence[str] = (), **rest: Any) -> Path:
    """A finished run."""
    classes = classes or Classes.named(NAMES)
    start(run, classes, notes)
    finish(run, classes, **rest)
    return run
