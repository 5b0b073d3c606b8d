"""Numbers in, SVG text out: curves that take their colours and their type from the page around them.

Matplotlib draws with stand-in colours; afterwards each becomes a CSS variable of page.css, so that one
figure serves light and dark. Text stays text. The same numbers always give the same characters.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from segtrial.reports import wording

INK, MUTED, GRID, SHADE = "#010101", "#020202", "#030303", "#040404"
TRAIN, VAL = "#050505", "#060606"
VARIANTS = tuple(f"#0a0a0{number}" for number in range(1, 9))
VARIABLES = {
    **{stand_in: f"var(--v{number})" for number, stand_in in enumerate(VARIANTS, 1)},
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SHADE: "var(--shade)",
    TRAIN: "var(--train)",
    VAL: "var(--val)",
}
"""Stand-in colours, all near black so that a figure cut out of its page is still legible."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segtrial",
    "font.family": "DejaVu Sans",  # comes with matplotlib: text is measured alike on every machine
    "font.size": 11,
    "axes.unicode_minus": True,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "path.simplify": True,
}

SMOOTHED_TO = 60
"""Points of a smoothed training curve; each is the mean of its stretch of steps."""

RAW_MOST = 600
"""Raw points drawn at most: more are not seen at this size."""


MARKED_MOST = 16
"""A curve of so few points shows each of them."""


@dataclass(frozen=True)
class Curve:
    """One line: its label, its stand-in colour, and values over steps. `noisy` ones are also smoothed."""

    label: str
    color: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    noisy: bool = False


@dataclass(frozen=True)
class Stretch:
    """A phase of a run: its first step, the step after its last, and what to call it."""

    first: int
    end: int
    label: str


def curve(label: str, color: str, lines: Sequence[Mapping[str, Any]], field: str, *, noisy: bool = False) -> Curve:
    """The values of `field` in lines of a metrics log; lines without a value are left out."""
    points = [(line["step"], float(line[field])) for line in lines if line.get(field) is not None]
    return Curve(label, color, tuple(step for step, _ in points), tuple(value for _, value in points), noisy)


def draw(name: str, curves: Sequence[Curve], stretches: Sequence[Stretch], description: str) -> str:
    """Curves over steps as inline SVG, labelled at their ends, phases shaded.

    `name` starts every id in it and so must be unique on the page; `description` is read to those who do not see.
    """

    def fill(axes: Axes) -> None:
        drawn = [one for one in curves if one.steps]
        _frame(axes, drawn, stretches)
        _shade(axes, stretches)
        for one in drawn:
            _line(axes, one)
        _label(axes, drawn)

    return on_axes(name, description, fill)


