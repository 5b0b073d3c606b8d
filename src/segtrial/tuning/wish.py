"""YAML -> Wish: what a search is asked to be.

base: {data: street, model: segnet, epochs: 40}    # a recipe's fields, `preset` among them
ranges:                                            # dotted field -> its range; none at all: rate and weight decay
  optimizer.lr: {low: 1.0e-4, high: 1.0e-1}        # on a logarithm; other numbers with log: true
  optimizer.weight_decay:                          # nothing: its usual range
  model: [segnet, unet]                            # one of a list
trials: 20
budgets: {small: {trials: 8, base: {epochs: 4}}}   # optional: what --budget small puts over all of this
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from segtrial.errors import RecipeError
from segtrial.recipe import budgeted, tree_of
from segtrial.recipe_messages import explained
from segtrial.recipe_parts import Part


class Wish(Part):
    """What a search is asked to be."""

    base: dict[str, Any] = {}  # noqa: RUF012
    """Fields of a recipe that all trials share."""
    ranges: dict[str, Any] | None = None
    """Dotted field -> {low, high, log} or a list; none: learning rate and weight decay."""
    trials: int = Field(default=20, ge=1, le=100_000)
    """Settings that are tried, those that were stopped early among them."""
    prune: Literal["median", "halving", "none"] = "median"
    """Which trials are stopped early, by their scores on the way: see `segtrial.tuning.pruning`."""
    score: str | None = None
    """What is chosen by; none: the task's main score."""
    val_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the train part, by whole groups, that trials are scored on."""
    held_out: str = "val"
    """The part that no trial sees, and that the best recipe is scored on at the end."""
    seeds: int = Field(default=3, ge=1, le=1000)
    """Runs of the best recipe at the end."""

    @field_validator("ranges")
    @classmethod
    def _some(cls, ranges: dict[str, Any] | None) -> dict[str, Any] | None:
        if ranges is not None and not ranges:
            raise ValueError("give at least one range, such as {optimizer.lr: {low: 1.0e-4, high: 0.1}}, or no ranges")
        return ranges


def read_wish(source: str | Path | Mapping[str, Any], word: str | None = None) -> tuple[Wish, str]:
    """A file's, a preset's or a mapping's wish and its place for messages; `word` picks one of its `budgets`.

    A plain recipe is a wish with that base. Raises RecipeError with key, value and fix.
    """
    place = "search" if isinstance(source, Mapping) else str(source)
    tree = budgeted(source if isinstance(source, Mapping) else tree_of(source), word, place)
    if not {"base", "ranges"} & set(tree):
        tree = {"base": {key: value for key, value in tree.items() if key not in Wish.model_fields}} | {
            key: value for key, value in tree.items() if key in Wish.model_fields
        }
    try:
        return Wish.model_validate_json(json.dumps(tree)), place
    except ValidationError as error:
        raise explained(error, place, Wish) from error
    except TypeError as error:
        raise RecipeError(place, f"{error}", "Write plain text, numbers, lists and mappings") from error
