"""Ranges -> points: what may be chosen for each field, where the first trials look, and what a point sets.

    trial n, field j of d     u = frac(shift_j + n / phi^j),   phi^(d + 1) = phi + 1

Numbers of one sequence fill the cube evenly for any count of trials, so a search may be stopped and go on. The shift
is drawn from the seed; nothing else is.

Weyl. Ueber die Gleichverteilung von Zahlen mod. Eins. Math. Ann. 77, 1916. The root for d fields: Roberts, The
unreasonable effectiveness of quasirandom sequences, 2018.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from segtrial.randomness import generator

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
    root = _root(len(space))
    found = {}
    for index, one in enumerate(space, 1):
        shift = generator(seed, "tuning", one.key).random()
        found[one.key] = one.at(math.fmod(shift + number * root**-index, 1.0))
    return found


def _root(fields: int) -> float:
    """phi with phi^(fields + 1) = phi + 1, by fixed-point iteration."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (fields + 1))
    return root
