"""Curves of runs, intervals of pairs and scores by minutes in, SVG text out: the figures of docs/results.md.

Written out by hand, so that the same numbers give the same bytes whatever is installed. Colours are those of the pages
of reports; the ground is white, for pages of any colour.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Any
from xml.sax.saxutils import escape

INK, MUTED, GRID, SHADE = "#1c1d20", "#5d6068", "#e6e6e2", "#eef0f4"
COLORS = ("#1f5fbf", "#b3420b", "#1a7a4c", "#8339a3", "#8a6a00", "#b82a66", "#0b7580", "#5d6068", "#0f2f6b", "#6b2a00")
FONT = "font-family='system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, DejaVu Sans, sans-serif'"
WIDTH, TOP, HEIGHT = 980, 34, 210
LINE = 15
"""Pixels between two labels, at least."""
MOST = 1.3
"""Of a panel's first part, whose largest value its height is made for; what lies above that is cut off."""

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Axes:
    """A rectangle of the figure, and the numbers at its edges."""

    left: float
    width: float
    steps: float
    low: float
    high: float

    def x(self, step: float) -> float:
        """Pixels from the left."""
        return self.left + self.width * step / self.steps

    def y(self, value: float) -> float:
        """Pixels from above."""
        return TOP + HEIGHT * (self.high - value) / (self.high - self.low)


def curves(told: Json, variants: Sequence[str]) -> str:
    """The score on val and the loss on train and val of some variants of a trial: seeds thin, their mean thick.

    `told` is curves.json of the trial. A variant has the colour of its place in the whole trial.
    """
    inks = {name: COLORS[number % len(COLORS)] for number, name in enumerate(told["variants"]) if name in variants}
    panels = [
        _panel(told, inks, 48, f"{told['score']} on val", [("val", "scores", "")]),
        _panel(told, inks, 530, "loss, dashed on val", [("train", "losses", ""), ("val", "losses", "5 4")]),
    ]
    said = f"{told['score']} and loss against steps: {', '.join(inks)}"
    return _svg(TOP + HEIGHT + 34, said, [part for panel in panels for part in panel])


def _panel(told: Json, inks: Mapping[str, str], left: float, title: str, lines: Sequence[tuple[str, str, str]]) -> list:
    drawn = [
        (name, part, dash, _points(told["variants"][name], part, what)) for name in inks for part, what, dash in lines
    ]
    shown = [points for _, part, _, seeds in drawn for points in (seeds if part == lines[0][0] else [_mean(seeds)])]
    known = [value for points in shown for _, value in points]
    if not known:
        return []
    most = MOST * max(value for *_, seeds in drawn[:: len(lines)] for points in seeds for _, value in points)
    high, low = min(max(known), most), min(0.0, *known)
    steps = max(step for points in shown for step, _ in points)
    axes = Axes(left, 230, steps, low, low + 1.06 * ((high - low) or 1))
    clip = f"<clipPath id='at{left:.0f}'>{_rect(left - 3, TOP, 236, HEIGHT + 2, INK)}</clipPath>"
    parts = [_text(left, TOP - 14, title, INK, bold=True), *_grid(axes), clip, f"<g clip-path='url(#at{left:.0f})'>"]
    for name, part, dash, seeds in drawn:
        if part == lines[0][0]:  # of a second part the mean alone
            parts += [_path(axes, points, inks[name], 0.8, 0.45, dash) for points in seeds]
        parts.append(_path(axes, _mean(seeds), inks[name], 2.4, 1, dash))
    ends = {name: _mean(seeds)[-1][1] for name, part, _, seeds in drawn if part == lines[0][0] and _mean(seeds)}
    return [*parts, "</g>", *_labels(axes, ends, inks)]


def _points(seeds: Json, part: str, what: str) -> list[list[tuple[int, float]]]:
    """Of each seed its points; a diverged one has no numbers at its end."""
    logs = [log[part] for log in seeds.values()]
    pairs = [zip(log["steps"], log[what], strict=True) for log in logs]
    return [[(step, value) for step, value in each if value is not None] for each in pairs]


