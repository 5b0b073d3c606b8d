"""What every architecture promises. A new file in src/segtrial/models is tested here without being named."""

from contextlib import suppress
from copy import deepcopy
from functools import cache, lru_cache
from itertools import product

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import nn

from segtrial import models
from segtrial.errors import RecipeError
from segtrial.models._blocks import DropPath, ZeroScaleNorm
from segtrial.models._encoder import RESNETS, TIMM
from segtrial.models._init import initialise
from segtrial.models._whole import Whole

CLASSES = 5


SLOW = pytest.mark.slow


def light(name: str) -> str:
    """An architecture with a small encoder and few channels, where it lets one choose: fast tests take this one."""
    known, chosen = models.options(name), {}
    encoder = known.get("encoder")
    if encoder and encoder.default in RESNETS:
        chosen["encoder"] = "resnet18"
    if encoder and str(encoder.default).startswith(TIMM):
        chosen["encoder"] = f"{TIMM}test_vit"
    if "width" in known:
        chosen["width"] = 8
    words = ",".join(f"{key}={value}" for key, value in chosen.items())
    return f"{name}:{words}" if words else name


def names() -> list:
    """Every architecture made light; and, slowly, at its defaults."""
    lights = [light(name) for name in models.names()]
    return [*lights, *(pytest.param(name, marks=SLOW) for name in models.names() if name not in lights)]


def choices(name: str) -> list:
    """An architecture with each closed choice made differently, one at a time.

    The first other choice of an option is tested fast, the rest slowly. Encoders are all slow: they have tests of their
    own (test_encoder.py), and an architecture sees nothing of them but their maps. So are choices that need a larger
    encoder than the small one.
    """
    found = {}
    for key, option in models.options(name).items():
        values = option.choices or ((True, False) if option.type is bool else ())
        for number, value in enumerate(value for value in values if value != option.default):
            spec = f"{name}:encoder={value}" if key == "encoder" else _with_an_encoder(name, {key: value})
            slow = number or key == "encoder" or not spec.startswith(light(name))
            found.setdefault(spec, pytest.param(spec, marks=SLOW if slow else ()))
    return [param for spec, param in found.items() if spec != light(name)]


def _with_an_encoder(name: str, chosen: dict) -> str:
    """A spec of what is chosen and of the first encoder that goes with it."""
    _, small = models.parse(light(name))
    encoder = models.options(name).get("encoder")
    for more in (small, *({"encoder": choice} for choice in (encoder.choices if encoder else ()))):
        with suppress(RecipeError), torch.device("meta"):
            models.build(name, CLASSES, **{**more, **chosen})
            return f"{name}:" + ",".join(f"{key}={value}" for key, value in {**more, **chosen}.items())
    raise AssertionError(f"{name} cannot be built with {chosen}")


@cache
def specs() -> list:
    """`names`, and every closed choice of every architecture."""
    return [*names(), *(choice for name in models.names() for choice in choices(name))]


def slowly(params: list) -> list:
    """`names` as they are, all else slow."""
    fast = [light(name) for name in models.names()]
    return [
        param if param in fast else pytest.param(*getattr(param, "values", [param]), marks=SLOW) for param in params
    ]


# of a module's scope, so that all tests of one network follow each other and it is made once
EVERY_MODEL = pytest.mark.parametrize("spec", names(), scope="module")
EVERY_CHOICE = pytest.mark.parametrize("spec", specs(), scope="module")
EVERY_CHOICE_SLOWLY = pytest.mark.parametrize("spec", slowly(specs()), scope="module")


def core_of(spec: str, classes: int = CLASSES, channels: int = 3) -> nn.Module:
    name, options = models.parse(spec)
    return models.build(name, classes, channels, **options)


def made(spec: str, channels: int = 3, seed: int = 0) -> Whole:
    core = core_of(spec, CLASSES, channels)
    initialise(core, seed)
    return Whole(core, torch.full((channels,), 0.4), torch.full((channels,), 0.25))


@lru_cache(maxsize=2)  # a VGG with its fully connected layers takes half a gigabyte
def ready(spec: str) -> Whole:
    """For tests that change nothing."""
    return made(spec).eval()


def fresh(spec: str) -> Whole:
    """For tests that change it."""
    return deepcopy(ready(spec))


