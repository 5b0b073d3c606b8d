"""The parts of a recipe: what may be chosen, within which ranges, and what each choice means."""

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator


class Part(BaseModel):
    """Fields that are checked when they are given and never change after."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Split(Part):
    """Which samples are for training and which for validation."""

    val_groups: tuple[str, ...] = ()
    """Groups of the train part that become the val part instead of the layout's own."""
    val_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the images that val gets, by whole groups, where the layout has no val part or `method` deals anew."""
    method: Literal["layout", "groups", "random", "stratified", "time"] = "layout"
    """How train and val are dealt: as the layout says; or anew by whole groups; by single images, which is refused
    where there are groups; by whole groups so that all parts have each class in near the same share; or a stretch of
    each clip with a gap before it."""
    folds: int | None = Field(default=None, ge=2)
    """Number of folds that the method deals; one is val, the others are train. Each image is val in exactly one."""
    fold: int = Field(default=0, ge=0)
    """Which of the folds is val, from 0."""
    gap: float | None = Field(default=None, ge=0)
    """For time: what is dropped between train and val of one clip, as a share of the clip below 1, else in frames by
    the numbers in their names; none: 0.1."""
    force: bool = False
    """Split at random although there are groups; the run's notes carry the warning."""
    inner: float | None = Field(default=None, gt=0, lt=1)
    """Share of the train part, by whole groups, that is val instead of the val part, which is then left out: to choose
    settings by it, before the val part is looked at."""
    inner_folds: int | None = Field(default=None, ge=2)
    """The same by one of so many folds of the train part, instead of a share."""
    inner_fold: int = Field(default=0, ge=0)
    """Which of those folds is val, from 0."""

    @model_validator(mode="after")
    def _check(self) -> "Split":
        if self.inner and self.inner_folds:
            raise ValueError("inner and inner_folds are given together; keep one")
        if self.inner_fold >= (self.inner_folds or 1):
            raise ValueError(
                f"inner_fold {self.inner_fold} of {self.inner_folds or 1}; give inner_folds, and count from 0"
            )
        if self.val_groups and (self.method != "layout" or self.folds):
            raise ValueError("val_groups and split.method or split.folds are given together; keep one")
        if self.fold and not self.folds:
            raise ValueError(f"fold {self.fold} of no folds; give split.folds too, {self.fold + 1} or more")
        if self.folds and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} folds; they count from 0 to {self.folds - 1}")
        if self.gap is not None and self.method != "time":
            raise ValueError(f"gap is given with split.method={self.method}; it is for split.method=time")
        return self


class Phase(Part):
    """A stretch of the budget at one resolution."""

    share: float = Field(gt=0, le=1)
    """Part of the budget, in the budget's own unit (time, epochs or steps)."""
    batch: int = Field(ge=1)
    """Images per step, over all ranks."""
    crop: float = Field(gt=0, le=4)
    """Crop sides as a fraction of the median training image's sides."""
    scale: tuple[float, float]
    """Range of the zoom drawn for each image; 1 is the image's own resolution."""

    @model_validator(mode="after")
    def _check(self) -> "Phase":
        if not 0 < self.scale[0] <= self.scale[1] <= 16:
            raise ValueError(f"scale {list(self.scale)} does not rise within 0 to 16; write [lowest, highest]")
        return self


class Encoder(Part):
    """What the network's encoder starts from, and how it learns; for networks that have one."""

    weights: str = "none"
    """none, imagenet, a safetensors file named as torchvision or timm names, or a run or model file of yours."""
    freeze: Literal["none", "all"] | int = "none"
    """What of it stays bitwise as it is, running statistics too: none, all, or its first n stages."""
    thaw_epoch: float | None = Field(default=None, ge=0)
    """Epoch from which what is frozen learns too; none: never."""
    lr_factor: float = Field(default=1.0, gt=0)
    """Its learning rate relative to that of the rest."""
    lr_decay: float = Field(default=1.0, gt=0, le=1)
    """Each stage nearer to the image has its rate multiplied by this once more; the last one has lr_factor."""

    @field_validator("freeze", mode="before")
    @classmethod
    def _is_a_part(cls, value: Any) -> Any:
        if value not in ("none", "all") and (type(value) is not int or value < 1):
            raise ValueError("give none, all, or a number of stages from 1")
        return value

    @model_validator(mode="after")
    def _check(self) -> "Encoder":
        if self.thaw_epoch is not None and self.freeze == "none":
            raise ValueError("thaw_epoch is given and nothing is frozen; set encoder.freeze too")
        return self


class Optimizer(Part):
    """Named optimizer; None means the optimizer's own default (see `segtrial.optimizers`)."""

    name: Literal["sgd", "adam", "adamw", "rmsprop", "muon"] = "muon"
    """Muon moves matrices and convolutions, AdamW all else."""
    lr: float | None = Field(default=None, gt=0)
    """Highest learning rate; none takes the optimizer's own default, as in the next two."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Decoupled for adamw and muon."""
    momentum: float | None = Field(default=None, ge=0, lt=1)
    """Share of the old mean gradient that is kept; beta 1 of adam and adamw."""
    nesterov: bool = True
    """Whether sgd looks ahead by its momentum (Nesterov)."""


