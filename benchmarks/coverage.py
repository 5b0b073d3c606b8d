"""Simulated studies whose truth is known -> how often the intervals of a comparison hold it, and how wide they are.

    python benchmarks/coverage.py --out results/coverage.json

A study compares two variants over seeds and blocks of scenes by `miou_dataset` of four classes. Recall of a class is a
logistic function of effects of the seed, of the block and of both together, each normal; blocks are of unequal size,
and one class is rare and missing from two blocks of five. Five worlds differ in what varies; b is as good as a, or
better. Truths: for these images the mean over thousands of seeds on the same blocks; for new scenes that over
500 blocks for each of 10,000 seeds.

    covered     share of studies whose 95 % interval holds the truth; Monte Carlo error .005 at 2000 studies
    width       mean width over that of an oracle: 2 x 1.96 x the standard deviation of the estimate over studies
    bootstrap   the same of plain percentile intervals: over seeds, and over seeds and blocks
    verdicts    of whole comparisons of a variant with itself: how often each word is said
    together    share of families of four variants whose six intervals all hold 0, made together or each by itself
    freedom     lowest coverage of the sum of any two variances, with our degrees of freedom and with Satterthwaite

What is in --out already is not made again. One core, minutes.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from segtrial.files import write_json
from segtrial.scores import SCORES
from segtrial.statistics import compare_pair, predicted_power
from segtrial.statistics.many import smallest_p
from segtrial.statistics.spread import Estimate, leave_one_out, of_seeds, of_seeds_and_scenes

SEEDS, BLOCKS = (3, 5, 10), (5, 20, 50)
LEVEL, STUDIES, AT_ONCE, COMPARISONS, TRUE_SEEDS = 0.95, 2000, 250, 1000, 10_000
SHARES, BASE = np.array([0.5, 0.3, 0.15, 0.05]), np.array([2.5, 1.5, 1.0, 0.0])
PRESENT = 0.6
"""The share of blocks that have any of the last class."""
EFFECTS = {"same": 0.0, "better": 0.15}
"""Added to the logit of b's recall."""


@dataclass(frozen=True)
class World:
    """Standard deviations of effects on the logit of recall: of seeds, of blocks, of both together."""

    seeds: float
    scenes: float
    both: float


WORLDS = {
    "seeds": World(0.15, 0.02, 0.02),
    "scenes": World(0.02, 0.3, 0.02),
    "both": World(0.02, 0.02, 0.4),
    "mixed": World(0.1, 0.2, 0.2),
    "seeds and scenes": World(0.1, 0.15, 0.02),
}


def miou(sums: np.ndarray) -> np.ndarray:
    """Of totals `... 3 k`."""
    return SCORES["miou_dataset"].value(sums)


def block_sizes(rng: np.random.Generator, blocks: int) -> np.ndarray:
    """Images of each block: from a few to some tens."""
    return np.ceil(8 * np.exp(0.6 * rng.standard_normal(blocks))).astype(int)


def studies(
    rng: np.random.Generator, world: World, effect: float, shape: tuple[int, int], sizes: np.ndarray, *, fixed: bool
) -> np.ndarray:
    """Sums of `(studies, seeds)` = shape: `(variants, studies, seeds, blocks, 3, classes)`.

    `fixed`: all studies have the same scenes.
    """
    count, blocks, classes = 1 if fixed else shape[0], len(sizes), len(SHARES)
    there = np.ones((count, 1, blocks, classes))
    there[..., -1] = rng.random((count, 1, blocks)) < PRESENT
    truth = sizes[:, None] * SHARES * there * rng.gamma(2, size=there.shape) / 2
    hard = 0.5 * rng.standard_normal(there.shape)
    logit = world.both * rng.standard_normal((2, *shape, blocks, classes))
    logit += world.scenes * rng.standard_normal((2, count, 1, blocks, classes))
    logit += world.seeds * rng.standard_normal((2, *shape, 1, 1))
    logit += BASE + hard
    logit[1] += effect
    hits = truth * special.expit(logit)
    wrong = truth - hits
    answers = hits + (wrong.sum(axis=-1, keepdims=True) - wrong) / (classes - 1)
    return np.stack([hits, np.broadcast_to(truth, hits.shape), answers], axis=-2)


