"""YAML, options and words in -> one frozen value that decides a run, and back.

A recipe is data: plain YAML, no tags, no class paths, unknown keys refused with the nearest known one.
Its hash names the run; what changes nothing about the result (workers, how often to save) is not in it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from segtrial.errors import RecipeError, nearest
from segtrial.files import sha256
from segtrial.plain_yaml import parse_yaml

DEFAULT_MINUTES = 10.0
BUDGETS = ("epochs", "steps", "minutes")
UNHASHED = ("data", "workers", "checkpoint_seconds", "progress_steps")
"""Fields that do not decide the result. `data` is a place; what lies there is named by the manifest hash."""
LATER = (
    *("encoder", "init", "optimizer.nesterov"),
    *("schedule.share", "schedule.marks", "schedule.factor", "schedule.power", "schedule.rise", "schedule.patience"),
    *("augment.cutmix", "augment.classmix", "augment.copy_paste"),
)
"""Parts and fields that came after the first runs: at their defaults they are not hashed, so that those runs keep
their names. A default here never changes."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Split(_Part):
    """Which samples are for training and which for validation."""

    val_groups: tuple[str, ...] = ()
    """Groups of the train part that become the val part instead of the layout's own."""
    val_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the groups held out where the layout has no val part."""


class Phase(_Part):
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
            raise ValueError(f"scale {list(self.scale)} must rise and lie in (0, 16]")
        return self


class Encoder(_Part):
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


class Optimizer(_Part):
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


class Schedule(_Part):
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
    """For plateau: evaluations without a better val miou_dataset until the rate falls; set `evaluations` higher too."""

    @field_validator("marks")
    @classmethod
    def _rise(cls, marks: tuple[float, ...]) -> tuple[float, ...]:
        if list(marks) != sorted(set(marks)) or not all(0 < mark < 1 for mark in marks):
            raise ValueError("marks must rise and lie between 0 and 1")
        return marks


class Augment(_Part):
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


class Loss(_Part):
    """What is lowered."""

    name: str = "cross_entropy"
    """One loss or a sum, such as `cross_entropy + 0.5*dice`, with options as in `focal:gamma=1.5`. There are
    cross_entropy, focal, ohem, boundary, dice, jaccard, tversky and lovasz."""
    class_weights: Literal["none", "inverse", "inverse_sqrt", "median_frequency", "enet", "effective_number"] = (
        "inverse_sqrt"
    )
    """What rare classes weigh, from their share of the training pixels."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Share of the cross-entropy's target that is spread over all classes."""
    auxiliary: float = Field(default=0.4, ge=0)
    """Weight of each auxiliary output, for networks that have them (PSPNet, section 4)."""


class Recipe(_Part):
    """Everything that decides a run."""

    model: str = "compact"
    """NAME or NAME:option=value,option=value; `segtrial models` lists them."""
    start: str | None = None
    """A model file or run folder whose weights are taken over where names and shapes agree; None: random weights."""
    data: str = "toytown"
    """A folder, a data.yaml, or toytown."""
    epochs: float | None = Field(default=None, gt=0)
    steps: int | None = Field(default=None, ge=1)
    minutes: float | None = Field(default=None, gt=0)
    """The budget: exactly one of epochs, steps and minutes."""
    seed: int = Field(default=0, ge=0, lt=2**53)
    """Decides every random choice, together with what it is for."""
    split: Split = Split()
    phases: tuple[Phase, ...] = (
        Phase(share=0.45, batch=16, crop=0.52, scale=(0.5, 0.8)),
        Phase(share=0.35, batch=8, crop=0.7, scale=(0.65, 1.1)),
        Phase(share=0.20, batch=6, crop=0.92, scale=(0.85, 1.25)),
    )
    """Low resolution first, then larger crops."""
    crop_pixels: int = Field(default=160_000, ge=1024)
    """No crop is larger than this many pixels, whatever the images' size."""
    augment: Augment = Augment()
    loss: Loss = Loss()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    encoder: Encoder = Encoder()
    init: Literal["kaiming", "xavier"] = "kaiming"
    """What random weights are drawn by: He's variance for convolutions, or Glorot's for them and linear maps."""
    clip: float | None = Field(default=None, gt=0)
    """Largest gradient norm; None leaves gradients alone."""
    accumulate: int = Field(default=1, ge=1)
    """Pieces that a batch is cut into where it does not fit the memory at once."""
    ema: float = Field(default=0.99, ge=0, lt=1)
    """Decay of the running mean of the weights; 0 turns it off."""
    keep: Literal["ema", "last", "best"] = "ema"
    """Which weights become the model: the last running mean, the last, or the best at an evaluation on val."""
    evaluations: int = Field(default=4, ge=1)
    """How often val is scored, evenly over the run; the last one is the result."""
    patience: int | None = Field(default=None, ge=1)
    """Stop early after this many evaluations without a better val miou_dataset."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """What the network computes in; auto is bfloat16 where the hardware multiplies it."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of each rank; None takes the cores there are. Written into the plan: the bits depend on it."""
    deterministic: bool = False
    """On a GPU, use only kernels that repeat bit for bit (on CPU they always do)."""
    sync_batchnorm: bool = False
    """Let batch normalisation see the whole batch of all ranks (GPU only)."""
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that prepare batches; 0 prepares them in the loop. The bits do not depend on it."""
    checkpoint_seconds: float = Field(default=60.0, ge=0)
    """How often the state is saved; 0 saves after each step."""
    progress_steps: int = Field(default=20, ge=1)
    """Steps between two lines of the metrics log."""

    @model_validator(mode="after")
    def _check(self) -> "Recipe":
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are given together; keep one")
        if abs(sum(phase.share for phase in self.phases) - 1) > 1e-6:
            raise ValueError(f"the shares of phases add up to {sum(p.share for p in self.phases):g}, not 1")
        if self.keep == "ema" and self.ema == 0:
            raise ValueError("keep=ema needs ema > 0; use keep=last")
        if self.start and self.encoder.weights != "none":
            raise ValueError("start (--from) and encoder.weights are given together; keep one")
        return self

    @property
    def hash(self) -> str:
        """64 hexadecimal digits that name everything that decides the run, apart from the data."""
        fields = self.model_dump(mode="json", exclude=set(UNHASHED))
        fields = _without_later_defaults(fields, Recipe().model_dump(mode="json"))
        return sha256(json.dumps(fields, sort_keys=True).encode())

    def to_yaml(self) -> str:
        """YAML that `from_tree(parse_yaml(...))` reads back to an equal recipe."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _without_later_defaults(tree: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    kept = {}
    for name, value in tree.items():
        key, default = prefix + name, defaults[name]
        if key not in LATER or value != default:
            nested = isinstance(value, dict)
            kept[name] = _without_later_defaults(value, default, f"{key}.") if nested else value
    return kept


