"""Folders and globs -> the finished runs that they name: run folders, and all runs of a comparison's folder."""

import glob
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segtrial.comparison.cells import read_plan
from segtrial.comparison.manifest import FILE, read_manifest
from segtrial.errors import RunError
from segtrial.recipe import Recipe, from_tree
from segtrial.training.folder import LAST_WRITTEN
from segtrial.training.plan import Plan


@dataclass(frozen=True)
class Finished:
    """A run that has ended; a run of a `comparison` is one of the variant that is `called` so there."""

    path: Path
    plan: Plan
    recipe: Recipe
    comparison: Path | None = None
    called: str = ""

    def rows(self, part: str) -> Path:
        """The file of its counts on a part."""
        return self.path / "counts" / f"{part}.npz"

    @property
    def parts(self) -> set[str]:
        """The parts that it was scored on."""
        return {file.stem for file in (self.path / "counts").glob("*.npz")}


@dataclass
class Found:
    """Runs in the order in which they were named, and what is said of those that are left out."""

    runs: list[Finished] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    held_out: set[str] = field(default_factory=set)
    """The parts that the comparisons among them hold out."""
    block_frames: set[int | None] = field(default_factory=set)
    """And how they cut their videos into blocks."""


def find(places: Iterable[str | Path]) -> Found:
    """The finished runs of these folders; each once, however often it is named.

    Raises RunError for a place that is neither a run nor a comparison, and where no run has finished.
    """
    found, said = Found(), [str(place) for place in places]
    for place in dict.fromkeys(path for word in said for path in _expanded(word)):
        _add(found, place)
    if not found.runs:
        fix = "Name folders that segtrial train or segtrial compare has finished"
        raise RunError(" ".join(said) or "RUNS", "no finished run", fix)
    return found


def _expanded(word: str) -> list[Path]:
    """The place itself, or whatever folders a glob fits, in order."""
    if Path(word).exists() or not glob.has_magic(word):
        return [Path(word)]
    places = [Path(each) for each in sorted(glob.glob(word, recursive=True))]
    return [place for place in places if (place / FILE).is_file() or (place / "plan.json").is_file()]


def _add(found: Found, place: Path) -> None:
    if (place / FILE).is_file():
        _add_comparison(found, place)
    elif (place / "plan.json").is_file():
        _add_run(found, place)
    else:
        missing = "no such folder" if not place.exists() else "neither a run nor a comparison"
        raise RunError(place, missing, "Name folders of segtrial train and of segtrial compare, or a glob of such")


def _add_comparison(found: Found, place: Path) -> None:
    manifest = read_manifest(place)
    assert manifest is not None, "its file is there"
    found.held_out.add(manifest.held_out.part)
    found.block_frames.add(manifest.held_out.block_frames)
    before = len(found.runs)
    for name in manifest.variants:
        plans = sorted((place / "runs" / name).rglob("plan.json"), key=_in_order)
        for plan in plans:
            _add_run(found, plan.parent, place, name)
    missing = len(manifest.cells) - (len(found.runs) - before)
    if missing > 0:
        found.notes.append(f"{place} has {missing} runs that are not finished; they are not on this page.")


def _in_order(plan: Path) -> list[int]:
    """Seed and fold as numbers: 10 comes after 9."""
    return [int(name) for name in plan.parts[:-1] if name.isdigit()]


def _add_run(found: Found, place: Path, comparison: Path | None = None, called: str = "") -> None:
    if any(run.path.resolve() == place.resolve() for run in found.runs):
        return
    if not (place / LAST_WRITTEN).is_file():
        if comparison is None:
            found.notes.append(f"{place} is not finished; it is not on this page.")
        return
    plan = read_plan(place)
    found.runs.append(Finished(place, plan, from_tree(plan.recipe, str(place / "plan.json")), comparison, called))


def without_twins(runs: Sequence[Finished], key: Sequence[str], notes: list[str]) -> list[Finished]:
    """Of runs that have one key and one seed the first; the others are the same run again, and are said."""
    first: dict[str, Finished] = {}
    for run, name in zip(runs, key, strict=True):
        known = first.setdefault(json.dumps([name, run.recipe.seed, run.recipe.split.fold]), run)
        if known is not run:
            notes.append(f"{run.path} has the recipe and the seed of {known.path}; only the latter counts.")
    return list(first.values())
