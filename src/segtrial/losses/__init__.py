"""(scores, target) -> a loss: lower is better, ignored pixels weigh nothing.

A loss comes as a sum over its units and, apart from it, the weight that divides it, which the target alone decides.
So micro-batches and ranks add up to exactly the loss of the whole batch, however unevenly IGNORE is spread: add the
sums, add the weights, divide once. The units are pixels, or images where an image's overlap is one number. Losses
are added with factors by dividing each by its own weight:  sum_i  factor_i total_i / weight_i.

All take raw logits and compute in float32 at least, also under bfloat16 autocast. None waits for a GPU.
"""

from collections.abc import Mapping
from dataclasses import replace

from segtrial.errors import RecipeError
from segtrial.losses._terms import Term, parse_terms
from segtrial.losses._units import Loss, counted_images
from segtrial.losses.binary import (
    bce_with_logits,
    binary_dice,
    binary_focal,
    binary_jaccard,
    binary_tversky,
    pair_weight,
)
from segtrial.losses.borders import border_weight, boundary
from segtrial.losses.colors import bin_cross_entropy, bin_weight, l1, l2, smooth_l1, value_weight
from segtrial.losses.criterion import Criterion
from segtrial.losses.lovasz_extension import binary_lovasz, lovasz
from segtrial.losses.overlap import dice, jaccard, tversky
from segtrial.losses.pixelwise import cross_entropy, focal, hard_pixel_weight, mean_cross_entropy, ohem, pixel_weight

LOSSES: Mapping[str, Mapping[str, Loss]] = {
    "classes": {
        "cross_entropy": Loss(cross_entropy, pixel_weight),
        "focal": Loss(focal, pixel_weight),
        "ohem": Loss(ohem, hard_pixel_weight),
        "boundary": Loss(boundary, border_weight),
        "dice": Loss(dice, counted_images),
        "jaccard": Loss(jaccard, counted_images),
        "tversky": Loss(tversky, counted_images),
        "lovasz": Loss(lovasz, counted_images),
    },
    "binary": {
        "bce_with_logits": Loss(bce_with_logits, pair_weight),
        "focal": Loss(binary_focal, pair_weight),
        "dice": Loss(binary_dice, counted_images),
        "jaccard": Loss(binary_jaccard, counted_images),
        "tversky": Loss(binary_tversky, counted_images),
        "lovasz": Loss(binary_lovasz, counted_images),
    },
    "colors": {
        "l1": Loss(l1, value_weight),
        "l2": Loss(l2, value_weight),
        "smooth_l1": Loss(smooth_l1, value_weight),
    },
    "bins": {"cross_entropy": Loss(bin_cross_entropy, bin_weight)},
}
"""By what the target holds, then by name. Scores are `b k h w` throughout, and so are targets but the first:

    classes   b h w    uint8: one class per pixel, or IGNORE
    binary    b k h w  uint8: 0, 1 or IGNORE for each label; one label is the binary task
    colors    b c h w  float: numbers, NaN where nothing counts
    bins      b 2 h w  float: a and b, NaN where nothing counts; scores are of the bins that colours fall into
"""


def terms(text: str, kind: str = "classes", label_smoothing: float = 0.0) -> tuple[Term, ...]:
    """ "cross_entropy + 0.5*dice" -> the losses of that `kind` and their factors; options as in focal:gamma=1.5.

    `label_smoothing` is the cross-entropy's. Raises UnknownName and RecipeError, naming what there is.
    """
    found = parse_terms(text, dict(LOSSES[kind]))
    if not label_smoothing:
        return found
    if "cross_entropy" not in [term.name for term in found]:
        fix = "Set loss.label_smoothing=0, or add cross_entropy"
        raise RecipeError("loss.label_smoothing", f"{label_smoothing:g} without cross_entropy in {text!r}", fix)
    if "label_smoothing" not in LOSSES[kind]["cross_entropy"].options:
        found_words = f"{label_smoothing:g}, and the cross-entropy of {kind} has none"
        raise RecipeError("loss.label_smoothing", found_words, "Set loss.label_smoothing=0")
    return tuple(
        replace(term, loss=term.loss.using(label_smoothing=label_smoothing)) if term.name == "cross_entropy" else term
        for term in found
    )


__all__ = [
    "LOSSES",
    "Criterion",
    "Loss",
    "Term",
    "bce_with_logits",
    "bin_cross_entropy",
    "bin_weight",
    "binary_dice",
    "binary_focal",
    "binary_jaccard",
    "binary_lovasz",
    "binary_tversky",
    "border_weight",
    "boundary",
    "counted_images",
    "cross_entropy",
    "dice",
    "focal",
    "hard_pixel_weight",
    "jaccard",
    "l1",
    "l2",
    "lovasz",
    "mean_cross_entropy",
    "ohem",
    "pair_weight",
    "pixel_weight",
    "smooth_l1",
    "tversky",
    "value_weight",
]
