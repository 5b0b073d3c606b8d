"""A word -> the weights that an encoder starts from: ImageNet's, a plain file's, or those of a model of ours.

Every tensor of the encoder must be found with its shape, and nothing but a classifier may be left over: a file that
fits in part is another network's. Only safetensors files are read (law 4).
"""

import os
import tempfile
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segtrial import modelfile
from segtrial.data.cache import default_cache
from segtrial.errors import ModelFileError, RecipeError, listing
from segtrial.files import write_atomic
from segtrial.models._blocks import OwnStart
from segtrial.models._encoder import RESNETS, VGGS, Encoder, make_encoder
from segtrial.tensorfile import is_ours, load_foreign

IMAGENET = "imagenet"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's images in [0, 1], as torchvision's and most of timm's weights expect them."""

PREFIXES = ("encoder.", "backbone.", "module.")
"""What other programs call the encoder; taken off where all tensors share it."""
CLASSIFIERS = ("fc.", "classifier.", "aux_classifier.", "head.", "pre_logits.")
"""What a classifier has besides its encoder, in torchvision's names and timm's."""

_COUNTER = "num_batches_tracked"
_HUB_FILE = "model.safetensors"
_PATIENCE = 10  # seconds
_OTHERWISE = "or give --set encoder.weights=FILE, or encoder.weights=none"


