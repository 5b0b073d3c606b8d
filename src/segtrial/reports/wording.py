"""Numbers in, words for people out: the same rounding on a page and in a terminal.

Scores are shares from 0 to 1 and have three decimals. What is undefined is a dash, never 0.
"""

from collections.abc import Mapping
from typing import Any

DASH = "–"


def score(value: float | int | None) -> str:
    """0.6123 -> "0.612"; None -> a dash."""
    return DASH if value is None else f"{value:.3f}"


def percent(share: float | int | None) -> str:
    """0.123 -> "12.3 %"; a share too small to show is "< 0.1 %", so that only nothing reads 0 %."""
    if share is None:
        return DASH
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if share else "0 %"


def count(number: float | int | None) -> str:
    """1234567 -> "1,234,567"."""
    return DASH if number is None else f"{number:,.0f}"


def short_count(number: float | int) -> str:
    """1234567 -> "1.23 M": three digits."""
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.3g}"


def megabytes(number: float | int) -> str:
    """123456789 -> "123 MB": millions of bytes."""
    return f"{number / 1e6:,.3g} MB" if number < 1e9 else f"{number / 1e9:.3g} GB"


def duration(seconds: float | int | None) -> str:
    """75.2 -> "1 min 15 s"; the two largest units, seconds with a decimal below ten."""
    if seconds is None:
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def interval(entry: Mapping[str, Any] | None) -> str:
    """ "0.580 to 0.640", or "none"."""
    return "none" if entry is None else f"{score(entry['low'])} to {score(entry['high'])}"


def counted(unit: str) -> str:
    """What the letters in definitions stand for; `unit` is what is counted: pixels or images."""
    return f"TP: {unit} of a class that are answered so; FP: others answered so; FN: its own answered otherwise."


def baseline(name: str) -> str:
    """ "mean_color" -> "mean colour"."""
    return name.replace("_", " ").replace("color", "colour")


def plain(text: object) -> str:
    """One printable line: a name from somebody's data cannot move a terminal's cursor or break a table."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in str(text))


def rate_test(test: Mapping[str, Any]) -> str:
    """What a range test of learning rates says, in two sentences."""
    if test["suggestion"] is None:
        found = "The loss never falls by a tenth, so no learning rate is suggested."
    else:
        rate = f"A learning rate of {test['suggestion']:g} is suggested"
        found = f"{rate}: the loss falls steepest there, and is lowest at ten times that rate or more."
    if test["diverged"] is None:
        return f"{found} It does not diverge up to {test['rates'][-1]:g}."
    return f"{found} It diverges at {test['diverged']:g}, a tenth of which is {test['tenth_of_diverged']:g}."
