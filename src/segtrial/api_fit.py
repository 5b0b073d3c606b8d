"""The verb that reads curves in Python: a run in, what its curves say and what to do about it out."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segtrial.training import Watch


def fit(
    run: str | Path, *, one_batch: bool = False, untouched: bool = False, watch: "Watch | None" = None
) -> dict[str, Any]:
    """What the curves, scores and classes of a run folder say, as `segtrial fit --json` prints it, schema 1.

    `findings` have a `message`, with the figures behind it, and a `severity`; `notes` say what could not be told. With
    `one_batch` a fresh network is tried on one batch for a minute; with `untouched` the parts besides train and val
    are scored, and val is compared with them. Raises UserError if it is no run, or if its data are needed and gone.
    """
    from segtrial import fitdoctor
    from segtrial.reports import records

    path = Path(run)
    record, heart, others = records.read(path), None, {}
    if untouched:
        from segtrial import api

        names = [name for name in record.plan["parts"] if name not in ("train", "val")]
        others = {name: api.evaluate(path, split=name, watch=watch) for name in names}
    if one_batch:
        from segtrial.recipe import from_tree
        from segtrial.training import probe

        heart = probe.learn_one_batch(from_tree(record.recipe, str(path)), watch=watch).to_json()
    found = fitdoctor.examine(record, one_batch=heart, untouched=others)
    return {"schema": 1, "run": str(path), "finished": record.finished, **found.to_json(), "one_batch": heart}
