"""Shares, minutes and pictures become steps and pixels: by hand arithmetic."""

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.errors import RecipeError, SplitError
from segtrial.recipe import Phase, Recipe
from segtrial.training.plan import Plan, PlannedPhase
from segtrial.training.planning import check_parts, evaluation_steps, image_statistics, phase_shapes, with_steps
from tests.tasks import folders

HALVES = (Phase(share=0.5, batch=4, crop=0.5, scale=(0.5, 1.0)), Phase(share=0.5, batch=2, crop=1.0, scale=(1.0, 1.0)))
SHAPES = tuple(PlannedPhase(steps=0, batch=p.batch, size=(32, 32), scale=p.scale) for p in HALVES)


def steps_of(recipe: Recipe, images: int = 100, seconds: tuple[float, ...] | None = None) -> list[int]:
    return [phase.steps for phase in with_steps(recipe, SHAPES, images, seconds)]


def test_minutes_are_shared_as_time():
    # half of 60 s at 0.1 s a step, half at 0.3 s
    assert steps_of(Recipe(phases=HALVES, minutes=1.0), seconds=(0.1, 0.3)) == [300, 100]


def test_epochs_are_shared_as_images():
    # 10 epochs of 100 images: 500 images by 4, 500 by 2
    assert steps_of(Recipe(phases=HALVES, epochs=10)) == [125, 250]


def test_steps_add_up_to_what_was_asked_for():
    for steps in range(1, 30):
        assert sum(steps_of(Recipe(phases=HALVES, steps=steps))) == steps


def test_what_will_be_done_is_said():
    phases = tuple(phase.model_copy(update={"steps": 1}) for phase in SHAPES)  # 4 images and 2, of 4
    plan = Plan.model_construct(
        steps=2,
        phases=phases,
        parts={"train": 4, "val": 6},
        model={"name": "unet", "parameters": 1234567},
        device="cpu",
    )
    said = "Trains unet (1,234,567 parameters) on 4 images for 2 steps, 1.5 times each image, on cpu; val has 6."
    assert plan.sentence() == said


def test_a_budget_below_one_step_is_refused():
    with pytest.raises(RecipeError, match=r"less than one training step. Give more minutes"):
        steps_of(Recipe(phases=HALVES, epochs=0.001))


def test_crops_are_whole_multiples_of_the_median_image():
    planned = phase_shapes(Recipe(phases=HALVES), [(100, 200), (120, 240), (360, 480)])
    # the median image is 120 x 240: half is 60 x 120 -> 64 x 128; whole is 120 x 240 -> 128 x 256 (4 and 8 times 32)
    assert [phase.size for phase in planned] == [(64, 128), (128, 256)]


def test_crops_of_large_images_are_bounded_and_keep_their_shape():
    height, width = phase_shapes(Recipe(phases=HALVES, crop_pixels=160_000), [(3000, 4000)])[1].size
    assert height * width <= 1.15 * 160_000  # rounding to 32 may add a little
    assert width / height == pytest.approx(4 / 3, rel=0.1)


def test_crops_are_at_least_two_multiples_each_way():
    assert [phase.size for phase in phase_shapes(Recipe(phases=HALVES), [(128, 40)])] == [(64, 64), (128, 64)]


def test_crops_of_tiny_images_are_no_larger_than_they_are():
    """CIFAR's 32x32 would cost four times as much at 64x64, three quarters of it beyond the image."""
    assert [phase.size for phase in phase_shapes(Recipe(phases=HALVES), [(32, 32)])] == [(32, 32), (32, 32)]
    assert [phase.size for phase in phase_shapes(Recipe(phases=HALVES), [(20, 33)])] == [(32, 64), (32, 64)]


def test_evaluations_are_even_and_leave_the_last_to_the_end():
    assert evaluation_steps(100, 4) == (25, 50, 75)
    assert evaluation_steps(100, 1) == ()
    assert evaluation_steps(2, 8) == (1,)


def test_statistics_are_those_of_numpy():
    dataset = open_dataset("toytown:scenes=4,frames=2,size=32x40")
    store = open_store(dataset, "train")
    mean, std, pixels, around = image_statistics(store, len(dataset.classes))
    images = np.stack([store[index].image for index in range(len(store))]) / 255
    targets = np.stack([store[index].target for index in range(len(store))])
    np.testing.assert_allclose(mean, images.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(std, images.std((0, 2, 3)), atol=1e-6)
    classes = range(len(dataset.classes))
    assert pixels == tuple(int((targets == index).sum()) for index in classes)
    shows = [(targets == index).any((1, 2)) for index in classes]
    assert around == tuple(int((targets[shown] != 255).sum()) for shown in shows)


def test_a_part_without_images_is_refused():
    dataset = open_dataset("toytown:scenes=4,frames=2,size=32x40")
    broken = type(dataset)(
        dataset.root, dataset.layout, dataset.classes, {"train": ()}, dataset.read, dataset.fingerprint
    )
    with pytest.raises(SplitError, match=r"the train part is empty"):
        check_parts(broken)


def test_of_whole_images_statistics_count_images_and_not_their_pixels(tmp_path, own_cache):
    """Two images of class ant, one of them large; three of class bee."""
    for name, size in (("ant/0", 4), ("ant/1", 40), ("bee/2", 8), ("bee/3", 8), ("bee/4", 2)):
        folders.save(tmp_path / "train" / f"{name}.png", folders.photo(0, size=(size, size)))
        folders.save(tmp_path / "val" / f"{name}.png", folders.photo(1))
    found = image_statistics(open_store(open_dataset(tmp_path, content="classes"), "train"), 2, whole=True)
    assert (found.pixels, found.around) == ((2, 3), (5, 5))
