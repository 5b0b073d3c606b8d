"""The signature of a build function -> what may be chosen; text or values in, checked values out."""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from segtrial.errors import RecipeError, UnknownName, nearest

Value = bool | int | float | str | None


@dataclass(frozen=True)
class OneOf:
    """For `Annotated[str, OneOf(names, prefix)]`: one of `names`, or whatever follows `prefix` where there is one."""

    names: tuple[str, ...]
    prefix: str = ""


@dataclass(frozen=True)
class Option:
    """One choice: its `type` (bool, int, float or str), its default, and where the list is closed its choices.

    None is allowed exactly if `optional`; text that begins with `prefix`, where there is one, besides the choices.
    """

    type: type
    default: Value
    choices: tuple[Value, ...] = ()
    optional: bool = False
    prefix: str = ""

    def read(self, place: str, text: str) -> Value:
        """The value that `text` spells. Raises RecipeError, naming `place`, if it spells none."""
        for value in self._spelt(text.strip()):
            if self.problem(value) is None:
                return value
        raise RecipeError(place, f"{text.strip()!r}", self._fix(text.strip()))

    def problem(self, value: object) -> str | None:
        """What is wrong with `value`, or None."""
        if value is None and self.optional:
            return None
        # bool is a kind of int in Python, but true is not a width
        fits = type(value) is self.type or (self.type is float and type(value) is int)
        if self.prefix and fits and str(value).startswith(self.prefix) and value != self.prefix:
            return None
        if not fits or (self.choices and value not in self.choices):
            return self._fix(str(value))
        if isinstance(value, float) and not math.isfinite(value):
            return self._fix(str(value))
        return None

    def _spelt(self, text: str) -> list[Value]:
        words: dict[str, Value] = {"true": True, "false": False, "none": None}
        numbers = [kind(text) for kind in (int, float) if _is(kind, text)]
        return [text, *numbers, *(words[word] for word in words if word == text.lower())]

    def _fix(self, text: str) -> str:
        choices = self.choices or ((True, False) if self.type is bool else ())
        listed = [_text(choice) for choice in choices] + ["none"] * self.optional
        listed += [f"{self.prefix}NAME"] * bool(self.prefix)
        if choices:
            return f"{nearest(text, listed)}Choose one of: {', '.join(listed)}"
        return f"Give a number of type {self.type.__name__}" + (", or none" if self.optional else "")


def options_of(build: Callable) -> dict[str, Option]:
    """The keyword-only parameters of `build`: bool, int, float, Literal, OneOf, or one of these or None."""
    parameters = inspect.signature(build).parameters.values()
    return {p.name: _option(p.annotation, p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def check(place: str, values: Mapping[str, object], options: Mapping[str, Option]) -> None:
    """Raise UnknownName for a name that is no option, RecipeError for a value that is none."""
    for name, value in values.items():
        if name not in options:
            raise UnknownName(f"option of {place}", name, options)
        fix = options[name].problem(value)
        if fix is not None:
            raise RecipeError(f"{place}, option {name}", f"{value!r}", fix)


def _option(annotation: object, default: Value) -> Option:
    if get_origin(annotation) in (Union, UnionType):
        inner = [part for part in get_args(annotation) if part is not NoneType]
        assert len(inner) == 1, f"an option is one type, or that or None: {annotation}"
        plain = _option(inner[0], default)
        return Option(plain.type, default, plain.choices, optional=True)
    if get_origin(annotation) is Annotated:
        known = next(note for note in annotation.__metadata__ if isinstance(note, OneOf))  # pyright: ignore
        return Option(str, default, known.names, prefix=known.prefix)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return Option(type(choices[0]), default, choices)
    assert annotation in (bool, int, float), f"no option can be of type {annotation}"
    return Option(annotation, default)


def _is(kind: type, text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
