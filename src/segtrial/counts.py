"""(answer, target) -> one row of counts per image: the k x k table from which every score is derived (law 2).

A row is additive: rows of images sum to the row of the data set, exactly, in any order, over any number of ranks.
"""

import torch
from jaxtyping import Int64, Integer, UInt8
from torch import Tensor

from segtrial.errors import DataError, MaskError


def confusion(
    prediction: Integer[Tensor, "b h w"], target: UInt8[Tensor, "b h w"], num_classes: int
) -> Int64[Tensor, "b k k"]:
    """How often truth r was answered c: `counts[image, r, c]`, in pixels. Pixels of IGNORE count nowhere.

    The result lies where the inputs lie. Raises DataError if an answer is no class, MaskError if a truth is
    neither a class nor IGNORE.
    """
    truth = target + 1  # uint8 wraps: IGNORE becomes 0 and gets a row of its own, 10x cheaper than masking it out
    _check(prediction, truth, num_classes)
    narrow = _narrowest(num_classes * (num_classes + 1) - 1)
    codes = (truth.to(narrow) * num_classes).add_(prediction.to(narrow)).flatten(1)  # (b, h*w)
    bins = num_classes * (num_classes + 1)
    rows = torch.stack([torch.bincount(code, minlength=bins) for code in codes])  # (b, (k+1)*k)
    return rows.view(-1, num_classes + 1, num_classes)[:, 1:].contiguous()  # (b, k, k), without IGNORE's row


def _check(prediction: Tensor, truth: Tensor, num_classes: int) -> None:
    """`truth` is the target + 1. An answer out of range would be counted for another class."""
    least, most = (int(value) for value in torch.aminmax(prediction))
    if least < 0 or most >= num_classes:
        raise DataError("answer", f"classes {least} to {most}", f"There are classes 0 to {num_classes - 1}")
    if int(truth.max()) > num_classes:
        found = f"value {int(truth.max()) - 1}"
        raise MaskError("target", found, f"Use 0 to {num_classes - 1}, or 255 for pixels that do not count")


def _narrowest(largest: int) -> torch.dtype:
    """The narrowest type that holds `largest`: a pixel costs the less, the fewer bytes it has."""
    if largest <= torch.iinfo(torch.uint8).max:
        return torch.uint8
    return torch.int16 if largest <= torch.iinfo(torch.int16).max else torch.int32
