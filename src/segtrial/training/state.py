"""Learner <-> checkpoint/STEP.safetensors: everything that a killed run needs to end with the same bits (law 3).

A file carries its own checksum and is written beside its name, synced and renamed. The two newest stay: if the
newest is damaged, the one before it is taken. Randomness has no state (law 1), so there is none to save.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from segtrial import ranks
from segtrial.errors import ModelFileError, RunError
from segtrial.files import failpoint
from segtrial.tensorfile import load_tensors, save_tensors
from segtrial.training.learner import Learner
from segtrial.training.watch import Watch

KEPT = 2


@dataclass(frozen=True)
class Progress:
    """What the loop remembers besides tensors. All of it follows from the steps done."""

    log_bytes: int = 0
    """Length of metrics.jsonl when the state was saved; what came later is written again."""
    loss_sum: float = 0.0
    """Sum of the losses since the last line of the log."""
    loss_steps: int = 0
    evaluated: int = 0
    """Step of the last evaluation."""
    best_score: float | None = None
    """Best val score so far, of the task's headline."""
    unimproved: int = 0
    """Evaluations since then."""
    stopped: bool = False
    """Early stopping has ended the training."""
    scores: tuple[float | None, ...] = ()
    """That score of every evaluation so far."""

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> "Progress":
        """What `__dict__` looked like before JSON made a list of the scores."""
        values: dict[str, Any] = {**saved, "scores": tuple(saved.get("scores", ()))}
        return cls(**values)

    def improved(self, score: float | None) -> bool:
        """Whether `score` is better than any before."""
        return score is not None and (self.best_score is None or score > self.best_score)

    def after_evaluation(self, step: int, score: float | None, patience: int | None) -> "Progress":
        """The progress once the `score` of a step (None if undefined) is known."""
        heard = replace(self, evaluated=step, scores=(*self.scores, score))
        if self.improved(score):
            return replace(heard, best_score=score, unimproved=0)
        unimproved = self.unimproved + 1
        stopped = patience is not None and unimproved >= patience
        return replace(heard, unimproved=unimproved, stopped=stopped)


def save(folder: Path, learner: Learner, progress: Progress, best: dict[str, Tensor]) -> None:
    """Write the state after `learner.steps_done` steps, then drop all but the two newest."""
    info = {"schema": 1, "step": learner.steps_done, "progress": progress.__dict__}
    save_tensors(folder / f"{learner.steps_done:09d}.safetensors", _tensors(learner, best), info)
    failpoint("checkpoint.before_prune")
    for path in _newest_first(folder)[KEPT:]:
        path.unlink()
        failpoint("checkpoint.after_prune")


def restore(folder: Path, learner: Learner, watch: Watch) -> tuple[Progress, dict[str, Tensor]]:
    """Bring `learner` to the newest whole state; one that is damaged is named and passed over.

    Without any state the learner stays at step 0. Raises RunError if files are there and none is whole.
    """
    paths = _newest_first(folder)
    for path in paths:
        try:
            tensors, info = load_tensors(path)
        except ModelFileError as error:
            watch.note(f"Passed over a damaged state: {error}")
            continue
        return _put(tensors, info, learner)
    if paths:
        raise RunError(folder, f"{len(paths)} states, none of them whole", "Delete the run folder and train again")
    return Progress(), {}


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.safetensors"), reverse=True)  # by step, never by time


def _tensors(learner: Learner, best: dict[str, Tensor]) -> dict[str, Tensor]:
    optimizer = {
        f"{index}.{name}": value
        for index, entries in learner.optimizer.state_dict()["state"].items()
        for name, value in entries.items()
        if value is not None
    }
    parts = {
        "network": learner.network.state_dict(),
        "shadow": learner.shadow.state_dict(),
        "optimizer": optimizer,
        "best": best,
    }
    return {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}


def _put(tensors: dict[str, Tensor], info: dict[str, Any], learner: Learner) -> tuple[Progress, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "shadow": {}, "optimizer": {}, "best": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    learner.network.load_state_dict(parts["network"])
    learner.shadow.load_state_dict(parts["shadow"])
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in parts["optimizer"].items():
        index, _, rest = name.partition(".")
        state.setdefault(int(index), {})[rest] = value
    learner.optimizer.load_state_dict({"state": state, "param_groups": learner.optimizer.state_dict()["param_groups"]})
    learner.steps_done = int(info["step"])
    best = {name: value.to(learner.device) for name, value in parts["best"].items()}
    return Progress.from_json(info["progress"]), best


def copy_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """The network's tensors as they are now."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def share(learner: Learner, progress: Progress, best: dict[str, Tensor]) -> tuple[Progress, dict[str, Tensor]]:
    """Give every rank what rank 0 restored. Sent tensor by tensor, so that no object is ever unpickled."""
    tensors = _tensors(learner, best) if ranks.rank() == 0 else {}
    table = [[name, str(value.dtype).removeprefix("torch."), list(value.shape)] for name, value in tensors.items()]
    info = {"step": learner.steps_done, "progress": progress.__dict__, "table": table}
    info = ranks.from_first(info, learner.device)
    received = {}
    for name, dtype, shape in info["table"]:
        empty = torch.empty(shape, dtype=getattr(torch, dtype))
        received[name] = ranks.broadcast(tensors.get(name, empty), learner.device)
    return _put(received, info, learner) if ranks.rank() else (progress, best)
