"""Class weights against hand arithmetic and the laws that they state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial.class_weights import NAMES, class_weights, effective_number
from segtrial.errors import UnknownName

EVERY_WEIGHTING = pytest.mark.parametrize("name", NAMES)
PIXELS = st.lists(st.integers(0, 10**12), min_size=1, max_size=30)


def test_inverse_sqrt_by_hand():
    # 1/sqrt of 4, 1, 4 is 1/2, 1, 1/2; the average of 9 pixels is (4/2 + 1 + 4/2)/9 = 5/9
    np.testing.assert_allclose(class_weights("inverse_sqrt", (4, 1, 4)), [9 / 10, 9 / 5, 9 / 10])


def test_median_frequency_by_hand():
    # class 0 has 6 of 12 pixels in the images that show it, class 1 1 of 4, class 2 has 5 of 10:
    # 1/f = 2, 4, 2; the average of 12 pixels is (6*2 + 1*4 + 5*2)/12 = 26/12
    weights = class_weights("median_frequency", (6, 1, 5), (12, 4, 10))
    np.testing.assert_allclose(weights, np.array([2, 4, 2]) * 12 / 26)


def test_median_frequency_is_that_of_the_paper_but_for_one_factor():
    pixels, around = np.array([900, 50, 7]), np.array([1000, 400, 100])
    frequency = pixels / around
    ratio = class_weights("median_frequency", pixels.tolist(), around.tolist()) / (np.median(frequency) / frequency)
    np.testing.assert_allclose(ratio, ratio[0])


def test_median_frequency_gives_every_class_the_same_sum_where_every_image_shows_all():
    pixels = (70, 20, 10)
    np.testing.assert_allclose(class_weights("median_frequency", pixels) * pixels, 100 / 3)


def test_inverse_by_hand():
    # 1/f of 4, 1, 5 of 10 is 10/4, 10, 10/5; each class then weighs 10 in all, the average of 10 pixels 30/10
    np.testing.assert_allclose(class_weights("inverse", (4, 1, 5)), np.array([10 / 4, 10, 10 / 5]) / 3)


def test_enet_is_that_of_the_paper_but_for_one_factor():
    pixels = np.array([900, 90, 10])
    ratio = class_weights("enet", pixels.tolist()) * np.log(1.02 + pixels / 1000)
    np.testing.assert_allclose(ratio, ratio[0])


def test_enet_lies_between_the_bounds_that_the_paper_names():
    common, rare = class_weights("enet", (10**12, 1))
    assert rare / common == pytest.approx(50.5 / 1.42, rel=0.01)


@pytest.mark.parametrize("beta", [0.9, 0.99, 0.9999])
def test_effective_number_is_that_of_the_paper_but_for_one_factor(beta):
    pixels = np.array([5000, 400, 20, 1])
    effective = np.array([sum(beta**seen for seen in range(count)) for count in pixels])  # their equation 2
    ratio = effective_number(pixels.tolist(), beta) * effective
    np.testing.assert_allclose(ratio, ratio[0])


def test_effective_number_goes_from_no_weighting_to_inverse():
    pixels = (5000, 400, 0, 1)
    assert effective_number(pixels, 0.0).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(effective_number(pixels, 1 - 1e-9), class_weights("inverse", pixels), rtol=1e-4)


def test_effective_number_without_beta_takes_the_mean_count_for_all_there_is():
    # N = 4000/2: beta = 1 - 1/2000
    np.testing.assert_allclose(effective_number((3900, 0, 100)), effective_number((3900, 0, 100), 0.9995))
    np.testing.assert_allclose(effective_number((3900, 100)), effective_number((390_000, 10_000)), rtol=1e-3)


@EVERY_WEIGHTING
@settings(deadline=None, max_examples=50)
@given(pixels=PIXELS)
def test_the_average_pixel_weighs_one(name, pixels):
    weights = class_weights(name, pixels)
    assert np.isfinite(weights).all()
    assert (weights > 0).all()
    assert weights @ pixels == pytest.approx(sum(pixels))


@EVERY_WEIGHTING
@settings(deadline=None, max_examples=50)
@given(pixels=PIXELS)
def test_rarer_classes_never_weigh_less(name, pixels):
    present = [count for count in pixels if count]
    weights = class_weights(name, sorted(present))
    assert (np.diff(weights) <= 1e-9 * weights[:-1]).all()


@EVERY_WEIGHTING
def test_a_class_without_a_pixel_weighs_one_and_leaves_the_others(name):
    weights = class_weights(name, (50, 0, 3))
    assert weights[1] == 1
    np.testing.assert_allclose(weights[[0, 2]], class_weights(name, (50, 3)))


@EVERY_WEIGHTING
def test_a_part_without_a_counted_pixel_gives_equal_weights(name):
    assert class_weights(name, (0, 0)).tolist() == [1, 1]


def test_no_weighting_is_ones():
    assert class_weights("none", (5, 0, 100)).tolist() == [1, 1, 1]


def test_an_unknown_name_is_refused_with_the_list():
    with pytest.raises(UnknownName, match=r"Did you mean 'inverse_sqrt'.*inverse_sqrt, median_frequency, none"):
        class_weights("inverse_sqr", (1, 2))
