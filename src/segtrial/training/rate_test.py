"""Recipe -> how the loss answers to ever higher learning rates, and the rate to take: the learning-rate range test.

    rate of step k   LOWEST (HIGHEST / LOWEST)^(k / (STEPS - 1)), on the first batches of the run itself
    suggestion       where the smoothed loss falls steepest over the logarithm of the rate, among rates up to a tenth of
                     the one at which it is lowest: above them it soon rises
    diverged         the first rate at which the smoothed loss is DIVERGED times its lowest, or the loss is no number

The network is the run's at step 0 and is thrown away. Nothing is drawn that the run would not draw: the same recipe
and data give the same figures.

Smith. Cyclical learning rates for training neural networks. WACV 2017, section 3.3. https://arxiv.org/abs/1506.01186
Smith raises the rate linearly and looks at the accuracy; the exponential sweep, the smoothed loss and the tenth
of the lowest are Gugger's (How do you find a good learning rate, 2018), who smooths by a running mean. That one lags
behind the rates, so the mean here is centred.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from segtrial import hardware, ranks
from segtrial.errors import RunError
from segtrial.files import write_json
from segtrial.recipe import Recipe
from segtrial.recipe_parts import Schedule
from segtrial.signals import StopRequest, listening
from segtrial.training.first_weights import take_over
from segtrial.training.folder import RATE_TEST, opened
from segtrial.training.learner import Learner
from segtrial.training.loop import require_finite
from segtrial.training.opening import pick_device, plan_trial
from segtrial.training.planning import make_batches
from segtrial.training.watch import Silent, Watch

LOWEST, HIGHEST, STEPS = 1e-7, 10.0, 100
SMOOTHED = 3.0
"""Standard deviation, in steps, of the weights of the centred mean: a quarter of a decade."""
DIVERGED = 4.0
HIGHEST_SHARE = 0.1
"""Of the rate with the lowest loss: the highest rate that is suggested."""
LEAST_FALL = 0.1
"""A smoothed loss that never falls by this share of its first value suggests nothing."""


def find_rate(recipe: Recipe, out: Path, watch: Watch | None = None) -> dict[str, Any]:
    """The range test of `recipe` as it is written to `out/find_lr.json`; no training begins.

    Under torchrun every rank calls this. Raises RunError if a run lies in `out`, and as training does before it starts.
    """
    watch = watch if watch is not None and ranks.is_first_launched() else Silent()
    device = pick_device(recipe)
    hardware.keep_memory()
    with ranks.joined(device), listening() as stop, opened(out) if ranks.rank() == 0 else nullcontext() as folder:
        if folder and folder.plan(recipe):
            raise RunError(out, "holds a run already", "Leave --find-lr out to continue it, or choose another --out")
        plan, stores = plan_trial(_of_the_test(recipe), device, watch, stop)
        learner = Learner(_of_the_test(recipe), plan, device)
        take_over(learner)
        first = learner.learning_rate()
        losses = _sweep(learner, make_batches(learner.recipe, plan, stores["train"], device), watch, stop)
        require_finite(losses[0], learner)  # no rate is to blame for the first
        of = {"model": recipe.model, "optimizer": recipe.optimizer.name, "lr": first}
        result = {"schema": 1, **of, "batch": plan.phases[0].batch, "size": list(plan.phases[0].size), **judged(losses)}
        if folder:
            write_json(folder.path / RATE_TEST, result)
    return result


def _of_the_test(recipe: Recipe) -> Recipe:
    """The first phase for STEPS steps, in which only the test moves the rate."""
    phase = recipe.phases[0].model_copy(update={"share": 1.0})
    budget = {"epochs": None, "minutes": None, "steps": STEPS, "phases": (phase,)}
    plain = {"schedule": Schedule(name="constant", warmup=0.0), "ema": 0.0, "keep": "last"}
    return recipe.model_copy(update=budget | plain)


def _sweep(learner: Learner, batches: Any, watch: Watch, stop: StopRequest) -> list[float]:
    """The loss of each step's batch before the step, until it has diverged."""
    groups, highest = learner.optimizer.param_groups, learner.learning_rate()
    first = [group["initial_lr"] for group in groups]
    losses: list[float] = []
    for step, rate in enumerate(rates()):
        stop.raise_if_asked()
        for group, own in zip(groups, first, strict=True):
            group["initial_lr"] = own / highest * float(rate)  # groups keep their ratios
        losses.append(float(learner.step(batches.batch(step, ranks.rank(), ranks.world()))))
        watch.bar(step + 1, STEPS, "trying learning rates")
        if _has_diverged(losses):
            break
    watch.bar(STEPS, STEPS, "trying learning rates")
    return losses


def rates() -> Float[np.ndarray, " steps"]:
    """The rate of each step: from LOWEST to HIGHEST, each a fixed factor above the one before."""
    return LOWEST * (HIGHEST / LOWEST) ** (np.arange(STEPS) / (STEPS - 1))


def smoothed(losses: list[float]) -> Float[np.ndarray, " n"]:
    """The losses, each a mean of its neighbours with weights exp(-(steps between / SMOOTHED)^2 / 2)."""
    steps = np.arange(len(losses))
    weights = np.exp(-(((steps[:, None] - steps) / SMOOTHED) ** 2) / 2)
    return weights @ np.array(losses) / weights.sum(1)


def _has_diverged(losses: list[float]) -> bool:
    if not np.isfinite(losses[-1]):
        return True
    mean = smoothed(losses)
    return bool(mean[-1] > DIVERGED * mean.min())


def judged(losses: list[float]) -> dict[str, Any]:
    """What the losses of the first steps say: rates, losses, smoothed, suggestion, diverged, tenth_of_diverged.

    The last loss may be the one at which the test gave up. A figure is None where there is nothing to say: no
    divergence up to HIGHEST, or no fall by LEAST_FALL.
    """
    diverged = float(rates()[len(losses) - 1]) if _has_diverged(losses) else None
    finite = [loss for loss in losses if np.isfinite(loss)]
    mean = smoothed(finite)
    return {
        "rates": rates()[: len(finite)].tolist(),
        "losses": finite,
        "smoothed": mean.tolist(),
        "suggestion": _steepest(mean),
        "diverged": _short(diverged),
        "tenth_of_diverged": _short(diverged / 10 if diverged else None),
    }


def _steepest(mean: Float[np.ndarray, " n"]) -> float | None:
    lowest = int(mean.argmin())
    last = int((rates() <= rates()[lowest] * HIGHEST_SHARE).sum()) - 1
    if last < 1 or mean[0] - mean[lowest] < LEAST_FALL * abs(mean[0]):
        return None
    fall = mean[2 : last + 2] - mean[:last]  # from the step before to the step after: equal in log(rate)
    return _short(float(rates()[1 + int(fall.argmin())]))


def _short(rate: float | None) -> float | None:
    """Two digits: no test of this kind knows more."""
    return None if rate is None else float(f"{rate:.2g}")
