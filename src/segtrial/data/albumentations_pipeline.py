"""Names of Albumentations' transforms, as plain YAML -> a pipeline; a crop through it, drawn from (seed, epoch, key).

    augment:
      albumentations:
        - RandomBrightnessContrast: {p: 0.3}
        - OneOf: [GaussNoise, MotionBlur: {blur_limit: 5}]
          p: 0.5

A step is a name, or a name with parameters; OneOf, SomeOf, RandomOrder and Sequential hold steps, with their own
options beside the list. Names, parameters and defaults are those of Albumentations 2.0.8, the last release under MIT,
with one exception: where a transform fills what it uncovers, the mask becomes IGNORE there instead of class 0.

Steps are done to the crop, after our own geometry and light and before a mixing: sizes in pixels then mean the pixels
that the network sees, noise is not smoothed away by the zoom, and no time goes into pixels that the crop leaves out.
"""

import json
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from inspect import isclass, signature
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from pydantic import ValidationError
from torch import Tensor

from segtrial.data._arrays import through_arrays
from segtrial.errors import RecipeError, install, listing, nearest
from segtrial.randomness import generator, key_of
from segtrial.shapes import IGNORE

PLACE = "augment.albumentations"
VERSION = "2.0.8"

GROUPS = ("OneOf", "SomeOf", "RandomOrder", "Sequential")
OPTIONS = ("p", "n", "replace")
"""What may stand beside the list of a group."""

MIRRORING = ("D4", "HorizontalFlip", "SquareSymmetry", "Transpose")
"""They turn left into right, and know nothing of classes that change places then."""
TURNING = ("D4", "RandomRotate90", "SquareSymmetry", "Transpose")
"""They exchange height and width."""
ADVICE = "ShiftScaleRotate is a special case|This augmenter is very slow"
"""What transforms say of themselves whatever their parameters; any other warning is a fault."""
NEAREST = (0, 6)
"""OpenCV's two interpolations that invent no label."""

_REFERENCE = ("needs other pictures, which a recipe cannot hold", "Use augment.cutmix, classmix or copy_paste")
_BOXES = ("needs boxes, and a mask has none", "Set the place of the crop by augment.shift and the phases' scale")
_INSIDE = ("changes the type of an image", "Leave it out: networks take images as they are and normalise them inside")
_SOUND = ("is made for spectrograms", "Use XYMasking, or augment.flip_horizontal")
REFUSED: dict[str, tuple[str, str]] = {
    "GridElasticDeform": ("gives class 0 to what it uncovers", "Use ElasticTransform or GridDistortion"),
    "Lambda": ("takes functions, and a recipe holds none", "Give a function of your own to st.train(augment=...)"),
    "Morphological": ("takes class indices for brightness", "Use Blur or Sharpen"),
    "TextImage": ("reads a font and needs texts", "Leave it out"),
    **dict.fromkeys(("FDA", "HistogramMatching", "PixelDistributionAdaptation"), _REFERENCE),
    **dict.fromkeys(("Mosaic", "OverlayElements"), _REFERENCE),
    **dict.fromkeys(("AtLeastOneBBoxRandomCrop", "BBoxSafeRandomCrop"), _BOXES),
    **dict.fromkeys(("RandomCropNearBBox", "RandomSizedBBoxSafeCrop"), _BOXES),
    **dict.fromkeys(("FromFloat", "Normalize", "ToFloat", "ToTensor3D", "ToTensorV2"), _INSIDE),
    **dict.fromkeys(("FrequencyMasking", "TimeMasking", "TimeReverse"), _SOUND),
}
"""Why a public transform cannot be a step, and what to do instead."""


@dataclass(frozen=True)
class Leaf:
    """One transform of a pipeline."""

    place: str
    name: str
    transform: Any


@dataclass(frozen=True)
class Pipeline:
    """What steps were built into. Seed it before each call, or it goes on from the call before."""

    composed: Any
    leaves: tuple[Leaf, ...]


def names() -> list[str]:
    """The transforms that may be named, apart from the groups."""
    return sorted(set(_kinds(_library())) - set(REFUSED))


def pipeline(steps: Sequence[Any]) -> Pipeline:
    """The pipeline of these steps, built once in each process.

    Raises RecipeError, with the place of the step, for a name, a parameter or a value that is not right, and if
    Albumentations is not installed.
    """
    return _built(json.dumps(steps))


