"""Runs of several variants in, SVG text out: curves with bands, learning rates and their scores, cost and quality."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from segtrial.reports import figures, wording
from segtrial.reports.figures import MUTED, VARIANTS

DASHES = ("-", "--", "-.", ":")
"""Lines differ in more than colour."""

LONGEST_LABEL = 9
"""Letters of a name beside its line: more would leave the page of a phone."""

PLACE = (0.125, 0.15, 0.57, 0.74)
"""Left, bottom, width and height of the axes, in shares of the figure: the rest is for names and values."""


@dataclass(frozen=True, eq=False)
class Band:
    """The values of one variant over steps, a row for each seed."""

    label: str
    steps: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "s n"]


@dataclass(frozen=True)
class Point:
    """One variant: what it costs, its score, and the lowest and highest of its seeds."""

    label: str
    cost: float
    score: float
    low: float
    high: float


def bands(name: str, variants: Sequence[Band], words: str) -> str:
    """The mean over seeds of each variant, and the range of its seeds."""

    def fill(axes: Axes) -> None:
        axes.set_position(PLACE)
        axes.set_xlim(0, max(float(band.steps[-1]) for band in variants))
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_xlabel("step", color=MUTED, loc="right", labelpad=1)
        figures.fit_heights(axes, np.concatenate([band.values.ravel() for band in variants]))
        for number, band in enumerate(variants):
            ink, dash = style(number)
            low, high = band.values.min(axis=0), band.values.max(axis=0)
            axes.fill_between(band.steps, low, high, color=ink, alpha=0.15, linewidth=0, zorder=2)
            axes.plot(band.steps, band.values.mean(axis=0), dash, color=ink, linewidth=1.8, zorder=3)
        figures.label_ends(
            axes,
            [(short(band.label), style(i)[0], float(band.values[:, -1].mean())) for i, band in enumerate(variants)],
        )

    return figures.on_axes(name, words, fill)


def rates(name: str, tried: Sequence[tuple[str, Float[np.ndarray, " n"], Float[np.ndarray, " n"]]], words: str) -> str:
    """Of each variant the score of every learning rate that was tried, a diverged one left out."""

    def fill(axes: Axes) -> None:
        axes.set_position(PLACE)
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("learning rate", color=MUTED, loc="right", labelpad=1)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for number, (_, rate, score) in enumerate(tried):
            ink, dash = style(number)
            axes.plot(rate, score, dash, color=ink, linewidth=1.4, marker="o", markersize=4, zorder=3)
        ends = [(short(label), style(i)[0], float(score[-1])) for i, (label, _, score) in enumerate(tried)]
        figures.label_ends(axes, ends)

    return figures.on_axes(name, words, fill)


def costs(name: str, points: Sequence[Point], cost: str, words: str) -> str:
    """Cost from left to right, score upwards, with the range of the seeds."""

    def fill(axes: Axes) -> None:
        axes.set_position(PLACE)
        spent = [point.cost for point in points]
        if max(spent) > 4 * min(spent) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: wording.short_count(value)))
        axes.set_xlabel(cost, color=MUTED, loc="right", labelpad=1)
        axes.margins(0.15, 0.12)
        axes.yaxis.set_major_locator(MaxNLocator(5))
        for number, point in enumerate(points):
            ink, _ = style(number)
            axes.plot([point.cost] * 2, [point.low, point.high], color=ink, linewidth=1.4, zorder=2)
            axes.plot([point.cost], [point.score], "o", color=ink, markersize=7, zorder=3)
        figures.label_ends(axes, [(short(point.label), style(i)[0], point.score) for i, point in enumerate(points)])

    return figures.on_axes(name, words, fill)


def short(label: str) -> str:
    """The name as a figure has room for it."""
    return label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…"


def style(number: int) -> tuple[str, str]:
    """Colour and dashes of the variant with that number."""
    return VARIANTS[number % len(VARIANTS)], DASHES[number // 2 % len(DASHES)]
