"""YAML, options and words in -> one frozen value that decides a run, and back.

A recipe is data: plain YAML, no tags, no class paths, unknown keys refused with the nearest known one.
Its hash names the run; what changes nothing about the result (workers, how often to save) is not in it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from segtrial.errors import RecipeError, nearest
from segtrial.files import sha256
from segtrial.plain_yaml import parse_yaml, to_yaml
from segtrial.presets import PRESETS
from segtrial.recipe_messages import explained, shown, unplain
from segtrial.recipe_parts import Augment, Encoder, Loss, Optimizer, Part, Phase, Regularise, Schedule, Split

DEFAULT_MINUTES = 10.0
BUDGETS = ("epochs", "steps", "minutes")
NO_BUDGETS = "Give the file `budgets: {small: {minutes: 10}, paper: {}}`, or choose by --minutes, --epochs or --steps"
UNHASHED = ("data", "workers", "checkpoint_seconds", "progress_steps")
"""Fields that do not decide the result. `data` is a place; what lies there is named by the manifest hash."""
_LABELS = {"loss": {"name": "bce_with_logits", "class_weights": "none"}}
_COLORS = {"loss": {"name": "l1", "class_weights": "none"}, "augment": {"brightness": 0, "contrast": 0, "color": 0}}
OF_TASK: Mapping[str, Mapping[str, Any]] = {
    "segmentation": {},
    "binary": _LABELS,
    "multilabel": _LABELS,
    "classification": {
        "model": "classifier",
        "phases": [{"share": 1, "batch": 64, "crop": 1, "scale": [1, 1]}],
        "augment": {"shift": 0.125},
        "loss": {"name": "cross_entropy", "class_weights": "none"},
    },
    "colorization": _COLORS,
    "colorization_rgb": _COLORS,
    "colorization_bins": {**_COLORS, "loss": {"name": "cross_entropy", "class_weights": "none"}},
}
"""What a task's recipe has where nothing else is said; the fields' own defaults are segmentation's."""
LATER = (
    *("split.method", "split.folds", "split.fold", "split.gap", "split.force"),
    *("split.inner", "split.inner_folds", "split.inner_fold"),
    *("task", "encoder", "init", "optimizer.nesterov"),
    *("schedule.share", "schedule.marks", "schedule.factor", "schedule.power", "schedule.rise", "schedule.patience"),
    *("augment.cutmix", "augment.classmix", "augment.copy_paste"),
    *("augment.mixup", "augment.albumentations", "augment.own"),
    *("regularise", "norm_statistics"),
)
"""Parts and fields that came after the first runs: as those runs had them they are not hashed, so that they keep their
names. That is their default, which never changes, or what BEFORE says."""
BEFORE = {"norm_statistics": "running"}
"""What came later and is done by default -> what was done before."""


class Recipe(Part):
    """Everything that decides a run."""

    task: Literal[
        "segmentation",
        "binary",
        "multilabel",
        "classification",
        "colorization",
        "colorization_rgb",
        "colorization_bins",
    ] = "segmentation"
    """What the network answers: a class per pixel (segmentation), foreground or not (binary), any number of classes
    per pixel (multilabel), a class per image (classification), or the colours of a grey photo: a and b beside its own
    L (colorization), all of RGB (colorization_rgb), or a and b as one of 261 classes (colorization_bins)."""
    model: str = "compact"
    """NAME or NAME:option=value,option=value; `segtrial models` lists them."""
    start: str | None = None
    """A model file or run folder whose weights are taken over where names and shapes agree; None: random weights."""
    data: str = "toytown"
    """A folder, a data.yaml, an .npz file, or toytown."""
    epochs: float | None = Field(default=None, gt=0)
    """The budget in passes over the training images; give one of epochs, steps and minutes."""
    steps: int | None = Field(default=None, ge=1)
    """The budget in steps."""
    minutes: float | None = Field(default=None, gt=0)
    """The budget in time; 10 where none of the three is given."""
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
    regularise: Regularise = Regularise()
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
    norm_statistics: Literal["measured", "running"] = "measured"
    """What batch normalisation answers with: means and variances that are measured on whole training images before
    each evaluation, or the running ones that training on crops leaves."""
    evaluations: int = Field(default=4, ge=1)
    """How often val is scored, evenly over the run; the last one is the result."""
    patience: int | None = Field(default=None, ge=1)
    """Stop early after this many evaluations without a better val score (the task's main score)."""
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
        shares = sum(phase.share for phase in self.phases)
        if abs(shares - 1) > 1e-6:
            raise ValueError(f"the shares of phases add up to {shares:g}; make them add up to 1")
        if self.keep == "ema" and self.ema == 0:
            raise ValueError("keep=ema needs ema > 0; use keep=last")
        mixed = [name for name in ("cutmix", "classmix", "copy_paste") if getattr(self.augment, name)]
        if mixed and self.task not in ("segmentation", "binary", "multilabel"):
            raise ValueError(f"augment.{mixed[0]} mixes masks, which {self.task} has none of; set it to 0")
        if self.augment.mixup and self.task.startswith("colorization"):
            raise ValueError(f"augment.mixup blends the answers too, which {self.task} makes of the image; set it to 0")
        if self.loss.class_weights != "none" and self.task.startswith("colorization"):
            raise ValueError(f"loss.class_weights weighs classes, which {self.task} has none of; set it to none")
        if self.start and self.encoder.weights != "none":
            raise ValueError("start (--from) and encoder.weights are given together; keep one")
        return self

    @property
    def hash(self) -> str:
        """64 hexadecimal digits that name everything that decides the run, apart from the data."""
        fields = self.model_dump(mode="json", exclude=set(UNHASHED))
        fields = _without_later_defaults(fields, {**Recipe().model_dump(mode="json"), **BEFORE})
        return sha256(json.dumps(fields, sort_keys=True).encode())

    def to_yaml(self) -> str:
        """YAML that `from_tree(parse_yaml(...))` reads back to an equal recipe."""
        return to_yaml(self.model_dump(mode="json"))


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

    What its key `preset` names lies below them; its `budgets` are for `budgeted`. Raises RecipeError with the dotted
    key, the value and the fix.
    """
    if set(Recipe.model_fields) - set(LATER) <= set(tree):  # what a run wrote, which says all that it knew
        tree = {**BEFORE, **tree}
    tree = _on_preset(budgeted(tree, None, place), place)
    filled = layered(OF_TASK.get(str(tree.get("task")), {}), tree)
    if all(filled.get(name) is None for name in BUDGETS):
        filled["minutes"] = DEFAULT_MINUTES
    try:
        return Recipe.model_validate_json(json.dumps(filled))
    except ValidationError as error:
        raise explained(error, place, Recipe) from error
    except TypeError as error:
        key, value = unplain(filled) or ("its keys", [])
        found = f"{key}={shown(value)} is of type {type(value).__name__}"
        raise RecipeError(place, found, "Write plain text, numbers, lists and mappings") from error


def _on_preset(tree: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The tree with what its preset says below it; a budget in the tree replaces the preset's."""
    rest = {name: value for name, value in tree.items() if name != "preset"}
    name = tree.get("preset")
    if name is None:
        return rest
    if not isinstance(name, str) or name not in PRESETS:
        fix = f"{nearest(str(name), list(PRESETS))}There are: {', '.join(PRESETS)}"
        raise RecipeError(place, f"preset={shown(name)} is no preset", fix)
    below = PRESETS[name].tree
    if any(rest.get(budget) is not None for budget in BUDGETS):
        below = {name: value for name, value in below.items() if name not in BUDGETS}
    return layered(below, rest)


