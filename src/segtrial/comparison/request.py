"""YAML -> Request: what is compared, on which seeds and by which rule; and the recipe that each variant asks for.

base: {data: street, model: segnet, epochs: 40}    # a recipe's fields, `preset` among them
variants:                                          # name -> the fields it changes
  plain: {model: "segnet:batchnorm=false"}
  sgd: {optimizer.name: sgd}                       # dotted keys as with --set
seeds: 5                                           # or a list
tune: {trials: 8, lr: [1.0e-4, 1.0e-1]}            # optional: chosen for each variant by itself
budgets: {small: {seeds: 3, base: {epochs: 4}}}    # optional: what --budget small puts over all of this
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from segtrial.errors import RecipeError, listing, nearest
from segtrial.recipe import BUDGETS, Recipe, budgeted, from_tree, layered, read
from segtrial.recipe_messages import explained
from segtrial.recipe_parts import Part

FIRST_TRIAL_SEED = 1_000_000
"""A number of tuning seeds counts from here: far from the seeds of the runs that are compared."""

NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
"""What a variant may be called: its runs lie in a folder of that name."""

Seeds = int | tuple[int, ...]


def _checked(seeds: Seeds) -> Seeds:
    if isinstance(seeds, int):
        if not 1 <= seeds <= 1000:
            raise ValueError("give a number from 1 to 1000, or a list of seeds")
        return seeds
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError("a list of seeds has at least one, none twice and none below 0; write such as [0, 1, 2]")
    return seeds


class Tune(Part):
    """How learning rate and weight decay are chosen, for each variant by itself, before the runs that are compared."""

    trials: int = Field(default=8, ge=2, le=1000)
    """Settings tried for each variant; a round more for all of them where the best of one lies on its border."""
    lr: tuple[float, float] | None = None
    """Lowest and highest learning rate; none: from a tenth of the variant's own to ten times it."""
    weight_decay: tuple[float, float] | None = None
    """Lowest and highest weight decay; none leaves each variant's as it is."""
    seeds: Seeds = 2
    """Of the trials: a number or a list. None of them is a seed of the runs that are compared."""
    steps: float = Field(default=1.0, gt=0, le=1)
    """Share of a run's budget that a trial gets."""
    val_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the train part, by whole groups, that trials are scored on."""
    folds: int | None = Field(default=None, ge=2)
    """Instead of one share: so many folds of the train part, one for each seed in turn."""

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: Seeds) -> Seeds:
        return _checked(seeds)

    @field_validator("lr", "weight_decay")
    @classmethod
    def _range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 < value[0] < value[1]:
            raise ValueError("a range rises and lies above 0; write [lowest, highest], such as [1.0e-4, 1.0e-1]")
        return value

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds of the trials."""
        if isinstance(self.seeds, int):
            return tuple(range(FIRST_TRIAL_SEED, FIRST_TRIAL_SEED + self.seeds))
        return self.seeds


class Request(Part):
    """What a comparison is asked to be."""

    base: dict[str, Any] = {}  # noqa: RUF012
    """Fields of a recipe that all variants share."""
    variants: dict[str, dict[str, Any] | None]
    """Name -> the fields that it changes; none: the base itself."""
    seeds: Seeds = 3
    """Runs of each variant: a number n for the seeds 0 to n - 1, or a list. Each is added to the recipe's own seed."""
    budget: Literal["steps", "minutes", "multiply-adds"] | None = None
    """What is equal for all variants; none: minutes where the base gives minutes, else steps."""
    tune: Tune | None = None
    baseline: str | None = None
    """The variant that the others are compared with, each by itself; none: all pairs are compared."""
    margin: float = Field(default=0.005, ge=0)
    """The smallest difference of the score that matters."""
    score: str | None = None
    """What is compared; none: the task's main score."""
    held_out: str | None = None
    """The part that the trained networks are compared on; none: test where there is one, else val."""
    block_frames: int | None = Field(default=None, ge=1)
    """So many frames of one video, by the numbers that end the names, are one observation; none: a whole group is."""
    folds: int | None = Field(default=None, ge=2)
    """Instead of one part: each run is made so many times, each time with another fold held out."""

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: Seeds) -> Seeds:
        return _checked(seeds)

    @field_validator("variants")
    @classmethod
    def _names(cls, variants: dict[str, Any]) -> dict[str, Any]:
        if not variants:
            raise ValueError("give at least one variant, such as {a: {}, b: {model: unet}}")
        wrong = [name for name in variants if not re.fullmatch(NAME, name)]
        if wrong:
            raise ValueError(f"no name for a folder: {listing(map(repr, wrong))}; use letters, digits and ._+-")
        return variants

    @model_validator(mode="after")
    def _check(self) -> "Request":
        if self.tune and (both := set(self.tune.seed_list) & set(self.seed_list)):
            raise ValueError(f"tune.seeds and seeds share {listing(sorted(both))}; keep them apart")
        if self.baseline is not None and self.baseline not in self.variants:
            fix = f"{nearest(self.baseline, list(self.variants))}There are: {listing(self.variants)}"
            raise ValueError(f"no variant is called {self.baseline!r}; {fix}")
        if self.folds and self.tune:
            raise ValueError(
                "folds and tune are given together, so settings would be chosen by images that other folds hold out; "
                "use tune.folds, or no tune"
            )
        if self.folds and self.held_out not in (None, "val"):
            raise ValueError("folds and held_out are given together; keep one")
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds, in order."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def read_request(source: str | Path | Mapping[str, Any], word: str | None = None) -> tuple[Request, str]:
    """A file's, or a mapping's, request and its place for messages; `word` picks one of its `budgets`.

    Raises RecipeError with key, value and fix.
    """
    place = "comparison" if isinstance(source, Mapping) else str(source)
    tree = budgeted(source if isinstance(source, Mapping) else read(Path(source)), word, place)
    try:
        return Request.model_validate_json(json.dumps(tree)), place
    except ValidationError as error:
        raise explained(error, place, Request) from error
    except TypeError as error:
        raise RecipeError(place, f"{error}", "Write plain text, numbers, lists and mappings") from error


def recipes_of(request: Request, place: str) -> dict[str, Recipe]:
    """The recipe of each variant, as it is asked for. Raises RecipeError for one that is wrong or compares nothing."""
    base = expanded(request.base)
    found = {}
    for name, change in request.variants.items():
        above = expanded(change or {})
        below = {k: v for k, v in base.items() if k not in BUDGETS} if set(above) & set(BUDGETS) else base
        found[name] = from_tree(layered(below, above), f"{place}: variant {name}")
    for field in ("task", "threads"):
        values = {name: getattr(recipe, field) for name, recipe in found.items()}
        if len(set(values.values())) > 1:
            said = listing(f"{name}: {value}" for name, value in values.items())
            raise RecipeError(place, f"variants differ in {field} ({said})", "Give it in base, the same for all")
    own = [name for name, recipe in found.items() if recipe.augment.own]
    if own:
        fix = "Use augment.albumentations, or the augmentations of the recipe"
        raise RecipeError(place, f"augment.own of {listing(own)}: a function cannot be handed to other processes", fix)
    return found


def expanded(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested ones: {"optimizer.lr": 1} -> {"optimizer": {"lr": 1}}."""
    nested: dict[str, Any] = {}
    for key, value in tree.items():
        for name in reversed(str(key).split(".")):
            value = {name: value}
        nested = layered(nested, value)
    return nested
