"""A loaded model, an image and perhaps its truth -> an Explanation: all that its page shows, as numbers and arrays."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from segtrial.calibration import calibration_counts, expected_calibration_error
from segtrial.data.geometry import Window, crop_mask, resize
from segtrial.drawing import Pixels, picture_of
from segtrial.errors import RecipeError
from segtrial.explaining.bands import Band, right_share, without_bands
from segtrial.explaining.gradcam import Cam, grad_cam
from segtrial.explaining.layers import default_layer
from segtrial.explaining.occlusion import Occlusion, occlusion, patch_for
from segtrial.explaining.targets import Box, Plane, Target, choose, class_score, labels_of
from segtrial.explaining.temperature import require_probabilities
from segtrial.modelfile import Loaded
from segtrial.shapes import IGNORE
from segtrial.tasks import Answer
from segtrial.tasks.extras import BINS

SCHEMA = 1

MOST_SIDE = 1024
"""Images whose longer side has more pixels are shrunk to it before they are explained: occlusion asks the network
hundreds of times."""

Progress = Callable[[int, int], object]


@dataclass(frozen=True)
class Wish:
    """What to explain, and how: see `targets.choose`, `gradcam.grad_cam`, `occlusion.patch_for`.

    `region` is in pixels of the image as it is on disk.
    """

    classes: tuple[str, ...] = ()
    region: Box | None = None
    layer: str | None = None
    patch: int | None = None
    most_side: int = MOST_SIDE

    def __post_init__(self) -> None:
        for word, value, least in (("--patch", self.patch, 1), ("--most-side", self.most_side, 16)):
            if value is not None and value < least:
                raise RecipeError(word, str(value), f"Choose {least} pixels or more")


@dataclass(frozen=True)
class Explanation:
    """`told` is ready for JSON; `arrays` have the size of the explained image, `drops_0` that of the patch's places."""

    told: dict[str, Any]
    arrays: dict[str, np.ndarray]


def explain_image(
    loaded: Loaded, image: Pixels, truth: Plane | None, wish: Wish | None = None, progress: Progress | None = None
) -> Explanation:
    """Why `loaded` answers for `image` (`c h w`, uint8, or float32 in [0, 1]) as it does.

    The answer, its confidence and, with `truth`, its errors; for each target Seg-Grad-CAM and occlusion; each band
    taken away. Raises RecipeError for a task that answers with colours, UnknownName and RecipeError for wishes that
    cannot be, ImageError if the channels are not the network's.
    """
    wish, task, network = wish or Wish(), loaded.task, loaded.network
    require_probabilities(task)
    pixels, truth, box = _shrunk(image, truth, wish)
    shown = pixels.to(network.mean.device)
    with torch.no_grad():
        scores = network(shown[None])
        answer = task.answer(scores[0], shown)
    targets = choose(task, answer, truth, wish.classes, box)
    layer = wish.layer or default_layer(network.core)
    patch = patch_for((pixels.shape[1], pixels.shape[2]), wish.patch)
    cams = grad_cam(network, task, shown, targets, layer)
    hidden = occlusion(network, task, shown, targets, patch, progress)
    bands = without_bands(network, task, shown, answer, truth, targets)
    levels = [float(class_score(task, scores, target)[0]) for target in targets]
    counts = None if truth is None else _calibration(loaded, scores, shown, truth)
    told = {
        "schema": SCHEMA,
        "size": list(image.shape[1:]),
        "explained_size": list(pixels.shape[1:]),
        "task": task.name,
        "classes": task.classes.to_json(),
        "answer": _shares(loaded, answer),
        "confidence": None if answer.confidence is None else float(answer.confidence.mean(dtype=np.float64)),
        "right": None if truth is None else right_share(task, answer, truth),
        "truth": _true_class(loaded, truth),
        "layer": layer,
        "patch": {"side": patch.side, "step": patch.step},
        "targets": [_told(loaded, *each) for each in zip(targets, levels, cams, hidden, strict=True)],
        "bands": [_band(band) for band in bands],
        "calibration": None if counts is None else calibration_json(counts),
    }
    return Explanation(told, _arrays(loaded, pixels, answer, truth, targets, cams, hidden, bands))