def layered(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both trees in one; where both have a field, `above` has the say. Lists are not joined."""
    both = dict(below)
    for name, value in above.items():
        under = both.get(name)
        both[name] = layered(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return both


def budgeted(tree: Mapping[str, Any], word: str | None, place: str) -> dict[str, Any]:
    """The tree without its key `budgets`, and over the rest what that says under `word`, if any.

    Where it says epochs, steps or minutes, those of the rest go. Raises RecipeError for a word that is none of them.
    """
    rest = {name: value for name, value in tree.items() if name != "budgets"}
    budgets = tree.get("budgets", {})
    if not isinstance(budgets, Mapping) or not all(isinstance(each, Mapping) for each in budgets.values()):
        fix = "Write names with fields below them, such as {small: {minutes: 10}, paper: {}}"
        raise RecipeError(place, f"budgets={shown(budgets)} is no table of budgets", fix)
    if word is None:
        return rest
    if word not in budgets:
        fix = f"{nearest(word, list(budgets))}There are: {', '.join(budgets)}" if budgets else NO_BUDGETS
        raise RecipeError(place, f"it has no budget {word!r}", fix)
    return _over(rest, budgets[word])


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """As `layered`, but one way to say how long replaces another, also in parts (a comparison's base)."""
    kept = {name: value for name, value in below.items() if name not in BUDGETS or not set(BUDGETS) & set(above)}
    parts = {name: _over(kept[name], value) for name, value in above.items() if _both_are_parts(kept.get(name), value)}
    return kept | dict(above) | parts


def _both_are_parts(one: Any, other: Any) -> bool:
    return isinstance(one, Mapping) and isinstance(other, Mapping)


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
            found = f"{name} holds {shown(child)}, which has no parts"
            raise RecipeError(f"--set {key}", found, f"Give all of it: --set '{name}=...'")
        tree = child
    tree[last] = value


def tree_of(source: str | Path) -> dict[str, Any]:
    """The tree of a recipe file, of the preset of that name where there is no such file, or of a run folder.

    Raises RecipeError as `read` does, with the presets where the name is none.
    """
    path, name = Path(source), str(source)
    if name in PRESETS and not path.is_file():
        return {"preset": name}
    if path.is_dir():
        return read(path / "recipe.yaml")
    if path.exists() or path.suffix:
        return read(path)
    fix = f"{nearest(name, list(PRESETS))}Give a file, a run folder, or one of: {', '.join(PRESETS)}"
    raise RecipeError(f"recipe {name!r}", "there is no such file, and no preset of this name", fix)


def read(path: Path) -> dict[str, Any]:
    """The tree of a recipe file. Raises RecipeError if it is not there, not YAML, or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        found = "there is no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise RecipeError(path, found, "Give a YAML file") from error
    tree = parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        found = "is empty" if tree is None else f"holds {shown(tree)}, not fields with values"
        raise RecipeError(path, found, "Write lines such as `model: unet`")
    return tree


def differences(old: Recipe, new: Recipe) -> list[str]:
    """`key: old -> new` for each field that decides the run and differs."""
    before, after = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    keys = [key for key in {**before, **after} if key.split(".")[0] not in UNHASHED]
    return [f"{key}: {before.get(key)!r} -> {after.get(key)!r}" for key in keys if before.get(key) != after.get(key)]


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of everything in a tree that is no mapping."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return found


def leaves(tree: Any, prefix: str = "") -> dict[str, Any]:
    """As `flat`, down into lists, by number: {"phases.0.batch": 8}."""
    pairs = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list | tuple) else ()
    if not pairs:
        return {prefix: tree}
    found: dict[str, Any] = {}
    for name, value in pairs:
        found |= leaves(value, f"{prefix}.{name}" if prefix else str(name))
    return found
