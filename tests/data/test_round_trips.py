"""Any mask, written in any way and read: the same indices; painted in its colours and read again: the same."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from segtrial.classes import VOID_COLOR, Classes
from segtrial.data.layers import LayerReader
from segtrial.data.masks import Encoding, decode_values, read_mask
from segtrial.data.npz_pairs import read_pair
from segtrial.data.sample import Item
from segtrial.drawing import colored, label_png
from segtrial.shapes import IGNORE
from tests.data.drawn import photo

QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
COLORS = st.tuples(*[st.integers(0, 255)] * 3).filter(lambda color: color != VOID_COLOR)


@dataclass(frozen=True)
class Drawn:
    """A mask of classes and IGNORE, with a colour for each class."""

    mask: np.ndarray
    colors: tuple[tuple[int, int, int], ...]

    @property
    def classes(self) -> Classes:
        """Made here: what has checked types draws random numbers, which hypothesis forbids inside a strategy."""
        return Classes(tuple(f"class {n}" for n in range(len(self.colors))), self.colors)


@st.composite
def drawn(draw, most: int = 9, ignored: bool = True) -> Drawn:
    colors = draw(st.lists(COLORS, min_size=2, max_size=most, unique=True))
    values = st.sampled_from([*range(len(colors)), *([IGNORE] * ignored)])
    mask = draw(arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=values))
    return Drawn(mask, tuple(colors))


def spread(mask: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The mask with class i as number i of `numbers`, and IGNORE as the last."""
    return numbers[np.where(mask == IGNORE, -1, mask.astype(np.int64))]


def colors_of(classes: Classes) -> Encoding:
    return Encoding(None, {color: n for n, color in enumerate(classes.colors)} | {VOID_COLOR: IGNORE})


def numbers_of(classes: Classes) -> Encoding:
    return Encoding({n: n for n in range(len(classes))} | {IGNORE: IGNORE})


Write = Callable[[Drawn, Path], Encoding]
"""Writes the mask in one way, and says how it is to be read."""


def grey(one: Drawn, path: Path) -> Encoding:
    Image.fromarray(one.mask).save(path, "PNG")
    return numbers_of(one.classes)


def grey_in_three_channels(one: Drawn, path: Path) -> Encoding:
    Image.fromarray(np.repeat(one.mask[:, :, None], 3, axis=2)).save(path, "WEBP", lossless=True)
    return numbers_of(one.classes)


def palette(one: Drawn, path: Path) -> Encoding:
    """As `predict` writes its answers."""
    path.write_bytes(label_png(one.mask, one.classes))
    return numbers_of(one.classes)


def palette_by_its_colors(one: Drawn, path: Path) -> Encoding:
    path.write_bytes(label_png(one.mask, one.classes))
    return colors_of(one.classes)


def moving_palette(one: Drawn, path: Path) -> Encoding:
    """A GIF, whose writer numbers the colours as it likes."""
    Image.fromarray(colored(one.mask, one.classes)).save(path, "GIF")
    return colors_of(one.classes)


def colors(one: Drawn, path: Path) -> Encoding:
    Image.fromarray(colored(one.mask, one.classes)).save(path, "BMP")
    return colors_of(one.classes)


def colors_with_alpha(one: Drawn, path: Path) -> Encoding:
    Image.fromarray(colored(one.mask, one.classes)).convert("RGBA").save(path, "TIFF")
    return colors_of(one.classes)


def deep_numbers(one: Drawn, path: Path) -> Encoding:
    """16 bits, with holes, and two numbers for each class."""
    numbers = np.array([*(7000 * n for n in range(len(one.classes))), 65535], np.uint16)
    odd = np.indices(one.mask.shape).sum(axis=0) % 2
    written = spread(one.mask, numbers) + np.where(one.mask == IGNORE, 0, odd)
    Image.fromarray(written.astype(np.uint16)).save(path, "PNG")
    meanings = {int(number) + step: n for n, number in enumerate(numbers[:-1]) for step in (0, 1)}
    return Encoding(meanings | {65535: IGNORE})


WRITERS = (
    grey, grey_in_three_channels, palette, palette_by_its_colors, moving_palette, colors, colors_with_alpha,
    deep_numbers,
)  # fmt: skip


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
@QUICK
@given(one=drawn())
def test_indices_come_back_and_so_do_those_of_their_colours(tmp_path, write, one):
    read = read_mask(tmp_path / "mask", write(one, tmp_path / "mask"))
    np.testing.assert_array_equal(read, one.mask)
    Image.fromarray(colored(read, one.classes)).save(tmp_path / "again.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "again.png", colors_of(one.classes)), one.mask)


@QUICK
@given(one=drawn(most=2, ignored=False), high=st.sampled_from([1, 255]), bits=st.booleans())
def test_two_classes_in_any_convention_come_back(tmp_path, one, high, bits):
    picture = Image.fromarray(one.mask * 255).convert("1") if bits else Image.fromarray(one.mask * np.uint8(high))
    picture.save(tmp_path / "mask.png")
    encoding = Encoding({0: 0, 1 if bits else high: 1})
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", encoding), one.mask)


@QUICK
@given(one=drawn(), kind=st.sampled_from([np.uint8, np.uint16, np.int32, np.int64]))
def test_masks_in_arrays_come_back(tmp_path, one, kind):
    np.savez(tmp_path / "pair.npz", image=photo(0, one.mask.shape), mask=one.mask.astype(kind))
    _, values = read_pair(tmp_path / "pair.npz")
    np.testing.assert_array_equal(decode_values(tmp_path, values, numbers_of(one.classes)), one.mask)


@QUICK
@given(one=drawn())
def test_a_file_for_each_class_comes_back(tmp_path, one):
    """Class 0 is what lies under no file, and IGNORE has a file of its own."""
    layers = [(str(index), tmp_path / f"{index}.png") for index in (*range(1, len(one.classes)), IGNORE)]
    for label, path in layers:
        Image.fromarray((one.mask == int(label)).astype(np.uint8) * 255).save(path)
    Image.fromarray(photo(0, one.mask.shape)).save(tmp_path / "image.png")
    reader = LayerReader({"a": tuple(layers)}, {label: int(label) for label, _ in layers}, 3)
    np.testing.assert_array_equal(reader(Item("a", "a", tmp_path / "image.png")).target, one.mask)


def test_a_painted_mask_is_its_palette_read_by_pillow():
    """`colored` against another program: what Pillow makes of the palette."""
    mask = np.array([[0, 1], [2, IGNORE]], np.uint8)
    classes = Classes.named(["sky", "road", "tree"])
    with Image.open(io.BytesIO(label_png(mask, classes))) as picture:
        np.testing.assert_array_equal(colored(mask, classes), np.asarray(picture.convert("RGB")))