def calibration_json(counts: np.ndarray) -> dict[str, Any]:
    """Rows of calibration counts `3 bins`, summed, with their error; None where no pixel counts."""
    error = float(expected_calibration_error(counts))
    return {"ece": None if np.isnan(error) else error, "counts": counts.tolist()}


def _shrunk(
    image: Pixels, truth: Plane | None, wish: Wish
) -> tuple[Float[Tensor, "c H W"], UInt8[np.ndarray, "H W"] | None, Box | None]:
    """The image as floats in [0, 1], no longer than it may be, with its truth and the region at its size."""
    whole = torch.tensor(image)
    pixels = whole.float() / 255 if whole.dtype == torch.uint8 else whole
    height, width = image.shape[1:]
    shrink = wish.most_side / max(height, width)
    if shrink >= 1:
        return pixels, truth, wish.region
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    if truth is not None:
        truth = crop_mask(torch.tensor(truth), Window(0, 0, height, width), size).numpy()
    box = None
    if wish.region is not None:
        left, top, right, bottom = (round(place * shrink) for place in wish.region)
        box = (left, top, max(right, left + 1), max(bottom, top + 1))
    return resize(pixels, size).clamp(0, 1), truth, box


def _calibration(loaded: Loaded, scores: Tensor, image: Tensor, truth: Plane) -> np.ndarray:
    """The calibration counts of one image, `3 bins`."""
    task = loaded.task
    target = task.target(image[None], torch.tensor(truth)[None].to(image.device)).flatten(0, -3)
    return calibration_counts(task.class_scores(scores), target, BINS).sum(0).cpu().numpy()


def _shares(loaded: Loaded, answer: Answer) -> list[dict[str, Any]]:
    """Each class that is answered with its share of the pixels, or of a classifier its probability; largest first."""
    names = loaded.classes.names
    if loaded.task.content == "classes":
        shares = answer.values
    elif answer.values.ndim == 3:
        shares = answer.values.mean((1, 2))
    else:
        shares = np.bincount(answer.values.ravel(), minlength=len(names)) / answer.values.size
    order = np.argsort(-shares, kind="stable")
    return [{"class": names[index], "share": float(shares[index])} for index in order if shares[index]]


def _true_class(loaded: Loaded, truth: Plane | None) -> str | None:
    """The class of an image that has one."""
    if loaded.task.content != "classes" or truth is None or truth.min() == IGNORE:
        return None
    return loaded.classes.names[truth.min()]


def _told(loaded: Loaded, target: Target, score: float, cam: Cam, hidden: Occlusion) -> dict[str, Any]:
    return {
        "class": loaded.classes.names[target.index],
        "where": target.words,
        "pixels": int(target.region.sum()),
        "score": score,
        "layer_size": list(cam.size),
        "cam_peak": cam.peak,
        "largest_drop": float(hidden.drops.max()),
        "largest_rise": float(-hidden.drops.min()),
    }


def _band(band: Band) -> dict[str, Any]:
    return {
        "name": band.name,
        "changed": float(band.changed.mean()),
        "right": band.right,
        "drops": list(band.drops),
    }


def _arrays(
    loaded: Loaded,
    image: Tensor,
    answer: Answer,
    truth: UInt8[np.ndarray, "h w"] | None,
    targets: list[Target],
    cams: list[Cam],
    hidden: list[Occlusion],
    bands: list[Band],
) -> dict[str, np.ndarray]:
    """What pictures are drawn from, by name; what there is not is left out."""
    found = {
        "image": picture_of(image.numpy()),
        "answer": labels_of(loaded.task, answer),
        "truth": truth,
        "confidence": answer.confidence,
    }
    for number, target in enumerate(targets):
        found[f"region_{number}"] = target.region
        found[f"cam_{number}"] = cams[number].map
        found[f"occlusion_{number}"], found[f"drops_{number}"] = hidden[number].map, hidden[number].drops
    found |= {f"changed_{number}": band.changed for number, band in enumerate(bands)}
    return {name: array for name, array in found.items() if array is not None}
