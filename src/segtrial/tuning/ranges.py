"""Ranges as they were written -> a space in which every point is a recipe; what is not is refused before any trial."""

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel

from segtrial.comparison.plan import looks_at_val
from segtrial.comparison.request import expanded
from segtrial.comparison.search import AROUND
from segtrial.errors import RecipeError, listing, nearest
from segtrial.optimizers import DEFAULTS
from segtrial.recipe import BUDGETS, Recipe, from_tree, layered
from segtrial.recipe_messages import part_in, shown
from segtrial.tuning.space import Choices, Numbers, Range, Space, Value

USUAL = ("optimizer.lr", "optimizer.weight_decay")
"""Fields that have a usual range: it is on a logarithm, around the recipe's own value."""

USUAL_DECAY = 1e-4
"""In the middle of the range of weight decays where the recipe's own is 0."""

FIXED = (*BUDGETS, "task", "data", "seed", "split", "evaluations", "device", "threads", "workers", "deterministic")
"""Fields that are the same for all trials: they decide what is scored, or what a trial costs."""

MOST_TRIED = 256
"""Combinations of choices and of ends of ranges that are tried as recipes; of more, only each end by itself."""

FORM = "Write {low: ..., high: ...}, with log: true for equal factors, or a list of two choices or more"


def space_of(
    ranges: Mapping[str, Any] | None, base: Recipe, held_out: str, place: str, check: Callable[[Recipe], None]
) -> Space:
    """The space, in the order of the file. Raises UserError for a key or a value that no recipe could have."""
    told = dict.fromkeys(USUAL) if ranges is None else ranges
    space = tuple(_range(key, value, base, f"{place}: ranges") for key, value in told.items())
    _require_apart([one.key for one in space], place)
    for one in space:
        for setting in one.ends():
            check(_tried(base, {one.key: setting}, held_out, place))
    ends = [[(one.key, setting) for setting in one.ends()] for one in space]
    if math.prod(len(each) for each in ends) <= MOST_TRIED:
        for both in itertools.product(*ends):
            _tried(base, dict(both), held_out, place)
    return space


def with_point(base: Recipe, setting: Mapping[str, Any], place: str) -> Recipe:
    """The recipe with dotted fields set. Raises RecipeError for what it refuses."""
    return from_tree(layered(base.model_dump(mode="json"), expanded(setting)), place)


def own_values(space: Space, base: Recipe) -> dict[str, Value]:
    """What the recipe itself has for the fields of a space, as far as it lies in their ranges."""
    tree = _with_defaults(base)
    found = {one.key: one.value(_at(tree, one.key)) for one in space}
    return {key: value for key, value in found.items() if value is not None}


def _tried(base: Recipe, setting: Mapping[str, Any], held_out: str, place: str) -> Recipe:
    recipe = with_point(base, setting, f"{place}: ranges")
    looks = looks_at_val(recipe)
    if held_out == "val" and looks:
        found = f"{listing(looks)} goes by the val part, which is held out until the end"
        raise RecipeError(f"{place}: {listing(setting)}", found, "Leave that out, or give held_out: test")
    return recipe


def _range(key: str, told: Any, base: Recipe, place: str) -> Range:
    first = key.split(".")[0]
    if first in FIXED or key == "augment.own":
        found = f"{key} is the same for all trials: it decides what is scored, or what a trial costs"
        raise RecipeError(place, found, "Give it in base")
    if told is None:
        return _usual(key, base, place)
    if isinstance(told, Mapping):
        return _numbers(key, told, place)
    if not isinstance(told, list) or len(told) < 2:
        raise RecipeError(place, f"{key}={shown(told)} is no range", FORM)
    words = tuple(json.dumps(choice) for choice in told)
    if len(set(words)) < len(words):
        raise RecipeError(place, f"{key}={shown(told)} has a choice twice", "Leave one out")
    return Choices(key, words)


def _usual(key: str, base: Recipe, place: str) -> Numbers:
    if key not in USUAL:
        found = f"{key} has no range, and no usual one is known"
        raise RecipeError(place, found, f"{FORM}; usual ones have {' and '.join(USUAL)}")
    middle = _at(_with_defaults(base), key) or USUAL_DECAY
    return Numbers(key, float(f"{middle / AROUND:.4g}"), float(f"{middle * AROUND:.4g}"), log=True)


def _numbers(key: str, told: Mapping[str, Any], place: str) -> Numbers:
    for name in told:
        if name not in ("low", "high", "log"):
            raise RecipeError(place, f"{key} has {name!r}", f"{nearest(str(name), ['low', 'high', 'log'])}{FORM}")
    low, high, log = told.get("low"), told.get("high"), told.get("log", key in USUAL)
    numbers = [one for one in (low, high) if isinstance(one, float | int) and not isinstance(one, bool)]
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)) or not isinstance(log, bool):
        raise RecipeError(place, f"{key}={shown(dict(told))} is no range", FORM)
    if not numbers[0] < numbers[1]:
        raise RecipeError(place, f"{key}: low {low} is not below high {high}", "Give the lower one as low")
    if log and numbers[0] <= 0:
        raise RecipeError(place, f"{key}: low {low} has no logarithm", "Give a low above 0, or log: false")
    whole = _is_whole(key)
    if whole and not all(isinstance(one, int) for one in numbers):
        raise RecipeError(place, f"{key}: {low} to {high} are no whole numbers", "Write them without a point")
    return Numbers(key, *(numbers if whole else map(float, numbers)), log=log, whole=whole)


def _is_whole(key: str) -> bool:
    """Whether a field holds whole numbers alone; False for a key that is none, which the recipe will refuse."""
    part: type[BaseModel] | None = Recipe
    kinds: set[Any] = set()
    for name in key.split("."):
        field = part.model_fields.get(name) if part else None
        if field is None:
            return False
        kinds, part = set(_kinds(field.annotation)), part_in(field.annotation)
    return int in kinds and float not in kinds


def _kinds(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    yield annotation
    for each in inner:
        yield from _kinds(each)


def _with_defaults(base: Recipe) -> dict[str, Any]:
    """The recipe as a tree, with the optimizer's defaults where it says nothing."""
    tree, usual = base.model_dump(mode="json"), DEFAULTS[base.optimizer.name]
    part = tree["optimizer"]
    for name in ("lr", "weight_decay", "momentum"):
        part[name] = getattr(usual, name) if part[name] is None else part[name]
    return tree


def _at(tree: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        tree = tree.get(name, {}) if isinstance(tree, Mapping) else {}
    return tree


def _require_apart(keys: list[str], place: str) -> None:
    """Raise RecipeError if one key is a part of another."""
    for one, other in itertools.permutations(keys, 2):
        if other.startswith(f"{one}."):
            found = f"{one} and {other} are given together, and the first holds the second"
            raise RecipeError(f"{place}: ranges", found, "Keep one")