def _mean(seeds: Sequence[Sequence[tuple[int, float]]]) -> list[tuple[int, float]]:
    """Over the seeds, at the steps that all of them have."""
    values = [dict(points) for points in seeds]
    shared = sorted(set(values[0]).intersection(*values)) if values else []
    return [(step, sum(each[step] for each in values) / len(values)) for step in shared]


def _grid(axes: Axes) -> Iterator[str]:
    for tick in _ticks(axes.low, axes.high, 5):
        y = axes.y(tick)
        yield _line(axes.left, y, axes.left + axes.width, y, GRID)
        yield _text(axes.left - 6, y + 4, f"{tick:g}", MUTED, anchor="end")
    for tick in _ticks(0, axes.steps, 4):
        yield _text(axes.x(tick), TOP + HEIGHT + 17, f"{tick:g}", MUTED, anchor="middle")
    yield _text(axes.left + axes.width, TOP + HEIGHT + 30, "step", MUTED, anchor="end")


def _ticks(low: float, high: float, most: int) -> list[float]:
    """At most so many round numbers from `low` to `high`."""
    rough = (high - low) / most
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    return [round(step * number, 9) for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _labels(axes: Axes, ends: Mapping[str, float], inks: Mapping[str, str]) -> Iterator[str]:
    """Name and last value beside each line, moved apart where they would touch."""
    order = sorted(ends, key=lambda name: axes.y(ends[name]))
    places = [axes.y(ends[name]) for name in order]
    for above, below in pairwise(range(len(places))):
        places[below] = max(places[below], places[above] + LINE)
    lowest = float(TOP + HEIGHT)
    for number in reversed(range(len(places))):
        places[number] = min(places[number], lowest)
        lowest = places[number] - LINE
    for name, place in zip(order, places, strict=True):
        yield _text(axes.left + axes.width + 8, place + 4, f"{name} {ends[name]:.3f}", inks[name], bold=True)


def pairs(told: Json, shown: Sequence[Json]) -> str:
    """A row for each pair: the difference, its interval for these images (thick) and for new scenes (thin)."""
    spans = [pair[kind] for pair in shown for kind in ("interval", "interval_new_scenes") if pair[kind]]
    margin = told["margin"]
    reach = 1.05 * max([2 * margin, *(abs(span[end]) for span in spans for end in ("low", "high"))])
    left, width, row, top = 256, 420, 26, 46
    bottom = top + row * len(shown)

    def x(value: float) -> float:
        return left + width * (value + reach) / (2 * reach)

    parts = [_rect(x(-margin), top - 6, x(margin) - x(-margin), bottom - top + 6, SHADE)]
    for tick in _ticks(-reach, reach, 6):
        parts.append(_line(x(tick), top - 6, x(tick), bottom, MUTED if tick == 0 else GRID))
        parts.append(_text(x(tick), bottom + 16, "0" if tick == 0 else f"{tick:+g}", MUTED, anchor="middle"))
    title = f"difference in {told['score']}, 95 %: thick for these images, thin for new scenes"
    parts += [_text(8, 20, title, INK, bold=True), _text(left + width + 14, top - 12, "verdict", MUTED)]
    for number, pair in enumerate(shown):
        y = top + row * (number + 0.5)
        parts.append(_text(left - 10, y + 4, f"{pair['b']} against {pair['a']}", INK, anchor="end"))
        parts += _interval(pair, y, x)
        parts.append(_text(left + width + 14, y + 4, verdict_of(pair), _ink_of(pair["verdict"])))
    said = f"{told['score']}: intervals of {len(shown)} pairs; shaded is the margin of {margin:g}"
    parts.append(_text(left - 10, bottom + 16, f"shaded: margin of {margin:g}", MUTED, anchor="end"))
    return _svg(bottom + 28, said, parts)


def _interval(pair: Json, y: float, x: Any) -> Iterator[str]:
    here = (pair.get("these_images") or pair)["verdict"]
    for kind, thick, said in (("interval_new_scenes", 1.4, pair["verdict"]), ("interval", 5, here)):
        if pair[kind]:
            yield _line(x(pair[kind]["low"]), y, x(pair[kind]["high"]), y, _ink_of(said), thick)
    if pair["difference"] is not None:
        place = f"cx='{x(pair['difference']):.1f}' cy='{y:.1f}' r='5'"
        yield f"<circle {place} fill='white' stroke='{_ink_of(here)}' stroke-width='2'/>"


def verdict_of(pair: Json) -> str:
    """The verdict; where it is another one for these images alone, that too."""
    here = (pair.get("these_images") or pair)["verdict"]
    return pair["verdict"] if here == pair["verdict"] else f"{here} here, new scenes: {pair['verdict']}"


def _ink_of(verdict: str) -> str:
    return {"better": COLORS[2], "worse": COLORS[1], "equivalent": COLORS[0]}.get(verdict, MUTED)


def minutes(lines: Mapping[str, Sequence[tuple[float, float]]], score: str) -> str:
    """The score against minutes, doubling: a dot for each run, of each line the means joined.

    `lines` is name -> (minutes, score) of each run.
    """
    points = [point for runs in lines.values() for point in runs]
    ends = [math.log2(min(time for time, _ in points)), math.log2(max(time for time, _ in points))]
    axes = Axes(48, 380, ends[1] - ends[0] + 0.6, 0, 1.1 * max(value for _, value in points))
    inks = {name: COLORS[number % len(COLORS)] for number, name in enumerate(lines)}
    parts = [_text(axes.left, TOP - 14, f"{score} after minutes of two cores", INK, bold=True)]
    for tick in _ticks(0, axes.high, 5):
        parts.append(_line(axes.left, axes.y(tick), axes.left + axes.width, axes.y(tick), GRID))
        parts.append(_text(axes.left - 6, axes.y(tick) + 4, f"{tick:g}", MUTED, anchor="end"))

    def place(time: float) -> float:
        return math.log2(time) - ends[0] + 0.3

    for time in sorted({time for time, _ in points}):
        parts.append(_text(axes.x(place(time)), TOP + HEIGHT + 17, f"{time:g}", MUTED, anchor="middle"))
    parts.append(_text(axes.left + axes.width, TOP + HEIGHT + 30, "minutes", MUTED, anchor="end"))
    means = {}
    for name, runs in lines.items():
        times = sorted({time for time, _ in runs})
        joined = [(place(time), fmean(value for other, value in runs if other == time)) for time in times]
        parts += [_path(axes, [(place(time), value)], inks[name], 2.4, 0.5, "") for time, value in runs]
        parts += [_path(axes, joined, inks[name], 2.4, 1, "")] if len(joined) > 1 else []
        means[name] = joined[-1][1]
    return _svg(TOP + HEIGHT + 34, f"{score} against minutes", [*parts, *_labels(axes, means, inks)])


def _path(axes: Axes, points: Sequence[tuple[float, float]], ink: str, width: float, alpha: float, dash: str) -> str:
    """A line through the points; a dot, where there is one alone."""
    if len(points) == 1:
        x, y = axes.x(points[0][0]), axes.y(points[0][1])
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{1.2 * width:.1f}' fill='{ink}' fill-opacity='{alpha}'/>"
    places = " ".join(f"{axes.x(step):.1f},{axes.y(value):.1f}" for step, value in points)
    dashes = f" stroke-dasharray='{dash}'" if dash else ""
    style = f"fill='none' stroke='{ink}' stroke-width='{width}' stroke-opacity='{alpha}' stroke-linejoin='round'"
    return f"<polyline points='{places}' {style}{dashes}/>"


def _line(x1: float, y1: float, x2: float, y2: float, ink: str, width: float = 1) -> str:
    return f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{ink}' stroke-width='{width}'/>"


def _rect(x: float, y: float, width: float, height: float, ink: str) -> str:
    return f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{ink}'/>"


def _text(x: float, y: float, words: str, ink: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = " font-weight='600'" if bold else ""
    return f"<text x='{x:.1f}' y='{y:.1f}' fill='{ink}' text-anchor='{anchor}'{weight}>{escape(words)}</text>"


def _svg(height: float, said: str, parts: Sequence[str]) -> str:
    size = f"width='{WIDTH}' height='{height:.0f}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' {size} {FONT} font-size='12'>"
    return "\n".join(
        [head, f"<title>{escape(said)}</title>", f"<rect {size} rx='8' fill='white'/>", *parts, "</svg>\n"]
    )