def per_study(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """b - a of each seed and study, `(seeds, studies)`, and without each block, `(seeds, blocks, studies)`."""
    count = rows.shape[1]
    found = [leave_one_out(variant.reshape(-1, *variant.shape[2:]), miou) for variant in rows]
    whole, without = (second - first for first, second in zip(*found, strict=True))
    return whole.reshape(count, -1).T, without.reshape(count, -1, without.shape[1]).transpose(1, 2, 0)


@cache
def truth_of(world: World, effect: float) -> float:
    """The mean difference over `TRUE_SEEDS` seeds, each on 500 blocks of its own."""
    rng, found = np.random.default_rng(0), []
    for _ in range(TRUE_SEEDS // 100 if effect else 0):
        rows = studies(rng, world, effect, (100, 1), block_sizes(rng, 500), fixed=False).sum(axis=3)
        found.append(miou(rows[1]) - miou(rows[0]))
    return float(np.mean(found)) if found else 0.0


def outcome(estimates: list[Estimate], truths: list[np.ndarray | float]) -> dict[str, float]:
    """How the intervals of the estimates, one batch of studies each, stand to their truths."""
    intervals = [one.interval(LEVEL) for one in estimates]
    held = [(low <= truth) & (truth <= high) for (low, high), truth in zip(intervals, truths, strict=True)]
    found = [(low > 0) | (high < 0) for low, high in intervals]
    missed = np.concatenate([np.asarray(one.center) - truth for one, truth in zip(estimates, truths, strict=True)])
    width = np.mean([np.mean(high - low) for low, high in intervals])
    return {
        "covered": float(np.mean(held)),
        "width": float(width / (2 * 1.96 * np.sqrt(np.mean(missed**2)))),
        "found": float(np.mean(found)),
        "spread": float(np.sqrt(np.mean(missed**2))),
    }


def of_images(world: World, effect: float, seeds: int, blocks: int, rng: np.random.Generator) -> dict[str, float]:
    """Batches of studies, each on one set of scenes; the batch's mean is the truth."""
    estimates, truths, power = [], [], []
    for _ in range(STUDIES // AT_ONCE):
        sizes = block_sizes(rng, blocks)
        rows = studies(rng, world, effect, (AT_ONCE, seeds), sizes, fixed=True).sum(axis=3)
        values = (miou(rows[1]) - miou(rows[0])).T
        estimates.append(of_seeds(values))
        truths.append(float(values.mean()))
        power.append(predicted_power(float(values.std()), seeds, truths[-1]))
    return outcome(estimates, truths) | {"predicted": float(np.mean(power))}


def of_scenes(world: World, effect: float, seeds: int, blocks: int, rng: np.random.Generator) -> dict[str, float]:
    """Studies with seeds and scenes of their own."""
    truth, estimates = truth_of(world, effect), []
    for _ in range(STUDIES // AT_ONCE):
        sizes = block_sizes(rng, blocks)
        values, without = per_study(studies(rng, world, effect, (AT_ONCE, seeds), sizes, fixed=False))
        estimates.append(of_seeds_and_scenes(values, without, sizes))
    return outcome(estimates, [truth] * len(estimates)) | {"truth": truth}


def bootstrap(
    seeds: int, blocks: int, rng: np.random.Generator, count: int = 400, draws: int = 400
) -> dict[str, float]:
    """Coverage of plain percentile intervals in the mixed world without an effect."""
    world, quantiles = WORLDS["mixed"], [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    sizes = block_sizes(rng, blocks)
    rows = studies(rng, world, 0.0, (4 * count, seeds), sizes, fixed=True).sum(axis=3)
    values = miou(rows[1]) - miou(rows[0])  # (studies, seeds)
    drawn = rng.integers(seeds, size=(draws, seeds))
    low, high = np.quantile(values[:, drawn].mean(axis=2), quantiles, axis=1)
    images = np.mean((low <= values.mean()) & (values.mean() <= high))
    held = []
    for _ in range(count):
        rows = studies(rng, world, 0.0, (1, seeds), block_sizes(rng, blocks), fixed=False)[:, 0]
        times = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=draws).astype(float)
        sums = np.einsum("db,vsbtk->vdstk", times, rows, optimize=True)
        picked = rng.integers(seeds, size=(draws, seeds))
        found = np.take_along_axis(miou(sums[1]) - miou(sums[0]), picked, axis=1).mean(axis=1)
        low, high = np.quantile(found, quantiles)
        held.append(low <= 0 <= high)
    return {"images": float(images), "scenes": float(np.mean(held))}


def verdicts(
    seeds: int, blocks: int, rng: np.random.Generator, margins: tuple[float, ...] = (0.005, 0.0)
) -> dict[str, dict[str, float]]:
    """1000 whole comparisons of a variant with itself: the share of each verdict, with each margin."""
    said: dict[str, Counter[str]] = {f"margin {margin:g}": Counter() for margin in margins}
    for _ in range(COMPARISONS):
        sizes = block_sizes(rng, blocks)
        sums = studies(rng, WORLDS["mixed"], 0.0, (1, seeds), sizes, fixed=False)[:, 0]
        rows = np.repeat(sums / sizes[:, None, None], sizes, axis=2)  # images of a block are alike
        groups = np.repeat([f"clip {block}" for block in range(blocks)], sizes).tolist()
        for margin, counter in zip(margins, said.values(), strict=True):
            counter[compare_pair(rows[0], rows[1], groups, miou, margin=margin).verdict] += 1
    return {name: {word: counter[word] / COMPARISONS for word in sorted(counter)} for name, counter in said.items()}


def all_hold(estimates: list[Estimate], level: float) -> float:
    """The share of families whose intervals all hold 0."""
    intervals = [one.interval(level) for one in estimates]
    return float(np.mean(np.all([(low <= 0) & (high >= 0) for low, high in intervals], axis=0)))


def together(seeds: int, rng: np.random.Generator, variants: int = 4, count: int = 4000) -> dict[str, float]:
    """Families of all pairs in which nothing differs: all intervals hold 0, made together or each by itself."""
    pairs, shares = list(combinations(range(variants), 2)), {}
    each = 1 - float(np.quantile(smallest_p(variants, seeds - 1), 1 - LEVEL))
    for name, spreads in {"alike": [1, 1, 1, 1], "one wild": [1, 1, 1, 5]}.items():
        values = rng.standard_normal((seeds, count, variants)) * spreads
        estimates = [of_seeds(values[..., b] - values[..., a]) for a, b in pairs]
        for what, level in {"together": each, "by itself": LEVEL}.items():
            shares[f"{name}, {what}"] = all_hold(estimates, level)
    return shares


def freedoms(seeds: int, blocks: int, rng: np.random.Generator, count: int = 100_000) -> dict[str, float]:
    """The lowest coverage over all shares of two variances that add up, each estimated apart: ours, Satterthwaite's."""
    lowest = {"ours": 1.0, "satterthwaite": 1.0}
    for share in np.arange(0.1, 1, 0.1):
        center = rng.standard_normal(count)
        of_seed = share * rng.chisquare(seeds - 1, count) / (seeds - 1)
        of_scene = (1 - share) * rng.chisquare(blocks - 1, count) / (blocks - 1)
        ours = Estimate(center, seeds * of_seed, seeds, of_scene, blocks - 1.0)
        his = (of_seed + of_scene) ** 2 / (of_seed**2 / (seeds - 1) + of_scene**2 / (blocks - 1))
        for name, freedom in (("ours", ours.freedom), ("satterthwaite", his)):
            reach = special.stdtrit(freedom, (1 + LEVEL) / 2) * ours.error
            lowest[name] = min(lowest[name], float(np.mean(abs(center) <= reach)))
    return lowest


def work() -> Iterator[tuple[str, Any]]:
    """Everything to be made: its name and how."""
    for seeds, blocks in product(SEEDS, BLOCKS):
        for (world, what), (name, effect) in product(WORLDS.items(), EFFECTS.items()):
            at = f"{seeds} seeds, {blocks} blocks, {world}, {name}"
            yield f"images: {at}", lambda rng, w=what, e=effect, s=seeds, b=blocks: of_images(w, e, s, b, rng)
            yield f"scenes: {at}", lambda rng, w=what, e=effect, s=seeds, b=blocks: of_scenes(w, e, s, b, rng)
        yield f"bootstrap: {seeds} seeds, {blocks} blocks", lambda rng, s=seeds, b=blocks: bootstrap(s, b, rng)
        yield f"verdicts: {seeds} seeds, {blocks} blocks", lambda rng, s=seeds, b=blocks: verdicts(s, b, rng)
    for seeds in SEEDS:
        yield f"together: {seeds} seeds", lambda rng, s=seeds: together(s, rng)
    for seeds, blocks in product((2, *SEEDS), BLOCKS):
        yield f"freedom: {seeds} seeds, {blocks} blocks", lambda rng, s=seeds, b=blocks: freedoms(s, b, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    found: dict[str, Any] = json.loads(out.read_text())["found"] if out.exists() else {}
    for number, (name, make) in enumerate(work()):
        if name not in found:
            start = time.perf_counter()
            found[name] = make(np.random.default_rng((2026, number)))
            write_json(out, {"schema": 1, "studies": STUDIES, "level": LEVEL, "found": found})
            print(f"{name}: {found[name]} ({time.perf_counter() - start:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
