"""The word of `--on` -> who runs the cells of a comparison: this machine, a Ray cluster, or Slurm.

The folder is the truth in every case: a comparison that one of them began, any other may continue.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrial.clusters import connected, require_place
from segtrial.comparison import on_slurm
from segtrial.comparison.on_ray import OnRay
from segtrial.comparison.on_slurm import OnSlurm
from segtrial.comparison.pool import Runner, run_cells, usual_workers
from segtrial.errors import RecipeError
from segtrial.recipe import Recipe

LOCAL, RAY, SLURM = PLACES = ("local", "ray", "slurm")


@dataclass(frozen=True)
class Place:
    """Who runs cells, and how many of these recipes at a time unless somebody says."""

    run: Runner
    room: Callable[[Mapping[str, Recipe]], int]


@contextmanager
def place(word: str, out: Path, sbatch: str = "") -> Iterator[Place]:
    """Where the cells of the comparison in `out` run; `sbatch` are options for Slurm.

    Raises, before any work: RecipeError for a word that there is not and for options without Slurm, DeviceError where
    Ray, its cluster or Slurm is missing.
    """
    require_place(word, PLACES)
    if sbatch and word != SLURM:
        raise RecipeError("--sbatch", f"given, with --on {word}", "Write --on slurm, or leave it out")
    if word == RAY:
        with connected() as ray:
            on_ray = OnRay(ray)
            yield Place(on_ray, on_ray.room)
    elif word == SLURM:
        on_slurm.require_slurm()
        there = OnSlurm(out, sbatch)
        yield Place(there, there.room)
    else:
        yield Place(run_cells, usual_workers)


def shown(out: Path, told: Mapping[str, Any], sbatch: str) -> str:
    """The script that Slurm would be given first for a planned comparison; nothing where nothing is left to run."""
    count = told["trials"] or told["runs"] - told["done"]
    place = on_slurm.next_place(out)
    return on_slurm.script(place, count, told["workers"], told["threads"], sbatch) if count else ""
