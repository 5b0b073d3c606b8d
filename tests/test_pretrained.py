"""Weights for encoders: every tensor accounted for, from torchvision, timm's hub and models of ours."""

import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.segmentation.fcn import FCN, FCNHead

from segtrial import pretrained
from segtrial.errors import ModelFileError, RecipeError
from segtrial.models._encoder import RESNETS, VGGS, Encoder, make_encoder
from segtrial.models._mit import MixTransformer
from segtrial.models._timm import TimmViT
from segtrial.models.segnet import BasicEncoder
from segtrial.pretrained import CLASSIFIERS, MEAN, STD, adapted, hub_file, read
from segtrial.recipe import Recipe
from segtrial.training import first_weights

CLASSIFIER = {"fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


def random_state(encoder: nn.Module) -> dict[str, Tensor]:
    """Every tensor of `encoder` (which may be on the meta device), drawn anew: positive, as variances are."""
    numbers = torch.Generator().manual_seed(7)
    return {
        name: torch.rand(value.shape, generator=numbers) if value.is_floating_point() else torch.tensor(5)
        for name, value in encoder.state_dict().items()
    }


@pytest.fixture(scope="module")
def resnet18() -> dict[str, Tensor]:
    return random_state(empty("resnet18"))


def write(folder: Path, tensors: dict[str, Tensor], name: str = "weights.safetensors") -> Path:
    safetensors.torch.save_file(tensors, folder / name)
    return folder / name


def empty(name: str, channels: int = 3) -> Encoder:
    with torch.device("meta"):
        return make_encoder(name, channels)


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("prefix", ["", "encoder.", "module.", "backbone.", "module.backbone."])
def test_a_plain_file_is_taken_by_name_without_its_classifier(tmp_path, resnet18, prefix):
    path = write(tmp_path, {prefix + name: value for name, value in (resnet18 | CLASSIFIER).items()})
    found = read(str(path), empty("resnet18"), 3)
    assert same(found.tensors, resnet18)
    assert (found.mean, found.std) == (MEAN, STD)
    assert f"Took over {len(resnet18)} of {len(resnet18)} encoder tensors from {path} (left: " in found.note
    assert "fc.bias" in found.note
    assert "does not say for which mean" in found.note


def test_a_segmenter_of_torchvision_gives_its_backbone(tmp_path):
    with torch.device("meta"):
        layers = IntermediateLayerGetter(torchvision.models.resnet18(), {"layer4": "out"})
        theirs = FCN(layers, FCNHead(512, 21), FCNHead(256, 21))
    tensors = random_state(theirs)
    found = read(str(write(tmp_path, tensors)), empty("resnet18"), 3)
    assert same(found.tensors, {name: tensors[f"backbone.{name}"] for name in layers.state_dict()})


@pytest.mark.parametrize("name", ["vgg11", "vgg11_bn"])
def test_every_tensor_of_torchvisions_features_has_its_place(tmp_path, name):
    with torch.device("meta"):
        theirs: Any = torchvision.models.get_model(name, weights=None)
    tensors = random_state(nn.ModuleDict({"features": theirs.features}))
    assert same(read(str(write(tmp_path, tensors)), empty(name), 3).tensors, tensors)


def test_batch_counters_that_old_files_lack_start_at_zero(tmp_path, resnet18):
    path = write(tmp_path, {name: value for name, value in resnet18.items() if "num_batches" not in name})
    found = read(str(path), empty("resnet18"), 3).tensors
    assert found.keys() == resnet18.keys()
    assert found["bn1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("wanted", "changes", "message"),
    [
        ("resnet18", {"layer4.1.bn2.bias": None}, r"119 of 120 encoder tensors fit: it lacks layer4\.1\.bn2\.bias;"),
        ("resnet18", {"bn1.bias": torch.zeros(3)}, r"bn1\.bias is \[3\], not \[64\]"),
        ("resnet18", {"decoder.weight": torch.zeros(3)}, r"it has decoder\.weight besides"),
        ("resnet18", {"conv1.weight": torch.zeros(64, 4, 7, 7)}, r"conv1\.weight is \[64, 4, 7, 7\]"),
        ("resnet34", {}, r"it lacks layer1\.2\.conv1\.weight, .* and \d+ more; it seems to be a resnet18"),
        ("vgg16", {}, r"0 of 26 encoder tensors fit: .*; it seems to be a resnet18\. Give weights of the same"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, resnet18, wanted, changes, message):
    tensors = {name: value for name, value in (resnet18 | changes).items() if value is not None}
    with pytest.raises(ModelFileError, match=message):
        read(str(write(tmp_path, tensors)), empty(wanted), 3)


@pytest.mark.parametrize(("tensors", "held"), [({}, "no tensors"), (CLASSIFIER, r"fc\.bias, fc\.weight")])
def test_a_file_without_an_encoder_is_named(tmp_path, tensors, held):
    learnt = 20 + 4 * 20  # of resnet18: convolutions, and what each norm learns and measures
    with pytest.raises(ModelFileError, match=rf": 0 of {learnt} encoder tensors fit: .*; it holds {held}\. Give"):
        read(str(write(tmp_path, tensors)), empty("resnet18"), 3)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bn1.weight", torch.ones(64, dtype=torch.int8), r"bn1\.weight holds int8, not float32\. .* not quantised"),
        ("bn1.num_batches_tracked", torch.tensor(5.0), r"bn1\.num_batches_tracked holds float32, not int64"),
        ("bn1.running_var", torch.linspace(1, -1e-3, 64), r"negative variances in bn1\.running_var"),
    ],
)
def test_numbers_of_another_kind_are_refused(tmp_path, resnet18, name, value, message):
    with pytest.raises(ModelFileError, match=message):
        read(str(write(tmp_path, resnet18 | {name: value})), empty("resnet18"), 3)


def test_half_the_precision_will_do(tmp_path, resnet18):
    path = write(tmp_path, resnet18 | {"bn1.weight": resnet18["bn1.weight"].bfloat16()})
    torch.testing.assert_close(
        read(str(path), empty("resnet18"), 3).tensors["bn1.weight"].float(),
        resnet18["bn1.weight"],
        rtol=0.01,
        atol=0.01,
    )


def test_addresses_are_not_read():
    with pytest.raises(ModelFileError, match=r"^https://host/a\.safetensors: addresses are not read\. Fetch that file"):
        read("https://host/a.safetensors", empty("resnet18"), 3)


def test_encoders_without_a_name_start_as_others_do(tmp_path):
    said = first_weights.origin(Recipe(model="segnet:variant=basic"))
    assert "there are no ImageNet weights for its encoder" in said
    with torch.device("meta"):
        encoder = BasicEncoder(3, batchnorm=True)
    tensors = random_state(encoder)
    assert same(read(str(write(tmp_path, tensors)), encoder, 3).tensors, tensors)


def test_a_deeper_network_that_holds_all_tensors_is_refused(tmp_path):
    deeper = random_state(empty("resnet34"))
    with pytest.raises(ModelFileError, match=r"120 of 120 .* it has layer1\.2\.bn1\.bias, .* besides; .* a resnet34"):
        read(str(write(tmp_path, deeper)), empty("resnet18"), 3)


def test_weights_that_are_no_numbers_are_refused(tmp_path, resnet18):
    path = write(tmp_path, resnet18 | {"bn1.bias": torch.full((64,), torch.nan)})
    with pytest.raises(ModelFileError, match=r"NaN or infinite values in bn1\.bias"):
        read(str(path), empty("resnet18"), 3)


def test_pickles_are_never_opened(tmp_path, resnet18):
    torch.save(resnet18, tmp_path / "resnet18.pth")
    with pytest.raises(ModelFileError, match=r"only \.safetensors files are read.*save_file"):
        read(str(tmp_path / "resnet18.pth"), empty("resnet18"), 3)
    (tmp_path / "resnet18.pth").rename(tmp_path / "renamed.safetensors")
    with pytest.raises(ModelFileError, match=r"a zip archive, as torch\.save writes it"):
        read(str(tmp_path / "renamed.safetensors"), empty("resnet18"), 3)


def test_a_first_convolution_for_other_channels_sees_the_same():
    weight, grey = torch.randn(8, 3, 3, 3), torch.randn(2, 1, 9, 9)
    expected = nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weight)
    torch.testing.assert_close(nn.functional.conv2d(grey, adapted(weight, 1)), expected)
    six = adapted(weight, 6)
    torch.testing.assert_close(nn.functional.conv2d(grey.expand(-1, 6, -1, -1), six), expected)
    assert torch.equal(six[:, 3:], weight / 2)
    assert torch.equal(adapted(weight, 4)[:, 3], weight[:, 0] * (3 / 4))


