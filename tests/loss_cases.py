"""Random scores and targets of each kind, with ignored pixels, for the tests of the losses."""

from typing import NamedTuple

import torch
from torch import Tensor

from segtrial.colors import ab_bins, nearest_bin
from segtrial.shapes import IGNORE

CENTRES = ab_bins()[:5]
assert nearest_bin(CENTRES.T[None, :, :, None])[0, :, 0].tolist() == [0, 1, 2, 3, 4]


class Case(NamedTuple):
    """Scores in float64, a target with ignored places, positive weights, and which scores are ignored."""

    logits: Tensor
    target: Tensor
    weights: Tensor
    ignored: Tensor


def case(kind: str, seed: int, b: int = 3, k: int = 5, ignored: float = 0.3) -> Case:
    """One of `kind` classes, binary, colors or bins (at most 5); `ignored` is the share of places that do not count."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(b, k, 4, 6, generator=generator, dtype=torch.float64)
    if kind == "classes":
        target = torch.randint(k, (b, 4, 6), generator=generator, dtype=torch.uint8)
    elif kind == "binary":
        target = torch.randint(2, (b, k, 4, 6), generator=generator, dtype=torch.uint8)
    elif kind == "bins":
        target = CENTRES[torch.randint(k, (b, 4, 6), generator=generator)].permute(0, 3, 1, 2).clone()
    else:
        target = torch.randn(b, k, 4, 6, generator=generator, dtype=torch.float64)
    together = (b, 1, 4, 6) if kind == "bins" else target.shape  # a and b count together
    hidden = torch.rand(together, generator=generator) < ignored
    target[hidden.expand_as(target)] = float("nan") if kind in ("colors", "bins") else IGNORE
    weights = torch.rand(k, generator=generator, dtype=torch.float64) + 0.1
    return Case(logits, target, weights, hidden.view(b, -1, 4, 6).expand_as(logits))


def right_scores(kind: str, target: Tensor, k: int, size: float) -> Tensor:
    """Scores in float64 that give the target back, `size` being how sure they are."""
    if kind == "colors":
        return target.nan_to_num()
    if kind == "bins":
        target, kind = nearest_bin(target.nan_to_num()), "classes"
    holds = (target.unsqueeze(1) == torch.arange(k).view(1, -1, 1, 1)) if kind == "classes" else target == 1
    return size * (2 * holds.double() - 1)
