"""Ranges -> points: what may be chosen for each field, where the first trials look, and what a point sets.

    eight trials at a time, trial n of field j     u = (eighth_j[n] + jitter_j[n]) / 8

Each field visits each eighth of its range once, in an order of its own (a Latin hypercube). Order and jitter depend on
the seed, the field and the number alone.

McKay, Beckman, Conover. A comparison of three methods for selecting values of input variables. Technometrics 21, 1979.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from segtrial.randomness import generator

FIRST = 8
"""Trials that do not look at what others found."""

DIGITS = 4
"""Of a suggested number: a setting that can be typed again."""

Value = float | int | str


@dataclass(frozen=True)
class Numbers:
    """A field that may be any number from `low` to `high`; with `log` equal factors are equal steps."""

    key: str
    low: float | int
    high: float | int
    log: bool = False
    whole: bool = False

    def distribution(self) -> BaseDistribution:
        """As Optuna writes it."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    def at(self, share: float) -> Value:
        """The value so far along the range, 0 its low end and 1 its high one."""
        if self.log:
            return self.tidy(self.low * (self.high / self.low) ** share)
        return self.tidy(self.low + (self.high - self.low) * share)

    def share(self, value: float | int) -> float:
        """How far along the range a value lies: what `at` turns into it."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def tidy(self, value: Value) -> Value:
        """The same with few digits, within the range."""
        rounded = round(float(value)) if self.whole else float(f"{float(value):.{DIGITS}g}")
        return min(max(rounded, self.low), self.high)

    def setting(self, value: Value) -> Any:
        """What a recipe holds for a value."""
        return int(value) if self.whole else float(value)

    def value(self, setting: Any) -> Value | None:
        """The value that stands for what a recipe holds; None for what is not in the range."""
        number = isinstance(setting, float | int) and not isinstance(setting, bool)
        return setting if number and self.low <= setting <= self.high else None

    def ends(self) -> list[Any]:
        """What a recipe must take for all of the range to be fit for it."""
        return [self.setting(self.low), self.setting(self.high)]

    def to_json(self) -> dict[str, Any]:
        """Plain values, as a file of ranges has them."""
        return {"low": self.low, "high": self.high, "log": self.log, "whole": self.whole}


@dataclass(frozen=True)
class Choices:
    """A field that may be one of some values; `words` are they as JSON, which Optuna keeps."""

    key: str
    words: tuple[str, ...]

    def distribution(self) -> BaseDistribution:
        """As Optuna writes it."""
        return CategoricalDistribution(self.words)

    def at(self, share: float) -> Value:
        """The choice so far along the list."""
        return self.words[min(int(share * len(self.words)), len(self.words) - 1)]

    def tidy(self, value: Value) -> Value:
        """The same."""
        return value

    def setting(self, value: Value) -> Any:
        """What a recipe holds for a value."""
        return json.loads(str(value))

    def value(self, setting: Any) -> Value | None:
        """The value that stands for what a recipe holds; None for what is no choice."""
        word = json.dumps(setting)
        return word if word in self.words else None

    def ends(self) -> list[Any]:
        """What a recipe must take: every choice."""
        return [json.loads(word) for word in self.words]

    def to_json(self) -> list[Any]:
        """Plain values, as a file of ranges has them."""
        return self.ends()


Range = Numbers | Choices
Space = tuple[Range, ...]


def space_from(tree: Mapping[str, Any]) -> Space:
    """The space that `space_to` described."""
    return tuple(
        Numbers(key, **told) if isinstance(told, Mapping) else Choices(key, tuple(map(json.dumps, told)))
        for key, told in tree.items()
    )


def space_to(space: Space) -> dict[str, Any]:
    """Plain values: each key with its range."""
    return {one.key: one.to_json() for one in space}


def point(space: Space, values: Mapping[str, Value]) -> dict[str, Any]:
    """Dotted keys with what a recipe is to hold for them."""
    return {one.key: one.setting(values[one.key]) for one in space}


def spread(space: Sequence[Range], seed: int, number: int) -> dict[str, Value]:
    """Where trial `number` looks if nothing is known yet."""
    block, place = divmod(number, FIRST)
    found = {}
    for one in space:
        order = generator(seed, "tuning", one.key, block).permutation(FIRST)
        jitter = generator(seed, "tuning", one.key, block, place).random()
        found[one.key] = one.at((int(order[place]) + jitter) / FIRST)
    return found
