"""The verbs over many runs in Python: a file of variants, or runs that are there, in, a comparison's folder out."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from segtrial.training.watch import Silent, Watch

Source = str | Path


def compare(
    recipe: Source | Mapping[str, Any],
    out: Source,
    *,
    budget: str | None = None,
    workers: int | None = None,
    on: str = "local",
    sbatch: str = "",
    plan: bool = False,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run, or continue, a controlled trial in the folder `out`; returns the object of `segtrial compare --json`.

    Writes comparison.html, the page of it, with tables beside it.

    `recipe` is a YAML file or a mapping with `base`, `variants` and `seeds`: see `segtrial.comparison.request`;
    `budget` picks one of its `budgets`.
    `workers` runs at a time, each in a process of its own: of this machine, or `on` "ray", a cluster, or "slurm", with
    `sbatch` for its options (see `segtrial.comparison.places`). With `plan` nothing is trained, and what would be done
    is returned, for Slurm with the `script`. Raises UserError and Interrupted as `train` does; runs that failed are in
    the result.
    """
    from segtrial import comparison
    from segtrial.comparison import places

    source = recipe if isinstance(recipe, Mapping) else Path(recipe)
    with places.place(on, Path(out), sbatch) as place:
        if plan:
            told = comparison.plan_only(source, Path(out), budget=budget, workers=workers, watch=watch, room=place.room)
            return told | ({"script": places.shown(Path(out), told, sbatch)} if on == places.SLURM else {})
        result = comparison.compare(
            source, Path(out), budget=budget, workers=workers, watch=watch, run=place.run, room=place.room
        )
    if (Path(out) / comparison.RESULT).exists():
        from segtrial.reports import comparison_report

        comparison_report.write(Path(out))
    return result


def report(
    runs: Iterable[Source],
    out: Source,
    *,
    names: Mapping[str, Source] | None = None,
    split: str | None = None,
    score: str | None = None,
    baseline: str | None = None,
    margin: float | int = 0.005,
    block_frames: int | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Put finished runs together in the folder `out`; returns the object of `segtrial report --json`.

    `runs` are folders of `train` and of `compare`, or globs of such. Runs of one recipe are one variant whatever their
    seeds; `names` says for a variant's name one of its runs. Writes comparison.html as `compare` does. Raises UserError
    as `segtrial.comparison.together.put_together` does.
    """
    from segtrial.comparison import together
    from segtrial.reports import comparison_report

    rule = together.Rule(score, margin, split, block_frames, baseline)
    given = {name: Path(run) for name, run in (names or {}).items()}
    told = together.put_together(runs, Path(out), given, rule, watch or Silent())
    comparison_report.write(Path(out))
    return told
