"""What was asked for and what it resolved to -> tuning.yaml, written before the first trial, and never changed.

A search grows by trials and by seeds of the best recipe; the rest of it is fixed.
"""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segtrial.comparison.plan import score_of, threads_of
from segtrial.comparison.request import FIRST_TRIAL_SEED, expanded
from segtrial.errors import DataNotFound, RunError, listing, nearest
from segtrial.files import write_atomic
from segtrial.plain_yaml import parse_yaml, to_yaml
from segtrial.recipe import Recipe, differences, from_tree
from segtrial.signals import StopRequest
from segtrial.training.opening import check_choices, open_data, pick_device, plan_trial
from segtrial.training.watch import Watch
from segtrial.tuning.ranges import space_of, with_point
from segtrial.tuning.space import Space, space_from, space_to
from segtrial.tuning.wish import Wish

FILE = "tuning.yaml"


class Rule(BaseModel):
    """`tuning.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    schema_version: Literal[1] = Field(default=1, alias="schema")
    study: str
    """The name of the search in its storage."""
    storage: str
    """Where Optuna keeps it, passwords left out."""
    recipe: dict[str, Any]
    """What all trials share; its threads are said."""
    ranges: dict[str, Any]
    prune: str
    score: str
    definition: str
    val_share: float
    held_out: str
    data: str
    """Hash of what trials train on and are scored on."""
    images: int
    """That trials are scored on."""

    def base(self) -> Recipe:
        """What all trials share."""
        return from_tree(self.recipe, FILE)

    def space(self) -> Space:
        """What is chosen."""
        return space_from(self.ranges)

    def trial_recipe(self, setting: Mapping[str, Any]) -> Recipe:
        """The recipe of a trial: scored on a share of train, the val part left out; the same seed for all."""
        return trial_recipe(with_point(self.base(), setting, FILE), self.val_share)

    def write(self, folder: Path) -> None:
        """Write it, atomically."""
        write_atomic(folder / FILE, to_yaml(self.model_dump(mode="json", by_alias=True)).encode())


def trial_recipe(recipe: Recipe, val_share: float) -> Recipe:
    """The recipe as a trial has it."""
    split = recipe.split.model_copy(update={"inner": val_share, "inner_folds": None, "inner_fold": 0})
    return recipe.model_copy(update={"split": split, "seed": recipe.seed + FIRST_TRIAL_SEED})


def asked(wish: Wish, place: str) -> tuple[Recipe, Space]:
    """The recipe and the space of a wish. Raises UserError for what could not be a trial."""
    base = from_tree(expanded(wish.base), f"{place}: base")
    return base, space_of(wish.ranges, base, wish.held_out, place, check_choices)


def make_rule(
    wish: Wish, base: Recipe, space: Space, storage: str, workers: int, watch: Watch, stop: StopRequest
) -> Rule:
    """The rule of a new search. Raises UserError for data and networks that cannot be trained; trains nothing."""
    base = base.model_copy(update={"threads": threads_of({"base": base}, workers)})
    parts = open_data(base).parts
    there = [name for name, items in parts.items() if items and name != "train"]
    if wish.held_out not in there:
        fix = f"{nearest(wish.held_out, there)}There are: {listing(there)}"
        raise DataNotFound(base.data, f"no part to hold out is called {wish.held_out!r}", fix)
    plan, _ = plan_trial(trial_recipe(base, wish.val_share), pick_device(base), watch, stop)
    score = score_of(wish.score, plan)
    return Rule(
        study=f"segtrial-{uuid.uuid4()}",
        storage=storage,
        recipe=base.model_dump(mode="json"),
        ranges=space_to(space),
        prune=wish.prune,
        score=score,
        definition=plan.make_task().table[score].definition,
        val_share=wish.val_share,
        held_out=wish.held_out,
        data=plan.manifest,
        images=plan.parts["val"],
    )


def read_rule(folder: Path) -> Rule | None:
    """The rule that lies in a folder, None in a new one. Raises RunError if it is damaged, or another folder."""
    path = folder / FILE
    if not path.exists():
        names = sorted(each.name for each in folder.glob("[!.]*"))
        if names:
            found = f"holds files that are no search ({listing(names, most=5)})"
            raise RunError(folder, found, "Choose an empty or new --out")
        return None
    try:
        return Rule.model_validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except ValidationError as error:
        found = f"not the rule of a search ({error.error_count()} faults)"
        raise RunError(path, found, "Choose another --out") from error


def require_same(old: Rule, wish: Wish, base: Recipe, space: Space, folder: Path) -> None:
    """Raise RunError if another search is asked for than the one that was begun here."""
    if base.threads is None:
        base = base.model_copy(update={"threads": old.base().threads})
    changes = differences(old.base(), base)
    wanted = {"ranges": space_to(space), "score": wish.score or old.score}
    wanted |= {name: getattr(wish, name) for name in ("prune", "val_share", "held_out")}
    changes += [
        f"{name}: {getattr(old, name)!r} -> {value!r}" for name, value in wanted.items() if getattr(old, name) != value
    ]
    if changes:
        fix = "A search may only gain trials and seeds; restore the rest, or choose another --out"
        raise RunError(folder, f"holds another search ({'; '.join(changes)})", fix)
