"""One geometry for image and mask, light for the image alone, and draws that depend on nothing but their names."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as vision

from segtrial.data.augment import GAINS, Augmentation, Draw, apply, draw, light, place_window
from segtrial.data.geometry import crop_image, crop_mask, resize, source_points
from segtrial.errors import RecipeError
from segtrial.shapes import IGNORE

SIDE = 48
few = settings(max_examples=50, deadline=None)
SAME = tuple(range(11))
UNIT = st.floats(0, 1)
SPREAD = st.floats(-1, 1)
# plain fields: type checks of a dataclass draw random numbers, which hypothesis forbids inside a strategy
DRAWS = st.fixed_dictionaries(
    {
        "scale": UNIT,
        "place": st.tuples(UNIT, UNIT),
        "shift": st.tuples(SPREAD, SPREAD),
        "angle": st.one_of(st.just(0.0), st.floats(-180, 180)),
        "flip_vertical": st.booleans(),
        "flip_horizontal": st.booleans(),
        "contrast": st.floats(0.5, 1.5),
        "gains": st.tuples(*[st.floats(0.5, 1.5)] * GAINS),
    }
)
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))
SCALES = st.floats(0.4, 2).map(lambda factor: (factor, factor * 1.5))


def random_pair(height=SIDE, width=SIDE, channels=3, dtype=torch.uint8):
    numbers = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (channels, height, width), generator=numbers, dtype=torch.uint8)
    target = torch.randint(0, len(SAME), (height, width), generator=numbers, dtype=torch.uint8)
    return (image if dtype == torch.uint8 else image.float() / 255), target


def coordinates(side=SIDE):
    """Image: row and column of every pixel, in pixels; masks: the same two numbers."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    image = torch.stack([rows, columns]).to(torch.uint8)
    return image, image[0].clone(), image[1].clone()


UNLIT = {"contrast": 1.0, "gains": (1.0,) * GAINS}


STILL = {"scale": 0.0, "place": (0.0, 0.0), "shift": (0.0, 0.5), "angle": 0.0}


@few
@example(fields=STILL | {"flip_vertical": False, "flip_horizontal": False}, scale=(0.5, 0.75), size=(3, 1))
@given(fields=DRAWS, scale=SCALES, size=SIZES)
def test_image_and_mask_show_the_same_place(fields, scale, size):
    image, rows, columns = coordinates()
    table = tuple(range(SIDE))
    drawn = Draw(**{**fields, **UNLIT})
    for axis, code in enumerate((rows, columns)):
        crop, label = apply(image.float() / 255, code, drawn, scale=scale, size=size, mirrored=table)
        window = place_window((SIDE, SIDE), drawn, scale=scale, size=size)
        # where mirrored pixels are blended in, the image no longer holds a place: stay one blur inside
        y, x = source_points(window, size, image.device)
        blur = 1 + max(window.height / size[0], window.width / size[1])
        inside = (y > blur) & (y < SIDE - blur) & (x > blur) & (x < SIDE - blur)
        apart = (crop[axis] * 255 - label).abs()[inside & (label != IGNORE)]
        assert (apart < 1.01).all()
        assert (label[inside] != IGNORE).all()


@few
@given(fields=DRAWS)
def test_at_scale_one_image_and_mask_agree_exactly(fields):
    image, rows, columns = coordinates()
    drawn = Draw(**{**fields, **UNLIT, "angle": 0.0})
    for axis, code in enumerate((rows, columns)):
        crop, label = apply(image, code, drawn, scale=(1, 1), size=(31, 77), mirrored=tuple(range(SIDE)))
        counted = label != IGNORE
        assert torch.equal(crop[axis][counted], label[counted])


@few
@given(fields=DRAWS, scale=SCALES, size=SIZES)
def test_no_new_class_appears_and_sizes_are_as_asked(fields, scale, size):
    image, target = random_pair()
    target[target == 3] = 5
    crop, labels = apply(image, target, Draw(**fields), scale=scale, size=size, mirrored=SAME)
    assert crop.shape == (3, *size)
    assert labels.shape == size
    assert set(labels.unique().tolist()) <= set(target.unique().tolist()) | {IGNORE}


@few
@given(size=SIZES, source=SIZES)
def test_an_upright_mask_is_torch_nearest(size, source):
    _, target = random_pair(*source)
    window = place_window(source, Draw(), scale=(1, 1), size=source)
    expected = torch.nn.functional.interpolate(target[None, None], size, mode="nearest-exact")[0, 0]
    ours = crop_mask(target, window, size)
    # torch rounds the place in float32; where a centre falls on a pixel's border either neighbour is right
    on_border = [((2 * torch.arange(n) + 1) * m % (2 * n)) == 0 for n, m in zip(size, source, strict=True)]
    clear = ~(on_border[0][:, None] | on_border[1][None, :])
    assert torch.equal(ours[clear], expected[clear])


