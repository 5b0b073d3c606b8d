"""Recipe + plan -> a network that learns from one batch at a time, and its running mean.

A step's result does not depend on how the batch is cut: a loss is a sum divided by its weight over all pieces and
ranks, so accumulation and several ranks give the gradient of one big batch.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from segtrial import models, optimizers, ranks
from segtrial.data.batches import Batch
from segtrial.errors import DeviceError
from segtrial.models._init import initialise
from segtrial.models._whole import Whole
from segtrial.randomness import key_of, seed_network
from segtrial.recipe import Recipe
from segtrial.schedules import Shape, learning_rate_factor, plateau_factor
from segtrial.training import memory, regularise
from segtrial.training.fine_tuning import Frozen, frozen_modules, rate_factors, thaws
from segtrial.training.goal import Goal
from segtrial.training.plan import Plan


class Learner:
    """A network, its optimizer and its running mean on one device; every rank has one.

    `network`, where it is given, is trained as it is instead of the recipe's with its first weights.
    """

    def __init__(self, recipe: Recipe, plan: Plan, device: torch.device, network: Whole | None = None):
        self.recipe, self.plan, self.device = recipe, plan, device
        self.task = plan.make_task()
        network = new_network(recipe, plan) if network is None else network
        self.network = network.to(device).to(memory_format=torch.channels_last)
        if recipe.sync_batchnorm and device.type == "cuda" and ranks.world() > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(self.network)
        self.shadow = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._frozen = Frozen(self.network, frozen_modules(recipe, self.network.core))
        if recipe.encoder.thaw_epoch is None:
            self._frozen.hold()  # what is thawed later must be known to the optimizer, and is held after it is made
        wish = recipe.optimizer
        self.optimizer = optimizers.build(
            wish.name,
            self.network,
            lr=wish.lr,
            weight_decay=wish.weight_decay,
            momentum=wish.momentum,
            nesterov=wish.nesterov,
            precision=getattr(torch, plan.precision),
            factors=rate_factors(recipe, self.network.core),
        )
        self._frozen.hold()
        class_weights = torch.tensor(plan.class_weights, device=device)
        self.goal = Goal(self.task, recipe.loss, class_weights, self.network.padded_size)
        self.steps_done, self._fallen = 0, 1.0
        self._forward = self._over_ranks()

    def step(self, batch: Batch) -> Float[Tensor, ""]:
        """Learn from this rank's part of one batch; returns the loss of the whole batch, before the update."""
        self._set_modes()
        seed_network(self.recipe.seed, self.steps_done, ranks.rank())
        self._set_learning_rate()
        images, planes = self._on_device(batch)
        aims = [_Aim(self.task.target(images, planes), batch.share)]
        if batch.partners is not None:
            aims.append(_Aim(self.task.target(images, batch.partners.to(self.device)), 1 - batch.share))
        loss = None
        try:
            loss = self._gradients(images, aims)
        except RuntimeError as error:
            if not memory.is_exhausted(error):
                raise
        if loss is None:  # not in the handler above: the exception's frames hold every map of the failed pass
            raise self._too_small(images, aims)
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.steps_done += 1
        self._follow()
        return loss

    def rows(self, batch: Batch) -> Tensor:
        """The task's rows for this rank's part of a batch, by the weights as they are."""
        self.network.eval()
        images, planes = self._on_device(batch)
        with torch.inference_mode(), self.autocast():
            scores = self.network(images)
        return self.task.rows(scores, images, planes)

    def kept(self) -> Whole:
        """The network that an evaluation scores: the running mean, or the weights as they are."""
        return self.shadow if self.recipe.ema > 0 and self.recipe.keep != "last" else self.network

    def learning_rate(self) -> float:
        """The largest learning rate of the next step."""
        return max(group["initial_lr"] for group in self.optimizer.param_groups) * self._factor()

    def hear(self, scores: Sequence[float | None]) -> None:
        """Take note of the val scores of all evaluations so far; on a plateau the rate of that schedule falls."""
        wish = self.recipe.schedule
        if wish.name == "plateau":
            self._fallen = plateau_factor(scores, wish.patience, wish.factor)

    def autocast(self) -> AbstractContextManager:
        """The precision of the plan: bfloat16 inside, float32 weights and losses; or float32 throughout."""
        if self.plan.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def _on_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images = batch.images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return images, batch.targets.to(self.device, non_blocking=True)

    def _set_modes(self) -> None:
        """What learns in train mode, what is frozen in eval mode; what is thawed at this step learns from it on."""
        self.network.train()
        self._thaw_for(self.steps_done)
        self._frozen.hold()

    def catch_up(self) -> None:
        """After a saved state was read: what the last step had thawed is thawed."""
        if self.steps_done:
            self._thaw_for(self.steps_done - 1)

    def _thaw_for(self, step: int) -> None:
        if self._frozen.names and thaws(self.recipe, self.plan, step):
            self._frozen = self._frozen.thawed()
            del self._forward  # DistributedDataParallel sums the gradients of what learnt when it was made
            self._forward = self._over_ranks()

    def _over_ranks(self) -> nn.Module:
        outputs = _AllOutputs(self.network)
        return DistributedDataParallel(outputs) if ranks.world() > 1 else outputs

    def _gradients(self, images: Tensor, aims: Sequence["_Aim"]) -> Float[Tensor, ""]:
        total, weights = torch.zeros((), device=self.device), None
        for piece, context in self._pieces(len(images)):
            with context:
                outputs = self._outputs(images[piece])
                if weights is None:  # of the whole batch; the strides of the outputs must be known
                    weights = [ranks.sum_over_ranks(each) for each in self._weights(outputs, aims)]
                total += self._learn(outputs, [aim.of(piece) for aim in aims], weights)
        return ranks.sum_over_ranks(total)

    def _outputs(self, images: Tensor) -> tuple[Tensor, ...]:
        with self.autocast():
            return self._forward(images)

    def _weights(self, outputs: tuple[Tensor, ...], aims: Sequence["_Aim"]) -> list[Float[Tensor, "outputs terms"]]:
        """What divides the losses of each aim."""
        return [self.goal.weights(outputs, aim.targets, self._place()) for aim in aims]

    def _learn(
        self, outputs: tuple[Tensor, ...], aims: Sequence["_Aim"], weights: Sequence[Tensor]
    ) -> Float[Tensor, ""]:
        """Add the gradient of one piece of a batch; returns its part of the loss."""
        loss = torch.zeros((), device=self.device)
        for aim, each in zip(aims, weights, strict=True):
            loss = loss + aim.share * self.goal.loss(outputs, aim.targets, self._place(), each.clamp(min=1e-12))
        (loss * ranks.world()).backward()  # DistributedDataParallel averages; we want the sum
        return loss.detach()

    def _place(self) -> int:
        """Which pixel of a cell the scores of this step are compared with."""
        return key_of(self.recipe.seed, "grid", self.steps_done)

    def _too_small(self, images: Tensor, aims: Sequence["_Aim"]) -> DeviceError:
        """What to say when a batch did not fit the memory; tries how many images do."""
        pieces = [images[piece] for piece, _ in self._pieces(len(images))]

        def attempt(count: int) -> None:
            self.optimizer.zero_grad(set_to_none=True)
            outputs, some = self._outputs(images[:count]), [aim.of(slice(count)) for aim in aims]
            self._learn(outputs, some, self._weights(outputs, some))

        alone = ranks.world() == 1  # other ranks would wait for gradients of an attempt
        fits = memory.largest_that_fits(attempt, len(pieces[0]) - 1) if alone else None
        return memory.too_small(tuple(pieces[0].shape), fits, len(images))

    def _pieces(self, count: int) -> Iterator[tuple[slice, AbstractContextManager]]:
        size = -(-count // self.recipe.accumulate)
        starts = range(0, count, size)
        for start in starts:
            last = start == starts[-1]
            wait = not last and isinstance(self._forward, DistributedDataParallel)
            yield slice(start, start + size), self._forward.no_sync() if wait else nullcontext()  # type: ignore[union-attr]

    def _factor(self) -> float:
        wish = self.recipe.schedule
        shape = Shape(**wish.model_dump(exclude={"name", "warmup", "patience"}))
        return self._fallen * learning_rate_factor(wish.name, self.steps_done / self.plan.steps, wish.warmup, shape)

    def _set_learning_rate(self) -> None:
        factor = self._factor()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    @torch.no_grad()
    def _follow(self) -> None:
        if self.recipe.ema == 0:
            return
        decay = min(self.recipe.ema, (1 + self.steps_done) / (10 + self.steps_done))  # a short run has a short memory
        means, values = (_floating(network, self._frozen.names) for network in (self.shadow, self.network))
        torch._foreach_lerp_(means, values, 1 - decay)


def new_network(recipe: Recipe, plan: Plan) -> Whole:
    """The recipe's network with its first weights, a function of (seed, parameter names) alone."""
    name, options = models.parse(recipe.model)
    task = plan.make_task()
    core = models.build(name, task.outputs, plan.in_channels, **options)
    initialise(core, recipe.seed, recipe.init)
    regularise.apply(recipe, core)
    return Whole(core, torch.tensor(plan.mean), torch.tensor(plan.std), task.sees)


def _floating(network: nn.Module, without: frozenset[str]) -> list[Tensor]:
    tensors = network.state_dict()
    return [value for name, value in tensors.items() if value.is_floating_point() and name not in without]


@dataclass(frozen=True, eq=False)
class _Aim:
    """Targets of a batch, and their share in its loss: 1, or after a mixup less, for each of two."""

    targets: Shaped[Tensor, "b *c h w"]
    share: float

    def of(self, piece: slice) -> "_Aim":
        """The same for some images of the batch."""
        return _Aim(self.targets[piece], self.share)


class _AllOutputs(nn.Module):
    """The wrapper's training call as a `forward`, which DistributedDataParallel needs."""

    def __init__(self, network: Whole):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.network.forward_all(images)
