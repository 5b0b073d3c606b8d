"""A whole network and how it was made <-> one safetensors file; the only place where weights enter a network.

Loading runs no code and trusts nothing (law 4): the header's names come from closed lists, and tensor names, types
and shapes are compared with an empty network before memory is taken for the real one, which therefore is never
larger than the file. The header holds no time, host or path, so equal runs leave equal files.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError, model_validator
from torch import Tensor

from segtrial import models, tasks
from segtrial.classes import Classes
from segtrial.errors import DataError, ModelFileError, UserError, listing
from segtrial.models._whole import Whole
from segtrial.tensorfile import FileHeader, load_tensors, read_header, save_tensors

SCHEMA = 1
LARGEST_OPTION = 2**16
"""No width or depth is larger; a header that says so would only keep the loader busy."""

_CAME_FROM = "Copy the file again, or train the model anew"

Numbers = Annotated[tuple[float, ...], Field(strict=False)]  # a list, as JSON has it, will do
Size = Annotated[tuple[int, int], Field(strict=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Sizes(_Part):
    """Extent (h, w) of the images that the network was scored on."""

    smallest: Size
    largest: Size


class Provenance(_Part):
    """What made the weights; two equal records mean equal runs."""

    recipe_hash: str
    manifest: str
    """SHA-256 over the training data's keys and contents."""
    steps: int = Field(ge=0)
    seed: int
    segtrial: str
    """Version of the writer."""


def _read_classes(value: object) -> object:
    return Classes.from_json(value) if isinstance(value, Mapping) else value


class Header(_Part):
    """Everything but the weights. `schema_version` is `schema` in the file."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    architecture: str
    options: dict[str, bool | int | float | str | None]
    task: str = "segmentation"
    """What the scores mean; files that say nothing are older than the other tasks."""
    mean_color: tuple[float, float] | None = Field(None, strict=False)
    """Mean a and b of the photos that a colorizer was trained on."""
    temperature: float = Field(default=1.0, gt=0)
    """Probabilities are softmax(scores / temperature); see `calibrated`."""
    classes: Annotated[Classes, BeforeValidator(_read_classes), PlainSerializer(Classes.to_json)]
    in_channels: int = Field(ge=1)
    """Of what the core is shown: the image's own, or one of a photo that is to be coloured."""
    mean: Numbers
    """Of each channel, in [0, 1]; `std` likewise."""
    std: Numbers
    image_sizes: Sizes
    provenance: Provenance

    @model_validator(mode="after")
    def _check(self) -> "Header":
        if not len(self.mean) == len(self.std) == self.in_channels:
            raise ValueError(f"{len(self.mean)} means and {len(self.std)} stds for {self.in_channels} channels")
        task = tasks.TASKS.get(self.task)  # an unknown one is named, with those there are, where it is made
        if task and task.sees != "image" and self.in_channels != 1:
            raise ValueError(f"{self.in_channels} channels, and {self.task} is shown one channel of a photo")
        if min(self.std) <= 0:
            raise ValueError(f"std {list(self.std)} must be above 0")
        large = [name for name, value in self.options.items() if isinstance(value, int) and abs(value) > LARGEST_OPTION]
        if large:
            raise ValueError(f"option {large[0]} is {self.options[large[0]]}, above {LARGEST_OPTION}")
        return self


@dataclass(frozen=True)
class Loaded:
    """A network in eval mode, ready to answer, with its classes and header; `digest` names the file's contents."""

    network: Whole
    classes: Classes
    header: Header
    digest: str

    @property
    def task(self) -> tasks.Task:
        """What the network's scores mean."""
        return _task(self.header)

    def require_classes(self, place: str, data: Classes) -> None:
        """Raise DataError unless the data have the model's classes.

        A table that was only numbered, from the masks' values, may be shorter than the model's.
        """
        numbered = data.names == Classes.numbered(len(data)).names and len(data) <= len(self.classes)
        if data.names != self.classes.names and not numbered:
            found = f"classes {listing(data.names)}, but the model knows {listing(self.classes.names)}"
            raise DataError(place, found, "Use data with the model's classes, in its order")


def save(path: Path, network: Whole, header: Header) -> None:
    """Write weights and header to one file, atomically. Equal input gives equal bytes.

    Raises RunError if the file cannot be written.
    """
    assert _agree(network, header)
    save_tensors(path, network.state_dict(), header.model_dump(by_alias=True, mode="json"))


