"""Words -> a sum of losses: "cross_entropy + 0.5*tversky:alpha=0.3,beta=0.7" -> factors and losses."""

import math
import re
from dataclasses import dataclass

from segtrial.errors import RecipeError, UnknownName
from segtrial.losses._units import Loss

MOST = 1000.0
"""No factor and no option is larger: beyond it, numbers only overflow."""

RANGES = {
    "alpha": (0.0, MOST, "from 0 to 1000"),
    "beta": (1e-6, MOST, "above 0, at most 1000"),
    "gamma": (0.0, 100.0, "from 0 to 100"),
    "logit_adjustment": (0.0, 1.0, "from 0 to 1"),
    "share": (1e-6, 1.0, "above 0, at most 1"),
    "sigma": (1e-3, 30.0, "above 0, at most 30 pixels"),
    "smooth": (1e-6, MOST, "above 0, at most 1000"),
    "w0": (0.0, MOST, "from 0 to 1000"),
}
"""Lowest and highest value of every option, and how to say so. label_smoothing is a field of the recipe."""


@dataclass(frozen=True)
class Term:
    """One summand: `factor` times the loss called `name`, with its options chosen."""

    factor: float
    name: str
    loss: Loss


def parse_terms(text: str, known: dict[str, Loss]) -> tuple[Term, ...]:
    """The terms of `[factor*]name[:option=value,...]`, joined by +; names and options are those of `known`.

    Raises UnknownName for a name or option that is not there, RecipeError for a wrong number and for a name twice.
    """
    terms = tuple(_term(part, text, known) for part in re.split(r"(?<![\d.][eE])\+", text))  # 1e+1 is a number
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise RecipeError("loss.name", f"{text!r} names a loss twice", "Add their factors up")
    return terms


def _term(part: str, text: str, known: dict[str, Loss]) -> Term:
    front, star, rest = part.rpartition("*")
    factor = _number(front, f"the factor {front.strip()!r}", text) if star else 1.0
    if not 0 < factor <= MOST:
        fix = f"Choose up to {MOST:g}, or leave that loss out"
        raise RecipeError("loss.name", f"{text!r}: the factor {front.strip()} is not above 0, or too large", fix)
    name, _, words = rest.partition(":")
    name = name.strip()
    if not name:
        raise RecipeError("loss.name", f"{text!r} has an empty part", f"Write losses joined by +: {', '.join(known)}")
    if name not in known:
        raise UnknownName("loss", name, known)
    chosen = [_option(word, text, name, known[name]) for word in words.split(",") if word.strip()]
    options = dict(chosen)
    if len(options) < len(chosen):
        raise RecipeError("loss.name", f"{text!r} sets an option of {name} twice", "Give each once")
    return Term(factor, name, known[name].using(**options))


def _option(word: str, text: str, name: str, loss: Loss) -> tuple[str, float]:
    key, _, value = word.partition("=")
    key = key.strip()
    open_to_choice = [option for option in loss.options if option in RANGES]
    if key == "label_smoothing" and key in loss.options:
        raise RecipeError("loss.name", f"{text!r} sets label_smoothing", "Set loss.label_smoothing instead")
    if not open_to_choice:
        raise RecipeError("loss.name", f"{text!r}: {name} has no option {key!r}", f"Write {name} alone")
    if key not in open_to_choice:
        raise UnknownName(f"option of loss {name}", key, open_to_choice)
    number = _number(value, f"{key}={value.strip()}", text)
    low, high, said = RANGES[key]
    if not low <= number <= high:
        raise RecipeError("loss.name", f"{text!r}: {key}={number:g}", f"Choose a number {said}")
    return key, number


def _number(word: str, what: str, text: str) -> float:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        fix = "Write [factor*]name[:option=value], joined by +, such as cross_entropy+0.5*dice"
        raise RecipeError("loss.name", f"{text!r}: {what} is no number", fix)
    return number
