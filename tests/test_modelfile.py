"""A model file gives back the network bit for bit, or a message: nothing else, whatever is in it."""

import pickle
import sys
import time
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from segtrial import models
from segtrial.classes import Classes
from segtrial.errors import ModelFileError
from segtrial.modelfile import Header, load, save
from segtrial.models._whole import Whole
from segtrial.tensorfile import load_tensors, tensors_to_bytes

CLASSES = Classes(("left", "right", "rest"), ((255, 0, 0), (0, 255, 0), (9, 9, 9)), ((0, 1),))


class Tiny(nn.Module):
    multiple = 4

    def __init__(self, num_classes: int, in_channels: int, width: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.mix = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.head(self.mix(self.norm(self.conv(x)).relu())),)


def build(num_classes: int, in_channels: int = 3, *, width: int = 4, deep: bool = False) -> nn.Module:
    if deep:
        raise ValueError("there is no deep one")
    return Tiny(num_classes, in_channels, width)


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch):
    """One more name in the registry, small enough for hundreds of files."""
    module = ModuleType("segtrial.models.tiny")
    monkeypatch.setattr(module, "build", build, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = models.names()
    monkeypatch.setattr(models, "names", lambda: [*known, "tiny"])


def header(**changes: object) -> Header:
    fields: dict[str, object] = {
        "architecture": "tiny",
        "options": {"width": 4},
        "classes": CLASSES,
        "in_channels": 3,
        "mean": [0.5, 0.25, 0.1],
        "std": [0.2, 0.3, 1],
        "image_sizes": {"smallest": (8, 8), "largest": (16, 12)},
        "provenance": {"recipe_hash": "ab", "manifest": "cd", "steps": 7, "seed": 0, "segtrial": "0.1.0"},
    }
    return Header.model_validate(fields | changes)


def network(of: Header) -> Whole:
    torch.manual_seed(0)
    core = models.build(of.architecture, len(of.classes), of.in_channels, **of.options)
    whole = Whole(core, torch.tensor(of.mean), torch.tensor(of.std))
    for name, tensor in whole.state_dict().items():  # nothing keeps its first value
        if tensor.is_floating_point() and name not in ("mean", "std"):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return whole.eval()


@pytest.fixture
def path(tmp_path):
    save(tmp_path / "model.safetensors", network(header()), header())
    return tmp_path / "model.safetensors"


# ---- round trips


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_network_classes_and_header_come_back(channels, tmp_path):
    made = header(in_channels=channels, mean=[0.1] * channels, std=[0.3] * channels)
    saved = network(made)
    save(tmp_path / "m.safetensors", saved, made)
    loaded = load(tmp_path / "m.safetensors")
    assert loaded.header == made
    assert loaded.classes == CLASSES
    assert not loaded.network.training
    image = torch.randint(0, 256, (2, channels, 7, 9), dtype=torch.uint8)
    assert torch.equal(loaded.network(image), saved(image))


SMALL = {"classifier", "compact", "segformer", "ternausnet"}
"""Of few weights; the others are saved slowly, and each of them made light by the contract of the networks."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in SMALL)) for name in models.names()]
)
def test_every_architecture_comes_back_bit_for_bit(name, tmp_path):
    made = header(architecture=name, options={})
    saved = network(made)
    save(tmp_path / "m.safetensors", saved, made)
    loaded = load(tmp_path / "m.safetensors").network.state_dict()
    assert loaded.keys() == saved.state_dict().keys()
    assert [key for key, tensor in saved.state_dict().items() if not torch.equal(tensor, loaded[key])] == []


def test_equal_networks_give_equal_files(path, tmp_path):
    again = network(header()).to(memory_format=torch.channels_last)
    save(tmp_path / "again.safetensors", again, header())
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()
    assert load(path).digest == load(tmp_path / "again.safetensors").digest


def test_loading_and_saving_again_changes_no_byte(path, tmp_path):
    loaded = load(path)
    save(tmp_path / "again.safetensors", loaded.network, loaded.header)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_other_weights_have_another_digest(path, tmp_path):
    other = network(header())
    other.core.head.bias.data[0] += 1
    save(tmp_path / "other.safetensors", other, header())
    assert load(path).digest != load(tmp_path / "other.safetensors").digest


def test_the_files_header_is_frozen(path):
    _, info = load_tensors(path)
    assert info == {
        "schema": 1,
        "architecture": "tiny",
        "options": {"width": 4},
        "task": "segmentation",
        "mean_color": None,
        "temperature": 1.0,
        "classes": {
            "names": ["left", "right", "rest"],
            "colors": [[255, 0, 0], [0, 255, 0], [9, 9, 9]],
            "swaps": [[0, 1]],
        },
        "in_channels": 3,
        "mean": [0.5, 0.25, 0.1],
        "std": [0.2, 0.3, 1],
        "image_sizes": {"smallest": [8, 8], "largest": [16, 12]},
        "provenance": {"recipe_hash": "ab", "manifest": "cd", "steps": 7, "seed": 0, "segtrial": "0.1.0"},
    }


def test_a_file_overwritten_after_loading_does_not_change_the_network(path):
    loaded = load(path)
    before = loaded.network.core.head.weight.clone()
    path.write_bytes(bytes(len(path.read_bytes())))
    assert torch.equal(loaded.network.core.head.weight, before)


def test_loading_leaves_the_network_trainable(path):
    loaded = load(path).network.train()
    loaded(torch.rand(2, 3, 4, 4)).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())


# ---- hostile and damaged files


def refused(path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    start = time.monotonic()
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert caught.value.place == str(path)
    assert len(str(caught.value)) < 2000
    assert time.monotonic() - start < 3  # the target is 1 s; this machine may be busy


def changed_header(path, **changes: object) -> bytes:
    tensors, info = load_tensors(path)
    return tensors_to_bytes(tensors, {k: v for k, v in (info | changes).items() if v is not ...})


HEADERS = {
    "newer schema": ({"schema": 2}, r"written by a newer Segtrial \(schema 2; this one reads 1\)\. Update"),
    "older schema": ({"schema": 0}, r"header schema: Input should be 1"),
    "no schema": ({"schema": ...}, r"header schema: Input should be 1"),
    "schema is a word": ({"schema": "1"}, r"header schema: Input should be 1"),
    "unknown architecture": ({"architecture": "tinny"}, r"model 'tinny': no model has this name\. Did you mean 'tiny'"),
    "architecture with a path": ({"architecture": "../../evil"}, r"no model has this name"),
    "architecture with a module": ({"architecture": "_whole"}, r"no model has this name"),
    "architecture is a list": ({"architecture": ["tiny"]}, r"header architecture: Input should be a valid string"),
    "no architecture": ({"architecture": ...}, r"it holds no model"),
    "unknown option": ({"options": {"_target_": "os.system"}}, r"no option of model tiny has this name"),
    "option of another type": ({"options": {"width": "4"}}, r"option width: '4'\. Give a number of type int"),
    "option is a list": ({"options": {"width": [4]}}, r"header options\.width"),
    "option too large": ({"options": {"width": 10**9}}, r"option width is 1000000000, above 65536"),
    # 4096 x 4096 x 3 x 3 weights would take half a GiB: refused by the shape, before there is such a tensor
    "large option": ({"options": {"width": 2**12}}, r"is float32 \[.*4.*\], not float32 \[.*4096"),
    "huge option": ({"options": {"width": 2**16}}, r"option width: 65536. Choose 1 to 4096"),
    "negative option": ({"options": {"width": -3}}, r"option width: -3. Choose 1 to 4096"),
    "option that cannot be": ({"options": {"deep": True}}, r"tiny cannot be built with .*there is no deep one"),
    "class too few": (
        {"classes": {"names": ["a", "b"], "colors": [[1, 2, 3]] * 2}},
        r"tensor core\.head\.weight is float32 \[3, 4, 1, 1\], not float32 \[2, 4, 1, 1\]",
    ),
    "colour missing": ({"classes": {"names": ["a", "b"], "colors": [[1, 2, 3]]}}, r"2 names but 1 colours"),
    "no class": ({"classes": {"names": [], "colors": []}}, r"header classes: 0 classes"),
    "classes are a word": ({"classes": "many"}, r"header classes"),
    "colour out of range": ({"classes": {"names": list("abc"), "colors": [[0, 0, 300]] * 3}}, r"colours .*300"),
    "channels": ({"in_channels": 1}, r"3 means and 3 stds for 1 channels"),
    "channels against tensors": (
        {"in_channels": 1, "mean": [0.5], "std": [0.2]},
        r"tensor mean is float32 \[3\], not float32 \[1\]",
    ),
    "other means": ({"mean": [0.5, 0.25, 0.2]}, r"mean and std are not those of the tensors"),
    "std is 0": ({"std": [0.2, 0.3, 0]}, r"must be above 0"),
    "mean is a word": ({"mean": "0.5"}, r"header mean"),
    "means are words": ({"mean": ["0.5", "0.25", "0.1"]}, r"header mean\.0"),
    "one more field": ({"import": "os"}, r"header import: Extra inputs are not permitted"),
    "no provenance": ({"provenance": ...}, r"header provenance: Field required"),
}


@pytest.mark.parametrize(("changes", "message"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_that_is_not_sound_is_refused(changes, message, path):
    refused(path, changed_header(path, **changes), message)


def test_a_name_without_end_is_cut(path):
    options = {"encoder": f"timm/{'x' * 10**5}"}
    path.write_bytes(changed_header(path, architecture="fpn", options=options))
    with pytest.raises(ModelFileError, match=r"encoder timm/x+: timm has no network of this name\.") as caught:
        load(path)
    assert len(str(caught.value)) < 2000


def changed_tensors(path, **changes: Tensor | None) -> bytes:
    tensors, info = load_tensors(path)
    kept = {name: tensor for name, tensor in (tensors | changes).items() if tensor is not None}
    return tensors_to_bytes(kept, info)


TENSORS = {
    "missing": ({"core.head.bias": None}, r"tensors are not the architecture's: lacks 'core\.head\.bias'"),
    "extra": ({"core.extra": torch.ones(2)}, r"has unknown 'core\.extra'"),
    "wrong shape": ({"core.head.bias": torch.ones(5)}, r"core\.head\.bias is float32 \[5\], not float32 \[3\]"),
    "wrong type": ({"core.head.bias": torch.ones(3).double()}, r"is float64 \[3\], not float32 \[3\]"),
    "NaN": ({"core.head.bias": torch.tensor([0, 0, float("nan")])}, r"NaN or infinite values in core\.head\.bias"),
    "Inf": ({"core.head.bias": torch.tensor([0, 0, float("inf")])}, r"NaN or infinite values in core\.head\.bias"),
}


@pytest.mark.parametrize(("changes", "message"), TENSORS.values(), ids=TENSORS.keys())
def test_tensors_that_do_not_fit_are_refused(changes, message, path):
    refused(path, changed_tensors(path, **changes), message)


def test_names_of_a_wrapped_network_are_told(path):
    tensors, info = load_tensors(path)
    data = tensors_to_bytes({f"module.{name}": tensor for name, tensor in tensors.items()}, info)
    refused(path, data, r"lacks 'core\..* and 7 more; has unknown 'module\.core\..* and 7 more")


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_file_cut_short_is_refused(share, path):
    data = path.read_bytes()
    refused(path, data[: int(share * len(data))], r"an empty file|cut short")


def test_any_flipped_byte_is_found(path):
    data = path.read_bytes()
    for place in range(0, len(data), len(data) // 100):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        refused(path, bytes(damaged), r"^.*model\.safetensors: ")


class Bomb:
    def __init__(self, sentinel):
        self.sentinel = sentinel

    def __reduce__(self):
        return open, (str(self.sentinel), "w")


def test_pickles_are_named_and_never_opened(path, tmp_path):
    bomb = Bomb(tmp_path / "sentinel")
    torch.save(bomb, tmp_path / "model.pt")
    refused(
        path, pickle.dumps(bomb), r"not a safetensors file but a pickle\. It can run code when opened, so it is never"
    )
    refused(path, (tmp_path / "model.pt").read_bytes(), r"but a zip archive, as torch\.save writes it around a pickle")
    assert not (tmp_path / "sentinel").exists()


def test_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(ModelFileError, match="a folder"):
        load(tmp_path)
    with pytest.raises(ModelFileError, match="there is no such file"):
        load(str(tmp_path / "absent"))


def test_training_state_is_no_model(tmp_path):
    (tmp_path / "state.safetensors").write_bytes(tensors_to_bytes({"x": torch.ones(1)}, {"schema": 1, "step": 3}))
    with pytest.raises(ModelFileError, match=r"it holds no model \(training state, perhaps\)"):
        load(tmp_path / "state.safetensors")