def some_images(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@EVERY_MODEL
@settings(max_examples=4, deadline=None, derandomize=True)
@example(height=1, width=1)
@example(height=257, width=129)
@example(height=1, width=129)
@given(height=st.integers(1, 257), width=st.integers(1, 129))
@torch.no_grad()
def test_scores_have_the_size_of_the_image(spec, height, width):
    scores = ready(spec)(some_images(1, 3, height, width))
    assert scores.shape == (1, CLASSES, height, width)
    assert scores.isfinite().all()


@EVERY_CHOICE
@torch.no_grad()
def test_images_do_not_see_each_other(spec):
    images = some_images(3, 3, 40, 56)
    alone = torch.cat([ready(spec)(image[None]) for image in images])
    torch.testing.assert_close(ready(spec)(images), alone, rtol=1e-4, atol=1e-4)


@EVERY_CHOICE
def test_every_parameter_learns(spec):
    network = fresh(spec).train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | DropPath):
            module.eval()  # batch statistics would cancel the bias in front of them; a dropped path learns nothing
        if isinstance(module, ZeroScaleNorm):
            nn.init.ones_(module.weight)  # at 0, what is before it learns from the second step on
    sum(scores.square().mean() for scores in network.forward_all(some_images(1, 3, 64, 64))).backward()
    assert [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert all(p.grad.isfinite().all() for p in network.parameters())


@EVERY_CHOICE
def test_trains_on_two_images_of_the_smallest_size(spec):
    network = fresh(spec).train()
    size = network.core.multiple
    scores = network(some_images(2, 3, size, size))
    scores.square().mean().backward()
    assert scores.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@EVERY_CHOICE_SLOWLY
@torch.no_grad()
def test_save_and_load_keeps_every_bit(spec):
    images = some_images(1, 3, 33, 47)
    first = ready(spec)
    second = made(spec, seed=1).eval()
    assert not torch.equal(first(images), second(images))
    second.load_state_dict(load(save(first.state_dict())))
    assert torch.equal(first(images), second(images))


@EVERY_MODEL
@pytest.mark.parametrize(
    "pairs",
    [((1, 21), (3, 1), (4, 2)), pytest.param(tuple(product((1, 3, 4), (1, 2, 21))), marks=SLOW)],
    ids=["few", "all"],
)
@torch.no_grad()
def test_any_number_of_channels_and_classes(spec, pairs):
    for channels, classes in pairs:
        with torch.device("meta"):  # shapes only
            core = core_of(spec, classes, channels)
            height, width = (-(-size // core.multiple) * core.multiple for size in (64, 96))
            scores, *_ = core(torch.empty(2, channels, height, width))
        stride = height // scores.shape[2]
        assert scores.shape == (2, classes, height // stride, width // stride)


@EVERY_MODEL
@pytest.mark.parametrize("channels", [pytest.param(1, marks=SLOW), 4])
@torch.no_grad()
def test_every_channel_is_seen(spec, channels):
    network = made(spec, channels).eval()
    images = some_images(1, channels, 32, 32)
    before = network(images)
    for channel in range(channels):
        changed = images.clone()
        changed[:, channel] = 255 - changed[:, channel]
        assert not torch.equal(network(changed), before)


@EVERY_CHOICE_SLOWLY
def test_first_weights_depend_on_the_seed_alone(spec):
    first = ready(spec).state_dict()  # made at another place of torch's own stream
    torch.manual_seed(2)
    torch.rand(7)
    second = made(spec).state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


@EVERY_CHOICE_SLOWLY
def test_bfloat16_gives_finite_float32_scores(spec):
    network = fresh(spec).train().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        scores = network(some_images(2, 3, 64, 64))
    assert scores.dtype == torch.float32
    scores.square().mean().backward()
    assert scores.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


@EVERY_CHOICE_SLOWLY
def test_channels_last_changes_nothing_but_the_speed(spec):
    images = some_images(1, 3, 48, 64)
    with torch.no_grad():
        expected = ready(spec)(images)
        scores = fresh(spec).to(memory_format=torch.channels_last)(images)
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-4)


@SLOW
@EVERY_CHOICE
@torch.no_grad()
def test_exports_to_torch_export(spec):
    images = some_images(1, 3, 40, 64)
    exported = torch.export.export(ready(spec), (images,)).module()
    torch.testing.assert_close(exported(images), ready(spec)(images), rtol=1e-5, atol=1e-5)
    other = some_images(1, 3, 40, 64, seed=1)
    torch.testing.assert_close(exported(other), ready(spec)(other), rtol=1e-5, atol=1e-5)


@EVERY_MODEL
def test_says_what_a_training_step_keeps_in_memory(spec):
    costs = models.describe(spec, (64, 64))["costs"]
    megabytes = [costs[key] / 1e6 for key in ("bytes_per_image", "bytes_of_weights")]
    print(f"{spec}: {megabytes[0]:.1f} MB an image of 64x64, and {megabytes[1]:.0f} MB")
    with torch.device("meta"):
        network = core_of(spec, classes=11)
    assert costs["bytes_of_weights"] == 20 * sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert costs["bytes_per_image"] > 4 * 3 * 64 * 64
