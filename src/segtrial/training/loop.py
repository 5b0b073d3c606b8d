"""Learner + stores -> a trained learner: the one visible training loop.

Every line it logs and every state it saves is a function of the recipe and the data; the clock decides only when
states are saved and what the watcher sees.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from segtrial import ranks
from segtrial.data.batches import Batch
from segtrial.data.cache import Store
from segtrial.errors import Interrupted, RunError
from segtrial.evaluation import Counts, evaluate
from segtrial.scores import number_or_none
from segtrial.signals import StopRequest
from segtrial.training import state
from segtrial.training.first_weights import take_over
from segtrial.training.folder import RunFolder
from segtrial.training.learner import Learner
from segtrial.training.normalising import measure, statistics_put_back
from segtrial.training.planning import make_batches
from segtrial.training.state import Progress
from segtrial.training.watch import Watch

SAVING_SHARE = 0.05
"""States are saved so rarely that saving takes at most this share of the time."""


def run_steps(
    learner: Learner, stores: Mapping[str, Store], folder: RunFolder | None, watch: Watch, stop: StopRequest
) -> tuple[Progress, dict[str, Tensor]]:
    """Train until the plan's last step or an early stop, from the newest saved state if there is one.

    Returns the progress, and the best weights if the recipe keeps those. Raises Interrupted, state saved, when a
    signal came to any rank; RunError if the loss is no longer finite.
    """
    recipe, plan = learner.recipe, learner.plan
    progress, best = _continue(learner, folder, watch)
    learner.hear(progress.scores)
    batches = make_batches(recipe, plan, stores["train"], learner.device)
    journal = _Journal(learner, folder, watch)
    loader = batches.loader(
        learner.steps_done, plan.steps, workers=recipe.workers, rank=ranks.rank(), world=ranks.world()
    )
    for batch in loader:
        # Validation, for the curves, for early stopping and for keep=best; a state saved before it repeats it.
        if progress.evaluated < learner.steps_done and learner.steps_done in plan.evaluate_at:
            try:
                with statistics_put_back(learner):
                    scores = validate(learner, stores, watch, stop)
                    headline = scores[learner.task.headline]
                    if recipe.keep == "best" and progress.improved(headline):
                        best = state.copy_of(learner.kept())
            except Interrupted:
                journal.save(progress, best)
                raise
            journal.val_line(scores)
            progress = progress.after_evaluation(learner.steps_done, headline, recipe.patience)
            progress = replace(progress, log_bytes=journal.log_bytes())
            learner.hear(progress.scores)
        if progress.stopped:
            journal.save(progress, best)
            break

        loss = float(learner.step(batch))
        done = learner.steps_done
        progress = replace(progress, loss_sum=progress.loss_sum + loss, loss_steps=progress.loss_steps + 1)
        journal.step(loss)

        # A line of the log: the mean loss since the last one, and the scores of the batch just learnt from.
        if done % recipe.progress_steps == 0 or done == plan.steps:
            journal.train_line(progress, batch_scores(learner, batch))
            progress = replace(progress, loss_sum=0.0, loss_steps=0, log_bytes=journal.log_bytes())

        # The state is saved now and then, at the end, and when somebody asks to stop.
        asked = _asked(stop, learner.device)
        if journal.saving_is_due() or asked or done == plan.steps:
            journal.save(progress, best)
        if asked:
            raise Interrupted(asked, f"saved at step {done} of {plan.steps}; the same command continues")
    return progress, best


def validate(learner: Learner, stores: Mapping[str, Store], watch: Watch, stop: StopRequest) -> dict[str, float | None]:
    """Every score, and the loss, of the kept weights on the val part; the same on all ranks."""
    return summary_of(learner, counted(learner, stores, watch, stop, "validating"))


def summary_of(learner: Learner, result: Counts) -> dict[str, float | None]:
    """The recipe's own loss and every score."""
    assert result.loss_sums is not None
    return {"loss": learner.goal.criterion.value(result.loss_sums), **learner.task.summary(result.counts)}


def batch_scores(learner: Learner, batch: Batch) -> dict[str, float | None]:
    """The scores that the task logs, of the whole batch of all ranks, by the weights as they are."""
    rows = learner.rows(batch).numpy()
    found = {}
    for name in learner.task.logged:
        score = learner.task.table[name]
        sums = ranks.sum_over_ranks(torch.from_numpy(score.parts(rows).sum(0)).to(_summing_device(learner.device)))
        found[name] = number_or_none(float(score.value(sums.cpu().numpy())))
    return found


def _summing_device(device: torch.device) -> torch.device:
    return device if device.type == "cuda" else torch.device("cpu")  # nccl sums on GPUs only


