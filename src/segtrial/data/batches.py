"""Samples -> the batch of any step, asked for in any order, by any number of workers and ranks (law 1).

    stream   epoch 0's order, epoch 1's order, ...: each a permutation of the samples drawn from (seed, epoch)
    step     takes the next `batch` places of the stream; an epoch's short last batch is filled from the next order
    rank     takes its contiguous slice of the step's batch

Nothing is remembered between calls, so a run resumed at step s goes on as if it had never stopped.
"""

import math
import signal
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from segtrial.data import albumentations_pipeline, own_augment
from segtrial.data.augment import Augmentation, Number, apply, draw
from segtrial.data.mixing import blend, mixings, paste, share_of
from segtrial.data.sample import Sample
from segtrial.errors import RecipeError, UserError
from segtrial.randomness import generator

RESIDENT_SHARE = 0.5
"""Of a GPU's free memory, the most that images may take; a step needs the rest."""


@dataclass(frozen=True)
class Phase:
    """`steps` steps of `batch` crops of `size` (h, w), of images scaled by a factor from scale[0] to scale[1]."""

    steps: int
    batch: int
    size: tuple[int, int]
    scale: tuple[Number, Number]

    def __post_init__(self) -> None:
        if min(self.batch, *self.size) < 1 or self.steps < 0:
            found = f"{self.steps} steps, batch {self.batch}, size {self.size}"
            raise RecipeError("phase", found, "Steps are at least 0, batch and size at least 1")
        if not 0 < self.scale[0] <= self.scale[1] < math.inf:
            raise RecipeError("phase.scale", f"{self.scale}", "Give (lowest, highest), both above 0")


@dataclass(frozen=True)
class Batch:
    """What a step sees. `keys` names the samples in order.

    After a mixup the images show `share` of what `targets` says and 1 - `share` of what `partners` says.
    """

    images: UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]
    targets: UInt8[Tensor, "b h w"]
    keys: tuple[str, ...]
    partners: UInt8[Tensor, "b h w"] | None = None
    share: float = 1.0


