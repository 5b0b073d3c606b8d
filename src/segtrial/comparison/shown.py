"""Finished cells -> DIR/pictures: the held-out images on which variants differ most, with the answer of each.

Which images, stored rows decide: per image the task's own ranking score, averaged over the seeds. The answers are those
of the first seed that all variants have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from segtrial import modelfile
from segtrial.comparison.cells import Cell, plan_of
from segtrial.data import SplitOptions, open_dataset
from segtrial.data.sample import Sample
from segtrial.evaluation import load_counts
from segtrial.files import write_atomic, write_json
from segtrial.prediction import answer
from segtrial.tasks import TASKS

MOST = 6
INDEX = "pictures/index.json"


@dataclass(frozen=True, eq=False)
class Ranked:
    """Images in key order with their groups, and of each variant the score of every image, the mean over seeds."""

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    scores: Mapping[str, Float[np.ndarray, " n"]]

    @property
    def apart(self) -> Float[np.ndarray, " n"]:
        """How far the best and the worst variant are apart on each image; 0 where that is undefined."""
        table = np.stack(list(self.scores.values()))
        gaps = table.max(axis=0) - table.min(axis=0)
        return np.where(np.isfinite(gaps), gaps, 0.0)


def write_pictures(folder: Path, cells: Sequence[Cell]) -> None:
    """Draw at most MOST images under every variant; does nothing where there are no two variants to tell apart."""
    seeds = {name: {cell.seed for cell in cells if cell.variant == name} for name in {cell.variant for cell in cells}}
    both = sorted(set.intersection(*seeds.values())) if seeds else []
    if len(seeds) < 2 or not both:
        return
    ranked = rank([cell for cell in cells if cell.seed in both])
    chosen = choose(ranked)
    samples = _samples(cells[0], [ranked.keys[number] for number in chosen])
    pictures: list[dict[str, bytes]] = [{} for _ in chosen]
    for cell in [cell for cell in cells if cell.seed == both[0]]:
        _answer(cell, samples, pictures)
    _write(folder, ranked, chosen, pictures)


def rank(cells: Sequence[Cell]) -> Ranked:
    """The scores of all images under every variant; folds of a seed make one list of images."""
    of_seeds: dict[tuple[str, int], dict[str, float]] = {}
    groups: dict[str, str] = {}
    for cell in cells:
        task = plan_of(cell).make_task()
        counts = load_counts(cell.rows, task)
        groups |= dict(zip(counts.keys, counts.groups, strict=True))
        found = zip(counts.keys, task.of_image(counts.counts).tolist(), strict=True)
        of_seeds.setdefault((cell.variant, cell.seed), {}).update(found)
    keys = tuple(sorted(groups))
    variants = list(dict.fromkeys(name for name, _ in of_seeds))
    scores = {
        name: np.mean([[of[key] for key in keys] for (each, _), of in of_seeds.items() if each == name], axis=0)
        for name in variants
    }
    return Ranked(keys, tuple(groups[key] for key in keys), scores)


def choose(ranked: Ranked) -> list[int]:
    """Numbers of images, the furthest apart first: one of each group before a second of any, none without a gap."""
    order = [int(number) for number in np.argsort(-ranked.apart, kind="stable") if ranked.apart[number] > 0]
    first: dict[str, int] = {}
    for number in order:
        first.setdefault(ranked.groups[number], number)
    once = set(first.values())
    return [*(n for n in order if n in once), *(n for n in order if n not in once)][:MOST]


def _samples(cell: Cell, keys: Sequence[str]) -> list[Sample]:
    options = SplitOptions(**cell.recipe.split.model_dump())
    dataset = open_dataset(cell.recipe.data, options, TASKS[cell.recipe.task].content)
    items = {item.key: item for part in dataset.parts.values() for item in part}
    return [dataset.read(items[key]) for key in keys]


def _answer(cell: Cell, samples: Sequence[Sample], pictures: Sequence[dict[str, bytes]]) -> None:
    """Add the cell's answers to those images that it has held out."""
    plan = plan_of(cell)
    held = set(load_counts(cell.rows, plan.make_task()).keys)
    loaded = modelfile.load(cell.path / "model.safetensors")
    torch.set_num_threads(plan.threads)
    for sample, drawn in zip(samples, pictures, strict=True):
        if sample.key in held:
            given = answer(loaded.network, loaded.task, sample.image, precision=getattr(torch, plan.precision))
            found = loaded.task.example(sample.image, sample.target, given)
            drawn |= {what: found[what] for what in ("image", "truth") if what in found}
            drawn |= {cell.variant: found["answer"]} if "answer" in found else {}


def _write(folder: Path, ranked: Ranked, chosen: Sequence[int], pictures: Sequence[Mapping[str, bytes]]) -> None:
    entries = []
    for place, (number, drawn) in enumerate(zip(chosen, pictures, strict=True)):
        names = {what: f"{place}.{index}.png" for index, what in enumerate(drawn)}
        for what, data in drawn.items():
            write_atomic(folder / "pictures" / names[what], data)
        scores = {name: float(each[number]) for name, each in ranked.scores.items()}
        apart = float(ranked.apart[number])
        entries.append({"key": ranked.keys[number], "apart": apart, "pictures": names, "scores": scores})
    write_json(folder / INDEX, {"schema": 1, "images": entries})