@pytest.mark.parametrize("angle", [-120.0, -7.0, 31.0, 90.0, 180.0])
def test_a_turn_is_torchvisions(angle):
    image, target = random_pair()
    window = place_window((SIDE, SIDE), Draw(angle=angle), scale=(1, 1), size=(SIDE, SIDE))
    smooth = v2.functional.gaussian_blur(image, [9, 9], [3.0, 3.0])
    expected = vision.rotate(smooth, angle, interpolation=v2.InterpolationMode.BILINEAR)
    labels = vision.rotate(target[None], angle, interpolation=v2.InterpolationMode.NEAREST, fill=IGNORE)[0]
    inside = ndimage.binary_erosion((labels != IGNORE).numpy(), iterations=2)
    apart = (crop_image(smooth, window, (SIDE, SIDE)).int() - expected.int()).abs()[:, torch.from_numpy(inside)]
    assert apart.max() <= 1
    assert (crop_mask(target, window, (SIDE, SIDE)) == labels).float().mean() > 0.99  # ties on pixel borders


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_quarter_turns_are_exact(turns):
    image, _ = random_pair()
    window = place_window((SIDE, SIDE), Draw(angle=90.0 * turns), scale=(1, 1), size=(SIDE, SIDE))
    assert torch.equal(crop_image(image, window, (SIDE, SIDE)), image.rot90(turns, (1, 2)))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=["bytes", "floats"])
@pytest.mark.parametrize(("rows", "size"), [(3, (5, 1)), (9, (4, 1)), (3, (7, 3))], ids=["larger", "smaller", "wider"])
def test_an_image_one_pixel_wide_is_resized_like_a_wider_one(rows, size, dtype):
    column = torch.arange(0, 20 * rows, 20)[None, :, None].to(dtype)
    found = resize(column, size)
    wide = resize(column.expand(1, rows, 8).contiguous(), (size[0], 8))
    assert torch.equal(found, wide[..., :1].expand(1, *size))
    assert len(found.unique()) > 2


def test_shrinking_averages_and_does_not_pick():
    board = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2 * 255
    image = board.to(torch.uint8).expand(3, SIDE, SIDE)
    for angle in (0.0, 20.0):
        window = place_window((SIDE, SIDE), Draw(angle=angle), scale=(0.25, 0.25), size=(8, 8))
        crop = crop_image(image, window, (8, 8)).int()
        assert (crop - 127).abs().max() <= 12


@few
@given(fields=DRAWS, size=st.tuples(st.integers(1, 40), st.integers(1, 40)))
def test_a_flip_twice_is_no_flip(fields, size):
    image, target = random_pair(*size)
    flips = {name: fields[name] for name in ("flip_vertical", "flip_horizontal")}
    swapped = (0, 2, 1, *range(3, 11))
    once = apply(image, target, Draw(**flips), scale=(1, 1), size=size, mirrored=swapped)
    twice = apply(*once, Draw(**flips), scale=(1, 1), size=size, mirrored=swapped)
    assert torch.equal(twice[0], image)
    assert torch.equal(twice[1], target)


def test_a_horizontal_flip_swaps_left_and_right_classes_and_a_vertical_one_does_not():
    image, _ = random_pair(1, 4)
    target = torch.tensor([[0, 1, 2, IGNORE]], dtype=torch.uint8)
    across = apply(image, target, Draw(flip_horizontal=True), scale=(1, 1), size=(1, 4), mirrored=(0, 2, 1))
    down = apply(image, target, Draw(flip_vertical=True), scale=(1, 1), size=(1, 4), mirrored=(0, 2, 1))
    assert across[1].tolist() == [[IGNORE, 1, 2, 0]]
    assert down[1].tolist() == [[0, 1, 2, IGNORE]]


def test_beyond_the_image_the_mask_ignores_and_the_image_is_its_mirror():
    image, target = torch.tensor([[[10, 20, 30]]], dtype=torch.uint8), torch.tensor([[1, 2, 3]], dtype=torch.uint8)
    crop, labels = apply(image, target, Draw(), scale=(1, 1), size=(3, 9), mirrored=SAME)
    assert crop[0].tolist() == [[30, 20, 10, 10, 20, 30, 30, 20, 10]] * 3
    assert labels[1].tolist() == [*[IGNORE] * 3, 1, 2, 3, *[IGNORE] * 3]
    assert labels[0].tolist() == labels[2].tolist() == [IGNORE] * 9


def test_light_by_hand():
    image = torch.tensor([[[0, 100, 255]], [[0, 100, 255]]], dtype=torch.uint8)
    lit = light(image, Draw(contrast=0.5, gains=(1.0, 1.5, *[1.0] * (GAINS - 2))))
    # half the distance to 127.5: 63.75, 113.75, 191.25; times 1.5: 95.6, 170.6, 286.9 -> 255
    assert lit.tolist() == [[[64, 114, 191]], [[96, 171, 255]]]
    floats = light(image.float() / 255, Draw(contrast=0.5, gains=(1.0, 1.5, *[1.0] * (GAINS - 2))))
    torch.testing.assert_close(floats[1, 0], torch.tensor([95.625, 170.625, 255.0]) / 255)


