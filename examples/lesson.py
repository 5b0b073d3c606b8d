"""What the notebooks beside this file draw and print: pictures side by side, curves, and verdicts with their intervals.

Nothing here trains or scores; it reads what `segtrial` left in run folders and results.
"""

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Patch

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""One for each variant, in order; told apart by most colour-blind readers too (Okabe and Ito)."""

plt.rcParams.update(
    {
        "figure.dpi": 80,
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "image.interpolation": "nearest",
    }
)


def photo(image: np.ndarray) -> np.ndarray:
    """An image as networks see it, `c h w`, as one to look at, `h w c`."""
    return image.transpose(1, 2, 0)


def paint(labels: np.ndarray, classes: Any) -> np.ndarray:
    """Class indices `h w` in the colours of their classes, `h w 3`."""
    return np.array(classes.colors, np.uint8)[labels]


def pictures(rows: Mapping[str, Sequence[np.ndarray]], classes: Any = None, width: float = 9) -> None:
    """Pictures side by side, one row for each name; with `classes`, their colours below."""
    columns = max(len(row) for row in rows.values())
    height, across = next(iter(rows.values()))[0].shape[:2]
    side = width / columns
    tall = len(rows) * side * height / across + (0.4 if classes else 0)
    figure, axes = plt.subplots(len(rows), columns, figsize=(width, tall), squeeze=False, layout="constrained")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)
    for line, (name, row) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(line, row, strict=False):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=255 if picture.dtype == np.uint8 else 1)
        for axis in line:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        line[0].set_ylabel(name)
    if classes:
        patches = [
            Patch(facecolor=np.array(color) / 255, edgecolor="black", linewidth=0.4, label=name)
            for name, color in zip(classes.names, classes.colors, strict=True)
        ]
        figure.legend(handles=patches, loc="outside lower center", ncols=min(10, len(patches)), fontsize=9)
    plt.show()


def log(run: str | Path, split: str, field: str) -> tuple[list[float], list[float]]:
    """Steps and values of one field of a run's metrics.jsonl."""
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    found = [(line["step"], line[field]) for line in lines if line["split"] == split and line.get(field) is not None]
    return [step for step, _ in found], [value for _, value in found]


def curves(runs: Mapping[str, Iterable[str | Path]], panels: Sequence[tuple[str, str, str]], width: float = 11) -> None:
    """One panel for each (title, split, field): each run a thin line, the mean of a variant's runs a thick one."""
    figure, axes = plt.subplots(1, len(panels), figsize=(width, 3.2), squeeze=False, layout="constrained")
    for axis, (title, split, field) in zip(axes[0], panels, strict=True):
        for color, (name, folders) in zip(COLORS, runs.items(), strict=False):
            found = [log(folder, split, field) for folder in folders]
            for steps, values in found:
                axis.plot(steps, values, color=color, linewidth=0.8, alpha=0.45)
            mean = np.mean([values for _, values in found], axis=0)
            axis.plot(found[0][0], mean, color=color, linewidth=2.2, label=name, marker="o", markersize=3)
        axis.set(title=title, xlabel="step")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names))
    plt.show()


def runs_of(folder: str | Path, result: Mapping[str, Any]) -> dict[str, list[Path]]:
    """The run folders of a comparison: name of a variant -> one for each seed."""
    return {
        variant["name"]: [Path(folder) / "runs" / variant["name"] / str(seed) for seed in variant["seeds"]]
        for variant in result["variants"]
    }


def tell(result: Mapping[str, Any]) -> None:
    """A comparison in print: each variant with the scores of its runs, then the sentence of each pair."""
    wide = max(len(variant["name"]) for variant in result["variants"])
    print(f"{'':{wide}}  {result['score']}: mean, standard deviation, and every run")
    for variant in result["variants"]:
        values = "  ".join(f"{value:.3f}" for value in variant["values"])
        print(f"{variant['name']:{wide}}  {variant['mean']:.3f} ± {variant['sd']:.3f}    {values}")
    for pair in result["pairs"]:
        print()
        print(textwrap.fill(f"{pair['verdict'].upper()}: {pair['sentence']}", 110))


def forest(result: Mapping[str, Any], width: float = 11) -> None:
    """The difference of each pair with its two 95 % intervals; the grey band is what does not matter."""
    pairs = result["pairs"]
    figure, axis = plt.subplots(figsize=(width, 1.3 + 0.6 * len(pairs)), layout="constrained")
    axis.axvspan(-result["margin"], result["margin"], color="0.85")
    axis.axvline(0, color="0.4", linewidth=1)
    for place, pair in enumerate(pairs):
        for shift, field, color in ((-0.12, "interval", COLORS[0]), (0.12, "interval_new_scenes", COLORS[1])):
            if pair[field]:
                axis.plot([pair[field]["low"], pair[field]["high"]], [place + shift] * 2, color=color, linewidth=3)
            axis.plot(pair["difference"], place + shift, "o", color=color)
    axis.set_yticks(range(len(pairs)), [f"{pair['b']} against {pair['a']}\n{pair['verdict']}" for pair in pairs])
    axis.set(ylim=(len(pairs) - 0.5, -0.5), xlabel=f"{result['score']}: of the first minus of the second")
    axis.grid(axis="y", visible=False)
    names = ("these images, new runs", "new scenes too", f"within the margin of {result['margin']:g}")
    handles = [*(plt.Line2D([], [], color=color, linewidth=3) for color in COLORS[:2]), Patch(color="0.85")]
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    plt.show()


def side_by_side(told: Mapping[str, Mapping[str, Any]]) -> None:
    """What `st.explain_metric` says of several runs: a row for each definition, a column for each run."""
    print(" " * 34 + "".join(f"{name:>10}" for name in told))
    for rows in zip(*(each["definitions"] for each in told.values()), strict=True):
        values = ("---" if row["value"] is None else f"{row['value']:.3f}" for row in rows)
        print(f"{rows[0]['name']:34}" + "".join(f"{value:>10}" for value in values))
