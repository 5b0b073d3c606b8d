"""Albumentations by name: its own results, the same bits for one (seed, epoch, key), messages for what is wrong."""

import random
import re
import sys
from dataclasses import replace
from inspect import signature
from types import SimpleNamespace

import albumentations
import cv2
import numpy as np
import pytest
import torch

from segtrial import api
from segtrial.data import albumentations_pipeline
from segtrial.data.albumentations_pipeline import GROUPS, MIRRORING, REFUSED, TURNING, apply, names, pipeline, rehearse
from segtrial.data.augment import Augmentation
from segtrial.data.batches import Batches, Phase
from segtrial.errors import RecipeError
from segtrial.randomness import generator, key_of
from segtrial.recipe import from_tree, override
from segtrial.shapes import IGNORE
from tests.data.test_batches import Pictures, assert_same
from tests.training.killing import Forks, digests, train_words, until_done

CLASSES = 5
STEPS = (
    {"RandomBrightnessContrast": {"p": 0.3}},
    {"OneOf": ["GaussNoise", {"MotionBlur": {"blur_limit": 5}}], "p": 0.5},
    {"SomeOf": ["ToGray", "InvertImg", {"Sequential": ["Affine", "Blur"], "p": 1}], "n": 2},
    {"Rotate": {"limit": 20, "p": 1}},
)
GIVEN = {
    "CropAndPad": {"px": 3},
    "ConstrainedCoarseDropout": {"mask_indices": [1, 2]},
    "PadIfNeeded": {"min_height": 8, "min_width": 8},
    "XYMasking": {"num_masks_x": 1, "num_masks_y": 1, "mask_x_length": 6, "mask_y_length": 6},
}
"""What transforms need before they do anything."""
RESIZING = {
    *("CenterCrop", "Crop", "CropNonEmptyMaskIfExists", "LongestMaxSize", "RandomCrop", "RandomCropFromBorders"),
    *("RandomResizedCrop", "RandomScale", "RandomSizedCrop", "Resize", "SmallestMaxSize"),
}
IDLE = {"ToRGB"}
"""For grey pictures of three channels less."""


def crop(height=32, width=32, channels=3):
    """An image and a mask of blocks of labels; a corner of it is ignored."""
    numbers = np.random.default_rng(height * width)
    mask = numbers.integers(0, CLASSES, (height // 4, width // 4), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    mask[:8, :8] = IGNORE
    image = numbers.integers(0, 256, (channels, height, width), dtype=np.uint8)
    return torch.from_numpy(image), torch.from_numpy(mask)


def done(steps, image, mask, key="a", epoch=0, seed=0):
    return apply(steps, image, mask, classes=CLASSES, seed=seed, epoch=epoch, key=key)


def step_of(name, **more):
    return {name: {**GIVEN.get(name, {}), **more}}


def test_steps_are_albumentations_own_classes_seeded_by_the_sample():
    image, mask = crop(24, 36)
    lib = albumentations
    theirs = lib.Compose(
        [
            lib.RandomBrightnessContrast(p=0.3),
            lib.OneOf([lib.GaussNoise(), lib.MotionBlur(blur_limit=5)], p=0.5),
            lib.SomeOf([lib.ToGray(), lib.InvertImg(), lib.Sequential([lib.Affine(), lib.Blur()], p=1)], n=2),
            lib.Rotate(limit=20, p=1, fill_mask=IGNORE),
        ]
    )
    changed = 0
    for key in "abcdefgh":
        place = (3, "albumentations", 1, key)
        theirs.set_random_state(generator(*place), random.Random(key_of(*place)))
        made = theirs(image=image.permute(1, 2, 0).numpy().copy(), mask=mask.numpy().copy())
        ours = done(STEPS, image, mask, key, epoch=1, seed=3)
        assert np.array_equal(ours[0].permute(1, 2, 0), made["image"])
        assert np.array_equal(ours[1], made["mask"])
        changed += not torch.equal(ours[0], image)
    assert changed == 8


@pytest.mark.parametrize("floats", [False, True], ids=["uint8", "float"])
def test_every_transform_is_a_function_of_seed_epoch_and_key(floats):
    """Whatever else was asked for, and whatever any global generator says; and those stay as they are."""
    image, mask = crop()
    image = image / 255 if floats else image
    assert len(names()) > 80
    for name in sorted(set(names()) - RESIZING - IDLE):
        steps = [step_of(name, p=1)]
        first = done(steps, image, mask, "a")
        random.seed(2)
        np.random.seed(2)
        cv2.setRNGSeed(2)
        done(steps, image, mask, "b")
        composed = pipeline(steps).composed
        states = random.getstate(), np.random.get_state()[1].tolist()
        composed(image=image.permute(1, 2, 0).numpy().copy(), mask=mask.numpy().copy())
        assert (random.getstate(), np.random.get_state()[1].tolist()) == states, name
        again = done(steps, image, mask, "a")
        assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True)), name
        assert first[0].dtype == image.dtype
        assert first[0].shape == image.shape


