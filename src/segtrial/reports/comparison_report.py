"""Comparison folder -> comparison.html: the verdict, and everything that it rests on, on one page whole in itself."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.files import write_atomic
from segtrial.reports import comparison_figures, comparison_records, comparison_tables, page, wording
from segtrial.reports import comparison_recipes as recipes
from segtrial.reports.comparison_figures import Band, Point
from segtrial.reports.comparison_records import Comparison, Json
from segtrial.reports.pictures import panel_of
from segtrial.reports.records import Run
from segtrial.scores import iou, totals
from segtrial.statistics import Interval, compare_classes, in_words

PAGE = "comparison.html"
OPEN = "cannot tell"
MOST_CLASSES = 60
MOST_SENTENCES = 6
"""With more pairs, those of which nobody can tell are folded away."""


def write(folder: Path) -> Path:
    """Write `folder/comparison.html` and the tables beside it, and return the page's path.

    Raises RunError if `folder` is no comparison with a result, or if a file of it is damaged.
    """
    found = comparison_records.read(folder)
    write_atomic(folder / PAGE, render(found).encode())
    for name, writer in comparison_tables.WRITERS.items():
        write_atomic(folder / name, writer(found.told).encode())
    return folder / PAGE


def render(found: Comparison) -> str:
    """The page as HTML. The same records give the same characters."""
    told = found.told
    return page.render(
        "comparison.html.j2",
        found=found,
        told=told,
        run=found.first(),
        title=_title(found),
        pairs=_pairs(found),
        summary=_summary(found.told["pairs"], found.told["margin"]),
        legend=_legend(found),
        told_apart=[pair for pair in found.told["pairs"] if pair["verdict"] != OPEN or _are_few(found)],
        left_open=[pair for pair in found.told["pairs"] if pair["verdict"] == OPEN and not _are_few(found)],
        no_scenes=_no_scenes(found.told["pairs"]),
        variants=_variants(found),
        figures=[figure for figure in (*_curves(found), _rates(found), *_costs(found)) if figure],
        classes=_classes(found),
        shown=[_shown(one, found) for one in found.shown],
        remarks=_remarks(found),
        differing=recipes.differing(found),
        trial=None if found.gathered else recipes.trial_file(found.rule),
        places=_places(found),
        machine=_machine(found),
    )


def _places(found: Comparison) -> list[str]:
    """Where the runs lie that were put together, from the report's folder."""
    return [place for seeds in found.told.get("runs", {}).values() for each in seeds.values() for place in each]


def _title(found: Comparison) -> str:
    names = [wording.plain(name) for name in found.variants]
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def _are_few(found: Comparison) -> bool:
    return len(found.told["pairs"]) <= MOST_SENTENCES


def _legend(found: Comparison) -> list[dict[str, str]]:
    """The colour of each variant, where figures have no room for all names."""
    if all(comparison_figures.short(name) == name for name in found.variants):
        return []
    return [{"name": name, "ink": _ink(number)} for number, name in enumerate(found.variants)]


def _ink(number: int) -> str:
    return f"var(--v{number % 8 + 1})"


def _summary(pairs: Sequence[Json], margin: float) -> str:
    """The verdict of a single pair, or "Of 15 pairs 3 can be told apart and 12 cannot be told apart yet"."""
    if len(pairs) == 1:
        pair = pairs[0]
        return f"{in_words(pair['verdict'], pair['a'], pair['b'], margin)} for {pair['speaks_of']}."
    verdicts = [pair["verdict"] for pair in pairs]
    apart, same, unclear = (
        sum(map(verdicts.count, kinds)) for kinds in (("better", "worse"), ("equivalent",), (OPEN,))
    )
    said = [f"{apart} can be told apart"] * bool(apart)
    said += [f"{same} {'is' if same == 1 else 'are'} equivalent"] * bool(same)
    said += [f"{unclear} cannot be told apart yet"] * bool(unclear)
    return f"Of {len(pairs)} pairs {' and '.join([', '.join(said[:-1]), said[-1]] if len(said) > 1 else said)}."


def _no_scenes(pairs: Sequence[Json]) -> str | None:
    """Why there is no interval for new scenes, where it is the same for all pairs."""
    reasons = {pair["reason_new_scenes"] if pair["interval_new_scenes"] is None else None for pair in pairs}
    return reasons.pop() if len(reasons) == 1 and len(pairs) > 1 else None


def _won(pair: Json) -> str:
    """In how many seeds b scores higher; equal scores count half."""
    share, number = pair["probability_better"], pair["n_seeds"]
    seeds = f"{number} seed{'s' if number != 1 else ''}"
    return seeds if share is None else f"{share * number:g} of {seeds} won"


