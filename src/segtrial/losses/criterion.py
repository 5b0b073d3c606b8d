"""A sum of losses -> its value over many images, kept as sums per image so that parts and ranks can add up."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from segtrial.losses._terms import Term


@dataclass(frozen=True, eq=False)
class Criterion:
    """The losses that are added, and what the classes weigh in them (None: all alike)."""

    terms: Sequence[Term]
    weights: Float[Tensor, " k"] | None = None

    def sums(self, scores: Float[Tensor, "b k h w"], target: Tensor) -> Float64[Tensor, "b terms 2"]:
        """Of each image and term: its total, and the weight that divides it. On the CPU."""
        rows = [self._row(scores[i : i + 1], target[i : i + 1]) for i in range(len(target))]
        return torch.stack(rows).cpu().double()

    def value(self, sums: Float64[np.ndarray, "n terms 2"]) -> float | None:
        """The loss of all images together; None if nothing counts."""
        totals, weights = sums.sum(axis=0).T
        if not len(sums) or not (weights > 0).any():
            return None
        each = np.divide(totals, weights, out=np.zeros_like(totals), where=weights > 0)
        return float(sum(term.factor * loss for term, loss in zip(self.terms, each, strict=True)))

    def _row(self, scores: Tensor, target: Tensor) -> Tensor:
        pairs = [
            (term.loss.total(scores, target, weights=self.weights), term.loss.weight(target, self.weights))
            for term in self.terms
        ]
        return torch.stack([torch.stack([total, weight.to(total)]) for total, weight in pairs])
