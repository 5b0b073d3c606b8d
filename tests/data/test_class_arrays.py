"""Arrays of pictures and labels in .npz: what is read from which form, and what is refused and how."""

import io
import os
import pickle
import struct
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.errors import DataError, DataNotFound, ImageError, UserError
from tests.data.drawn import photo

LABELS = np.array([2, 0, 1, 1, 2, 0, 0])
PIXELS = np.stack([photo(seed, (6, 8)) for seed in range(7)])  # n h w c
GREYS = PIXELS[..., 0]


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def encoded(pictures):
    data = [png(one) for one in pictures]
    ends = np.cumsum([0, *map(len, data)])
    return {"jpeg": np.frombuffer(b"".join(data), np.uint8), "offsets": ends}


def packed(arrays, compressed=False):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, **arrays)
    return file.getvalue()


def whole(**arrays):
    return {"images": PIXELS, "labels": LABELS} | arrays


def classes_of(root):
    return open_dataset(root, content="classes")


FORMS = {
    "n h w c": ({"images": PIXELS, "labels": LABELS}, PIXELS),
    "n c h w": ({"x": PIXELS.transpose(0, 3, 1, 2), "y": LABELS}, PIXELS),
    "contiguous": ({"x": np.ascontiguousarray(PIXELS.transpose(0, 3, 1, 2)), "y": LABELS.astype("u1")}, PIXELS),
    "fortran": ({"data": np.asfortranarray(PIXELS), "labels": LABELS[:, None]}, PIXELS),
    "n h w": ({"X": GREYS, "Y": LABELS.astype(">i2")}, GREYS[..., None]),
    "n h w 1": ({"images": GREYS[..., None], "labels": LABELS}, GREYS[..., None]),
    "encoded": (encoded(PIXELS) | {"labels": LABELS}, PIXELS),
    "encoded, grey": (encoded(GREYS) | {"labels": LABELS}, GREYS[..., None]),
    "encoded, mixed": (encoded([*GREYS[:6], PIXELS[6]]) | {"labels": LABELS},
                       [*np.repeat(GREYS[:6, :, :, None], 3, 3), PIXELS[6]]),
}  # fmt: skip


@pytest.mark.parametrize("compressed", [False, True], ids=["stored", "compressed"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_gives_the_same_pictures(make, form, compressed):
    arrays, pictures = FORMS[form]
    data = classes_of(make({"all.npz": packed(arrays, compressed)}) / "all.npz")
    assert (data.classes.names, data.layout) == (("class_0", "class_1", "class_2"), "npz")
    items = sorted((*data.parts["train"], *data.parts["val"]), key=lambda item: item.key)
    assert [item.key for item in items] == [f"train/{number:05}" for number in range(7)]
    for item, pixels, label in zip(items, pictures, LABELS, strict=True):
        sample = data.read(item)
        np.testing.assert_array_equal(sample.image, pixels.transpose(2, 0, 1))
        np.testing.assert_array_equal(sample.target, np.full((6, 8), label))


def test_parts_are_in_the_names_of_files(make):
    files = {"train_set.npz": whole(), "valid.npz": whole(labels=LABELS[::-1]), "test.npz": whole(labels=LABELS * 0)}
    data = classes_of(make({name: packed(arrays) for name, arrays in files.items()}))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 7, "val": 7, "test": 7}
    assert [data.read(item).target[0, 0] for item in data.parts["val"]] == LABELS[::-1].tolist()
    assert "test has no picture of class_1, class_2" in data.notes


def test_parts_are_in_the_names_of_arrays(make):
    keras = {"x_train": GREYS, "y_train": LABELS, "x_test": GREYS[:3], "y_test": LABELS[:3]}
    data = classes_of(make({"mnist.npz": packed(keras)}))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 6, "val": 1, "test": 3}
    assert data.parts["test"][2].key == "test/00002"
    medical = {f"{part}_{what}": array for part in ("train", "val", "test") for what, array in whole().items()}
    data = classes_of(make({"mnist.npz": packed(medical)}) / "mnist.npz")
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 7, "val": 7, "test": 7}


@pytest.mark.parametrize("names", [["3", "1", "2"], [b"eel", "tür".encode(), b"cat"]], ids=["digits", "bytes"])
def test_names_stay_as_they_are(make, names):
    files = {"train.npz": packed(whole(class_names=np.array(names))), "test.npz": packed(whole())}
    data = classes_of(make(files))
    assert data.classes.names == tuple(name if isinstance(name, str) else name.decode() for name in names)


def test_a_class_without_pictures_is_told(make):
    data = classes_of(make({"train.npz": packed(whole(class_names=np.array(["a", "b", "c", "d"])))}))
    assert "train has no picture of d: no network can learn it" in data.notes


