"""A crop and a partner's crop -> a crop that shows some of both: CutMix, ClassMix, copy-paste, and mixup.

The first three say which pixels are the partner's; image and mask take them together, so every pixel keeps one class.
The partner is another sample of the data set, not of the batch: what a sample is mixed with depends on (seed, epoch,
key) alone (law 1). Its crop is the one that it has itself in that epoch, unmixed.

Mixup blends the images of a batch, each with the next one, by one share that depends on (seed, step) alone; a blended
image has two targets, and its loss is that of both by the same share.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage
from torch import Tensor

from segtrial.data.augment import Augmentation, Number
from segtrial.data.geometry import as_type
from segtrial.randomness import generator
from segtrial.shapes import IGNORE

UNITS = 256
"""Numbers from 0 to 1 drawn for each mixing: at least one for each class."""

LARGEST_OBJECT = 0.25
"""Share of the crop above which a connected part of a class is background (sky, road) and is not pasted."""


def cutmix_region(target: UInt8[Tensor, "h w"], units: tuple[float, ...]) -> Bool[Tensor, "h w"]:
    """A box whose share of the crop is uniform, centred anywhere, cut at the border.

    Yun et al. CutMix. ICCV 2019, section 3.1 (alpha = 1). https://arxiv.org/abs/1905.04899
    For masks as French et al. Semi-supervised semantic segmentation needs strong, varied perturbations. BMVC 2020.
    """
    share, row, column = units[:3]
    rows, columns = (
        _span(length, share**0.5, place) for length, place in zip(target.shape, (row, column), strict=True)
    )
    region = torch.zeros_like(target, dtype=torch.bool)
    region[rows, columns] = True
    return region


def classmix_region(target: UInt8[Tensor, "h w"], units: tuple[float, ...]) -> Bool[Tensor, "h w"]:
    """Every pixel of half of the partner's classes, rounded down; ignored pixels are no class.

    Olsson et al. ClassMix. WACV 2021, algorithm 1. https://arxiv.org/abs/2007.07936
    Differs from the paper: the partner's true mask serves, where the paper has none and takes predictions.
    """
    present = [label for label in target.unique().tolist() if label != IGNORE]
    chosen = sorted(present, key=lambda label: units[label])[: len(present) // 2]
    table = torch.zeros(256, dtype=torch.bool)
    table[chosen] = True
    return table.to(target.device)[target.long()]


def copy_paste_region(target: UInt8[Tensor, "h w"], units: tuple[float, ...]) -> Bool[Tensor, "h w"]:
    """Each of the partner's objects with probability 1/2. Object n takes number n modulo 256.

    An object is a connected part of one class (diagonals connect) of at most LARGEST_OBJECT of the crop.

    Ghiasi et al. Simple copy-paste is a strong data augmentation method for instance segmentation. CVPR 2021.
    https://arxiv.org/abs/2012.07177
    Differs from the paper: masks of classes know no instances, so connected parts stand for them; no blended edges,
    which the paper finds to change nothing (section 3).
    """
    labels = target.cpu().numpy()
    pasted, found = np.zeros(labels.shape, bool), 0
    for label in np.unique(labels[labels != IGNORE]):
        numbered = np.zeros(labels.shape, np.int32)  # 0 is what has another label
        count = int(ndimage.label(labels == label, structure=np.ones((3, 3)), output=numbered))  # type: ignore[arg-type]
        small = np.bincount(numbered.ravel(), minlength=count + 1) <= LARGEST_OBJECT * labels.size
        drawn = [False, *(units[(found + number) % UNITS] < 0.5 for number in range(count))]
        pasted |= (small & drawn)[numbered]
        found += count
    return torch.from_numpy(pasted).to(target.device)


Region = Callable[[Tensor, tuple[float, ...]], Tensor]
REGIONS: dict[str, Region] = {
    "cutmix": cutmix_region,
    "classmix": classmix_region,
    "copy_paste": copy_paste_region,
}
"""(the partner's mask, UNITS numbers) -> which pixels are taken from it; in the order in which they are done."""


@dataclass(frozen=True)
class Mixing:
    """One mixing of one sample of one epoch, as drawn."""

    name: str
    partner: float
    """Which of the other samples, from 0 to below 1."""
    units: tuple[float, ...]

    def partner_of(self, index: int, samples: int) -> int:
        """The number of the sample that sample `index` of `samples` is mixed with: any other, or itself if alone."""
        return (index + 1 + int(self.partner * (samples - 1))) % samples

    def region(self, target: UInt8[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
        """Which pixels the partner, whose mask is `target`, gives."""
        return REGIONS[self.name](target, self.units)


def mixings(augmentation: Augmentation, seed: int, epoch: int, key: str) -> list[Mixing]:
    """What one sample is mixed by in one epoch: a pure function, each mixing drawn apart from the others."""
    found = []
    for name in REGIONS:
        chance = getattr(augmentation, name)
        if chance > 0:
            wish, partner, *units = generator(seed, name, epoch, key).random(2 + UNITS).tolist()
            found += [Mixing(name, partner, tuple(units))] if wish < chance else []
    return found


def paste(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    other_image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    other_target: UInt8[Tensor, "h w"],
    region: Bool[Tensor, "h w"],
) -> tuple[UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
    """Image and mask with the other's pixels where `region` is true."""
    return torch.where(region, other_image, image), torch.where(region, other_target, target)


def share_of(alpha: Number, seed: int, step: int) -> float:
    """What images keep of themselves in a step, 1/2 to 1: the larger of l and 1 - l, with l from Beta(alpha, alpha).

    1 where alpha is 0, for no mixup. Which of two images is called the first makes no difference to a batch.

    Zhang et al. mixup: beyond empirical risk minimization. ICLR 2018, section 2. https://arxiv.org/abs/1710.09412
    """
    part = float(generator(seed, "mixup", step).beta(alpha, alpha)) if alpha else 1.0
    return max(part, 1 - part)


def blend(
    images: UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"],
    others: UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"],
    share: float,
) -> UInt8[Tensor, "b c h w"] | Float32[Tensor, "b c h w"]:
    """share * images + (1 - share) * others; bytes are rounded."""
    return as_type(torch.lerp(others.float(), images.float(), share), images.dtype)


def _span(length: int, share: float, place: float) -> slice:
    """`share` of `length` pixels centred at `place`, cut at both ends."""
    middle, half = place * length, share * length / 2
    return slice(max(0, round(middle - half)), min(length, round(middle + half)))