@dataclass(frozen=True)
class Weights:
    """What an encoder starts from: all of its tensors, and what they expect of images.

    `mean` and `std` describe images in [0, 1], one value a channel. `digest` names the file's contents; `note` says
    what was taken from where.
    """

    tensors: dict[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    note: str


@dataclass(frozen=True)
class _Found:
    """What a file holds: tensors by the encoder's names, names of what is no encoder's, and what it says of images."""

    tensors: dict[str, Tensor]
    left: list[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class HubFile:
    """A file of timm's hub, and where it is kept here."""

    repository: str

    @property
    def url(self) -> str:
        return f"https://huggingface.co/{self.repository}/resolve/main/{_HUB_FILE}"

    @property
    def path(self) -> Path:
        return weights_folder() / f"{self.repository.rpartition('/')[2]}.safetensors"


def weights_folder() -> Path:
    """SEGTRIAL_WEIGHTS, else `weights` in the cache folder."""
    return Path(os.environ.get("SEGTRIAL_WEIGHTS") or default_cache() / "weights")


def read(source: str, encoder: Encoder, channels: int) -> Weights:
    """The weights that `source` names, for `encoder` (which may be on the meta device) and images of `channels`.

    `source` is imagenet, a safetensors file of a plain state dict, or a model file or run folder of ours. Raises
    ModelFileError for a file that cannot be had, is not sound or is of another network; RecipeError where there are
    no ImageNet weights.
    """
    path = _imagenet_file(encoder) if source == IMAGENET else _given_file(source)
    if is_ours(path):
        found = _of_model(path, encoder)
    elif _is_timms(encoder):
        found = _through_timm(path, encoder)
    else:
        found = _of_state_dict(path, stated=source == IMAGENET)
    found = _for_channels(found, encoder, channels)
    absent = _absent_counters(found, encoder)
    wanted = {name: value for name, value in encoder.state_dict().items() if name not in absent}
    _require_all(wanted, found, path)
    name = f"timm's hub, {path.stem}" if source == IMAGENET else source
    left = f" (left: {listing(sorted(found.left), most=4)})" if found.left else ""
    note = ". ".join([f"Took over {len(wanted)} of {len(wanted)} encoder tensors from {name}{left}", *found.remarks])
    return Weights(found.tensors | absent, found.mean, found.std, found.digest, f"{note}.")


def hub_file(encoder: Encoder) -> HubFile | None:
    """Where ImageNet's weights for `encoder` are, if there are any: torchvision's for ours, timm's own for timm's."""
    kind = _kind(encoder.state_dict())
    if kind is not None:
        return HubFile(f"timm/{kind}.tv_in1k")
    repository = _timm_says(encoder).hf_hub_id if _is_timms(encoder) else None
    return HubFile(repository) if repository else None


def adapted(weight: Float[Tensor, "o c h w"], channels: int) -> Float[Tensor, "o C h w"]:
    """A first convolution for another number of channels: summed for one, else repeated and scaled by c / C."""
    if channels == 1:
        return weight.sum(1, keepdim=True)
    given = weight.shape[1]
    return weight[:, torch.arange(channels) % given] * (given / channels)


def _imagenet_file(encoder: Encoder) -> Path:
    file = hub_file(encoder)
    if file is None:
        found = f"there are none for this {type(encoder).__name__}"
        raise RecipeError("encoder.weights=imagenet", found, "Give --set encoder.weights=FILE, or encoder.weights=none")
    if not file.path.exists():
        _download(file)
    return file.path


def _download(file: HubFile) -> None:
    """Ask for the file's size first: that fails at once where there is no internet; a download tries six times."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url  # with timm, and loaded only here

    with tempfile.TemporaryDirectory(prefix="segtrial-") as folder:
        try:
            get_hf_file_metadata(hf_hub_url(file.repository, _HUB_FILE), timeout=_PATIENCE)
            data = Path(hf_hub_download(file.repository, _HUB_FILE, local_dir=folder)).read_bytes()
        except Exception as error:  # offline, refused, not there: each library below has its own
            found = f"not there, and {file.url} cannot be fetched ({type(error).__name__}: {_short(error, 160)})"
            raise ModelFileError(file.path, found, f"Put that file there, {_OTHERWISE}") from error
    write_atomic(file.path, data)


def _given_file(source: str) -> Path:
    if "://" in source:
        raise ModelFileError(source, "addresses are not read", "Fetch that file, and give its path")
    path = Path(source)
    if path.is_dir():
        path /= "model.safetensors"
    if path.is_file() and path.suffix != ".safetensors":
        fix = "Give a .safetensors file: safetensors.torch.save_file(state_dict, FILE) writes one"
        raise ModelFileError(path, "only .safetensors files are read: others can run code when opened", fix)
    return path


def _of_state_dict(path: Path, stated: bool) -> _Found:
    tensors, digest = load_foreign(path)
    left: list[str] = []
    while True:
        left += [name for name in tensors if name.startswith(CLASSIFIERS)]
        tensors = {name: value for name, value in tensors.items() if not name.startswith(CLASSIFIERS)}
        shared = [prefix for prefix in PREFIXES if tensors and all(name.startswith(prefix) for name in tensors)]
        if not shared:
            break
        tensors = {name.removeprefix(shared[0]): value for name, value in tensors.items()}
    remark = "The file does not say for which mean and deviation of images: ImageNet's are taken"
    return _Found(tensors, left, MEAN, STD, digest, () if stated else (remark,))


def _of_model(path: Path, encoder: Encoder) -> _Found:
    given = modelfile.load(path)
    own = dict(given.network.core.named_children()).get("encoder")
    if not isinstance(own, type(encoder)):
        what = f"a {type(own).__name__}" if isinstance(own, Encoder) else "none"
        found = f"a {given.header.architecture}, whose encoder is {what}; wanted is a {type(encoder).__name__}"
        raise ModelFileError(path, found, "Give a model with the same encoder")
    left = [name for name in given.network.core.state_dict() if not name.startswith("encoder.")]
    return _Found(own.state_dict(), left, given.header.mean, given.header.std, given.digest)


def _through_timm(path: Path, encoder: Encoder) -> _Found:
    """By timm's own loader, which renames and resizes where it must, and wants every tensor but the classifier's."""
    from segtrial.models._timm import TimmEncoder  # loaded already, or there would be no such encoder

    assert isinstance(encoder, TimmEncoder)
    tensors, digest = load_foreign(path)  # sound, and not a pickle, which timm would open
    _require_kinds(encoder.state_dict(), {f"body.{name}": value for name, value in tensors.items()}, path)
    says = _timm_says(encoder)
    heads = (says.classifier,) if isinstance(says.classifier, str) else says.classifier or ()
    left = [name for name in tensors if name.startswith(tuple(f"{head}." for head in heads))]
    try:
        body = _filled(encoder.make, path, headless=not left)
    except Exception as error:  # names, shapes, whatever its renaming stumbles over
        found = f"timm cannot load it into {encoder.name} ({_short(error, 300)})"
        raise ModelFileError(path, found, "Give weights of this network as timm publishes them") from error
    return _Found(body.state_dict(prefix="body."), left, tuple(says.mean), tuple(says.std), digest)


def _filled(make: Callable[..., nn.Module], path: Path, headless: bool) -> nn.Module:
    """What `make` makes, filled from a file; where that fails and the file seems headless, filled without a head."""
    overlay: dict[str, Any] = {"file": str(path)}
    try:
        return make(pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception:
        if not headless:
            raise
        overlay |= {"num_classes": 0, "classifier": None}  # else timm would no longer want every other tensor
        return make(pretrained=True, num_classes=0, pretrained_cfg_overlay=overlay)


def _is_timms(encoder: Encoder) -> bool:
    """Of our encoders those alone bring first weights of their own; importing timm to ask takes seconds."""
    return isinstance(encoder, OwnStart)


def _short(error: Exception, width: int) -> str:
    return textwrap.shorten(str(error), width, placeholder=" ...")


def _timm_says(encoder: Encoder) -> Any:
    """What timm knows of the weights of one of its networks: hf_hub_id, mean, std, classifier."""
    import timm

    from segtrial.models._timm import TimmEncoder

    assert isinstance(encoder, TimmEncoder)
    return timm.get_pretrained_cfg(encoder.name)


def _absent_counters(found: _Found, encoder: Encoder) -> dict[str, Tensor]:
    """Batch counters, which old files lack and no mean depends on, start at 0 where they are missing."""
    names = [name for name in encoder.state_dict() if name.endswith(f".{_COUNTER}") and name not in found.tensors]
    return {name: torch.zeros((), dtype=torch.int64) for name in names}


def _for_channels(found: _Found, encoder: Encoder, channels: int) -> _Found:
    """The same for images of another number of channels."""
    name = next(name for name, module in encoder.named_modules() if isinstance(module, nn.Conv2d)) + ".weight"
    wanted, given = encoder.get_parameter(name).shape, found.tensors.get(name)
    if given is not None and given.ndim == 4 and given.shape[1] != wanted[1] and given.shape[1] == len(found.mean):
        how = "summed" if channels == 1 else "repeated and scaled"
        remark = f"Its first convolution, made for {given.shape[1]} channels, is {how} for {channels}"
        tensors = found.tensors | {name: adapted(given, channels)}
        found = replace(found, tensors=tensors, remarks=(*found.remarks, remark))
    if channels != len(found.mean):
        mean, std = (sum(values) / len(values) for values in (found.mean, found.std))
        found = replace(found, mean=(mean,) * channels, std=(std,) * channels)
    return found


def _require_all(wanted: Mapping[str, Tensor], found: _Found, path: Path) -> None:
    """Raise ModelFileError unless the tensors found are those wanted: all, in shape and kind, and no others."""
    given = found.tensors
    missing, extra = ([n for n in one if n not in other] for one, other in ((wanted, given), (given, wanted)))
    other = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    words = [f"it lacks {listing(missing, most=3)}"] if missing else []
    words += [f"it has {listing(sorted(extra), most=3)} besides"] if extra else []
    words += [f"{n} is {list(given[n].shape)}, not {list(wanted[n].shape)}" for n in other[:1]]
    if words:
        kind = _kind(given)
        held = listing(sorted(given) or sorted(found.left), most=3) or "no tensors"
        seems = f"it seems to be a {kind}" if kind else f"it holds {held}"
        fits = len(wanted) - len(missing) - len(other)
        found_words = f"{fits} of {len(wanted)} encoder tensors fit: {'; '.join(words)}; {seems}"
        raise ModelFileError(path, found_words, "Give weights of the same network, or choose the encoder they are of")
    _require_kinds(wanted, given, path)
    negative = [name for name in wanted if name.endswith("running_var") and (given[name] < 0).any()]
    if negative:
        raise ModelFileError(path, f"negative variances in {listing(negative, most=3)}", "Use another file")


def _require_kinds(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor], path: Path) -> None:
    """Raise ModelFileError if a tensor holds whole numbers where fractions are wanted, or the other way round."""
    for name in wanted:
        if name in given and given[name].is_floating_point() != wanted[name].is_floating_point():
            found = f"{name} holds {given[name].dtype}, not {wanted[name].dtype}"
            raise ModelFileError(path, found.replace("torch.", ""), "Give weights that are not quantised")


def _kind(tensors: Mapping[str, Tensor]) -> str | None:
    """Which of our encoders has these tensors, for any number of input channels."""
    return _kinds().get(_signature(tensors))


@cache
def _kinds() -> dict[frozenset, str]:
    with torch.device("meta"):
        return {_signature(make_encoder(name).state_dict()): name for name in (*RESNETS, *VGGS)}


def _signature(tensors: Mapping[str, Tensor]) -> frozenset:
    learnt = {name: value for name, value in tensors.items() if not name.endswith(f".{_COUNTER}")}
    return frozenset((name, value.shape[:1], value.shape[2:]) for name, value in learnt.items())