@pytest.mark.parametrize(("channels", "how"), [(1, "summed for 1"), (5, "repeated and scaled for 5")])
def test_other_channels_are_said_and_have_the_mean_of_the_three(tmp_path, resnet18, channels, how):
    found = read(str(write(tmp_path, resnet18)), empty("resnet18", channels), channels)
    assert torch.equal(found.tensors["conv1.weight"], adapted(resnet18["conv1.weight"], channels))
    assert found.mean == pytest.approx([sum(MEAN) / 3] * channels)
    assert found.std == pytest.approx([sum(STD) / 3] * channels)
    assert how in found.note


# ---- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SEGTRIAL_WEIGHTS", str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.mark.parametrize("name", [*RESNETS, *VGGS])
def test_the_hub_has_torchvisions_weights_under_the_name_of_each_encoder(name):
    file = hub_file(empty(name, channels=2))
    assert file is not None
    config = timm.get_pretrained_cfg(f"{name}.tv_in1k")
    assert config is not None
    assert file.repository == config.hf_hub_id
    assert (tuple(config.mean), tuple(config.std)) == (MEAN, STD)
    with torch.device("meta"):
        theirs = timm.create_model(f"{name}.tv_in1k").state_dict()
    assert {n for n in theirs if not n.startswith(CLASSIFIERS)} == set(empty(name).state_dict())