def test_what_a_recipe_may_name_is_what_the_package_has():
    public = {name for name in dir(albumentations) if isinstance(getattr(albumentations, name), type)}
    assert set(REFUSED) | set(GROUPS) | set(MIRRORING) | set(TURNING) <= public
    assert not set(names()) & set(REFUSED)
    for name in set(names()) | set(REFUSED):  # whatever takes code, files or other pictures is refused
        words = str(signature(getattr(albumentations, name).__init__))
        if any(word in words for word in ("Callable[", "metadata_key", "path")):
            assert name in REFUSED or name == "Equalize"  # which takes a function or an array, and YAML has neither


def test_image_and_mask_are_moved_together():
    """Pixels say their label: nearest neighbours, black where uncovered. Only there does the mask become IGNORE."""
    _, mask = crop()
    mask[mask == IGNORE] = 0
    image = (mask * 50 + 1).expand(3, -1, -1)
    moving = set()
    for name in sorted(set(names()) - RESIZING - {"MaskDropout"}):
        kind = getattr(albumentations, name)
        if not issubclass(kind, albumentations.DualTransform):
            continue
        known = signature(kind.__init__).parameters
        step = step_of(name, p=1, **({"interpolation": 0} if "interpolation" in known else {}))
        for key in "abc":
            moved, labels = done([step], image, mask, key)
            if torch.equal(labels, mask):
                continue  # what only covers pixels leaves the mask
            moving.add(name)
            assert torch.equal(labels == IGNORE, moved[0] == 0), name
            assert torch.equal(moved[0][labels != IGNORE], (labels * 50 + 1)[labels != IGNORE]), name
    assert len(moving) >= 15, moving


def test_probabilities_of_two_steps_are_drawn_apart():
    """Albumentations' own set_random_seed would give both the same draw."""
    image, mask = crop(16, 16)
    steps = [{"InvertImg": {"p": 0.5}}, {"VerticalFlip": {"p": 0.5}}]
    counts = {(False, False): 0, (True, False): 0, (False, True): 0, (True, True): 0}
    for number in range(200):
        made, labels = done(steps, image, mask, f"sample {number}")
        flipped = not torch.equal(labels, mask)
        counts[torch.equal(made, 255 - (image.flip(1) if flipped else image)), flipped] += 1
    assert all(25 <= count <= 75 for count in counts.values()), counts  # 50 and four standard deviations


def test_the_fill_of_a_mask_can_be_chosen():
    image, mask = crop()
    assert 3 not in mask.where(mask != 3, 0)
    chosen = done([{"Rotate": {"limit": [45, 45], "fill_mask": 3, "p": 1}}], image, mask.where(mask != 3, 0))[1]
    assert chosen[0, 0] == 3


MIXED = Augmentation(flip_vertical=0.5, cutmix=0.5, albumentations=STEPS)


def batches_of(augmentation=MIXED, store=None, **more):
    phases = (Phase(2, 4, (16, 24), (0.5, 0.8)), Phase(2, 3, (24, 24), (0.7, 1.2)))
    return Batches(store or Pictures(7), phases, augmentation, seed=0, mirrored=(0, 2, 1, 3, 4), **more)


def noisy(image, mask, rng):
    return image ^ rng.integers(0, 8, image.shape, dtype=np.uint8), mask


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than cores
@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_gives_the_same_bits(workers):
    """With a function of the user's own behind the steps."""
    wish = Augmentation(flip_vertical=0.5, cutmix=0.5, albumentations=STEPS, own=noisy)
    made = list(batches_of(wish).loader(0, 4, workers=workers))
    for step, batch in enumerate(made):
        assert_same(batch, batches_of(wish).batch(step))
        assert not torch.equal(batch.images, batches_of(replace(wish, own=None)).batch(step).images)


