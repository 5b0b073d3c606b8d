"""Scores -> the colours of a photo whose lightness is known, and how far they are from the true ones.

Grey and mean-colour answers are scored beside every network's: the photo with a = b = 0, and the photo with the mean
a and b of the training photos. A network that does not beat both has learned nothing about colours.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, UInt8
from torch import Tensor

from segtrial import image_scores
from segtrial.colors import ab_bins, decode_ab, lab_to_rgb, rgb_to_lab, with_ab
from segtrial.drawing import image_png, picture_of
from segtrial.image_scores import colour_rows, image_psnr
from segtrial.models._whole import seen
from segtrial.scores import Score, number_or_none
from segtrial.shapes import IGNORE
from segtrial.tasks._task import Answer, Drawing, Image, Task

Rows = Float64[np.ndarray, "n 3 v"]
"""Of each photo the numbers of `image_scores.COLUMNS`: for the answer, for grey, for the mean colour."""

AB = 110.0
"""a and b of sRGB lie within this: networks are shown a and b in units of it (Zhang 2016 clip to the same)."""

BASELINES = {"grey": 1, "mean_color": 2}

DEFINITIONS = image_scores.DEFINITIONS | {
    "grey": "The same scores of the photo without colour: its L, with a = b = 0.",
    "mean_color": "The same scores of the photo with its L and the mean a and b of the training photos everywhere.",
    "interval": "95 % percentile interval of 2000 bootstrap draws of whole blocks (the groups of photos that a split"
    " never cuts); the score is computed anew from the summed rows of each draw.",
}


def _score(name: str, row: int = 0) -> Score:
    parts, value = image_scores.parts, image_scores.VALUES[name]
    return Score(DEFINITIONS[name], lambda rows: parts(rows[:, row]), value)


TABLE = {name: _score(name) for name in image_scores.VALUES}


class _Colors(Task):
    """What the three ways to answer with colours share."""

    content = "photos"
    losses = "colors"
    sees = "lightness"
    table = TABLE
    headline = "psnr"
    logged = ("psnr", "ab_rmse")
    definitions = DEFINITIONS
    parts = ("",)

    @property
    def empty(self) -> Rows:
        return np.zeros((0, 3, len(image_scores.COLUMNS)))

    @abstractmethod
    def colored(self, scores: Float[Tensor, "b k h w"], photos: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
        """The answer as RGB photos; both in [0, 1]. Of `photos` only what the network sees may be used."""

    def loss_weights(self, class_weights: Tensor) -> None:
        return None

    def rows(self, scores: Tensor, images: Tensor, planes: Tensor) -> Float64[Tensor, "b 3 v"]:
        photos = as_unit(images)
        answers = (self.colored(scores, photos), with_ab(photos, (0, 0)), with_ab(photos, self.mean_color or (0, 0)))
        counted = (planes != IGNORE).cpu()
        return torch.stack([_rows_where(counted, each.float().cpu(), photos.cpu()) for each in answers], 1)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Colours have none: they are averaged as they are."""
        return scores

    def scores_of(self, probabilities: Tensor) -> Tensor:
        return probabilities

    def answer(self, scores: Tensor, image: Tensor) -> Answer:
        return Answer(self.colored(scores[None], as_unit(image[None]))[0].cpu().numpy())

    def picture(self, part: str, image: Image, answer: Answer) -> Drawing:
        return Drawing(picture_of(answer.values))

    def example(self, image: Image, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, bytes]:
        grey = seen(as_unit(torch.tensor(image)[None]), self.sees)[0].numpy()
        return {"image": image_png(grey), "truth": image_png(image), "answer": image_png(answer.values)}

    def of_image(self, rows: Rows) -> Float[np.ndarray, " n"]:
        return image_psnr(rows[:, 0])

    def words(self, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
        tables = {name: {score: _score(score, row) for score in self.table} for name, row in BASELINES.items()}
        baselines = {
            name: {score: number_or_none(one(rows)) for score, one in table.items()} for name, table in tables.items()
        }
        return {"per_class": [], "baselines": baselines}


class Colorization(_Colors):
    """Scores are a and b in units of AB; L is the photo's own."""

    name = "colorization"

    @property
    def outputs(self) -> int:
        return 2

    def target(self, images: Tensor, planes: Tensor) -> Float[Tensor, "b 2 h w"]:
        return without(rgb_to_lab(as_unit(images))[:, 1:] / AB, planes)

    def colored(self, scores: Tensor, photos: Tensor) -> Tensor:
        return _with_lightness(scores * AB, photos)


class ColorizationBins(_Colors):
    """Scores are of the bins of a and b; the answer is their annealed mean. L is the photo's own."""

    name = "colorization_bins"
    losses = "bins"

    @property
    def outputs(self) -> int:
        return len(ab_bins())

    def target(self, images: Tensor, planes: Tensor) -> Float[Tensor, "b 2 h w"]:
        return without(rgb_to_lab(as_unit(images))[:, 1:], planes)

    def probabilities(self, scores: Tensor) -> Tensor:
        return Task.probabilities(self, scores)

    def scores_of(self, probabilities: Tensor) -> Tensor:
        return Task.scores_of(self, probabilities)

    def colored(self, scores: Tensor, photos: Tensor) -> Tensor:
        return _with_lightness(decode_ab(scores), photos)


class ColorizationRGB(_Colors):
    """Scores are red, green and blue in [0, 1]; the network sees the grey value, and nothing is passed through."""

    name = "colorization_rgb"
    sees = "luma"

    @property
    def outputs(self) -> int:
        return 3

    def target(self, images: Tensor, planes: Tensor) -> Float[Tensor, "b 3 h w"]:
        return without(as_unit(images), planes)

    def colored(self, scores: Tensor, photos: Tensor) -> Tensor:
        return scores.clamp(0, 1)


def as_unit(images: Tensor) -> Float[Tensor, "b 3 h w"]:
    """Images in [0, 1], whether they were uint8 or were there already."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def without(values: Float[Tensor, "b c h w"], planes: UInt8[Tensor, "b h w"]) -> Float[Tensor, "b c h w"]:
    """NaN, which no loss counts, where the plane is IGNORE."""
    return values.masked_fill((planes == IGNORE)[:, None], torch.nan)


def _rows_where(
    counted: Bool[Tensor, "b h w"], answers: Float[Tensor, "b 3 h w"], photos: Float[Tensor, "b 3 h w"]
) -> Float64[Tensor, "b v"]:
    """The numbers of each photo over its counted pixels alone; only a photo of which all count has an SSIM."""
    rows = torch.zeros(len(photos), len(image_scores.COLUMNS), dtype=torch.float64)
    for row, there, answer, photo in zip(rows, counted, answers, photos, strict=True):
        if there.all():
            row[:] = colour_rows(answer[None], photo[None])[0]
        elif there.any():  # a line of its pixels: only windows, of which a line has none, know what lies beside what
            row[:] = colour_rows(answer[None, :, None, there], photo[None, :, None, there])[0]
    return rows


def _with_lightness(ab: Float[Tensor, "b 2 h w"], photos: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    return lab_to_rgb(torch.cat([100 * seen(photos, "lightness"), ab], 1))