@few
@given(fields=DRAWS, size=SIZES)
def test_light_leaves_the_mask_alone(fields, size):
    image, target = random_pair()
    dark = apply(image, target, Draw(**fields), scale=(0.5, 2), size=size, mirrored=SAME)
    plain = apply(image, target, Draw(**{**fields, **UNLIT}), scale=(0.5, 2), size=size, mirrored=SAME)
    assert torch.equal(dark[1], plain[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4, 11])
def test_the_type_stays_whatever_the_channels(dtype, channels):
    image, target = random_pair(channels=channels, dtype=dtype)
    before = image.clone()
    for angle in (0.0, 9.0):
        drawn = draw(Augmentation(), seed=1, epoch=2, key="k")
        crop, _ = apply(
            image, target, Draw(**{**vars(drawn), "angle": angle}), scale=(0.5, 0.9), size=(20, 30), mirrored=SAME
        )
        assert crop.dtype == dtype
        assert crop.shape == (channels, 20, 30)
        assert crop.min() >= 0
        assert crop.max() <= (255 if dtype == torch.uint8 else 1)
    assert torch.equal(image, before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("angle", [0.0, 13.0])
def test_bits_do_not_depend_on_threads(dtype, angle):
    image, target = random_pair(400, 500, dtype=dtype)
    drawn = Draw(**{**vars(draw(Augmentation(), 0, 0, "k")), "angle": angle})
    made, threads = [], torch.get_num_threads()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        made.append(apply(image, target, drawn, scale=(0.6, 0.6), size=(211, 307), mirrored=SAME))
    torch.set_num_threads(threads)
    for image_again, labels_again in made[1:]:
        assert torch.equal(made[0][0], image_again)
        assert torch.equal(made[0][1], labels_again)


def test_the_order_of_axes_in_memory_changes_no_bit():
    image, target = random_pair(90, 120)
    last = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    kwargs = {"scale": (0.7, 0.7), "size": (40, 50), "mirrored": SAME}
    for angle in (0.0, 13.0):
        drawn = Draw(angle=angle, contrast=1.2)
        assert torch.equal(apply(image, target, drawn, **kwargs)[0], apply(last, target, drawn, **kwargs)[0])


@few
@given(seed=st.integers(0, 2**40), epoch=st.integers(0, 10**6), key=st.text(max_size=20))
def test_a_draw_is_a_function_of_its_names(seed, epoch, key):
    everything = Augmentation(0.5, 0.5, 30, 0.2, 0.3, 0.3, 0.3)
    first = draw(everything, seed, epoch, key)
    assert draw(everything, seed, epoch, key) == first
    assert len({first, draw(everything, seed + 1, epoch, key), draw(everything, seed, epoch + 1, key)}) == 3
    assert draw(everything, seed, epoch, key + "x") != first


def test_switching_one_draw_off_leaves_the_others():
    with_turn = draw(Augmentation(rotate=10, color=0.3), 0, 0, "k")
    without = draw(Augmentation(rotate=0, color=0.3), 0, 0, "k")
    assert without.angle == 0 != with_turn.angle
    assert Draw(**{**vars(with_turn), "angle": 0.0}) == without


def test_nothing_drawn_changes_nothing_but_the_place():
    image, target = random_pair()
    drawn = draw(Augmentation.none(), 0, 0, "k")
    crop, labels = apply(image, target, drawn, scale=(1, 1), size=(SIDE, SIDE), mirrored=SAME)
    assert torch.equal(crop, image)
    assert torch.equal(labels, target)


def test_draws_keep_to_their_ranges_and_frequencies():
    wanted = Augmentation(0.25, 0.75, 30, 0.2, 0.3, 0.1, 0.0)
    drawn = [draw(wanted, 0, epoch, "k") for epoch in range(2000)]
    assert np.mean([d.flip_horizontal for d in drawn]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([d.flip_vertical for d in drawn]) == pytest.approx(0.75, abs=0.04)
    for values, spread in (
        ([d.angle for d in drawn], 30),
        ([d.shift[0] for d in drawn], 0.2),
        ([d.shift[1] for d in drawn], 0.2),
        ([d.contrast - 1 for d in drawn], 0.1),
        ([d.gains[0] - 1 for d in drawn], 0.3),
    ):
        assert -spread <= min(values) < -0.95 * spread
        assert 0.95 * spread < max(values) <= spread
    assert all(len(set(d.gains)) == 1 for d in drawn)  # no colour asked for: every channel alike


def test_the_scale_is_met():
    for unit, factor in ((0.0, 0.5), (0.5, 1.0), (1.0, 2.0)):
        window = place_window((480, 640), Draw(scale=unit), scale=(0.5, 2.0), size=(120, 200))
        assert (window.height, window.width) == (round(120 / factor), round(200 / factor))


@pytest.mark.parametrize(
    ("field", "value", "most"),
    [("flip_horizontal", 1.5, 1), ("rotate", 181, 180), ("brightness", -0.1, 1), ("shift", float("nan"), 1)],
)
def test_values_out_of_range_are_named(field, value, most):
    with pytest.raises(RecipeError, match=rf"augmentation\.{field}: {value}\. Give a number from 0 to {most}"):
        Augmentation(**{field: value})