def from_tree(tree: Mapping[str, Any], place: str = "recipe") -> Recipe:
    """A validated recipe from nested plain values; a run without a budget gets DEFAULT_MINUTES.

    Raises RecipeError with the dotted key, the value and the nearest known key.
    """
    filled = dict(tree)
    if all(filled.get(name) is None for name in BUDGETS):
        filled["minutes"] = DEFAULT_MINUTES
    try:
        return Recipe.model_validate_json(json.dumps(filled))
    except ValidationError as error:
        raise _explained(error, place) from error
    except TypeError as error:
        raise RecipeError(place, str(error), "Use plain text, numbers, lists and mappings") from error


def override(tree: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`tree` with `dotted.key=value` settings applied; the values are YAML (lists as [a, b])."""
    result = json.loads(json.dumps(tree))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            raise RecipeError(f"--set {setting}", "no key=value", "Write --set optimizer.lr=0.01")
        _assign(result, key.strip(), parse_yaml(text, f"--set {setting}"))
    return result


def _assign(tree: dict[str, Any], key: str, value: Any) -> None:
    if key in BUDGETS:  # one budget replaces another
        for name in BUDGETS:
            tree.pop(name, None)
    *path, last = key.split(".")
    for name in path:
        child = tree.setdefault(name, {})
        if not isinstance(child, dict):
            raise RecipeError(
                f"--set {key}", f"{name} holds {child!r}, which has no parts", "See `segtrial train --help`"
            )
        tree = child
    tree[last] = value


def read(path: Path) -> dict[str, Any]:
    """The tree of a recipe file. Raises RecipeError if it is not there, not YAML, or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(path, f"cannot be read ({error})", "Give a YAML file") from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise RecipeError(path, f"holds {type(tree).__name__}, not a mapping", "Write lines such as `model: unet`")
    return tree


def _explained(error: ValidationError, place: str) -> RecipeError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        known = _fields_at(first["loc"][:-1])
        hint = f"{nearest(str(first['loc'][-1]), known)}Known here: {', '.join(known)}"
        return RecipeError(place, f"unknown key {key!r}", hint)
    if not key:
        return RecipeError(place, first["msg"].removeprefix("Value error, "), "Change one of them")
    return RecipeError(
        place, f"{key}={first['input']!r}: {first['msg'].removeprefix('Value error, ')}", "Correct the value"
    )


def _fields_at(path: tuple[int | str, ...]) -> list[str]:
    parts: dict[str, type[_Part]] = {
        "split": Split,
        "phases": Phase,
        "augment": Augment,
        "loss": Loss,
        "encoder": Encoder,
        "optimizer": Optimizer,
        "schedule": Schedule,
    }
    return list((parts[str(path[0])] if path else Recipe).model_fields)


def differences(old: Recipe, new: Recipe) -> list[str]:
    """`key: old -> new` for each field that decides the run and differs."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = [key for key in {**before, **after} if key.split(".")[0] not in UNHASHED]
    return [f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in keys if before.get(key) != after.get(key)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
