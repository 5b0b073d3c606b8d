"""A learner's kept network + training images -> its batch normalisation measured anew, on whole images.

Training leaves a running mean of what crops looked like, enlarged, shrunk and recoloured, under weights that moved on
meanwhile. A model answers whole images as they are. So before each evaluation means and variances are measured once
more, by the kept weights, as the mean over batches (Wu and Johnson, Rethinking "batch" in BatchNorm, 2021, sections 3
and 5.2). What is frozen keeps its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segtrial import evaluation, ranks
from segtrial.data.cache import Store
from segtrial.signals import StopRequest
from segtrial.training.learner import Learner
from segtrial.training.plan import Plan
from segtrial.training.watch import Watch

TOGETHER = 8
"""Images of a batch, where they are small; two at least, since a single value of a channel has no variance."""
LARGEST = 1024
"""Rows and columns: of a larger image its middle is taken."""
MOST_PIXELS = 2**24
"""Of all images together: 97 of 360 x 480, seconds on two cores."""
SHARE = 0.05
"""Of the pixels that were learnt from, where that is less: a run of a minute is not followed by a minute of this."""


def measure(learner: Learner, train: Store, watch: Watch, stop: StopRequest) -> bool:
    """Give the kept network means and variances of training images; each rank does the same. Whether it has any.

    It has none without batch normalisation that learns, and of a single image none can be measured.
    """
    network, layers = learner.kept(), learning_norms(learner)
    batches = batches_of(train.sizes, _images_wanted(learner.plan, train.sizes)) if layers else []
    if not batches:
        return False
    modes = {module: module.training for module in network.modules()}
    momenta, before = [layer.momentum for layer in layers], _statistics(layers)
    network.eval()
    for layer in layers:
        layer.train()
        layer.reset_running_stats()
        layer.momentum = None  # the mean over all batches, each counting alike
    try:
        with torch.inference_mode(), learner.autocast():
            for number, batch in enumerate(batches):
                if ranks.world() == 1:
                    stop.raise_if_asked()
                images = middles([train[index].image for index in batch])
                network(images.to(learner.device, memory_format=torch.channels_last))
                watch.bar(number + 1, len(batches), "measuring batch normalisation")
    finally:
        for layer, momentum, old in zip(layers, momenta, before, strict=True):
            layer.momentum = momentum
            if not layer.num_batches_tracked:  # heads for the loss alone see no image here
                _put(layer, old)
        for module, training in modes.items():
            module.training = training
    return True


@contextmanager
def statistics_put_back(learner: Learner) -> Iterator[None]:
    """Whatever is measured inside, training goes on as if nothing had been: how often val is scored changes nothing.

    Where a running mean of the weights answers, training never meets what is measured, and nothing is done.
    """
    layers = learning_norms(learner) if learner.kept() is learner.network else []
    before = _statistics(layers)
    try:
        yield
    finally:
        for layer, old in zip(layers, before, strict=True):
            _put(layer, old)


def _statistics(layers: Sequence[_BatchNorm]) -> list[list[Tensor]]:
    return [[value.clone() for value in layer.buffers()] for layer in layers]


def _put(layer: _BatchNorm, values: Sequence[Tensor]) -> None:
    for buffer, value in zip(layer.buffers(), values, strict=True):
        buffer.copy_(value)


def learning_norms(learner: Learner) -> list[_BatchNorm]:
    """The kept network's batch normalisations that keep running statistics and are not frozen."""
    learning = {name for name, module in learner.network.named_modules() if _learns(module)}
    return [
        module
        for name, module in learner.kept().named_modules()
        if isinstance(module, _BatchNorm) and module.track_running_stats and name in learning
    ]


def _learns(module: nn.Module) -> bool:
    return all(parameter.requires_grad for parameter in module.parameters(recurse=False))


def _images_wanted(plan: Plan, sizes: Sequence[tuple[int, int]]) -> int:
    learnt = sum(phase.steps * phase.batch * phase.size[0] * phase.size[1] for phase in plan.phases)
    of_one = float(np.mean([min(height, LARGEST) * min(width, LARGEST) for height, width in sizes]))
    return max(TOGETHER, int(min(MOST_PIXELS, SHARE * learnt) / of_one))


def batches_of(sizes: Sequence[tuple[int, int]], wanted: int) -> list[list[int]]:
    """Numbers of up to `wanted` images, evenly over all, in batches of two to TOGETHER that are nearly of one size."""
    chosen = np.unique(np.linspace(0, len(sizes) - 1, min(wanted, len(sizes))).round().astype(int)).tolist()
    chosen.sort(key=lambda index: sizes[index])
    largest = max(min(height, LARGEST) * min(width, LARGEST) for height, width in sizes)
    together = max(2, min(TOGETHER, evaluation.MOST_PIXELS // largest))
    batches = [chosen[start : start + together] for start in range(0, len(chosen), together)]
    return [batch for batch in batches if len(batch) > 1]


def middles(images: Sequence[Num[np.ndarray, "c _h _w"]]) -> Num[Tensor, "b c h w"]:
    """The middle of each image, as large as the smallest of them allows, and at most LARGEST on a side."""
    height, width = (min(LARGEST, *(image.shape[axis] for image in images)) for axis in (1, 2))
    cut = []
    for image in images:
        top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
        cut.append(image[:, top : top + height, left : left + width])
    return torch.from_numpy(np.stack(cut))