class Schedule(Part):
    """Learning rate as a factor of progress."""

    name: Literal["constant", "step", "multistep", "poly", "linear", "cosine", "onecycle", "plateau"] = "cosine"
    """How the learning rate falls after its warm-up; the shares below are of the steps from there on."""
    warmup: float = Field(default=0.08, ge=0, lt=1)
    """Share of the steps in which the rate rises linearly from 0; onecycle has `rise` instead."""
    share: float | None = Field(default=None, gt=0, le=1)
    """For step: the share of the steps after which the rate falls, again and again; none: once at 1/2, once at 3/4."""
    marks: tuple[float, ...] = (0.5, 0.75)
    """For multistep: the shares of the steps after which the rate falls."""
    factor: float = Field(default=0.1, gt=0, lt=1)
    """For step, multistep and plateau: what each fall multiplies the rate by."""
    power: float = Field(default=0.9, gt=0)
    """For poly: exponent of what is left of the steps."""
    rise: float = Field(default=0.3, gt=0, lt=1)
    """For onecycle: share of the steps in which the rate rises, from 1/25 of the highest."""
    patience: int = Field(default=2, ge=1)
    """For plateau: evaluations without a better val score until the rate falls; set `evaluations` higher too."""

    @field_validator("marks")
    @classmethod
    def _rise(cls, marks: tuple[float, ...]) -> tuple[float, ...]:
        if list(marks) != sorted(set(marks)) or not all(0 < mark < 1 for mark in marks):
            raise ValueError("marks must rise and lie between 0 and 1")
        return marks


class Augment(Part):
    """What is drawn for each training image besides the zoom of its phase."""

    flip_horizontal: float = Field(default=0.5, ge=0, le=1)
    """Probability."""
    flip_vertical: float = Field(default=0.0, ge=0, le=1)
    """Probability."""
    rotate: float = Field(default=0.0, ge=0, le=180)
    """Degrees to either side."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the crop by which it may leave the image."""
    brightness: float = Field(default=0.25, ge=0, le=1)
    """Largest relative change."""
    contrast: float = Field(default=0.25, ge=0, le=1)
    """Largest relative change."""
    color: float = Field(default=0.1, ge=0, le=1)
    """Largest relative change of each channel by itself."""
    cutmix: float = Field(default=0.0, ge=0, le=1)
    """Probability that a box is taken from another image."""
    classmix: float = Field(default=0.0, ge=0, le=1)
    """Probability that half of the classes of another image are laid over this one."""
    copy_paste: float = Field(default=0.0, ge=0, le=1)
    """Probability that half of the objects of another image are laid over this one."""
    mixup: float = Field(default=0.0, ge=0, le=10)
    """Parameter of the beta distribution that says how much of another image is blended in; 0: nothing."""
    albumentations: tuple[str | dict[str, Any], ...] = ()
    """Transforms of Albumentations by name, done to each crop in turn, such as [{Blur: {p: 0.3}}, ToGray]."""
    own: str | None = None
    """Name and digest of the function that was given as st.train(augment=...); it must be given again."""
    _function: Callable[..., Any] | None = PrivateAttr(default=None)

    @property
    def function(self) -> Callable[..., Any] | None:
        """The function itself, where there is one: no part of the value, and not written anywhere."""
        return self._function

    def with_function(self, word: str, function: Callable[..., Any]) -> "Augment":
        """The same with a function, which `word` stands for."""
        part = self.model_copy(update={"own": word})
        part._function = function
        return part


class Regularise(Part):
    """What is left out of the network at random while it trains. The model that comes of it is whole."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Probability that a value is dropped in front of the scores, and nowhere else; none: as in the network's paper."""
    dropout_of: Literal["values", "channels"] = "values"
    """Whether dropout drops single values, or whole channels of an image."""
    stochastic_depth: float | None = Field(default=None, ge=0, lt=1)
    """Probability that an image skips the last residual block, in proportion less for those before it; none: as in the
    network's paper."""

    @model_validator(mode="after")
    def _check(self) -> "Regularise":
        if self.dropout is None and self.dropout_of != "values":
            raise ValueError(f"dropout_of={self.dropout_of} is given without dropout; set regularise.dropout too")
        return self


class Loss(Part):
    """What is lowered."""

    name: str = "cross_entropy:logit_adjustment=0.5"
    """One loss or a sum, such as `cross_entropy + 0.5*dice`, with options as in `focal:gamma=1.5`. There are
    cross_entropy, focal, ohem, boundary, dice, jaccard, tversky and lovasz. The option of the default has the answers
    take half of `class_weights` back, so that rare classes are learned early and not named too often.
    These are of segmentation and classification; other tasks have losses and defaults of their own."""
    class_weights: Literal["none", "inverse", "inverse_sqrt", "median_frequency", "enet", "effective_number"] = (
        "inverse_sqrt"
    )
    """What rare classes weigh, from their share of the training pixels."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the cross-entropy's target that is spread over all classes."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of each auxiliary output, for networks that have them (PSPNet, section 4)."""