def test_ranks_and_the_order_of_asking_change_nothing():
    straight = [batches_of().batch(step) for step in range(4)]
    for step in (3, 0, 2, 1):
        halves = [batches_of().batch(step, rank, 2) for rank in range(2)]
        assert torch.equal(torch.cat([half.images for half in halves]), straight[step].images)
        assert torch.equal(torch.cat([half.targets for half in halves]), straight[step].targets)
    assert not torch.equal(straight[0].images, batches_of(replace(MIXED, albumentations=())).batch(0).images)


def test_crops_are_made_on_the_host_and_floats_stay_floats():
    store = Pictures(7, floats=True)
    sent = batches_of(store=store, device=torch.device("cpu"))
    assert not sent.resident
    assert_same(sent.batch(3), batches_of(store=store).batch(3))
    assert sent.batch(3).images.dtype == torch.float32
    assert 0 <= sent.batch(3).images.min() <= sent.batch(3).images.max() <= 1


def test_a_rehearsal_changes_nothing_later():
    rehearsed = batches_of()
    rehearsed.rehearse()
    assert_same(rehearsed.batch(1), batches_of().batch(1))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (["gaussnoise"], "[0]: no transform is called 'gaussnoise'. Did you mean 'GaussNoise'?"),
        (["Blur", "Xyzzy"], "[1]: no transform is called 'Xyzzy'. There are: AdditiveNoise, AdvancedBlur, Affine"),
        ([{"SomeOf": ["Blur", {"OneOf": ["Blr"]}]}], "[0].SomeOf[1].OneOf[0]: no transform is called 'Blr'."),
        (["BasicTransform"], "no transform is called 'BasicTransform'"),
        (["Pad3D"], "no transform is called 'Pad3D'"),
        (["from_dict"], "no transform is called 'from_dict'"),
        ([{"Blur": {"blur": 3}}], "Blur has no parameter 'blur'. It has: blur_limit, p"),
        ([{"GaussNoise": {"std_rang": [0, 1]}}], "Did you mean 'std_range'? It has: std_range, mean_range"),
        ([{"Blur": {"strict": False}}], "Blur has no parameter 'strict'"),
        ([{"Blur": {"p": 2}}], "Blur: p=2: Input should be less than or equal to 1. Its parameters are blur_limit, p"),
        (
            [{"Blur": {"blur_limit": 4}}],
            "Blur: blur_limit: Non-zero kernel sizes must be odd. Range (3, 4) automatically",
        ),
        ([{"GaussNoise": {"std_range": "x"}}], "GaussNoise: std_range='x': Input should be a valid tuple."),
        ([{"Equalize": {"mask": [1]}}], "Equalize: mask=[1]: Input should be an instance of ndarray"),
        (["RandomCrop"], "RandomCrop: height is not given. Its parameters are height, width"),
        ([{"Blur": 0.3}], "Blur holds 0.3. Write parameters by name: {Blur: {p: 0.5}}"),
        ([{"Blur": {}, "p": 0.3}], "[0]: p beside Blur. Write {Blur: {p: 0.5}}"),
        ([{"Blur": {}, "ToGray": {}}], "{'Blur': {}, 'ToGray': {}} has 2 names. Write one step an entry"),
        ([{"OneOf": [3]}], "[0].OneOf[0]: 3 has 0 names. Write one step an entry"),
        ([{"OneOf": []}], "OneOf holds []. Give it a list of steps"),
        ([{"OneOf": ["Blur"], "p": 2}], "OneOf: p=2. Give p from 0 to 1"),
        ([{"OneOf": ["Blur"], "n": 1}], "OneOf has no option n. OneOf and Sequential have p alone"),
        ([{"OneOf": [{"Blur": {"p": 0}}]}], "OneOf has steps of p=0 alone"),
        ([{"SomeOf": ["Blur", "ToGray"], "n": 3}], "SomeOf: n=3 of 2 steps"),
        ([{"SomeOf": ["Blur"], "replace": 1}], "SomeOf: replace=1."),
        ([{"Affine": {"mask_interpolation": 1}}], "Affine would make labels of the mean of labels"),
        ([{"Resize": {"height": 8, "width": 8, "area_for_downscale": "image_mask"}}], "Resize would make labels"),
        ([{"Rotate": {"fill_mask": 9}}], "Rotate: returned the values 9 in the mask of 5 classes"),
        (["RandomScale"], "as the image, not 16 x 24 x 3 uint8. Keep the size"),
        (["D4"], "D4 makes crops of 24 x 16 of those of 16 x 24. Use Rotate"),
        (["HorizontalFlip"], "classes that a mirror exchanges. Use augment.flip_horizontal, which exchanges them"),
        ([{"Blur": {"p": 0.01}}, {"Crop": {"p": 0.01}}], "[1]: Crop does not suit 16 x 24 uint8 crops of 3 channels ("),
        (["ConstrainedCoarseDropout"], "(Neither valid mask nor bboxes provided, do not apply"),
        *(([name], f"{name} {found}") for name, (found, _) in REFUSED.items()),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_before_training(steps, message):
    with pytest.raises(RecipeError, match=re.escape(message)) as caught:
        batches_of(replace(MIXED, albumentations=tuple(steps))).rehearse()
    assert str(caught.value).startswith("augment.albumentations[")


