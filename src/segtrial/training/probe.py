"""A recipe -> whether its network can learn one batch of its data by heart: the test of everything but data and budget.

The recipe's network, first weights, loss, optimizer, learning rate and schedule, on one batch of a few images, the
same at every step: no augmentation, no dropout, no label smoothing. A network that cannot do that has a wrong rate, a
wrong loss or a fault; one that can, and learns nothing from all images, has wrong labels. Nothing is written.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from segtrial import hardware
from segtrial.data.batches import Batch
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Augment, Regularise
from segtrial.signals import StopRequest, listening
from segtrial.training.first_weights import take_over
from segtrial.training.learner import Learner
from segtrial.training.loop import require_finite
from segtrial.training.opening import pick_device, plan_trial
from segtrial.training.planning import make_batches
from segtrial.training.watch import Silent, Watch

SECONDS = 60.0
IMAGES = 4
MOST_STEPS = 300
"""Enough for every network of `results/overfit.json`, which learn twice as many images."""
LEARNT, NOT_LEARNT = 0.2, 0.5
"""Of the first loss: up to the one the batch is learnt by heart, from the other on it is not; between them, open."""
BY_HEART = 0.9
"""A score from which on it is learnt, too: borders that lie finer than the network's scores keep a loss up."""
AVERAGED = 5
"""Last steps whose loss is judged, by their mean."""


@dataclass(frozen=True)
class OneBatch:
    """What came out. `learnt` is None where the loss fell, but not far enough; `score` is the task's headline."""

    images: int
    size: tuple[int, int]
    steps: int
    first_loss: float
    last_loss: float
    headline: str
    score: float | None
    learnt: bool | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "size": list(self.size)}


def learn_one_batch(recipe: Recipe, *, seconds: float = SECONDS, watch: Watch | None = None) -> OneBatch:
    """Train on one batch for about `seconds` at most, on one process. Raises UserError as training does."""
    watch, device = watch or Silent(), pick_device(recipe)
    hardware.keep_memory()
    with listening() as stop:
        trial = _of_the_test(recipe, seconds)
        plan, stores = plan_trial(trial, device, watch, stop)
        steps = min(plan.steps, MOST_STEPS)
        phase = plan.phases[0].model_copy(update={"steps": steps, "batch": min(IMAGES, len(stores["train"]))})
        plan = plan.model_copy(update={"steps": steps, "phases": (phase,)})
        learner = Learner(trial, plan, device)
        take_over(learner)
        batch = make_batches(trial, plan, stores["train"], device).batch(0)
        losses = _losses(learner, batch, watch, stop)
    finite = [loss for loss in losses if math.isfinite(loss)]
    first, last = finite[0], sum(finite[-AVERAGED:]) / len(finite[-AVERAGED:])
    score = _score(learner, batch)
    learnt = _judged(last / first, score) if len(finite) == len(losses) else False
    return OneBatch(phase.batch, phase.size, len(losses), first, last, learner.task.headline, score, learnt)


def _judged(ratio: float, score: float | None) -> bool | None:
    if ratio <= LEARNT or _is_high(score):
        return True
    return False if ratio >= NOT_LEARNT else None


def _is_high(score: float | None) -> bool:
    return score is not None and BY_HEART <= score <= 1  # some scores are no shares


def _score(learner: Learner, batch: Batch) -> float | None:
    """The headline of the batch itself, in eval mode."""
    return learner.task.summary(learner.rows(batch).numpy())[learner.task.headline]


def _of_the_test(recipe: Recipe, seconds: float) -> Recipe:
    """One phase of a few crops at their middle size, of a budget in minutes, with nothing drawn at random."""
    wish = recipe.phases[0]
    middle = math.sqrt(wish.scale[0] * wish.scale[1])
    changes: dict[str, Any] = {
        "phases": (wish.model_copy(update={"share": 1.0, "batch": IMAGES, "scale": (middle, middle)}),),
        "augment": Augment(flip_horizontal=0.0, brightness=0.0, contrast=0.0, color=0.0),
        "regularise": Regularise(dropout=0.0),
        "loss": recipe.loss.model_copy(update={"label_smoothing": 0.0}),
    }
    budget = {"epochs": None, "steps": None, "minutes": seconds / 60, "accumulate": 1, "ema": 0.0, "keep": "last"}
    return recipe.model_copy(update=changes | budget)


def _losses(learner: Learner, batch: Batch, watch: Watch, stop: StopRequest) -> list[float]:
    """The loss before each step; it ends early once the batch is learnt by both marks, or at a loss that is no number.

    Both, since running statistics of norms follow late: in eval mode a network may know nothing yet.
    """
    losses: list[float] = []
    for step in range(learner.plan.steps):
        stop.raise_if_asked()
        losses.append(float(learner.step(batch)))
        require_finite(losses[0], learner)  # no rate is to blame for the first
        watch.bar(step + 1, learner.plan.steps, "learning one batch by heart")
        low = step % AVERAGED == 0 and max(losses[-AVERAGED:]) <= LEARNT * losses[0]
        if not math.isfinite(losses[-1]) or (low and _is_high(_score(learner, batch))):
            break
    watch.bar(learner.plan.steps, learner.plan.steps, "learning one batch by heart")
    return losses