def test_the_reader_travels_without_the_arrays(make, cache):
    data = classes_of(make({"train.npz": packed(whole(images=np.repeat(PIXELS, 40, 1)))}))
    sent = pickle.dumps((data.read, data.fingerprint))
    assert len(sent) < 2000
    item = data.parts["train"][0]
    read, fingerprint = pickle.loads(sent)
    np.testing.assert_array_equal(read(item).image, data.read(item).image)
    assert fingerprint(item) == data.fingerprint(item)
    store = open_store(data, "train", cache=cache)
    np.testing.assert_array_equal(store[0].image, data.read(item).image)


def test_a_changed_file_is_read_again(make):
    root = make({"train.npz": packed(whole())})
    data = classes_of(root)
    item = data.parts["train"][0]
    before, image = data.fingerprint(item), data.read(item).image
    (root / "train.npz").unlink()
    make({"train.npz": packed(whole(images=255 - PIXELS))})
    os.utime(root / "train.npz", ns=(1, 1))
    assert data.fingerprint(item) != before
    np.testing.assert_array_equal(data.read(item).image, 255 - image)


def test_class_folders_beside_other_arrays_are_what_is_read(make):
    files = {f"{name}/{n}.png": photo(n) for name in "ab" for n in range(3)}
    assert classes_of(make(files | {"features.npz": packed({"z": LABELS})})).layout == "classes"


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, sentinel):
        self.sentinel = str(sentinel)

    def __reduce__(self):
        return open, (self.sentinel, "w")


@pytest.mark.parametrize("name", ["images", "labels", "class_names"])
def test_objects_are_never_unpickled(make, tmp_path, name):
    objects = np.array([Bomb(tmp_path / "sentinel")] * 7, object)
    with pytest.raises(
        DataError, match=rf"train\.npz: {name}: Python objects, which only unpickling reads, and a pick"
    ):
        classes_of(make({"train.npz": packed(whole(**{name: objects}))}))
    assert not (tmp_path / "sentinel").exists()