def test_a_mirror_is_allowed_where_no_classes_change_places():
    image, mask = crop()
    rehearse(["HorizontalFlip", "D4"], image, mask, tuple(range(CLASSES)))


def test_channels_that_a_transform_cannot_take_are_named():
    image, mask = crop(16, 16, channels=4)
    with pytest.raises(RecipeError, match=r"RGBShift does not suit 16 x 16 uint8 crops of 4 channels \(Not enough"):
        rehearse(["RGBShift"], image, mask, tuple(range(CLASSES)))


@pytest.fixture
def forgotten():
    """The package is looked for anew."""
    for function in (albumentations_pipeline._library, albumentations_pipeline._built):
        function.cache_clear()
    yield
    for function in (albumentations_pipeline._library, albumentations_pipeline._built):
        function.cache_clear()


def test_without_the_package_the_message_says_how_to_get_it(forgotten, monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(
        RecipeError,
        match=r"not installed .*\. Install the extra: pip install 'segtrial\[albumentations\]', .*; or leave",
    ):
        pipeline(["Blur"])


def test_another_version_is_refused(forgotten, monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", SimpleNamespace(__version__="1.4.0"))
    with pytest.raises(RecipeError, match=r"Albumentations 1\.4\.0 is installed, and recipes mean 2\.0\.8"):
        pipeline(["Blur"])


def test_a_recipe_holds_steps_as_plain_yaml():
    text = "[{RandomBrightnessContrast: {p: 0.3}}, {OneOf: [GaussNoise, MotionBlur: {blur_limit: 5}], p: 0.5}]"
    recipe = from_tree(override({"steps": 3}, [f"augment.albumentations={text}"]))
    assert recipe.augment.albumentations == STEPS[:2]
    assert from_tree(recipe.model_dump(mode="json")) == recipe
    with pytest.raises(RecipeError, match=r"augment\.albumentations"):
        from_tree({"augment": {"albumentations": [3]}})


def test_a_wrong_name_is_said_before_any_data_is_read():
    with pytest.raises(RecipeError, match=r"no transform is called 'Blurr'\. Did you mean 'Blur'"):
        api.train(data="nowhere", settings=["augment.albumentations=[Blurr]"])
    with pytest.raises(RecipeError, match="no transform is called 'Blurr'"):
        api.check(from_tree({"augment": {"albumentations": ["Blurr"]}}))


def test_a_step_counts_after_a_mixing_partner_was_drawn():
    """A mixed crop shows both samples as the steps leave them."""
    always = replace(Augmentation.none(), cutmix=1.0, albumentations=({"InvertImg": {"p": 1}},))
    plain = replace(always, albumentations=())
    phase = [Phase(2, 4, (12, 16), (1, 1))]
    inverted, mixed = (Batches(Pictures(9), phase, wish, seed=0, mirrored=tuple(range(5))) for wish in (always, plain))
    assert torch.equal(inverted.batch(1).images, 255 - mixed.batch(1).images)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(tmp_path):
    forks = Forks(tmp_path / "cache")
    steps = "augment.albumentations=[{GaussNoise: {p: 0.5}}, {OneOf: [Affine, ToGray], p: 0.9}]"
    try:
        until_done(forks, train_words(tmp_path / "whole", "--set", steps))
        for moment in ("checkpoint.after_prune:3", "append.half:3"):
            words = train_words(tmp_path / moment, "--set", steps)
            assert forks.run(words, failpoint=moment)["code"] == -9
            until_done(forks, words)
            assert digests(tmp_path / moment) == digests(tmp_path / "whole")
        until_done(forks, train_words(tmp_path / "plain"))
        assert digests(tmp_path / "plain") != digests(tmp_path / "whole")
    finally:
        forks.close()