def _pairs(found: Comparison) -> list[dict[str, Any]]:
    """Each pair with the places, in percent of the drawn range, of what the forest plot shows."""
    pairs = found.told["pairs"]
    spans = [pair[which] for pair in pairs for which in ("interval", "interval_new_scenes") if pair[which]]
    ends = [abs(span[end]) for span in spans for end in ("low", "high")]
    ends += [abs(pair["difference"]) for pair in pairs if pair["difference"] is not None]
    reach = 1.1 * max([*ends, 2 * found.told["margin"]]) or 1.0

    def place(value: float) -> float:
        return 50 + 50 * value / reach

    def bar(span: Json | None) -> tuple[float, float] | None:
        return None if span is None else (place(span["low"]), place(span["high"]) - place(span["low"]))

    return [
        {
            **pair,
            "won": _won(pair),
            "mark": None if pair["difference"] is None else place(pair["difference"]),
            "seeds_bar": bar(pair["interval"]),
            "scenes_bar": bar(pair["interval_new_scenes"]),
            "margin_bar": bar({"low": -found.told["margin"], "high": found.told["margin"]}),
        }
        for pair in pairs
    ]


def _variants(found: Comparison) -> list[dict[str, Any]]:
    """Variants, the best first, each with its seeds as dots on a common range, and the seconds a run took."""
    variants = comparison_tables.ordered(found.told)
    values = [value for variant in variants for value in variant["values"] if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.1 * (high - low) or 0.05
    number = {name: index for index, name in enumerate(found.variants)}
    seconds = _seconds(found)

    def place(value: float) -> float:
        return 100 * (value - low + room) / (high - low + 2 * room)

    return [
        {
            **variant,
            "ink": _ink(number[variant["name"]]),
            "dots": [place(value) for value in variant["values"] if value is not None],
            "mark": None if variant["mean"] is None else place(variant["mean"]),
            "seconds": seconds.get(variant["name"]),
        }
        for variant in variants
    ]


def _seconds(found: Comparison) -> dict[str, float]:
    """Mean seconds of training of the runs of each variant, by their logs."""
    taken = {name: [run.seconds for folds in seeds.values() for run in folds] for name, seeds in found.runs.items()}
    return {name: sum(each) / len(each) for name, each in taken.items() if each}


def _curves(found: Comparison) -> list[dict[str, str] | None]:
    """The loss and the score of val over the steps, the mean of the seeds within their range."""
    return [_curve(found, field, f"{field} on val") for field in ("loss", found.told["score"])]


def _curve(found: Comparison, field: str, title: str) -> dict[str, str] | None:
    drawn = [band for name in found.variants if (band := _band(found, name, field)) is not None]
    if not drawn:
        return None
    ends = "; ".join(f"{band.label} ends at {band.values[:, -1].mean():.3f}" for band in drawn)
    caption = "Mean of the seeds; the band reaches from the lowest to the highest."
    words = f"{title} over the steps, for each variant: {ends}"
    return {"title": title, "caption": caption, "svg": comparison_figures.bands(field, drawn, words)}


def _band(found: Comparison, name: str, field: str) -> Band | None:
    """What the runs of a variant logged at the same steps; None where there are no two such steps."""
    logs = [_logged(run, field) for folds in found.runs[name].values() for run in folds]
    steps = sorted(set.intersection(*map(set, logs))) if logs else []
    if len(steps) < 2:
        return None
    return Band(name, np.array(steps, float), np.array([[log[step] for step in steps] for log in logs]))


def _logged(run: Run, field: str) -> dict[int, float]:
    return {line["step"]: float(line[field]) for line in run.val if line.get(field) is not None}


def _rates(found: Comparison) -> dict[str, str] | None:
    """The score of every learning rate that was tried for each variant."""
    tuning = found.told["tuning"]
    if not tuning:
        return None
    tried = []
    for name in found.variants:
        trials = sorted(tuning["variants"][name]["trials"], key=lambda trial: trial["lr"])
        known = [trial for trial in trials if all(score is not None for score in trial["scores"])]
        if known:
            scores = np.array([np.mean(trial["scores"]) for trial in known])
            tried.append((name, np.array([trial["lr"] for trial in known]), scores))
    if not tried:
        return None
    best = "; ".join(f"{name} does best at {rate[score.argmax()]:g}" for name, rate, score in tried)
    title = f"{found.told['score']} by learning rate"
    caption = f"Each variant by itself, on images held back from its training part; {best}."
    return {"title": title, "caption": caption, "svg": comparison_figures.rates("rates", tried, f"{title}: {best}")}


def _costs(found: Comparison) -> list[dict[str, str]]:
    """What each variant costs, and how well it does."""
    seconds, score = _seconds(found), found.told["score"]
    kinds = (
        (f"{score} and time", "seconds of training", lambda variant: seconds.get(variant["name"])),
        (f"{score} and size", "parameters", lambda variant: float(variant["parameters"])),
    )
    drawn = []
    for number, (title, unit, cost) in enumerate(kinds):
        points = [_point(v, cost(v)) for v in found.told["variants"] if v["mean"] is not None and cost(v) is not None]
        if points:
            words = "; ".join(f"{point.label} {point.score:.3f} at {point.cost:.4g}" for point in points)
            svg = comparison_figures.costs(f"cost{number}", points, unit, f"{title}: {words}")
            drawn.append({"title": title, "caption": "Mean of the seeds, and their range.", "svg": svg})
    return drawn


def _point(variant: Json, cost: float | None) -> Point:
    values = [value for value in variant["values"] if value is not None]
    return Point(variant["name"], float(cost or 0), float(variant["mean"]), min(values), max(values))


def _classes(found: Comparison) -> dict[str, Any] | None:
    """IoU of each class under the first variant, and how much better each other one is, with intervals over seeds."""
    first, *others = found.variants
    run = found.first()
    if run is None or len(run.classes.names) > MOST_CLASSES:
        return None
    tables = {other: _class_pairs(found, first, other) for other in others}
    tables = {other: results for other, results in tables.items() if results}
    means = _class_means(found, first)
    if not tables or means is None:
        return None
    rows = []
    for number, (name, color) in enumerate(zip(run.classes.names, run.classes.colors, strict=True)):
        cells = {other: _class_cell(results[number]) for other, results in tables.items()}
        rows.append({"name": name, "color": color, "iou": means[number], "cells": cells})
    return {"first": first, "others": list(tables), "rows": rows}


def _class_pairs(found: Comparison, a: str, b: str) -> tuple[Any, ...]:
    """The statistics of each class for the seeds that both have; none where classes do not exclude each other."""
    both = [seed for seed in found.runs[a] if seed in found.runs[b]]
    first, second = ([found.rows(name, seed) for seed in both] for name in (a, b))
    mine, other = ([one for one in side if one is not None] for side in (first, second))
    if not both or not len(mine) == len(other) == len(both):
        return ()
    before, after = (np.stack([totals(one.counts) for one in side]) for side in (mine, other))
    return compare_classes(before, after, mine[0].groups, iou, margin=found.told["margin"])


def _class_means(found: Comparison, name: str) -> list[float | None] | None:
    rows = [found.rows(name, seed) for seed in found.runs[name]]
    if not rows or any(one is None for one in rows):
        return None
    scores = np.stack([iou(totals(one.counts).sum(axis=0)) for one in rows if one is not None])
    return [None if np.isnan(column).any() else float(column.mean()) for column in scores.T]


def _class_cell(result: Any) -> dict[str, Any]:
    interval = result.interval
    span = {"low": interval.low, "high": interval.high} if isinstance(interval, Interval) else None
    sure = span is not None and (span["low"] > 0 or span["high"] < 0)
    return {"difference": result.difference, "interval": span, "sure": sure}


def _shown(one: comparison_records.Shown, found: Comparison) -> dict[str, Any]:
    """An image, its truth, and the answer of every variant."""
    names = [name for name in ("image", "truth") if name in one.pictures]
    names += [name for name in found.variants if name in one.pictures]
    panels = []
    for name in names:
        score = one.scores.get(name)
        said = f"{name} {wording.score(score)}" if name in one.scores else name
        panels.append({"said": said, **vars(panel_of(name, f"{name} of {one.key}", one.pictures[name]))})
    return {"key": one.key, "apart": one.apart, "panels": panels}


def _remarks(found: Comparison) -> list[str]:
    """What to know before believing the verdict: notes of the comparison, of the data, and what failed.

    What is said of leaks stands beside the verdict; where nobody looked for them, what the runs noted of their data.
    """
    run = found.first()
    failed = [f"{each['name']} failed: {each['message']}" for each in found.told["failures"]]
    if found.leaks is not None:
        return [*failed, *(note for note in found.told["notes"] if note != found.leaks["sentence"])]
    leaks = [note for note in (run.plan["notes"] if run else ()) if "too high" in note or "WARNING" in note]
    return [*failed, *found.told["notes"], *dict.fromkeys(leaks)]


def _machine(found: Comparison) -> list[tuple[str, str]]:
    run = found.first()
    return [] if run is None else [(k, _value(v)) for k, v in run.environment.items() if k != "schema"]


def _value(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value)) or "none"
    return str(value)
