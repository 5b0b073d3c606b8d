"""A run's records -> what its curves say: findings to act on, each with the figures behind it.

The score of training is that of single batches of augmented crops. A batch lacks classes, which lowers its mean IoU:
gaps between training and val are rather larger than what is said here. Where the log is too short to tell, nothing is.
"""

from collections.abc import Iterator, Mapping

from segtrial.fitdoctor import colors, coverage, generalising, learning
from segtrial.fitdoctor.evidence import with_interval
from segtrial.fitdoctor.finding import Diagnosis, Finding, Json, Record

__all__ = ["Diagnosis", "Finding", "Record", "examine"]


def examine(run: Record, *, one_batch: Json | None = None, untouched: Mapping[str, Json] | None = None) -> Diagnosis:
    """What the records of a run say, finished or not.

    `one_batch` is what `segtrial.training.probe` measured. `untouched` holds evaluations, as `segtrial evaluate --json`
    prints them, of parts besides train and val, by their names.
    """
    others = untouched or {}
    causes = list(learning.findings(run, one_batch))
    followed = () if causes else generalising.findings(run)  # a network that does not learn has no other trouble yet
    found = [
        *causes,
        *colors.findings(run),
        *coverage.findings(run, learnt=not causes),
        *followed,
        *generalising.flattering(run, others),
    ]
    found.sort(key=lambda finding: finding.severity != "problem")
    return Diagnosis(tuple(found), tuple(_notes(run, one_batch, others)))


def _notes(run: Record, one_batch: Json | None, untouched: Mapping[str, Json]) -> Iterator[str]:
    others = {name: count for name, count in run.plan["parts"].items() if name not in ("train", "val")}
    if not others:
        chosen = generalising.chosen_by_val(run)
        yield f"There is no part besides train and val, so how much val flatters is not known{chosen}."
    for name, count in others.items():
        if name not in untouched:
            yield f"The {name} part ({count:,} images) was not scored; --untouched compares val with it."
        elif with_interval(run.evaluation) is None or with_interval(untouched[name]) is None:
            yield f"Val and {name} cannot be compared: a score without an interval, for want of independent blocks."
    if len(run.val) < generalising.FEWEST_EVALUATIONS:
        yield f"Val was scored {len(run.val)} times, too few for a trend; --set evaluations=8 tells more."
    if one_batch is not None and one_batch["learnt"] is not False:
        verdict = "was learnt by heart" if one_batch["learnt"] else "was learnt in part, which settles nothing"
        loss = f"loss {one_batch['first_loss']:.3g} to {one_batch['last_loss']:.3g}"
        yield f"One batch of {one_batch['images']} images {verdict}: {loss} in {one_batch['steps']} steps."
