"""A comparison -> sentences: what was found, what it speaks of, and what a plan will cost."""

from collections.abc import Iterator, Mapping
from typing import Any

from segtrial.errors import several
from segtrial.statistics import in_words

SPEAKS_OF = "for these images and new training runs"
NEW_SCENES = "for new scenes"


def duration(seconds: float | int) -> str:
    """75 -> "75 s", 600 -> "10 min", 7200 -> "2.0 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def size(count: float | int) -> str:
    """12345678 -> "12 MB"."""
    return f"{count / 1e6:,.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def verdict(pair: Mapping[str, Any], score: str, margin: float | int) -> str:
    """What a pair of the result says, in a sentence or two: of these images and of new scenes, each named."""
    a, b, number = pair["a"], pair["b"], pair["n_seeds"]
    images, scenes = pair["these_images"], pair["new_scenes"]
    if images is None:
        return f"Nothing can be said of {b} against {a}: {pair['reason']}."
    gap = "undefined" if pair["difference"] is None else _signed(pair["difference"])
    measured = f"({b} - {a} in {score}: {gap}, {several(number, 'seed')}.)"
    first = f"{in_words(images['verdict'], a, b, margin)} {SPEAKS_OF}{_interval(images)}"
    if not scenes["interval"]:
        return f"{_closed(first, images)} Of new scenes nothing can be said: {scenes['reason']}. {measured}"
    if images["verdict"] == scenes["verdict"]:
        return f"{_closed(f'{first}, and {NEW_SCENES}{_interval(scenes)}', scenes)} {measured}"
    second = f"{in_words(scenes['verdict'], a, b, margin)} {NEW_SCENES}{_interval(scenes)}"
    return f"{_closed(first, images)} {_closed(second, scenes)} {measured}"


def _interval(answer: Mapping[str, Any]) -> str:
    found = answer["interval"]
    return f" (95 % interval {_signed(found['low'])} to {_signed(found['high'])})" if found else ""


def _closed(sentence: str, answer: Mapping[str, Any]) -> str:
    """With the reason, where nobody can tell."""
    return f"{sentence}: {answer['reason']}." if answer["reason"] else f"{sentence}."


def _signed(value: float | int) -> str:
    return f"{value:+.3f}"


def plan(told: Mapping[str, Any]) -> Iterator[str]:
    """The lines that are printed before the first run."""
    folds = f" x {told['folds']} folds" if told["folds"] else ""
    done = f", {told['done']} of them done" if told["done"] else ""
    of = f"{several(len(told['variants']), 'variant')} x {several(len(told['seeds']), 'seed')}"
    yield f"{several(told['runs'], 'run')}: {of}{folds}{done}."
    if told["trials"]:
        more = "more where a best one lies on its border"
        yield f"{several(told['trials'], 'trial')} before them, for settings of each variant's own; {more}."
    yield (
        f"About {duration(told['seconds'])}, {told['workers']} at a time "
        f"with {several(told['threads'], 'thread')} each; "
        f"{size(told['bytes'])} of disk."
    )
    yield (
        f"Compared by {told['score']} on {told['held_out']} ({several(told['images'], 'image')}, "
        f"{several(told['groups'], 'group')}), which no choice looks at."
    )
    for variant in told["variants"]:
        yield (
            f"  {variant['name']}: {several(variant['steps'], 'step')}, {variant['parameters']:,} parameters, "
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
        f"{told['score']}: {several(len(told['seeds']), 'seed')}, "
        f"and a spread of {told['spread']:.3f} between paired runs "
        f"({told['spread_from']})."
    )