def calibrated(path: Path, temperature: float | int, out: Path, *, digest: str | None = None) -> None:
    """Write the model file `path` to `out` (which may be `path`) with another temperature, and nothing else changed.

    `digest` is that of the model which the temperature was fitted to. Raises ModelFileError if the file holds another
    one by now, and as `load` and `save` do.
    """
    loaded = load(path)
    if digest not in (None, loaded.digest):
        raise ModelFileError(path, "changed while its temperature was fitted", "Calibrate it again")
    save(out, loaded.network, loaded.header.model_copy(update={"temperature": float(temperature)}))


def load(path: str | Path, device: str = "cpu") -> Loaded:
    """Read a model file and put the network on `device`, bit for bit as it was saved.

    Raises ModelFileError for whatever is not a sound model file: another format, damage, an unknown architecture,
    tensors that do not fit it, weights that are not finite.
    """
    path = Path(path)
    file = read_header(path)
    header = _header(file.info, path)
    _compare(_empty(header, path).state_dict(), file, path)
    tensors, _ = load_tensors(path, finite=True)
    network = _build(header)
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:  # the file was exchanged since its header was read
        raise ModelFileError(path, f"changed while it was read ({error})", "Load it again") from error
    if not _agree(network, header):
        raise ModelFileError(path, "the header's mean and std are not those of the tensors", _CAME_FROM)
    network = network.to(device).to(memory_format=torch.channels_last)  # as it was trained: the same bits, and faster
    return Loaded(network.eval(), header.classes, header, file.digest)


def _header(info: Mapping[str, Any], path: Path) -> Header:
    schema = info.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        found = f"written by a newer Segtrial (schema {schema}; this one reads {SCHEMA})"
        raise ModelFileError(path, found, "Update Segtrial")
    if "architecture" not in info:
        raise ModelFileError(path, "it holds no model (training state, perhaps)", "Give a run's model.safetensors")
    try:
        return Header.model_validate({"schema": None} | dict(info))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(word) for word in first["loc"])
        raise ModelFileError(path, f"header {place}: {first['msg']:.200}".replace(" :", ":"), _CAME_FROM) from error
    except UserError as error:  # of the class table
        raise ModelFileError(path, f"header classes: {error.found:.200}", _CAME_FROM) from error


def _build(header: Header) -> Whole:
    task = _task(header)
    core = models.build(header.architecture, task.outputs, header.in_channels, **header.options)
    return Whole(core, torch.tensor(header.mean), torch.tensor(header.std), task.sees)


def _task(header: Header) -> tasks.Task:
    return tasks.make(header.task, header.classes, header.mean_color, header.temperature)


def _agree(network: Whole, header: Header) -> bool:
    """Whether header and network normalise alike."""
    return all(
        torch.equal(getattr(network, name).cpu(), torch.tensor(getattr(header, name))) for name in ("mean", "std")
    )


def _empty(header: Header, path: Path) -> Whole:
    """The network that the header describes, with shapes and no memory."""
    try:
        with torch.device("meta"):
            return _build(header)
    except UserError as error:
        raise ModelFileError(path, f"{error.place:.200}: {error.found:.200}", error.fix) from error
    except Exception as error:  # options that pass each alone may still make no network
        options = json.dumps(header.options)
        found = f"{header.architecture} cannot be built with {options:.200} ({error!s:.200})"
        raise ModelFileError(path, found, _CAME_FROM) from error


def _compare(wanted: Mapping[str, Tensor], file: FileHeader, path: Path) -> None:
    """Names, types and shapes of the file must be those of the network, all of them and no others."""
    missing, extra = sorted(wanted.keys() - file.entries.keys()), sorted(file.entries.keys() - wanted.keys())
    if missing or extra:
        words = [f"{word} {_names(names)}" for word, names in (("lacks", missing), ("has unknown", extra)) if names]
        raise ModelFileError(path, "its tensors are not the architecture's: " + "; ".join(words), _CAME_FROM)
    for name, tensor in wanted.items():
        entry = file.entries[name]
        if (entry.dtype, entry.shape) != (tensor.dtype, tuple(tensor.shape)):
            found = f"tensor {name} is {_form(entry.dtype, entry.shape)}, not {_form(tensor.dtype, tensor.shape)}"
            raise ModelFileError(path, found, _CAME_FROM)


def _names(names: list[str]) -> str:
    return listing((f"{name!r:.80}" for name in names), most=5)


def _form(dtype: torch.dtype, shape: tuple[int, ...]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {list(shape)}"
