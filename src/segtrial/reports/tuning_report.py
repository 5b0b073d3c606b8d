"""Search folder -> tuning.html: what was chosen, what it is worth, and how the score goes with each field."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullFormatter

from segtrial.errors import RunError
from segtrial.files import write_atomic
from segtrial.reports import figures, page, wording
from segtrial.reports.figures import MUTED, TRAIN, VAL

PAGE = "tuning.html"
SHOWN = 100
"""Trials in the table of the page; tuning.json has all of them."""

LONGEST = 14
"""Letters of a choice below its place."""


def write(folder: Path) -> Path:
    """Write `folder/tuning.html` and return its path. Raises RunError if no search has ended there."""
    file = folder / "tuning.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        best = (folder / "best.yaml").read_text(encoding="utf-8") if told["best"] else ""
    except (OSError, ValueError, KeyError) as error:
        raise RunError(file, f"cannot be read ({error})", "Search again into the same folder") from error
    write_atomic(folder / PAGE, render(told, best).encode())
    return folder / PAGE


def render(told: Mapping[str, Any], best: str) -> str:
    """The page as HTML. The same result gives the same characters."""
    trials = sorted(told["trials"], key=lambda trial: (-(trial["score"] or -1.0), trial["number"]))
    return page.render(
        "tuning.html.j2",
        told=told,
        best=best,
        settings=words(told["best"]["setting"]) if told["best"] else {},
        figures=[figure for figure in (_history(told), *(_field(told, key) for key in told["ranges"])) if figure],
        trials=[{**trial, "words": words(trial["setting"] or {})} for trial in trials[:SHOWN]],
        left_out=max(0, len(trials) - SHOWN),
    )


def words(setting: Mapping[str, Any]) -> dict[str, str]:
    """Each field with its value as a recipe spells it."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in setting.items()}


def _known(told: Mapping[str, Any], state: str = "complete") -> list[dict[str, Any]]:
    return [trial for trial in told["trials"] if trial["state"] == state and trial["setting"]]


def _last(trial: Mapping[str, Any]) -> float | None:
    """A trial's score, or the last one on its way."""
    return trial["score"] if trial["score"] is not None else next(iter(trial["evaluations"][::-1]), None)


def _history(told: Mapping[str, Any]) -> dict[str, str] | None:
    """Every trial's score in the order of the trials, and the best so far."""
    complete = _known(told)
    if not complete:
        return None
    numbers = np.array([trial["number"] for trial in complete], float)
    scores = np.array([trial["score"] for trial in complete], float)

    def fill(axes: Axes) -> None:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("trial", color=MUTED, loc="right", labelpad=1)
        axes.plot(numbers, scores, "o", color=TRAIN, markersize=4, zorder=3)
        axes.plot(numbers, np.maximum.accumulate(scores), color=VAL, linewidth=1.6, drawstyle="steps-post")
        figures.label_ends(axes, [("best", VAL, float(scores.max()))])

    caption = "Each dot is a trial that was trained to its end; the line is the best so far."
    said = f"Scores of {len(scores)} trials in their order; the best is {scores.max():.3f}"
    return {"title": "Trials in their order", "caption": caption, "svg": figures.on_axes("history", said, fill)}


def _field(told: Mapping[str, Any], key: str) -> dict[str, str] | None:
    """The score over one field: trials that ended, and faintly those that were stopped at their last score."""
    whole = [(trial["setting"][key], trial["score"]) for trial in _known(told)]
    if not whole:
        return None
    stopped = [(trial["setting"][key], _last(trial)) for trial in _known(told, "pruned")]
    stopped = [(value, score) for value, score in stopped if score is not None]
    span, chosen = told["ranges"][key], told["best"]["setting"][key]

    def place(value: Any) -> float:
        return float(value) if isinstance(span, Mapping) else float(span.index(value))

    def fill(axes: Axes) -> None:
        _across(axes, span)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel(key, color=MUTED, loc="right", labelpad=1)
        for points, alpha, mark in ((stopped, 0.4, "x"), (whole, 1.0, "o")):
            at = [place(value) for value, _ in points]
            scores = [score for _, score in points]  # some lie at an end of the range, and are shown whole
            axes.plot(at, scores, mark, color=TRAIN, alpha=alpha, markersize=4, zorder=3, clip_on=False)
        axes.axvline(place(chosen), color=VAL, linewidth=1.2, zorder=2)

    share = (told["importance"] or {}).get(key)
    weight = f" It is {wording.percent(share)} of what makes a trial a good one (PED-ANOVA)." if share else ""
    spelt = words({key: chosen})[key]
    caption = f"Dots: trials; crosses: those stopped early, at their last score; the line: chosen, {spelt}.{weight}"
    name = f"field{list(told['ranges']).index(key)}"
    svg = figures.on_axes(name, f"Score over {key}; {spelt} was chosen", fill)
    return {"title": key, "caption": caption, "svg": svg}


def _across(axes: Axes, span: Mapping[str, Any] | Sequence[Any]) -> None:
    """The axis of a range, or a place for each choice."""
    if isinstance(span, Mapping):
        if span["log"]:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(span["low"], span["high"])
        return
    names = [words({"": choice})[""] for choice in span]
    short = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
    axes.set_xticks(range(len(span)), short)
    axes.set_xlim(-0.5, len(span) - 0.5)