def counted(
    learner: Learner,
    stores: Mapping[str, Store],
    watch: Watch,
    stop: StopRequest,
    what: str,
    *,
    extras: bool = False,
    as_is: bool = False,
) -> Counts:
    """The rows of the kept weights on the val part, perhaps with extras; RunError if their loss is no number.

    Batch normalisation is measured first, if the recipe says so and the weights are not to be scored `as_is`.
    """
    network = learner.kept()
    if learner.recipe.norm_statistics == "measured" and not as_is:
        measure(learner, stores["train"], watch, stop)
    ranks.share_buffers(network)
    result = evaluate(
        network,
        stores["val"],
        learner.task,
        device=learner.device,
        criterion=learner.goal.criterion,
        extras=extras,
        precision=getattr(torch, learner.plan.precision),
        progress=lambda done, total: watch.bar(done, total, what),
        check=stop.raise_if_asked if ranks.world() == 1 else None,
    )
    require_finite(summary_of(learner, result)["loss"], learner)
    return result


def require_finite(loss: float | None, learner: Learner) -> None:
    """Raise RunError if a loss is no number; None, for no counted pixel, is none's fault."""
    if loss is not None and not math.isfinite(loss):
        fix = "Lower optimizer.lr, set clip=1.0, or use precision=float32, and train into a new --out"
        raise RunError(learner.recipe.model, f"the loss is {loss} at step {learner.steps_done}", fix)


def _continue(learner: Learner, folder: RunFolder | None, watch: Watch) -> tuple[Progress, dict[str, Tensor]]:
    progress, best = Progress(), {}
    if folder:
        progress, best = state.restore(folder.checkpoint, learner, watch)
        folder.cut_metrics(progress.log_bytes)
        folder.log_timing({"event": "start", "step": learner.steps_done})
    if ranks.world() > 1:
        progress, best = state.share(learner, progress, best)
    learner.catch_up()
    if not learner.steps_done and (taken := take_over(learner)):
        watch.note(taken)
    if learner.steps_done:
        watch.note(f"Continues after step {learner.steps_done} of {learner.plan.steps}.")
    return progress, best


def _asked(stop: StopRequest, device: torch.device) -> int:
    """The signal that asked to stop, on whichever rank it came; 0 if none did. All ranks agree."""
    if ranks.world() == 1:
        return stop.signal or 0
    return ranks.largest(stop.signal or 0, device)


class _Journal:
    """What a run writes and says along the way; only rank 0 has a folder."""

    def __init__(self, learner: Learner, folder: RunFolder | None, watch: Watch):
        self.learner, self.plan, self.folder, self.watch = learner, learner.plan, folder, watch
        self.started, self.first_step = time.monotonic(), learner.steps_done
        self.saved, self.saving_seconds = self.started, 0.0
        self.score: float | None = None

    def step(self, loss: float) -> None:
        """Tell the watcher; note a loss that is no number, and stop."""
        done = self.learner.steps_done
        if self.folder and not math.isfinite(loss):
            self.folder.log_timing({"event": "diverged", "step": done})
        require_finite(loss, self.learner)
        seconds = max(1e-9, time.monotonic() - self.started)
        per_step = seconds / (done - self.first_step)
        images = self._images_since_start() / seconds
        left = per_step * (self.plan.steps - done)
        record = {
            "step": done,
            "steps": self.plan.steps,
            "loss": loss,
            "images_per_second": images,
            "seconds_left": left,
        }
        self.watch.step(record | {"headline": self.learner.task.headline, "score": self.score})

    def train_line(self, progress: Progress, scores: Mapping[str, float | None]) -> None:
        """Log the training loss, the learning rate and the last batch's scores."""
        record = self._record("train") | {
            "loss": progress.loss_sum / progress.loss_steps,
            "learning_rate": self.learner.learning_rate(),
            **scores,
        }
        if self.folder:
            self.folder.log(record)
            seconds = round(time.monotonic() - self.started, 3)
            speed = round(self._images_since_start() / max(1e-9, seconds), 2)
            self.folder.log_timing({"step": record["step"], "seconds": seconds, "images_per_second": speed})

    def val_line(self, scores: Mapping[str, Any]) -> None:
        """Log the loss and every score on the val part."""
        self.score = scores[self.learner.task.headline]
        if self.folder:
            self.folder.log(self._record("val") | dict(scores))

    def log_bytes(self) -> int:
        """The length of the metrics log."""
        return self.folder.log_bytes() if self.folder else 0

    def saving_is_due(self) -> bool:
        """Whether it is time to save, by the recipe's interval and by what the last saving cost."""
        interval = max(self.learner.recipe.checkpoint_seconds, self.saving_seconds / SAVING_SHARE)
        if self.learner.recipe.checkpoint_seconds == 0:
            interval = 0.0
        return time.monotonic() - self.saved >= interval

    def save(self, progress: Progress, best: dict[str, Tensor]) -> None:
        """Save the state and note how long that took."""
        if self.folder is None:
            return
        start = time.monotonic()
        state.save(self.folder.checkpoint, self.learner, progress, best)
        self.saved = time.monotonic()
        self.saving_seconds = self.saved - start

    def _record(self, split: str) -> dict[str, Any]:
        done = self.learner.steps_done
        return {"step": done, "epoch": round(self.plan.epoch(done), 4), "split": split}

    def _images_since_start(self) -> int:
        return self.plan.images_until(self.learner.steps_done) - self.plan.images_until(self.first_step)