def test_a_missing_file_is_fetched_once_and_kept_whole(tmp_path, folder, monkeypatch, resnet18):
    asked = []

    def fetch(repository, name, *, local_dir):
        asked.append((repository, name))
        return str(write(Path(local_dir), resnet18 | CLASSIFIER, name))

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda url, timeout: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    for _ in range(2):
        found = read("imagenet", empty("resnet18"), 3)
    assert asked == [("timm/resnet18.tv_in1k", "model.safetensors")]
    assert [path.name for path in folder.iterdir()] == ["resnet18.tv_in1k.safetensors"]
    assert same(found.tensors, resnet18)
    assert "from timm's hub, resnet18.tv_in1k (left: fc.bias, fc.weight)." in found.note


def test_offline_it_says_which_file_to_put_where(folder, monkeypatch):
    def fetch(*_, **__):
        raise ConnectionError("no route\nto host " + "the reason " * 40)

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", fetch)
    url = "https://huggingface.co/timm/vgg16_bn.tv_in1k/resolve/main/model.safetensors"
    message = rf"{folder}/vgg16_bn\.tv_in1k\.safetensors: not there, and {url} cannot be fetched \(ConnectionError: "
    message += (
        r"no route to host the reason [the reason]*(the|reason) \.\.\.\)\. Put that file there, or give --set enc"
    )
    with pytest.raises(ModelFileError, match=message):
        read("imagenet", empty("vgg16_bn"), 3)
    assert not folder.exists()


def test_where_nobody_answers_it_gives_up_at_once(folder, monkeypatch):
    waits = []
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(ModelFileError, match=r"cannot be fetched \(ConnectError: "):
        read("imagenet", empty("vgg16_bn"), 3)
    assert waits == []


def test_the_folder_follows_the_cache(monkeypatch):
    monkeypatch.delenv("SEGTRIAL_WEIGHTS", raising=False)
    monkeypatch.setenv("SEGTRIAL_CACHE", "/elsewhere")
    assert pretrained.weights_folder() == Path("/elsewhere/weights")


def test_where_there_are_no_imagenet_weights_it_says_so():
    with torch.device("meta"):
        encoder = MixTransformer("mit_b0")
    with pytest.raises(RecipeError, match=r"imagenet: there are none for this MixTransformer\. Give"):
        read("imagenet", encoder, 3)


# ---- timm ------------------------------------------------------------------------------------------------------------

TIMM = "resnet10t"


def test_timms_network_is_filled_by_timms_loader(folder):
    file, config = hub_file(make_encoder(f"timm/{TIMM}")), timm.get_pretrained_cfg(TIMM)
    assert file is not None
    assert config is not None
    assert file.repository == config.hf_hub_id
    theirs: Any = timm.create_model(TIMM)
    theirs.load_state_dict(random_state(theirs))
    folder.mkdir()
    write(folder, dict(theirs.state_dict()), file.path.name)
    ours = make_encoder(f"timm/{TIMM}")
    found = read("imagenet", empty(f"timm/{TIMM}"), 3)
    ours.load_state_dict(found.tensors)
    expected = theirs.eval().forward_features(torch.ones(1, 3, 64, 64))
    torch.testing.assert_close(ours.eval()(torch.ones(1, 3, 64, 64))[5], expected)
    assert found.mean == tuple(config.mean)
    assert "(left: fc.bias, fc.weight)" in found.note
    grey = read("imagenet", empty(f"timm/{TIMM}", 1), 1)
    torch.testing.assert_close(
        grey.tensors["body.conv1.0.weight"], theirs.state_dict()["conv1.0.weight"].sum(1, keepdim=True)
    )


def test_a_tensor_that_timm_does_not_find_is_named(tmp_path):
    tensors = random_state(timm.create_model(TIMM))
    del tensors["layer2.0.conv1.weight"]
    with pytest.raises(ModelFileError, match=r"timm cannot load it into resnet10t .*layer2\.0\.conv1\.weight"):
        read(str(write(tmp_path, tensors)), empty(f"timm/{TIMM}"), 3)


def test_a_vision_transformer_needs_no_head_in_the_file(tmp_path):
    whole = random_state(timm.create_model("test_vit"))
    headless = {name: value for name, value in whole.items() if not name.startswith("head.")}
    assert len(headless) == len(whole) - 2
    with torch.device("meta"):
        encoder = TimmViT("test_vit")
    found = read(str(write(tmp_path, headless)), encoder, 3)
    assert same(found.tensors, {f"body.{name}": value for name, value in headless.items()})
    assert same(read(str(write(tmp_path, whole, "whole.safetensors")), encoder, 3).tensors, found.tensors)
    del headless["norm.weight"]
    with pytest.raises(ModelFileError, match=r"timm cannot load it into test_vit .*norm\.weight"):
        read(str(write(tmp_path, headless)), encoder, 3)


def test_timms_numbers_of_another_kind_are_refused(tmp_path):
    tensors = random_state(timm.create_model(TIMM))
    tensors["bn1.weight"] = torch.ones(tensors["bn1.weight"].shape, dtype=torch.int8)
    with pytest.raises(ModelFileError, match=r"body\.bn1\.weight holds int8, not float32"):
        read(str(write(tmp_path, tensors)), empty(f"timm/{TIMM}"), 3)
