"""Curves made by hand, healthy ones and their parts -> logs as the fit doctor reads them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from segtrial.recipe import from_tree

LINES = 60
NAMES = ["sky", "road", "pole"]
PIXELS = [500, 400, 100]
SHARES_LOSS = -sum(n / 1000 * math.log(n / 1000) for n in PIXELS)


@dataclass(frozen=True)
class Log:
    """What `reports.records.Run` has, as far as the doctor looks."""

    plan: dict[str, Any]
    train: tuple[dict[str, Any], ...]
    val: tuple[dict[str, Any], ...]
    evaluation: dict[str, Any] | None
    timing: tuple[dict[str, Any], ...] = ()

    def but(self, images: int | None = None, **recipe: Any) -> "Log":
        """The same log, of another number of training images or with other fields of the recipe."""
        parts = self.plan["parts"] | ({"train": images} if images else {})
        return replace(self, plan=self.plan | {"parts": parts, "recipe": self.plan["recipe"] | recipe})


def rows_of_classes(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    usual = {"iou": 0.8, "precision": 0.9, "recall": 0.9, "support": 300}
    return [{"name": name} | usual | changes.get(name, {}) for name in NAMES]


def log(loss: np.ndarray, train: np.ndarray, val: np.ndarray, *, steps: int = 1200, **recipe: Any) -> Log:
    """A finished run of 200 images in two phases whose lines hold these values, evenly spread over the steps."""
    wish = from_tree({"steps": steps, "loss": {"name": "cross_entropy"}, **recipe}).model_dump(mode="json")
    plan = {
        "recipe": wish,
        "steps": steps,
        "phases": [{"steps": steps // 2}, {"steps": steps - steps // 2}],
        "classes": {"names": NAMES},
        "class_pixels": PIXELS,
        "class_weights": [1.0] * len(NAMES),
        "parts": {"train": 200, "val": 50},
    }
    return Log(
        plan=plan,
        train=tuple(
            {"step": step, "epoch": step / 20, "loss": float(a), "miou_dataset": float(b), "pixel_accuracy": float(b)}
            for step, a, b in zip(places(len(loss), steps), loss, train, strict=True)
        ),
        val=tuple(
            {"step": step, "epoch": step / 20, "loss": 1.0, "miou_dataset": float(score)}
            for step, score in zip(places(len(val), steps), val, strict=True)
        ),
        evaluation={"per_class": rows_of_classes(), "scores": {}, "intervals": {}},
    )


def places(count: int, steps: int) -> list[int]:
    return [round(steps * (index + 1) / count) for index in range(count)]


def rising(count: int, end: float, speed: float) -> np.ndarray:
    """From 0 towards `end`."""
    return end * (1 - np.exp(-speed * np.arange(1, count + 1) / count))


def falling(end: float, speed: float) -> np.ndarray:
    """A loss from that of the class shares towards `end` of it."""
    return SHARES_LOSS * (1.1 - (1.1 - end) * (1 - np.exp(-speed * np.arange(LINES) / LINES)))


@st.composite
def healthy(draw: st.DrawFn, *, score: float | None = None) -> Log:
    """Falls, levels off, holds on val; with the noise of batches in the training lines, and a bump between phases."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    loss = falling(draw(st.floats(0.05, 0.35)), draw(st.floats(6, 20)))
    loss[LINES // 2 :] *= 1 + draw(st.floats(0, 0.15))
    loss *= np.exp(random.normal(0, draw(st.floats(0, 0.05)), LINES))
    end, speed = draw(st.floats(0.6, 0.95)) if score is None else score, draw(st.floats(8, 20))
    train = rising(LINES, end + draw(st.floats(-0.05, 0.03)), speed) + random.normal(0, draw(st.floats(0, 0.04)), LINES)
    count = draw(st.sampled_from([1, 2, 4, 8, 20]))
    val = rising(count, end, speed) + random.uniform(-0.002, 0.002, count)
    return log(loss, train, val, steps=draw(st.integers(240, 20000)))


SOUND = log(falling(0.2, 10), rising(LINES, 0.82, 12), rising(4, 0.8, 12))