def lied(shape):
    """An .npz whose header of images declares another shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return zipped({"images.npy": file.getvalue() + PIXELS.tobytes(), "labels.npy": npy(LABELS)})


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(members, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def swollen():
    """70 million black pixels in 70 thousand bytes."""
    return packed(whole(images=np.zeros((7, 1000, 10_000), np.uint8)), compressed=True)


def flipped(compressed):
    """One bit of the pictures is wrong, and the checksum is that of the right ones."""
    data = bytearray(packed({"labels": LABELS, "images": np.repeat(PIXELS, 30, 1)}, compressed))
    data[len(data) // 2] ^= 4
    return bytes(data)


def cut(offsets):
    return packed(encoded(PIXELS) | {"labels": LABELS, "offsets": np.array(offsets)})


END = len(encoded(PIXELS)["jpeg"])
REFUSED = {
    "a float": (packed(whole(images=PIXELS / 255)), r"images: shape \(7, 6, 8, 3\) of float64\. Give uint8"),
    "alpha": (packed(whole(images=PIXELS[..., [0, 0, 0, 0]])), r"images: shape \(7, 6, 8, 4\) of uint8\. Give uint8"),
    "rows": (packed(whole(images=PIXELS.reshape(7, -1))), r"images: shape \(7, 144\) of uint8\. Give uint8"),
    "no pixels": (packed(whole(images=PIXELS[:, :0])), r"images: shape \(7, 0, 8, 3\) of uint8"),
    "no pictures": (packed(whole(images=PIXELS[:0], labels=LABELS[:0])), r"labels: 0 labels for 0 pictures"),
    "too few labels": (packed(whole(labels=LABELS[:6])), r"labels: 6 labels for 7 pictures\. Give one"),
    "real labels": (packed(whole(labels=LABELS / 2)), r"labels: shape \(7,\) of float64\. Give one whole number"),
    "one-hot": (packed(whole(labels=np.eye(3, dtype=int)[LABELS])), r"labels: shape \(7, 3\) of int64.*argmax"),
    "negative": (packed(whole(labels=LABELS - 1)), r"picture 1 has the label -1, and classes are 0 to 254\. Number"),
    "beyond": (packed(whole(labels=LABELS * 200)), r"picture 0 has the label 400, and classes are 0 to 254"),
    "unnamed": (packed(whole(class_names=np.array(["a", "b"]))), r"picture 0 has the label 2, and classes are 0 to 1"),
    "names twice": (packed(whole(class_names=np.array(["a", "a", "b"]))), r"repeated names \['a'\]"),
    "no labels": (packed({"images": PIXELS}), r"train\.npz: there are images\. Give images .*and labels"),
    "no offsets": (packed({"jpeg": PIXELS, "labels": LABELS}), r"train\.npz: there are jpeg, labels\. Give images"),
    "two kinds": (packed(whole(**encoded(PIXELS))), r"there are images, labels, jpeg, offsets\. Give"),
    "two names": (packed(whole(y=LABELS)), r"labels of train twice: train\.npz: labels, train\.npz: y\. Keep one"),
    "other arrays": (packed({"z": LABELS}), r"set: no array of pictures or labels\. Give images"),
    "offsets fall": (cut([0, 50, 40, 60, 70, 80, 90, END]), r"offsets: picture 1 is from 50 to 40\. Give the place"),
    "nothing between": (cut([0, 50, 50, 60, 70, 80, 90, END]), r"offsets: picture 1 is from 50 to 50"),
    "offsets end": (
        cut([0, 10, 20, 30, 40, 50, 60, END + 1]),
        rf"offsets: from 0 to {END + 1}, and the bytes are 0 to",
    ),
    "offsets begin": (cut([1, 10, 20, 30, 40, 50, 60, END]), r"offsets: from 1 to"),
    "real offsets": (cut([0.0, 1.0]), r"offsets: shape \(2,\) of float64\. Give n \+ 1 whole"),
    "real bytes": (
        packed({"jpeg": PIXELS, "offsets": LABELS, "labels": LABELS}),
        r"jpeg: shape \(7, 6, 8, 3\) of uint8",
    ),
    "longer": (lied((9, 6, 8, 3)), r"images: its header declares \(9, 6, 8, 3\) of uint8 \(\d+ bytes\), and \d+ bytes"),
    "huge": (lied((10**12, 6, 8, 3)), r"images: its header declares \(1000000000000, 6, 8, 3\)"),
    "below zero": (lied((-7, -6, 8, 3)), r"images: its header declares \(-7, -6, 8, 3\)"),
    "bomb": (swollen(), r"images: \d+ bytes that grow to 70000128, more than 200 times\. Save it uncompressed"),
    "no zip": (b"\x93NUMPY" + bytes(90), r"train\.npz: damaged, or no \.npz file \(File is not a zip"),
    "no npy": (zipped({"images.npy": b"text", "labels.npy": b"text"}), r"damaged, or no \.npz file \(.*magic"),
    "empty": (b"", r"train\.npz: damaged, or no \.npz file"),
    "cut": (packed(whole())[:-90], r"train\.npz: damaged, or no \.npz file"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_be_read_is_refused_by_name(make, case):
    data, message = REFUSED[case]
    root = make({"train.npz": data})
    with pytest.raises(DataError, match=message):
        classes_of(root)


@pytest.mark.parametrize("compressed", [False, True], ids=["stored", "compressed"])
def test_a_wrong_bit_is_found_by_the_checksum(make, compressed):
    data = classes_of(make({"train.npz": flipped(compressed)}))
    with pytest.raises(DataError, match=r"train\.npz: images: damaged"):
        data.read(data.parts["train"][0])


def test_a_damaged_picture_is_named_by_its_number(make, cache):
    arrays = encoded(PIXELS)
    data = arrays["jpeg"].copy()
    data[arrays["offsets"][2] + 60 : arrays["offsets"][3] - 20] = 0
    opened = classes_of(make({"train.npz": packed(arrays | {"jpeg": data, "labels": LABELS})}))
    with pytest.raises(ImageError, match=r"train\.npz: picture 2: truncated or damaged"):
        open_store(opened, "train", cache=cache)


def test_files_must_agree(make):
    files = {
        "train.npz": whole(class_names=np.array(list("abc"))),
        "test.npz": whole(class_names=np.array(list("acb"))),
    }
    with pytest.raises(DataError, match=r"test\.npz: their class_names are not the same"):
        classes_of(make({name: packed(arrays) for name, arrays in files.items()}))
    files = {"train.npz": packed(whole()), "test.npz": packed(whole(labels=LABELS + 1))}
    with pytest.raises(DataError, match=r"test\.npz: labels: picture 0 has the label 3, and classes are 0 to 2"):
        classes_of(make(files))
    with pytest.raises(
        DataError, match=r"images of train twice: train\.npz: images, train_2\.npz: images\. Keep one, or"
    ):
        classes_of(make({"train_2.npz": packed(whole())}))


def test_masks_are_not_looked_for_in_arrays(make):
    with pytest.raises(DataNotFound, match=r"train\.npz: not a folder and not a data\.yaml"):
        open_dataset(make({"train.npz": packed(whole())}) / "train.npz")


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_damage_is_a_user_error_whatever_it_is(tmp_path_factory, draw, compressed):
    data = bytearray(packed(encoded(PIXELS) | {"labels": LABELS, "class_names": np.array(list("abc"))}, compressed))
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(data) - 4))
        data[place : place + 4] = struct.pack("<I", draw.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1, 0x61616161])))
    path = tmp_path_factory.mktemp("set") / "train.npz"
    path.write_bytes(data)
    with suppress(UserError):
        opened = classes_of(path)
        for item in opened.parts["train"]:
            opened.read(item)


def test_real_cifar10(real):
    data = classes_of(real("cifar10"))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 40000, "val": 10000, "test": 10000}
    assert data.classes.names[:3] == ("airplane", "automobile", "bird")
    labels = [data.read(item).target[0, 0] for item in data.parts["test"][:1000]]
    assert np.bincount(labels).min() > 80  # ten classes, shuffled, 1000 each in 10,000
    assert data.read(data.parts["val"][0]).image.shape == (3, 32, 32)
