"""What was asked for and what it resolved to -> comparison.yaml, written before the first run; and how it may grow.

The manifest is the rule of the comparison: variants with their whole recipes, seeds, budget, margin, score, and the
part that is held out. A comparison grows by variants and seeds; nothing else of it ever changes.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from segtrial import recipe
from segtrial.comparison.request import Request, Tune
from segtrial.errors import RunError, listing
from segtrial.files import write_atomic
from segtrial.plain_yaml import parse_yaml, to_yaml
from segtrial.recipe import Recipe, from_tree

FILE = "comparison.yaml"
RESULT = "comparison.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Estimate(_Frozen):
    """What one run of a variant costs, by a few timed steps; the clock decides it, and no result depends on it."""

    seconds: float
    bytes: int
    """On disk, once the run is finished."""
    peak_bytes: int
    """On disk, while it trains."""


class Variant(_Frozen):
    """A variant: the recipe as it was asked for, and as each of its runs has it but for seed, fold and tuning."""

    asked: dict[str, Any]
    recipe: dict[str, Any]
    steps: int
    pixels: int
    """That its training steps look at, of all crops together."""
    parameters: int
    multiply_adds: int
    """Of the forward passes of all training steps together."""
    data: tuple[str, ...]
    """Hash of its train and val part, for each fold."""
    estimate: Estimate

    def resolved(self) -> Recipe:
        """The recipe that its runs have."""
        return from_tree(self.recipe, FILE)


class HeldOut(_Frozen):
    """The part that trained networks are compared on."""

    part: str
    manifests: tuple[str, ...]
    """Hash of it, for each fold."""
    images: int
    groups: int
    """Blocks of images that are one observation each."""
    block_frames: int | None = None


class Named(_Frozen):
    """The name of one run, and the hash of its recipe; none where tuning has yet to decide it."""

    variant: str
    seed: int
    fold: int | None = None
    hash: str | None


class Grown(_Frozen):
    """What was added later, and whether somebody could have seen results by then."""

    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    after_results: bool


class Manifest(_Frozen):
    """`comparison.yaml`."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    score: str
    baseline: str | None = None
    margin: float
    budget: str
    seeds: tuple[int, ...]
    folds: int | None
    threads: int
    """CPU threads of each run."""
    held_out: HeldOut
    tune: dict[str, Any] | None
    variants: dict[str, Variant]
    cells: tuple[Named, ...] = ()
    grown: tuple[Grown, ...] = ()

    @property
    def tuning(self) -> Tune | None:
        """How settings are chosen, if they are."""
        return Tune.model_validate_json(json.dumps(self.tune)) if self.tune else None

    @property
    def fold_list(self) -> tuple[int | None, ...]:
        """The folds; one that is none where there are none."""
        return tuple(range(self.folds)) if self.folds else (None,)

    def with_cells(self) -> "Manifest":
        """The same with every cell listed."""
        return self.model_copy(update={"cells": tuple(self._cells())})

    def _cells(self) -> list[Named]:
        found = []
        for name, variant in self.variants.items():
            resolved = variant.resolved()
            for seed in self.seeds:
                for fold in self.fold_list:
                    known = None if self.tune else run_recipe(resolved, seed, fold, self.folds).hash
                    found.append(Named(variant=name, seed=seed, fold=fold, hash=known))
        return found

    def write(self, folder: Path) -> None:
        """Write it, atomically."""
        tree = self.model_dump(mode="json", by_alias=True)
        write_atomic(folder / FILE, to_yaml(tree).encode())


def run_recipe(resolved: Recipe, seed: int, fold: int | None, folds: int | None) -> Recipe:
    """The recipe of one run: the seed counts on from the recipe's own, and a fold is held out."""
    changed = resolved.model_copy(update={"seed": resolved.seed + seed})
    if fold is None:
        return changed
    return changed.model_copy(update={"split": changed.split.model_copy(update={"folds": folds, "fold": fold})})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest that lies in a folder, None in a new one. Raises RunError if it is damaged, or another folder."""
    path = folder / FILE
    if not path.exists():
        names = (
            sorted(each.name for each in folder.glob("*") if not each.name.startswith(".")) if folder.exists() else []
        )
        if names:
            found = f"holds files that are no comparison ({listing(names, most=5)})"
            raise RunError(folder, found, "Choose an empty or new --out")
        return None
    try:
        return Manifest.model_validate(parse_yaml(path.read_text(encoding="utf-8"), str(path)))
    except ValidationError as error:
        found = f"not the manifest of a comparison ({error.error_count()} faults)"
        raise RunError(path, found, "Choose another --out") from error


def require_same(old: Manifest, request: Request, recipes: dict[str, Recipe], place: Path) -> None:
    """Raise RunError if more than variants and seeds were added to what the folder was begun with."""
    changes = []
    wanted = {
        "baseline": request.baseline,
        "margin": request.margin,
        "folds": request.folds,
        "tune": _json(request.tune),
    }
    if request.block_frames != old.held_out.block_frames:
        changes.append(f"block_frames: {old.held_out.block_frames!r} -> {request.block_frames!r}")
    wanted |= {
        "baseline": request.baseline,
        "budget": request.budget or old.budget,
        "score": request.score or old.score,
    }
    for name, value in wanted.items():
        if getattr(old, name) != value:
            changes.append(f"{name}: {getattr(old, name)!r} -> {value!r}")
    if request.held_out not in (None, old.held_out.part):
        changes.append(f"held_out: {old.held_out.part!r} -> {request.held_out!r}")
    gone = [name for name in old.variants if name not in recipes]
    lost = [seed for seed in old.seeds if seed not in request.seed_list]
    changes += [f"without {what} {listing(names)}" for what, names in (("variants", gone), ("seeds", lost)) if names]
    for name in old.variants.keys() & recipes.keys():
        begun = from_tree(old.variants[name].asked, str(place / FILE))
        changes += [f"{name}: {change}" for change in recipe.differences(begun, recipes[name])]
    if changes:
        fix = "A comparison may only gain variants and seeds; restore the rest, or choose another --out"
        raise RunError(place, f"holds another comparison ({'; '.join(sorted(changes))})", fix)


def _json(tune: Tune | None) -> dict[str, Any] | None:
    return tune.model_dump(mode="json") if tune else None