def apply(
    steps: Sequence[Any],
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    *,
    classes: int,
    seed: int,
    epoch: int,
    key: str,
) -> tuple[UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"], UInt8[Tensor, "h w"]]:
    """A crop of sample `key` through the pipeline: a pure function (law 1)."""
    composed = pipeline(steps).composed
    # Its set_random_seed would start every transform from one number: those of one p would all be done, or none.
    where = (seed, "albumentations", epoch, key)
    composed.set_random_state(generator(*where), random.Random(key_of(*where)))

    def change(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _result(composed(image=image, mask=mask))

    return through_arrays(image, target, change, classes=classes, place=f"{PLACE}, sample {key!r}")


def rehearse(
    steps: Sequence[Any],
    image: UInt8[Tensor, "c h w"] | Float32[Tensor, "c h w"],
    target: UInt8[Tensor, "h w"],
    mirrored: tuple[int, ...],
) -> None:
    """Do each transform to a crop, whatever its probability; RecipeError if it does not suit the crop or the classes.

    `mirrored` is `Classes.mirrored()`.
    """
    for leaf in pipeline(steps).leaves:
        if leaf.name in TURNING and image.shape[-2] != image.shape[-1]:
            height, width = target.shape
            found = f"{leaf.name} makes crops of {width} x {height} of those of {height} x {width}"
            raise RecipeError(leaf.place, found, "Use Rotate or augment.rotate")
        if leaf.name in MIRRORING and mirrored != tuple(range(len(mirrored))):
            found = f"{leaf.name} mirrors the mask, and this data has classes that a mirror exchanges"
            raise RecipeError(leaf.place, found, "Use augment.flip_horizontal, which exchanges them")
        for draw in range(2):
            _try(leaf, image, target, len(mirrored), draw)


def _try(leaf: Leaf, image: Tensor, target: Tensor, classes: int, draw: int) -> None:
    def change(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _result(leaf.transform(image=image, mask=mask, force_apply=True))

    leaf.transform.set_random_state(np.random.default_rng(draw), random.Random(draw))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # it says that it did nothing
            through_arrays(image, target, change, classes=classes, place=f"{leaf.place}: {leaf.name}")
    except RecipeError:
        raise
    except Exception as error:  # whatever the transform raises
        channels, height, width = image.shape
        what = f"{height} x {width} {str(image.dtype).removeprefix('torch.')} crops of {channels} channels"
        raise RecipeError(leaf.place, f"{leaf.name} does not suit {what} ({_said(error)})", "Leave it out") from error


def _result(made: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Image and mask; a cubic interpolation leaves the range of a float image a little."""
    image = made["image"]
    return (image.clip(0, 1) if image.dtype == np.float32 else image), made["mask"]


@lru_cache(maxsize=4)
def _built(text: str) -> Pipeline:
    library, leaves = _library(), []
    steps = [_step(library, step, f"{PLACE}[{number}]", leaves) for number, step in enumerate(json.loads(text))]
    return Pipeline(library.Compose(steps), tuple(leaves))


@lru_cache(maxsize=1)
def _library() -> Any:
    """Albumentations, of the one version whose names and defaults recipes mean, on one thread."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # else it asks the internet for a newer version when it is loaded
    try:
        library = import_module("albumentations")
        import_module("cv2").setNumThreads(0)  # the cores belong to the training process
    except ImportError as error:
        fix = f"{install('albumentations')}; or leave augment.albumentations out"
        raise RecipeError(PLACE, f"Albumentations is not installed ({error})", fix) from error
    if library.__version__ != VERSION:
        found = f"Albumentations {library.__version__} is installed, and recipes mean {VERSION}"
        raise RecipeError(PLACE, found, install("albumentations"))
    return library


def _kinds(library: Any) -> dict[str, type]:
    """Its public transforms of pictures, by name."""
    bases = (library.DualTransform, library.ImageOnlyTransform)
    kinds = {name: kind for name, kind in vars(library).items() if isclass(kind) and issubclass(kind, bases)}
    others = (*bases, *(kind for kind in kinds.values() if issubclass(kind, library.Transform3D)))
    return {name: kind for name, kind in kinds.items() if kind not in others}


def _step(library: Any, step: Any, place: str, leaves: list[Leaf]) -> Any:
    """One step as Albumentations' own object; its transforms are added to `leaves`."""
    name, content, options = _parts(step, place)
    if name in GROUPS:
        return _group(library, name, content, options, place, leaves)
    if options:
        raise RecipeError(place, f"{listing(options)} beside {name}", f"Write {{{name}: {{p: 0.5}}}}")
    leaf = Leaf(place, name, _transform(library, name, content, place))
    leaves.append(leaf)
    return leaf.transform


def _parts(step: Any, place: str) -> tuple[str, Any, dict[str, Any]]:
    """The name of a step, what belongs to the name, and what stands beside it."""
    if isinstance(step, str):
        return step, {}, {}
    named = [name for name in step if name not in OPTIONS] if isinstance(step, dict) else []
    if len(named) != 1:
        fix = "Write one step an entry: `- Name`, or `- Name: {parameter: value}`"
        raise RecipeError(place, f"{step!r} has {len(named)} names", fix)
    beside = {name: value for name, value in step.items() if name != named[0]}
    return named[0], {} if step[named[0]] is None else step[named[0]], beside


def _group(library: Any, name: str, content: Any, options: dict[str, Any], place: str, leaves: list[Leaf]) -> Any:
    if not isinstance(content, list) or not content:
        fix = f"Give it a list of steps: {{{name}: [Blur, GaussNoise]}}"
        raise RecipeError(place, f"{name} holds {content!r}", fix)
    kind = getattr(library, name)
    unknown = set(options) - set(signature(kind.__init__).parameters)
    if unknown:
        found = f"{name} has no option {listing(sorted(unknown))}"
        raise RecipeError(place, found, "OneOf and Sequential have p alone")
    fault = _option_fault(len(content), **options)
    if fault:
        raise RecipeError(place, f"{name}: {fault}", "Give p from 0 to 1, n from 1 to the number of steps")
    inner = [_step(library, step, f"{place}.{name}[{number}]", leaves) for number, step in enumerate(content)]
    if name == "OneOf" and not any(step.p for step in inner):
        raise RecipeError(place, "OneOf has steps of p=0 alone", "Give one of them a larger p")
    return kind(inner, **options)


def _option_fault(steps: int, p: Any = 1.0, n: Any = 1, replace: Any = False) -> str | None:
    """Which option is wrong, for Albumentations does not look at these."""
    if type(p) not in (int, float) or not 0 <= p <= 1:
        return f"p={p!r}"
    if type(replace) is not bool:
        return f"replace={replace!r}"
    return f"n={n!r} of {steps} steps" if type(n) is not int or n < 1 or (n > steps and not replace) else None


def _transform(library: Any, name: str, parameters: Any, place: str) -> Any:
    """One transform, with its parameters checked."""
    kinds = _kinds(library)
    if name in REFUSED:
        raise RecipeError(place, f"{name} {REFUSED[name][0]}", REFUSED[name][1])
    if name not in kinds:
        fix = nearest(name, [*kinds, *GROUPS]) or f"There are: {', '.join(sorted({*kinds, *GROUPS} - set(REFUSED)))}"
        raise RecipeError(place, f"no transform is called {name!r}", fix.strip())
    if not isinstance(parameters, dict):
        raise RecipeError(place, f"{name} holds {parameters!r}", f"Write parameters by name: {{{name}: {{p: 0.5}}}}")
    defaults = {each.name: each.default for each in signature(kinds[name].__init__).parameters.values()}
    known = [parameter for parameter in defaults if parameter != "self"]
    unknown = [parameter for parameter in parameters if parameter not in known]
    if unknown:
        fix = f"{nearest(unknown[0], known)}It has: {', '.join(known)}"
        raise RecipeError(place, f"{name} has no parameter {unknown[0]!r}", fix)
    if parameters.get("mask_interpolation", 0) not in NEAREST or parameters.get("area_for_downscale") == "image_mask":
        fix = "Leave mask_interpolation and area_for_downscale as they are"
        raise RecipeError(place, f"{name} would make labels of the mean of labels", fix)
    if defaults.get("fill_mask") == 0:
        parameters = {"fill_mask": IGNORE, **parameters}
    return _made(kinds[name], parameters, place, known)


def _made(kind: type, parameters: Mapping[str, Any], place: str, known: Sequence[str]) -> Any:
    """The transform; where it would warn and go on with other values, RecipeError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", ADVICE)
        try:
            return kind(**parameters)
        except Exception as error:  # pydantic's and those of its own checks
            found = f"{kind.__name__}: {_said(error)}"
            raise RecipeError(place, found, f"Its parameters are {', '.join(known)}") from error


def _said(error: Exception) -> str:
    """The first thing that is wrong, in one line."""
    cause = error.__cause__
    if not isinstance(cause, ValidationError):
        return " ".join(str(error).split())[:200].rstrip(".")
    first = cause.errors()[0]
    if first["type"] == "missing":
        return f"{first['loc'][0]} is not given"
    given = f"{first['loc'][0]}={first['input']!r}: " if first["loc"] else ""
    return f"{given}{first['msg'].removeprefix('Value error, ').rstrip('.')}"
