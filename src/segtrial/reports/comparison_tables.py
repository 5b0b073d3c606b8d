"""A comparison's result in, tables for other programs and papers out: CSV, Markdown and LaTeX."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from segtrial.reports.wording import DASH, plain

Json = Mapping[str, Any]
Table = tuple[Sequence[str], list[list[str]]]

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""With one of these at its beginning a spreadsheet takes a text for a program."""


def to_csv(told: Json) -> str:
    """One line for each run: variant, seed, score, and what the variant costs."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["variant", "seed", told["score"], "parameters", "steps", "multiply_adds"])
    for variant in ordered(told):
        for seed, value in zip(variant["seeds"], variant["values"], strict=True):
            cost = [variant[field] for field in ("parameters", "steps", "multiply_adds")]
            writer.writerow([_text(variant["name"]), seed, "" if value is None else repr(value), *cost])
    return text.getvalue()


def to_markdown(told: Json) -> str:
    """Variants, pairs with both intervals and verdicts, and the sentences."""
    lines = [f"# {told['score']} on {told['held_out']['part']}", ""]
    for head, rows in (variants_table(told), pairs_table(told)):
        lines += [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    lines += [f"- {plain(pair['sentence'])}" for pair in told["pairs"]]
    lines += [f"- {plain(note)}" for note in told["notes"]]
    return "\n".join(lines) + "\n"


def to_latex(told: Json) -> str:
    """The table of variants for a paper (booktabs): mean and standard deviation, cost, difference from the first."""
    first = told["variants"][0]["name"]
    against = {pair["b"]: pair for pair in told["pairs"] if pair["a"] == first}
    lines = [r"\begin{tabular}{lrrr}", r"\toprule"]
    lines += [rf"variant & {_escaped(told['score'])} & parameters & difference \\", r"\midrule"]
    for variant in ordered(told):
        pair = against.get(variant["name"])
        gap = "--" if pair is None else _gap(pair)
        lines.append(rf"{_escaped(variant['name'])} & {_mean(variant, '$')} & {variant['parameters']:,} & {gap} \\")
    number = max((variant["n"] for variant in told["variants"]), default=0)
    what = f"{_escaped(told['score'])} on {_escaped(told['held_out']['part'])}"
    lines += [
        r"\bottomrule",
        r"\end{tabular}",
        f"% {what}, mean and standard deviation of {number} seeds;",
        f"% difference from {_escaped(first)} with its 95 % interval over paired seeds.",
    ]
    return "\n".join(lines) + "\n"


def variants_table(told: Json) -> Table:
    """A row for each variant."""
    head = ("variant", told["score"], "seeds", "parameters", "steps", "multiply-adds")
    rows = []
    for one in ordered(told):
        cost = [f"{one['parameters']:,}", f"{one['steps']:,}", f"{one['multiply_adds']:.3g}"]
        rows.append([plain(one["name"]), _mean(one), str(one["n"]), *cost])
    return head, rows


def pairs_table(told: Json) -> Table:
    """A row for each pair."""
    head = ("b against a", "difference", "these images, 95 %", "new scenes, 95 %", "verdict", "smallest visible")
    rows = []
    for pair in told["pairs"]:
        spans = [signed_range(pair["interval"]), signed_range(pair["interval_new_scenes"])]
        names = f"{plain(pair['b'])} against {plain(pair['a'])}"
        rows.append([names, signed(pair["difference"]), *spans, pair["verdict"], _number(pair["mde"])])
    return head, rows


def ordered(told: Json) -> list[Json]:
    """Variants, the best first where all have the same seeds; otherwise as they were given."""
    variants = list(told["variants"])
    if told["ranked"]:
        variants.sort(key=lambda v: -float("inf") if v["mean"] is None else v["mean"], reverse=True)
    return variants


def signed(value: float | None) -> str:
    """+0.012, or a dash."""
    return DASH if value is None else f"{value:+.3f}"


def signed_range(interval: Json | None) -> str:
    """+0.012 to +0.034, or a dash."""
    return DASH if interval is None else f"{signed(interval['low'])} to {signed(interval['high'])}"


def _number(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _mean(variant: Json, around: str = "") -> str:
    if variant["mean"] is None:
        return "--" if around else DASH
    sign = r"\pm" if around else "±"
    spread = "" if variant["sd"] is None else f" {sign} {variant['sd']:.3f}"
    return f"{around}{variant['mean']:.3f}{spread}{around}"


def _gap(pair: Json) -> str:
    if pair["difference"] is None:
        return "--"
    interval = pair["interval"]
    span = "" if interval is None else f" [{signed(interval['low'])}, {signed(interval['high'])}]"
    return f"${signed(pair['difference'])}${span}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _text(name: str) -> str:
    """A cell that no spreadsheet runs."""
    return f"'{name}" if name.startswith(FORMULAS) else name


def _escaped(text: str) -> str:
    special: Mapping[str, str] = {letter: rf"\{letter}" for letter in "&%$#_{}"}
    special = {**special, "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, letter) for letter in plain(text))


WRITERS: Mapping[str, Callable[[Json], str]] = {
    "comparison.csv": to_csv,
    "comparison.md": to_markdown,
    "comparison.tex": to_latex,
}
"""Files beside the page, and what writes them."""