@runtime_checkable
class Samples(Protocol):
    """Samples by number, as a `Store` has them."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


class Batches:
    """The batches of a run.

    `mirrored` is `Classes.mirrored()`. With a `device`, batches come out there; if all samples have one size and
    fit, they are put there once and cropped there, else each batch is made on the host and sent. Crops that code of
    others sees are made on the host.
    """

    def __init__(
        self,
        store: Samples,
        phases: Sequence[Phase],
        augmentation: Augmentation,
        *,
        seed: int,
        mirrored: tuple[int, ...],
        device: torch.device | None = None,
    ):
        self.store, self.phases, self.augmentation = store, tuple(phases), augmentation
        self.seed, self.mirrored, self.device = seed, mirrored, device
        self._first_steps = tuple(accumulate((phase.steps for phase in phases), initial=0))
        self._first_places = tuple(accumulate((phase.steps * phase.batch for phase in phases), initial=0))
        place = None if augmentation.on_arrays else device
        self._resident = make_resident(store, place) if place is not None else None

    @property
    def steps(self) -> int:
        """Steps of all phases together."""
        return self._first_steps[-1]

    @property
    def resident(self) -> bool:
        """Whether the samples lie on the device."""
        return self._resident is not None

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return self.phases[self._phase_number(step)]

    def keys(self, step: int) -> list[tuple[int, int]]:
        """(epoch, index into the store) of each sample of a step's whole batch, in order."""
        number, samples = self._phase_number(step), len(self.store)
        batch = self.phases[number].batch
        first = self._first_places[number] + (step - self._first_steps[number]) * batch
        places = [divmod(place, samples) for place in range(first, first + batch)]
        return [(epoch, int(_order(self.seed, epoch, samples)[place])) for epoch, place in places]

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The slice of a step's batch that rank `rank` of `world` trains on.

        Ranks' slices in rank order are the whole batch; they differ by at most one sample.
        Raises RecipeError if some rank would get none.
        """
        phase = self.phase(step)
        if world > phase.batch:
            raise RecipeError("batch", f"{phase.batch} samples for {world} ranks", "Give every rank at least one")
        mine = range(rank * phase.batch // world, (rank + 1) * phase.batch // world)
        share = share_of(self.augmentation.mixup, self.seed, step)
        beside = [(place + 1) % phase.batch for place in mine] if share < 1 else []
        places = self.keys(step)
        made = {place: self._mixed(*places[place], phase) for place in dict.fromkeys([*mine, *beside])}
        images, targets, keys = zip(*(made[place] for place in mine), strict=True)
        batch = Batch(_stack(images), torch.stack(targets), keys)
        if beside:
            others, partners, _ = zip(*(made[place] for place in beside), strict=True)
            batch = replace(batch, images=blend(batch.images, _stack(others), share), share=share)
            batch = replace(batch, partners=torch.stack(partners))
        return self._on_device(batch)

    def loader(self, first: int, last: int, *, workers: int = 0, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """The batches of steps `first` to `last` - 1, made ahead by `workers` processes; 0 makes them here.

        The same bits whatever the number of workers. Resident samples need none. An error in a worker is raised
        here, with the sample's name. Workers start afresh at each call (a second or two).
        """
        if workers == 0 or self.resident:
            for step in range(first, last):
                yield self.batch(step, rank, world)
            return
        hosted = Batches(self.store, self.phases, self.augmentation, seed=self.seed, mirrored=self.mirrored)
        ahead = DataLoader(
            _Steps(hosted, first, last, rank, world),
            batch_size=None,
            num_workers=workers,
            worker_init_fn=_one_thread,
            multiprocessing_context="spawn",  # a fork of a process that runs threads can hang
            generator=torch.Generator(),  # of its own: else the loader draws from torch's global one
        )
        coming: Any = iter(ahead)
        try:
            for made in coming:
                if isinstance(made, _Failure):
                    raise made.kind(made.place, made.found, made.fix)
                yield self._on_device(made)
        finally:
            with suppress(RuntimeError):  # a worker that dies while it is being ended is no news to anybody
                coming._shutdown_workers()

    def rehearse(self) -> None:
        """Let code of others see a crop of each phase, before training: RecipeError says what it cannot do.

        For a transform of Albumentations that is whatever its probability.
        """
        wish = self.augmentation
        for phase in self.phases if wish.on_arrays else ():
            image, target, key = self._plain_crop(0, 0, phase)
            if wish.albumentations:
                albumentations_pipeline.rehearse(wish.albumentations, image, target, self.mirrored)
            if wish.own is not None:
                own_augment.rehearse(wish.own, image, target, classes=len(self.mirrored), seed=self.seed, key=key)

    def _phase_number(self, step: int) -> int:
        assert 0 <= step < self.steps, f"step {step} of {self.steps}"
        return bisect_right(self._first_steps, step) - 1

    def _mixed(self, epoch: int, index: int, phase: Phase) -> tuple[Tensor, Tensor, str]:
        """The crop of a sample, with what its partners' crops of that epoch bring."""
        image, target, key = self._crop(epoch, index, phase)
        for mixing in mixings(self.augmentation, self.seed, epoch, key):
            other_image, other_target, _ = self._crop(epoch, mixing.partner_of(index, len(self.store)), phase)
            image, target = paste(image, target, other_image, other_target, mixing.region(other_target))
        return image, target, key

    def _crop(self, epoch: int, index: int, phase: Phase) -> tuple[Tensor, Tensor, str]:
        """The crop of a sample as it is before a mixing."""
        image, target, key = self._plain_crop(epoch, index, phase)
        wish, classes, seed = self.augmentation, len(self.mirrored), self.seed
        if wish.albumentations:
            image, target = albumentations_pipeline.apply(
                wish.albumentations, image, target, classes=classes, seed=seed, epoch=epoch, key=key
            )
        if wish.own is not None:
            image, target = own_augment.apply(wish.own, image, target, classes=classes, seed=seed, epoch=epoch, key=key)
        return image, target, key

    def _plain_crop(self, epoch: int, index: int, phase: Phase) -> tuple[Tensor, Tensor, str]:
        image, target, key = self._resident.sample(index) if self._resident else _tensors(self.store[index])
        drawn = draw(self.augmentation, self.seed, epoch, key)
        crop = apply(image, target, drawn, scale=phase.scale, size=phase.size, mirrored=self.mirrored)
        return *crop, key

    def _on_device(self, batch: Batch) -> Batch:
        if self.device is None:
            return batch
        images, targets = batch.images.to(self.device), batch.targets.to(self.device)
        partners = None if batch.partners is None else batch.partners.to(self.device)
        return replace(batch, images=images, targets=targets, partners=partners)


