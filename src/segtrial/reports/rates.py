"""A range test's figures in, one picture out: loss over the learning rate, with the rate to take marked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from segtrial.files import write_atomic
from segtrial.reports import figures, wording

LIGHT = {"--ink": "#1c1d20", "--muted": "#5d6068", "--grid": "#e6e6e2", "--train": "#5a6472", "--val": "#b3420b"}
"""Colours of a picture that stands alone; in a page they are the page's."""


def write(folder: Path) -> Path:
    """Draw `folder/find_lr.json` into `folder/find_lr.svg`, which any browser shows, and return its path."""
    picture = folder / "find_lr.svg"
    svg = draw(json.loads((folder / "find_lr.json").read_text(encoding="utf-8")))
    colors = ";".join(f"{name}:{color}" for name, color in LIGHT.items())
    style = f"<style>svg{{{colors};--sans:sans-serif;background:#fff}}</style>"
    end = svg.index(">") + 1
    write_atomic(picture, (svg[:end] + style + svg[end:]).encode())
    return picture


def draw(test: Mapping[str, Any]) -> str:
    """The smoothed loss over the logarithm of the rate as inline SVG, single losses faint, the suggestion a line."""
    rates, losses, mean = (np.array(test[name]) for name in ("rates", "losses", "smoothed"))

    def fill(axes: Axes) -> None:
        axes.set_position((0.125, 0.15, 0.84, 0.74))  # no label needs the room on the right
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(10, numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("learning rate", color=figures.MUTED, loc="right", labelpad=1)
        axes.plot(rates, losses, color=figures.TRAIN, linewidth=0.7, alpha=0.35)
        axes.plot(rates, mean, color=figures.TRAIN, linewidth=1.8)
        if test["suggestion"] is not None:
            axes.axvline(test["suggestion"], color=figures.VAL, linewidth=1.2)
            mark, place = f"{test['suggestion']:g}", axes.get_xaxis_transform()
            axes.text(test["suggestion"], 1.03, mark, transform=place, ha="center", color=figures.VAL)
        figures.fit_heights(axes, mean)

    return figures.on_axes("rates", wording.rate_test(test), fill)