def on_axes(name: str, description: str, fill: Callable[[Axes], None]) -> str:
    """What `fill` draws into empty axes, as inline SVG; `name` and `description` as in `draw`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.2))
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_axes((0.125, 0.15, 0.655, 0.74))
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="y", color=GRID, linewidth=0.7)
        axes.tick_params(length=0, pad=4)
        axes.set_axisbelow(True)
        fill(axes)
        text = io.StringIO()
        canvas.print_svg(text, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(text.getvalue(), name, description)


def _frame(axes: Axes, curves: Sequence[Curve], stretches: Sequence[Stretch]) -> None:
    last = max([stretch.end for stretch in stretches] + [step for one in curves for step in one.steps[-1:]])
    axes.set_xlim(0, last)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("step", color=MUTED, loc="right", labelpad=1)
    fit_heights(axes, np.array([value for one in curves for value in one.values]))


def fit_heights(axes: Axes, values: Float[np.ndarray, " n"]) -> None:
    """From 0 where the values allow it; on a logarithm where the largest hides the others."""
    if values.min() > 0 and values.max() > 50 * np.median(values):
        axes.set_yscale("log")
        axes.set_ylim(values.min() / 1.3, values.max() * 1.3)
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_ylim(min(0, values.min()), values.max() * 1.08 or 1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _shade(axes: Axes, stretches: Sequence[Stretch]) -> None:
    """Every second phase on a darker ground, each with its name above."""
    room = axes.get_xlim()[1] * 0.2
    for number, stretch in enumerate(stretches):
        if number % 2 == 0 and len(stretches) > 1:
            axes.axvspan(stretch.first, stretch.end, color=SHADE, linewidth=0, zorder=0)
        if stretch.end - stretch.first >= room:
            middle = (stretch.first + stretch.end) / 2
            place = axes.get_xaxis_transform()
            axes.text(middle, 1.03, stretch.label, transform=place, ha="center", color=MUTED, fontsize=9.5)


def _line(axes: Axes, one: Curve) -> None:
    steps, values = np.array(one.steps), np.array(one.values)
    if not one.noisy:
        marker = "o" if len(steps) <= MARKED_MOST else ""
        axes.plot(steps, values, color=one.color, linewidth=1.8, marker=marker, markersize=3.5, zorder=4)
        return
    every = -(-len(steps) // RAW_MOST)
    axes.plot(steps[::every], values[::every], color=one.color, linewidth=0.7, alpha=0.35, zorder=2)
    axes.plot(*_smoothed(steps, values), color=one.color, linewidth=1.6, zorder=3)


def _smoothed(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most SMOOTHED_TO stretches of consecutive points."""
    parts = min(SMOOTHED_TO, -(-len(steps) // 3))
    pieces = zip(np.array_split(steps, parts), np.array_split(values, parts), strict=True)
    means = [(step.mean(), value.mean()) for step, value in pieces]
    return np.array([step for step, _ in means]), np.array([value for _, value in means])


def _label(axes: Axes, curves: Sequence[Curve]) -> None:
    """Each line's name and last value beside its end."""
    label_ends(axes, [(one.label, one.color, _end(one)) for one in curves])


def label_ends(axes: Axes, ends: Sequence[tuple[str, str, float]]) -> None:
    """Name and value on the right, in their colour, at the height of the value; moved apart where they would touch."""
    to_axes = axes.transData + axes.transAxes.inverted()
    left = axes.get_xlim()[0]  # a logarithm has no 0
    heights = [float(to_axes.transform((left, end))[1]) for _, _, end in ends]
    for (label, color, end), height in zip(ends, _apart(heights), strict=True):
        text = f"{label} {_tidy(end)}" if label else ""
        axes.text(1.02, height, text, transform=axes.transAxes, color=color, va="center", fontweight="bold")


def _end(one: Curve) -> float:
    """The last value of what is drawn thick."""
    steps, values = np.array(one.steps), np.array(one.values)
    return float(_smoothed(steps, values)[1][-1]) if one.noisy else float(values[-1])


def _tidy(value: float) -> str:
    return f"{value:.3f}" if 0.1 <= abs(value) < 100 else wording.short_count(value)


def _apart(heights: Sequence[float], gap: float = 0.085) -> list[float]:
    """The heights in their order, neighbours at least `gap` of the axis apart: nudged up, and down from its top."""
    placed = list(heights)
    order = sorted(range(len(placed)), key=placed.__getitem__)
    for below, above in pairwise(order):
        placed[above] = max(placed[above], placed[below] + gap)
    highest = max(1.0, *heights)
    for above in reversed(order):
        placed[above] = min(placed[above], highest)
        highest = placed[above] - gap
    return placed


def _inline(svg: str, name: str, description: str) -> str:
    """A matplotlib file as a part of a page: no header, no outside name, ids of its own, CSS colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", svg, flags=re.DOTALL)  # a style is page-wide
    svg = svg.replace(' xmlns:xlink="http://www.w3.org/1999/xlink"', "").replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("'DejaVu Sans'", "var(--sans)")
    for stand_in, variable in VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    label = description.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
