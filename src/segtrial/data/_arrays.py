"""A crop as tensors -> what other people's code makes of it as arrays, checked, as tensors again."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor

from segtrial.errors import RecipeError, listing
from segtrial.shapes import IGNORE

KEEP = "Keep the size, the type and the channels of a crop, and use the classes that there are"


def through_arrays(
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    change: Callable[[np.ndarray, np.ndarray], Any],
    *,
    classes: int,
    place: str,
) -> tuple[UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
    """What `change` makes of the image as an array `h w c` and of its mask `h w`; both are its own to write into.

    Raises RecipeError, with `place`, unless it returns a tuple of the same form: sizes and types as they were, float
    images from 0 to 1, and in the mask nothing but indices below `classes`, IGNORE and what was in it before.
    """
    before = image.permute(1, 2, 0).numpy(), target.numpy()
    after = change(before[0].copy(), before[1].copy())
    fault = _fault(before, after, classes)
    if fault:
        raise RecipeError(place, fault, KEEP)
    changed, labels = (torch.from_numpy(np.array(array, order="C")) for array in after)
    return changed.permute(2, 0, 1), labels


def _fault(before: tuple[np.ndarray, np.ndarray], after: Any, classes: int) -> str | None:
    """What is wrong with what came back, in words."""
    if not isinstance(after, tuple) or len(after) != 2:
        return f"returned {type(after).__name__}, not (image, mask)"
    for name, old, new in zip(("image", "mask"), before, after, strict=True):
        if _form(new) != _form(old):
            return f"returned {_form(new)} as the {name}, not {_form(old)}"
    image, mask = after
    if image.dtype != np.uint8 and not (image.min() >= 0 and image.max() <= 1):  # also where it holds NaN
        return f"returned an image from {image.min():g} to {image.max():g}, not within 0 to 1"
    known = np.zeros(256, bool)
    known[:classes] = known[IGNORE] = True
    known[before[1]] = True
    unknown = np.unique(mask[~known[mask]])
    return f"returned the values {listing(unknown)} in the mask of {classes} classes" if unknown.size else None


def _form(array: Any) -> str:
    """Such as "32 x 48 x 3 uint8"; for what is no array, its type."""
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{' x '.join(map(str, array.shape))} {array.dtype}"
