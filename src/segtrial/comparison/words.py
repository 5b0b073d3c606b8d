"""A comparison -> sentences: what was found, what it speaks of, and what a plan will cost."""

from collections.abc import Iterator, Mapping
from typing import Any

SPEAKS_OF = "for these images and new training runs"
NEW_SCENES = "for new scenes and new training runs"


def duration(seconds: float | int) -> str:
    """75 -> "75 s", 600 -> "10 min", 7200 -> "2.0 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float | int) -> str:
    """12345678 -> "12 MB"."""
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def verdict(pair: Mapping[str, Any], score: str, margin: float | int) -> str:
    """What a pair of the result says, in a few sentences: of these images, then of new scenes, each named."""
    a, b, number = pair["a"], pair["b"], pair["n_seeds"]
    if pair["these_images"] is None:
        return f"Nothing can be said of {b} against {a}: {pair['reason']}."
    runs = f"{number} seeds" if number != 1 else "1 seed"
    gap = "undefined" if pair["difference"] is None else _signed(pair["difference"])
    said = [_found(pair["these_images"], a, b, SPEAKS_OF, margin), _found(pair["new_scenes"], a, b, NEW_SCENES, margin)]
    return f"{said[0]} {said[1]} ({b} - {a} in {score}: {gap}, {runs}.)"


def _found(answer: Mapping[str, Any], a: str, b: str, scope: str, margin: float | int) -> str:
    """The sentence of one population."""
    said = {
        "better": f"{b} is better than {a} {scope}",
        "worse": f"{b} is worse than {a} {scope}",
        "equivalent": f"{b} and {a} are equivalent {scope}, since they differ by less than {margin:g}",
        "cannot tell": f"Cannot tell whether {b} or {a} is better {scope}",
    }[answer["verdict"]]
    if answer["interval"]:
        said += f" (95 % interval {_signed(answer['interval']['low'])} to {_signed(answer['interval']['high'])})"
    return f"{said}: {answer['reason']}." if answer["reason"] else f"{said}."


def _signed(value: float | int) -> str:
    return f"{value:+.3f}"


def plan(told: Mapping[str, Any]) -> Iterator[str]:
    """The lines that are printed before the first run."""
    folds = f" x {told['folds']} folds" if told["folds"] else ""
    done = f", {told['done']} of them done" if told["done"] else ""
    yield f"{told['runs']} runs: {len(told['variants'])} variants x {len(told['seeds'])} seeds{folds}{done}."
    if told["trials"]:
        more = "more where a best one lies on its border"
        yield f"{told['trials']} trials before them, for settings of each variant's own; {more}."
    yield (
        f"About {duration(told['seconds'])}, {told['workers']} at a time with {told['threads']} threads each; "
        f"{size(told['bytes'])} of disk."
    )
    yield (
        f"Compared by {told['score']} on {told['held_out']} ({told['images']} images, {told['groups']} groups), "
        "which no choice looks at."
    )
    for variant in told["variants"]:
        yield (
            f"  {variant['name']}: {variant['steps']} steps, {variant['parameters']:,} parameters, "
            f"{variant['multiply_adds'] / 1e9:.3g} billion multiply-adds, about {duration(variant['seconds'])} a run"
        )
    yield visible(told)
    yield from told["notes"]


def visible(told: Mapping[str, Any]) -> str:
    """The smallest difference that will be seen, and what that rests on."""
    if told["smallest_visible"] is None:
        return f"The smallest difference that will be seen is not known: {told['spread_from']}."
    return (
        f"The smallest difference that will be seen (80 % of the time) is {told['smallest_visible']:.3f} in "
        f"{told['score']}: {len(told['seeds'])} seeds, and a spread of {told['spread']:.3f} between paired runs "
        f"({told['spread_from']})."
    )
