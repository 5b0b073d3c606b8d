"""What every task says of itself: the questions that the rest of the program asks it."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Num, UInt8
from torch import Tensor

from segtrial import scores
from segtrial.classes import Classes
from segtrial.models._whole import Sees
from segtrial.scores import Score
from segtrial.statistics import Interval, NoInterval
from segtrial.tasks.extras import Extra

Image = UInt8[np.ndarray, "c h w"] | Float32[np.ndarray, "c h w"]
Rows = Num[np.ndarray, "n *row"]


@dataclass(frozen=True)
class Answer:
    """What a network says of one image, in the form that its task draws.

    `values` is what is answered: class indices `h w`, one mask per class `k h w`, an RGB photo `3 h w` in [0, 1], or
    the probability of each class `k`. `confidence` is the probability that the network gives to it, where it has one.
    """

    values: np.ndarray
    confidence: Float32[np.ndarray, "h w"] | None = None


@dataclass(frozen=True)
class Drawing:
    """A picture's pixels: colours `h w 3`, grey values `h w`, or, if `indexed`, class indices `h w`."""

    pixels: UInt8[np.ndarray, "h w"] | UInt8[np.ndarray, "h w 3"]
    indexed: bool = False


class Task(ABC):
    """A task over one class table. Planes are `b h w` uint8 targets as they lie on disk; scores are `b k h w`."""

    name: ClassVar[str]
    content: ClassVar[Literal["masks", "classes", "photos"]] = "masks"
    """What its data are."""
    losses: ClassVar[str] = "classes"
    """The part of `losses.LOSSES` that it may lower."""
    sees: ClassVar[Sees] = "image"
    table: ClassVar[Mapping[str, Score]]
    """Its scores, each a function of rows; the higher the better, unless the definition says otherwise."""
    headline: ClassVar[str]
    """The score that keep=best, early stopping and the plateau schedule go by; higher is better."""
    logged: ClassVar[tuple[str, ...]]
    """Scores of a training batch that are worth a place in the running log."""
    definitions: ClassVar[Mapping[str, str]]
    """Of the scores and of whatever `extras` prints."""
    extras: ClassVar[tuple[Extra, ...]] = ()
    """Further scores, for whoever asks for them."""
    parts: ClassVar[tuple[str, ...]] = ()
    """What follows the stem in the names of the files that show an answer, each made of a `picture`."""

    def __init__(self, classes: Classes, mean_color: tuple[float, float] | None = None, temperature: float | int = 1.0):
        self.classes, self.mean_color, self.temperature = classes, mean_color, temperature

    def at(self, temperature: float | int) -> "Task":
        """The same task with another temperature."""
        return type(self)(self.classes, self.mean_color, temperature)

    def tempered(self, scores: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Scores over the temperature: what softmax and sigmoid are taken of, here and nowhere else.

        Answers are taken of the scores themselves: a division may round two of them to equal ones.
        """
        return scores if self.temperature == 1 else scores / self.temperature

    @property
    def outputs(self) -> int:
        """How many score maps a network makes."""
        return len(self.classes)

    @property
    @abstractmethod
    def empty(self) -> np.ndarray:
        """No rows, `0 *row`: their type and shape."""

    def compared(self, scores: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k H W"]:
        """The scores in the form that the target has."""
        return scores

    def target(self, images: Tensor, planes: UInt8[Tensor, "b h w"]) -> Tensor:
        """What the loss compares scores with: its form is that of `losses.LOSSES[self.losses]`."""
        return planes

    def loss_weights(self, class_weights: Float[Tensor, " k"]) -> Float[Tensor, " outputs"] | None:
        """The weights of classes in the form that the losses take; None if there is nothing to weigh."""
        return class_weights

    @abstractmethod
    def rows(self, scores: Float[Tensor, "b k h w"], images: Tensor, planes: UInt8[Tensor, "b h w"]) -> Tensor:
        """One additive row for each image, on the CPU (law 2)."""

    def class_scores(self, scores: Float[Tensor, "b k h w"]) -> Float[Tensor, "b classes H W"]:
        """Scores whose softmax are the probabilities of the classes: what `extras` look at."""
        return self.tempered(self.compared(scores))

    def probabilities(self, scores: Float[Tensor, "b k h w"]) -> Float[Tensor, "b p H W"]:
        """The probabilities of the classes. At temperature 1 they are what is averaged where several answers are given
        for one image, whose labels therefore do not depend on the temperature."""
        return self.class_scores(scores).softmax(1)

    def scores_of(self, probabilities: Float[Tensor, "b p h w"]) -> Float[Tensor, "b k h w"]:
        """Scores that have these `probabilities` at temperature 1; one of 0 counts as the smallest number above it."""
        return probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log()

    @abstractmethod
    def answer(self, scores: Float[Tensor, "k h w"], image: Tensor) -> Answer:
        """The answer for one image `c h w`, as the network saw it: uint8, or in [0, 1]."""

    @abstractmethod
    def picture(self, part: str, image: Image, answer: Answer) -> Drawing:
        """What is shown in the file that is called by one of `parts`; each row needs at most the next one besides."""

    @abstractmethod
    def example(self, image: Image, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, bytes]:
        """PNGs for a report, by what they show: image, truth, answer and more."""

    def said(self, plane: UInt8[np.ndarray, "h w"], answer: Answer) -> dict[str, Any]:
        """What a report writes beside an example, apart from its pictures."""
        return {}

    def table_row(self, path: Path, answer: Answer) -> dict[str, object]:
        """The line of a table of answers, for tasks that draw nothing."""
        raise AssertionError(f"{self.name} draws its answers")

    @abstractmethod
    def of_image(self, rows: Rows) -> Float[np.ndarray, " n"]:
        """What images are ranked by, higher is better; NaN where nothing counts."""

    def words(self, rows: Rows, names: Sequence[str]) -> dict[str, Any]:
        """What `segtrial evaluate --json` prints besides scores and intervals: `per_class`, and more."""
        return {"per_class": []}

    def summary(self, rows: Rows) -> dict[str, float | None]:
        """Every score by name; None if undefined."""
        return scores.summary(rows, self.table)

    def intervals(self, rows: Rows, groups: Sequence[str]) -> dict[str, Interval | NoInterval]:
        """The interval over blocks of every score, or why there is none."""
        return scores.intervals(rows, groups, self.table)
