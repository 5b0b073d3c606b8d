"""A function of the user's own: it sees each crop, draws from its generator alone, and is known by its source."""

import hashlib
import inspect
import random
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import segtrial as sg
from segtrial import cli
from segtrial.data.augment import Augmentation
from segtrial.data.batches import Batches, Phase
from segtrial.data.own_augment import apply, rehearse, required, word_of
from segtrial.errors import RecipeError, RunError
from segtrial.randomness import generator
from tests import tiny
from tests.data.test_batches import Pictures

CLASSES = 5


def darkened(image, mask, rng):
    """Half as bright, and the mask ignored, in a column that is drawn."""
    column = int(rng.integers(image.shape[1]))
    image[:, column] //= 2
    mask[:, column] = 255
    return image, mask


def drawn(image, mask, rng):
    image[..., 0] = rng.integers(0, 256, image.shape[:2])
    return image, mask[:, ::1]


def scaled(image, mask, rng):
    return image * image.dtype.type(rng.random()), mask


def crop():
    numbers = np.random.default_rng(0)
    image = numbers.integers(0, 256, (3, 8, 12), dtype=np.uint8)
    return torch.from_numpy(image), torch.from_numpy(numbers.integers(0, CLASSES, (8, 12), dtype=np.uint8))


def done(function, image, mask, key="a", epoch=0, seed=0):
    return apply(function, image, mask, classes=CLASSES, seed=seed, epoch=epoch, key=key)


def batches_of(function=darkened, floats=False, **more):
    phases = (Phase(2, 4, (16, 24), (0.5, 0.8)), Phase(2, 3, (24, 24), (0.7, 1.2)))
    augmentation = Augmentation(rotate=10, cutmix=0.5, own=function)
    return Batches(Pictures(7, floats=floats), phases, augmentation, seed=0, mirrored=tuple(range(CLASSES)), **more)


def test_a_function_by_hand():
    image, mask = crop()
    before = image.clone(), mask.clone()
    made, labels = done(darkened, image, mask, "key", epoch=2, seed=7)
    column = int(generator(7, "own", 2, "key").integers(12))
    expected, ignored = image.clone(), mask.clone()
    expected[:, :, column] //= 2
    ignored[:, column] = 255
    assert torch.equal(made, expected)
    assert torch.equal(labels, ignored)
    assert torch.equal(image, before[0])  # it wrote into arrays of its own
    assert torch.equal(mask, before[1])


def test_it_is_a_function_of_seed_epoch_and_key():
    image, mask = crop()
    first = done(drawn, image, mask)[0]
    np.random.seed(1)
    others = [done(drawn, image, mask, *place)[0] for place in (("b", 0, 0), ("a", 1, 0), ("a", 0, 1))]
    assert torch.equal(done(drawn, image, mask)[0], first)
    assert not any(torch.equal(other, first) for other in others)


def test_ranks_and_the_order_of_asking_change_nothing():
    """Workers: test_albumentations.py has them with both."""
    straight = [batches_of().batch(step) for step in range(4)]
    for step in (3, 0, 2, 1):
        halves = [batches_of().batch(step, rank, 2) for rank in range(2)]
        assert torch.equal(torch.cat([half.images for half in halves]), straight[step].images)
    assert not torch.equal(straight[0].images, batches_of(None).batch(0).images)


def test_float_images_come_as_floats():
    batches = batches_of(scaled, floats=True, device=torch.device("cpu"))
    assert not batches.resident
    assert batches.batch(0).images.dtype == torch.float32
    assert batches_of(drawn).batch(0).images.dtype == torch.uint8


def too_small(image, mask, rng):
    return image[1:], mask[1:]


def grey(image, mask, rng):
    return image.mean(2), mask


def floating(image, mask, rng):
    return image / 255, mask


def unpaired(image, mask, rng):
    return image


def as_list(image, mask, rng):
    return image.tolist(), mask


def other_mask(image, mask, rng):
    return image, mask.astype(np.int64)


def new_class(image, mask, rng):
    return image, mask + 7


def broken(image, mask, rng):
    raise ValueError("no such thing")


def too_bright(image, mask, rng):
    return image + np.float32(1), mask


