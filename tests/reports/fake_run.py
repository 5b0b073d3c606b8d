"""A seed in, a run folder out: what training would leave, made of numpy shapes in a second."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from segtrial.classes import Classes
from segtrial.recipe import from_tree
from segtrial.shapes import IGNORE

NAMES = ("sky", "building", "road", "pavement", "tree", "car", "person", "pole")
H, W = 96, 128
PHASES = [(160, 16, 64), (120, 8, 80), (80, 6, 96)]
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


def share(above: float, below: float) -> float | None:
    return float(above / below) if below else None


def class_row(name: str, c: int, table: np.ndarray) -> dict:
    hit, truth, answer = table[c, c], table[c].sum(), table[:, c].sum()
    return {
        "name": name,
        "iou": share(hit, truth + answer - hit),
        "dice": share(2 * hit, truth + answer),
        "precision": share(hit, answer),
        "recall": share(hit, truth),
        "f1": share(2 * hit, truth + answer),
        "support": int(truth),
    }


def evaluation_of(counts: np.ndarray, names: Sequence[str], split: str) -> dict:
    table = counts.sum(axis=0)
    rows = [class_row(name, c, table) for c, name in enumerate(names)]
    ious = [row["iou"] for row in rows if row["iou"] is not None]
    miou = float(np.mean(ious))
    return {
        "schema": 1,
        "split": split,
        "scores": {"miou_dataset": miou, "pixel_accuracy": share(np.trace(table), table.sum()), "dice_dataset": 0.61},
        "intervals": {
            "miou_dataset": {"low": miou - 0.04, "high": miou + 0.03, "over": "blocks", "n_blocks": 7},
            "pixel_accuracy": {"low": 0.8, "high": 0.9, "over": "blocks", "n_blocks": 7},
            "dice_dataset": None,
        },
        "per_class": rows,
        "n_images": len(counts),
        "definitions": {
            "miou_dataset": "mean over classes of the IoU of all pixels of the part together",
            "pixel_accuracy": "share of counted pixels answered right",
            "dice_dataset": "mean over classes of the Dice of all pixels together",
        },
    }


def png(array: np.ndarray, classes: Classes | None = None) -> bytes:
    image = Image.fromarray(array)
    if classes is not None:
        image.putpalette(classes.palette())
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


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
        lines.append({"step": step, "epoch": step // 9, "split": "train", "loss": loss, "learning_rate": rate(progress), "miou_dataset": miou})
        timing.append({"step": step, "seconds": step * 0.42, "images_per_second": 24.0 + random.normal()})
        if step % 90 == 0:
            val = {"loss": loss + 0.1, "miou_dataset": miou - 0.03, "pixel_accuracy": miou + 0.1}
            lines.append({"step": step, "epoch": step // 9, "split": "val", **val})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in timing))


def rate(progress: float) -> float:
    return 0.02 * min(1, progress / 0.08) * (0.5 + 0.5 * float(np.cos(np.pi * progress)))


def write_examples(folder: Path, pictures: list, classes: Classes, keys: Sequence[str]) -> None:
    folder.mkdir(parents=True)
    images = []
    for number, (place, (image, truth, answer, confidence), key) in enumerate(zip(PLACES, pictures, keys, strict=False)):
        files = {name: f"{number}.{name}.png" for name in ("image", "truth", "answer", "confidence")}
        for name, array, palette in (
            ("image", image, None),
            ("truth", truth, classes),
            ("answer", answer, classes),
            ("confidence", confidence, None),
        ):
            (folder / files[name]).write_bytes(png(array, palette))
        images.append({"key": key, "group": key, "miou_image": 0.2 + 0.1 * number, "rank": place, **files})
    write_json(folder / "index.json", {"schema": 1, "images": images})


def start(run: Path, classes: Classes, notes: Sequence[str] = ()) -> None:
    """What is there after a minute: a plan, an environment."""
    run.mkdir(parents=True)
    shares = np.random.default_rng(1).dirichlet(np.ones(len(classes)))
    write_plan(run, classes, notes, shares.tolist())
    versions = {"segtrial": "0.1.0", "python": "3.12.1", "torch": "2.15.0"}
    machine = {"cpu": "Some CPU", "cores": 2, "memory_gib": 15.6, "gpus": [], "system": "Linux 6.1 x86_64"}
    write_json(run / "environment.json", {"schema": 1, **versions, **machine})


def finish(run: Path, classes: Classes, keys: Sequence[str] | None = None) -> None:
    """The rest: logs, model file, counts, examples, evaluation."""
    random, k = np.random.default_rng(3), len(classes)
    write_logs(run, until=360)
    pictures, counts = [], []
    for number in range(14):
        truth = scene(random, k)
        answer = answer_to(truth, random, k, error=0.8 - number * 0.05)
        confidence = np.where(truth == answer, 230, 120).astype(np.uint8)
        pictures.append((photo_of(truth, classes, random), truth, answer, confidence))
        counts.append(confusion_of(truth, answer, k))
    keys = keys or [f"clip{number // 2}/frame_{number:04d}" for number in range(14)]
    (run / "model.safetensors").write_bytes(b"weights")
    write_examples(run / "examples" / "val", pictures, classes, keys)
    (run / "counts").mkdir()
    np.savez(run / "counts" / "val.npz", keys=np.array(keys), groups=np.array(keys), counts=np.stack(counts))
    write_json(run / "evaluation.json", evaluation_of(np.stack(counts), classes.names, "val"))


def whole(run: Path, classes: Classes | None = None, notes: Sequence[str] = (), keys: Sequence[str] | None = None) -> Path:
    """A finished run."""
    classes = classes or Classes.named(NAMES)
    start(run, classes, notes)
    finish(run, classes, keys)
    return run