@dataclass(frozen=True)
class Resident:
    """All samples of a store as tensors on one device."""

    images: UInt8[Tensor, "n c h w"] | Float32[Tensor, "n c h w"]
    targets: UInt8[Tensor, "n h w"]
    keys: tuple[str, ...]

    def sample(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Image, target and key of one sample."""
        return self.images[index], self.targets[index], self.keys[index]


def make_resident(store: Samples, device: torch.device) -> Resident | None:
    """All samples on the device, or None if their sizes differ or they take more than half its free memory."""
    first = store[0]
    needed = len(store) * (first.image.nbytes + first.target.nbytes)
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else math.inf
    samples = [store[index] for index in range(len(store))] if needed <= RESIDENT_SHARE * free else []
    if not samples or any(sample.target.shape != first.target.shape for sample in samples):
        return None
    images = _stack([torch.from_numpy(_writable(sample.image)) for sample in samples])
    targets = torch.from_numpy(np.stack([sample.target for sample in samples]))
    return Resident(images.to(device), targets.to(device), tuple(sample.key for sample in samples))


@lru_cache(maxsize=4)  # a run is in one epoch or at the border of two
def _order(seed: int, epoch: int, samples: int) -> np.ndarray:
    return generator(seed, "order", epoch).permutation(samples)


def _tensors(sample: Sample) -> tuple[Tensor, Tensor, str]:
    return torch.from_numpy(_writable(sample.image)), torch.from_numpy(_writable(sample.target)), sample.key


def _writable(array: np.ndarray) -> np.ndarray:
    """torch takes no read-only memory; a copy keeps the order of the axes in memory."""
    return array if array.flags.writeable else array.copy(order="K")


def _stack(images: Sequence[Tensor]) -> Tensor:
    """Images of one size, channels last in memory: the order that convolutions are fastest in."""
    shape = (len(images), *images[0].shape)
    stacked = torch.empty(shape, dtype=images[0].dtype, device=images[0].device, memory_format=torch.channels_last)
    for row, image in zip(stacked, images, strict=True):
        row.copy_(image)
    return stacked


@dataclass(frozen=True)
class _Failure:
    """A user's error on its way out of a worker: exceptions with fields of their own do not survive the trip."""

    kind: type[UserError]
    place: str
    found: str
    fix: str


class _Steps(Dataset[Batch | _Failure]):
    """One rank's batches of steps `first` to `last` - 1, for workers."""

    def __init__(self, batches: Batches, first: int, last: int, rank: int, world: int):
        self.batches, self.first, self.last, self.rank, self.world = batches, first, last, rank, world

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, index: int) -> Batch | _Failure:
        if index >= len(self):
            raise IndexError(index)
        try:
            return self.batches.batch(self.first + index, self.rank, self.world)
        except UserError as error:
            return _Failure(type(error), error.place, error.found, error.fix)


def _one_thread(worker: int) -> None:
    """The cores belong to the training process, and so do signals: it saves, then ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
