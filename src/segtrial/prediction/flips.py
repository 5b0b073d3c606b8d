"""One image seen in several ways (flipped, turned, resized), and the scores of each way brought back to its pixels."""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor

from segtrial.data.geometry import resize
from segtrial.errors import RecipeError

SMALLEST, LARGEST = 0.1, 8.0
WORDS = "none, flip (left and right), d4 (flips and quarter turns: eight ways) or scales=0.75,1,1.25"


@dataclass(frozen=True)
class View:
    """One way to see an image: resized by `scale`, then left and right exchanged, then turned by quarters."""

    mirror: bool = False
    turns: int = 0
    scale: float | int = 1

    def of(self, images: Shaped[Tensor, "b c h w"]) -> Shaped[Tensor, "b c H W"]:
        """The images, seen so; resized as training resizes them."""
        height, width = (max(1, round(side * self.scale)) for side in images.shape[-2:])
        seen = _resized(images, (height, width))
        return (seen.flip(-1) if self.mirror else seen).rot90(self.turns, (-2, -1))

    def back(
        self, scores: Float32[Tensor, "b k H W"], size: tuple[int, int], mirrored: tuple[int, ...]
    ) -> Float32[Tensor, "b k h w"]:
        """The scores of what was seen so, at the pixels of the image, which is of `size` (h, w).

        `mirrored` is the class that each class becomes in a mirror: a left eye becomes a right one. Flips and turns
        come back exactly; resized scores are resized again, bilinearly.
        """
        scores = scores.rot90(-self.turns, (-2, -1))
        if self.mirror:
            scores = scores.flip(-1)
            if mirrored != tuple(range(len(mirrored))):
                scores = scores[:, list(mirrored)]
        return _resized(scores, size)


PLAIN = (View(),)


def views(word: str) -> tuple[View, ...]:
    """The views that `--tta` names. Raises RecipeError for another word."""
    named = {
        "none": PLAIN,
        "flip": (View(), View(mirror=True)),
        "d4": tuple(View(mirror, turns) for mirror in (False, True) for turns in range(4)),
    }
    if word in named:
        return named[word]
    number = r"\d{1,2}(?:\.\d{1,6})?"
    found = re.fullmatch(rf"scales=({number}(?:,{number}){{0,9}})", word)
    scales = [float(one) for one in found[1].split(",")] if found else []
    if not scales or not all(SMALLEST <= scale <= LARGEST for scale in scales):
        raise RecipeError("--tta", repr(word), f"Choose {WORDS}; scales from {SMALLEST} to {LARGEST:g}")
    return tuple(View(scale=scale) for scale in scales)


def _resized(maps: Shaped[Tensor, "b c h w"], size: tuple[int, int]) -> Shaped[Tensor, "b c H W"]:
    return maps if maps.shape[-2:] == size else torch.stack([resize(one, size) for one in maps])