def not_a_number(image, mask, rng):
    return image * np.float32("nan"), mask


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (too_small, "returned 7 x 12 x 3 uint8 as the image, not 8 x 12 x 3 uint8. Keep the size"),
        (grey, "returned 8 x 12 float64 as the image, not 8 x 12 x 3 uint8"),
        (floating, "returned 8 x 12 x 3 float64 as the image"),
        (unpaired, "returned ndarray, not (image, mask)"),
        (as_list, "returned list as the image, not 8 x 12 x 3 uint8"),
        (other_mask, "returned 8 x 12 int64 as the mask, not 8 x 12 uint8"),
        (new_class, "returned the values 7, 8, 9, 10, 11 in the mask of 5 classes"),
        (broken, f"ValueError (no such thing) in line {inspect.getsourcelines(broken)[1] + 1} of test_own_augment.py"),
        (too_bright, "not within 0 to 1"),
        (not_a_number, "returned an image from nan to nan, not within 0 to 1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_it_returns_is_checked(function, message):
    image, mask = crop()
    image = image / 255 if function in (too_bright, not_a_number) else image
    place = f"augment={function.__name__}, sample 'scene/4': "
    with pytest.raises(RecipeError, match=re.escape(place)) as caught:
        done(function, image, mask, "scene/4")
    assert message in str(caught.value)


CALLS = []


def by_numpy(image, mask, rng):
    image[0, 0] = np.random.randint(256)
    return image, mask


def by_random(image, mask, rng):
    image[0, 0] = random.randrange(256)
    return image, mask


def by_memory(image, mask, rng):
    CALLS.append(0)
    image[0, 0] = len(CALLS)
    return image, mask


@pytest.mark.parametrize("function", [by_numpy, by_random, by_memory], ids=lambda function: function.__name__)
def test_a_draw_from_elsewhere_is_found_before_training(function):
    with pytest.raises(
        RecipeError, match=rf"augment={function.__name__}: it answers two calls .* Let it draw from rng"
    ):
        batches_of(function).rehearse()
    image, mask = crop()
    rehearse(drawn, image, mask, classes=CLASSES, seed=0, key="a")


def test_a_word_is_the_name_and_the_digest_of_the_source():
    source = "def bright(image, mask, rng):\n    return image, mask\n"
    digest = hashlib.sha256(source.encode()).hexdigest()

    def bright(image, mask, rng):
        return image, mask

    assert word_of(bright) == f"bright {digest}"


def around(strength):
    def within(image, mask, rng):
        return image * strength, mask

    return within


class Object:
    def __call__(self, image, mask, rng):
        return image, mask


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda image, mask, rng: (image, mask), "<lambda>"), (around(2), "within"), (Object(), "Object"), (len, "len")],
    ids=["lambda", "closure", "object", "builtin"],
)
def test_what_its_source_does_not_decide_is_refused(function, name):
    with pytest.raises(RecipeError, match=rf"augment: {name} is no function that its source alone decides"):
        word_of(function)


def test_a_source_that_cannot_be_read_is_refused():
    space = {"__name__": "nowhere"}
    exec("def unseen(image, mask, rng):\n    return image, mask\n", space)
    with pytest.raises(RecipeError, match=r"the source of unseen cannot be read\. Write it into a file"):
        word_of(space["unseen"])


def test_workers_must_be_able_to_import_it(monkeypatch):
    def local(image, mask, rng):
        return image, mask

    assert required(word_of(local), local, workers=0) is local
    assert required(word_of(darkened), darkened, workers=2) is darkened
    with pytest.raises(RecipeError, match=r"workers: 2 processes cannot import .*local\. Write it at the top"):
        required(word_of(local), local, workers=2)
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))  # as in a notebook
    monkeypatch.setattr(drawn, "__module__", "__main__")
    with pytest.raises(RecipeError, match=r"workers: 1 processes cannot import drawn"):
        required(word_of(drawn), drawn, workers=1)


@pytest.fixture
def run(tiny_data, tmp_path, own_cache):
    return sg.train(tiny.MODEL, tiny_data, tmp_path / "run", steps=tiny.STEPS, settings=tiny.SETTINGS, augment=darkened)


def test_a_run_knows_the_source_and_goes_on_with_no_other(run, tiny_data, tiny_run, tmp_path, own_cache, capsys):
    recipe = run.path / "recipe.yaml"
    assert f"own: {word_of(darkened)}" in recipe.read_text()
    assert run.model.read_bytes() != sg.Run(tiny_run).model.read_bytes()

    words = {"model": tiny.MODEL, "data": tiny_data, "steps": tiny.STEPS, "settings": tiny.SETTINGS}
    assert sg.train(**words, out=run.path, augment=darkened) == run  # finished
    again = sg.train(recipe=recipe, out=tmp_path / "again", augment=darkened)
    assert again.model.read_bytes() == run.model.read_bytes()
    with pytest.raises(RunError, match=r"augment\.own: 'darkened .*' -> 'drawn"):
        sg.train(**words, out=run.path, augment=drawn)
    with pytest.raises(RunError, match=r"augment\.own: 'darkened .*' -> None"):
        sg.train(**words, out=run.path)
    with pytest.raises(RecipeError, match=r"made with the function darkened .*, and none is given\. Call st\.train\("):
        sg.train(recipe=recipe, out=tmp_path / "third")
    with pytest.raises(RecipeError, match=r"made with the function darkened .*, and drawn .* is given\."):
        sg.train(recipe=recipe, out=tmp_path / "third", augment=drawn)
    assert cli.main(["train", "--recipe", str(recipe), "--out", str(tmp_path / "third")]) == 2
    assert "and none is given" in "".join(capsys.readouterr())
    assert not (tmp_path / "third").exists()


def test_nothing_is_left_where_a_function_fails_before_training(tiny_data, tmp_path, own_cache):
    with pytest.raises(RecipeError, match="augment=too_small"):
        sg.train(tiny.MODEL, tiny_data, tmp_path / "run", steps=2, settings=tiny.SETTINGS, augment=too_small)
    assert not Path(tmp_path / "run").exists()
