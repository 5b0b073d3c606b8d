"""Folders of .npz files, each an image and its mask: every form gives the arrays that were saved."""

import io
from typing import Any

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.errors import DataError, DataNotFound, ImageError, MaskError
from tests.data.drawn import labels, photo

MASK = labels([0, 1, 2])
NAMES = ("a", "b", "c", "d")


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def pairs(**arrays: Any) -> dict[str, bytes]:
    return {f"{name}.npz": npz(**{key: value(n) if callable(value) else value for key, value in arrays.items()})
            for n, name in enumerate(NAMES)}  # fmt: skip


def first(data):
    return data.read(data.parts["train"][0])


FORMS = {
    "h w 3": (lambda one: one, lambda mask: mask),
    "3 h w": (lambda one: one.transpose(2, 0, 1), lambda mask: mask[None].astype(np.int32)),
    "h w": (lambda one: one[:, :, 0], lambda mask: mask[:, :, None].astype(np.uint16)),
    "h w 1": (lambda one: one[:, :, :1], lambda mask: mask.astype(np.int64)),
    "1 h w": (lambda one: one[None, :, :, 0], lambda mask: mask),
    "deep": (lambda one: one[:, :, 0].astype(np.uint16) * 257, lambda mask: mask),
}


@pytest.mark.parametrize(("image", "mask"), FORMS.values(), ids=FORMS)
def test_the_arrays_come_back(make, image, mask):
    data = open_dataset(make(pairs(image=lambda n: image(photo(n)), mask=mask(MASK))))
    item = data.parts["train"][0]
    sample = data.read(item)
    expected = photo(NAMES.index(item.key))[:, :, : len(sample.image)].transpose(2, 0, 1)
    np.testing.assert_array_equal(sample.image, expected)
    np.testing.assert_array_equal(sample.target, MASK)
    assert data.classes.names == ("class_0", "class_1", "class_2")


@pytest.mark.parametrize("names", [("img", "label"), ("X", "y"), ("x", "seg"), ("Image", "target")], ids=str)
def test_other_names(make, names):
    data = open_dataset(make(pairs(**{names[0]: photo(), names[1]: MASK})))
    np.testing.assert_array_equal(first(data).target, MASK)


@pytest.mark.parametrize("mask", [MASK > 0, (MASK > 0).astype(np.uint8) * 255], ids=["bool", "255"])
def test_binary_masks_parts_and_tables(make, mask):
    files = {
        f"{part}/{name}": data for part in ("train", "val") for name, data in pairs(image=photo, mask=mask).items()
    }
    data = open_dataset(make(files | {"classes.txt": "ground\nthing\n"}))
    assert data.classes.names == ("ground", "thing")
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 4, "val": 4}
    np.testing.assert_array_equal(first(data).target, MASK > 0)


def test_grey_beside_colour_is_read_as_colour(make):
    data = open_dataset(make(pairs(image=lambda n: photo(n, channels=3 if n else 1), mask=MASK)))
    grey = next(item for items in data.parts.values() for item in items if item.key == "a")
    np.testing.assert_array_equal(data.read(grey).image, np.repeat(photo(0, channels=1)[None], 3, axis=0))


def test_labels_of_whole_pictures_are_no_masks(make):
    with pytest.raises(DataNotFound, match="no picture below it"):
        open_dataset(make({"train.npz": npz(x=np.stack([photo(), photo(1)]), y=np.array([0, 1]))}))


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"image": photo() / 255.0, "mask": MASK}, ImageError, r"b\.npz: the image is \(12, 16, 3\) of float64"),
        ({"image": photo(), "mask": MASK / 2}, MaskError, r"b\.npz: the mask is \(12, 16\) of float64.*argmax"),
        ({"image": photo(), "mask": photo()}, MaskError, r"b\.npz: the mask is \(12, 16, 3\) of uint8"),
        ({"image": photo(), "mask": MASK[:6]}, MaskError, r"the mask is \(6, 16\) but the image is \(12, 16\)"),
        ({"image": photo()}, DataError, r"b\.npz: no array mask among image"),
        ({"image": photo(), "img": photo(), "mask": MASK}, DataError, r"b\.npz: it holds image, img"),
        ({"image": photo(), "mask": np.array([[None]])}, DataError, r"b\.npz: mask: Python objects"),
    ],
)
def test_what_is_wrong_is_named_with_the_fix(make, arrays, error, message):
    with pytest.raises(error, match=message):
        open_dataset(make(pairs(image=photo, mask=MASK) | {"b.npz": npz(**arrays)}))


def test_a_changed_file_changes_the_fingerprint(make):
    data = open_dataset(make(pairs(image=photo, mask=MASK)))
    item = data.parts["train"][0]
    before = data.fingerprint(item)
    assert data.fingerprint(item) == before
    (data.root / f"{item.key}.npz").write_bytes(npz(image=photo(9), mask=MASK) + b"\0")
    assert data.fingerprint(item) != before
