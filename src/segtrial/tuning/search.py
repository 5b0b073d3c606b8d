"""Study + attempt -> finished trials: what one worker does, whether it is alone or one of many."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from segtrial.signals import StopRequest
from segtrial.training.watch import Watch
from segtrial.tuning import attempt
from segtrial.tuning.attempt import Attempt
from segtrial.tuning.study import Outcome, Study


def search(study: Study, wanted: int, attempted: Attempt, watch: Watch, stop: StopRequest) -> None:
    """Try trials until `wanted` have been told, by this worker or others. Raises Interrupted, state saved."""
    while (found := study.next(wanted, stop)) is not None:
        trial, hold = found
        with hold:
            cell = study.cell(trial)
            outcome = attempted(study.rule, cell, partial(study.report, trial), watch)
            setting = study.setting(trial)
            study.tell(trial, outcome)
            attempt.tidy(cell)
        told = study.told()
        said = f"trial {trial.number}: {_said(outcome, study.rule.score)}; {words(setting)}."
        watch.note(f"{said} {_standing(told, wanted)}")
        watch.bar(sum(one["state"] != "running" for one in told), max(wanted, len(told)), "trials")


def best_of(told: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The complete trial with the highest score; of equals the first."""
    complete = [one for one in told if one["state"] == "complete"]
    return max(complete, key=lambda one: (one["score"], -one["number"]), default=None)


def words(setting: Mapping[str, Any]) -> str:
    """ "optimizer.lr=0.01, model=unet"."""
    return ", ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in setting.items()
    )


def _said(outcome: Outcome, score: str) -> str:
    if outcome.state == "complete":
        return f"{score} {outcome.score:.4f}"
    return outcome.state if outcome.message is None else f"{outcome.state} ({outcome.message})"


def _standing(told: list[dict[str, Any]], wanted: int) -> str:
    ended, best = sum(one["state"] != "running" for one in told), best_of(told)
    lead = f", the best so far is trial {best['number']} with {best['score']:.4f}" if best else ""
    return f"{ended} of {max(wanted, len(told))} ended{lead}."
