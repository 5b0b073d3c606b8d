"""Photos of any folder: which are taken, which are left out and said, and that no target tells anything."""

import json
import os
import pickle

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, ImageError, PairingError
from tests.data.drawn import labels, photo


@pytest.fixture(autouse=True)
def own_folder_for_what_was_seen(cache, monkeypatch):
    monkeypatch.setenv("SEGTRIAL_CACHE", str(cache))


def photos_of(root, **options):
    return open_dataset(root, content="photos", **options)


def keys_of(data):
    return sorted(item.key for items in data.parts.values() for item in items)


def grey(seed=0, size=(12, 16)):
    """Grey stored as RGB."""
    return np.repeat(photo(seed, size, channels=1)[..., None], 3, axis=2)


def spotted(share, side=500):
    """A grey photo with a red square on this share of it."""
    pixels = np.full((side, side, 3), 120, np.uint8)
    edge = round(side * share**0.5)
    pixels[:edge, :edge] = (200, 40, 40)
    return pixels


def with_alpha(alpha):
    return np.dstack([photo(1), np.full((12, 16), alpha, np.uint8)])


SOME = {f"a{n}.png": photo(n) for n in (1, 2)}


def test_every_picture_is_rgb_with_a_plane_of_zeros(make, cache):
    palette = Image.fromarray(photo(3)).quantize(8)
    files = {"trips/sea/a.png": photo(1), "b.webp": photo(2), "c.gif": palette, "d.jpg": photo(4)}
    data = photos_of(make(files))
    assert (data.layout, data.classes.names) == ("photos", ("photo",))
    assert keys_of(data) == ["b", "c", "d", "trips/sea/a"]
    for item in (*data.parts["train"], *data.parts["val"]):
        sample = data.read(item)
        with Image.open(item.image) as picture:
            wanted = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(sample.image, wanted)
        np.testing.assert_array_equal(sample.target, np.zeros((12, 16), np.uint8))
    read, fingerprint = pickle.loads(pickle.dumps((data.read, data.fingerprint)))
    item = data.parts["train"][0]
    assert fingerprint(item) == data.fingerprint(item)
    np.testing.assert_array_equal(read(item).image, data.read(item).image)
    assert len(open_store(data, "train", cache=cache)) == len(data.parts["train"])


GREYS = {
    "one channel": ("x.png", photo(5, channels=1)),
    "three equal channels": ("x.png", grey()),
    "lossy": ("x.jpg", grey(size=(64, 64))),
    "sixteen bits": ("x.png", photo(5, channels=1).astype(np.uint16) * 257),
    "one bit": ("x.png", Image.fromarray(labels([0, 255])).convert("1")),
    "grey with alpha": ("x.png", Image.fromarray(labels([0, 255])).convert("LA")),
    "grey palette": ("x.gif", Image.fromarray(photo(5, channels=1)).convert("P")),
    "a spot of colour": ("x.png", spotted(0.003)),
}


@pytest.mark.parametrize("case", GREYS, ids=str)
def test_grey_photos_are_left_out_and_named(make, case):
    name, picture = GREYS[case]
    data = photos_of(make(SOME | {name: picture}))
    assert keys_of(data) == ["a1", "a2"]
    assert "grey photos are left out (1 of 3: x)" in data.notes


COLOURED = {
    "sepia": np.clip(grey() * np.array([1.0, 0.85, 0.6]), 0, 255).astype(np.uint8),
    "a coloured corner": spotted(0.04),
    "dark": photo(1) // 4,
}


@pytest.mark.parametrize("case", COLOURED, ids=str)
def test_little_colour_is_colour(make, case):
    data = photos_of(make(SOME | {"x.png": COLOURED[case]}))
    assert keys_of(data) == ["a1", "a2", "x"]
    assert data.notes[0] == "3 photos"
    assert not any("left out" in note for note in data.notes)


def test_alpha_is_dropped_where_it_hides_nothing(make):
    data = photos_of(make(SOME | {"opaque.png": with_alpha(255), "clear.png": with_alpha(254)}))
    assert keys_of(data) == ["a1", "a2", "opaque"]
    assert "photos with transparent pixels are left out (1 of 4: clear)" in data.notes
    assert "photos have alpha, opaque everywhere, which is dropped (1 of 4: opaque)" in data.notes


def test_a_folder_of_grey_photos_has_nothing_to_teach(make):
    root = make({"a.png": grey(1), "b.png": grey(2), "c.png": with_alpha(9)})
    with pytest.raises(DataError, match=r"set: no photo has colour \(grey are 2, transparent 1\)\. Give colour photos"):
        photos_of(root)


MASKS = {
    "folder": ("images/{}.png", "masks/{}.png"),
    "parts": ("train/{}.png", "trainannot/{}.png"),
    "ending": ("{}.png", "{}_mask.png"),
    "both endings": ("{}_sat.png", "{}_mask.png"),
    "L": ("{}.png", "{}_L.png"),
    "objects": ("JPEGImages/{}.png", "SegmentationObject/{}.png"),
}


@pytest.mark.parametrize("layout", MASKS, ids=str)
def test_masks_are_no_photos(make, layout):
    image, mask = MASKS[layout]
    files = {image.format(n): photo(i) for i, n in enumerate("uvw")} | {mask.format(n): photo(9) for n in "uvw"}
    data = photos_of(make(files))  # masks in colours without any table, one of them missing: nobody asks
    assert keys_of(data) == sorted(image.format(n).removesuffix(".png") for n in "uvw")
    assert any("3 pictures are masks by their folder or name: left out" in note for note in data.notes)


def test_left_and_right_are_photos_of_one_subject(make):
    files = {f"{n:02}_{side}.png": photo(2 * n + (side == "L")) for n in range(6) for side in "LR"}
    data = photos_of(make(files))
    assert len(keys_of(data)) == 12
    assert not {item.group for item in data.parts["train"]} & {item.group for item in data.parts["val"]}


def test_parts_are_those_of_the_folders_and_grey_ones_leave_each(make):
    files = {f"{part}/{n}.png": photo(n) for part in ("Train", "validation", "test") for n in range(3)}
    data = photos_of(make(files | {"Train/0.png": grey(), "validation/1.png": grey()}))
    parts = {part: [item.key for item in items] for part, items in data.parts.items()}
    tests = ["test/0", "test/1", "test/2"]
    assert parts == {"train": ["Train/1", "Train/2"], "val": ["validation/0", "validation/2"], "test": tests}


def test_a_clip_is_not_cut(make):
    ramp = np.linspace(0, 200, 16).astype(np.uint8)[None, :, None] * np.array([1, 1, 0], np.uint8)
    files = {}
    for seed, name in enumerate(("dawn", "noon", "dusk")):
        base = photo(seed) // 2
        files |= {f"{name}_{n:03}.png": base + np.uint8(n) + ramp // 4 for n in range(10)}
    data = photos_of(make(files), options=SplitOptions(val_share=0.4))
    assert {item.group for item in data.parts["val"]} < {"dawn", "noon", "dusk"}
    assert not {item.group for item in data.parts["train"]} & {item.group for item in data.parts["val"]}


def test_a_set_with_masks_lends_its_parts_and_groups(make):
    names = ["0001TP_006690", "0006R0_f00930", "0006R0_f00960", "0016E5_00390"]
    files = {f"train/{name}.png": photo(n) for n, name in enumerate(names)}
    files |= {f"trainannot/{name}.png": labels([*range(12)]) for name in names}
    data = photos_of(make(files | {"train/0006R0_f00930.png": grey()}), options=SplitOptions(val_groups=("0016E5",)))
    assert [item.key for item in data.parts["train"]] == ["train/0001TP_006690", "train/0006R0_f00960"]
    assert [item.group for item in data.parts["val"]] == ["0016E5"]
    assert data.notes[0] == "the images of a data set with masks (camvid), which are not looked at"
    assert "grey photos are left out (1 of 4: train/0006R0_f00930)" in data.notes
    assert data.read(data.parts["val"][0]).target.max() == 0


def test_a_description_is_obeyed(make):
    files = {f"p/{n}.png": photo(n) for n in range(4)} | {f"m/{n}.png": labels([0, 1]) for n in range(4)}
    text = "images: p\nmasks: m\nsplits: {train: ['0', '1', '2'], val: ['3']}\n"
    data = photos_of(make(files | {"data.yaml": text}))
    assert [item.key for item in data.parts["val"]] == ["p/3"]
    assert (data.classes.names, data.read(data.parts["val"][0]).target.max()) == (("photo",), 0)


def test_toytown_can_be_coloured():
    town = open_dataset("toytown:scenes=4,frames=2,size=32x40")
    data = photos_of("toytown:scenes=4,frames=2,size=32x40")
    assert data.parts == town.parts
    item = data.parts["val"][0]
    np.testing.assert_array_equal(data.read(item).image, town.read(item).image)
    assert (data.read(item).target.max(), town.read(item).target.max() > 0) == (0, True)
    assert data.layout != town.layout  # or they would share an entry of the cache


def test_a_photo_that_changed_is_looked_at_again(make):
    root = make(SOME | {"x.png": photo(9)})
    assert len(keys_of(photos_of(root))) == 3
    make({"x.png": grey()})
    os.utime(root / "x.png", ns=(1, 1))
    assert len(keys_of(photos_of(root))) == 2
    assert keys_of(photos_of(root)) == ["a1", "a2"]  # and again, from what was kept


DAMAGES = {
    "empty": lambda seen: "",
    "a list": lambda seen: "[]",
    "half": lambda seen: json.dumps(seen)[:-9],
    "no looks": lambda seen: json.dumps({"rule": seen["rule"]}),
    "other looks": lambda seen: json.dumps(seen | {"looks": dict.fromkeys(seen["looks"], 3)}),
    "another rule": lambda seen: json.dumps({"rule": 0, "looks": dict.fromkeys(seen["looks"], "coloured")}),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=str)
def test_what_was_kept_may_be_damaged(make, cache, damage):
    root = make(SOME | {"x.png": grey()})
    photos_of(root)
    (kept,) = cache.glob("photos-*.json")
    seen = json.loads(kept.read_bytes())
    kept.write_text(DAMAGES[damage](seen))
    assert keys_of(photos_of(root)) == ["a1", "a2"]
    assert json.loads(kept.read_bytes()) == seen


def test_where_nothing_can_be_kept_photos_are_looked_at_each_time(make, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("SEGTRIAL_CACHE", str(tmp_path / "file" / "cache"))
    root = make(SOME | {"x.png": grey()})
    assert keys_of(photos_of(root)) == keys_of(photos_of(root)) == ["a1", "a2"]


def test_faults_are_named(make):
    with pytest.raises(DataNotFound, match=r"set: no photo below it \(1 \.txt\)\. Give a folder"):
        photos_of(make({"a.txt": "x"}))
    with pytest.raises(DataNotFound, match=r"a\.txt: not a folder"):
        photos_of(make({}).joinpath("a.txt"))
    with pytest.raises(DataNotFound, match=r"no photo below it \(1 mask by place or name, 1 \.txt\)"):
        photos_of(make({"masks/1.png": photo(1)}))
    with pytest.raises(
        ImageError, match=r"(?s)set: 2 of 4 files are at fault:.*b\.png: not a picture.*c\.jpg: empty file"
    ):
        photos_of(make(SOME | {"b.png": "text", "c.jpg": b""}))
    make({"b.png": photo(1), "c.jpg": photo(2)})
    with pytest.raises(PairingError, match=r"share one name: b\.jpg, b\.png"):
        photos_of(make({"b.jpg": photo(1)}))


def test_numbers_without_a_range_are_refused(make):
    root = make(SOME)
    Image.fromarray(np.ones((4, 4), np.float32)).save(root / "x.tif")
    with pytest.raises(ImageError, match=r"x\.tif: its pixels are of kind 'F' from 1\.0 to 1\.0"):
        photos_of(root)


def test_real_scenes(real):
    data = photos_of(real("scenes64"))
    left_out = 2100 - sum(map(len, data.parts.values()))
    assert sorted(data.parts) == ["train", "val"]
    assert 0 < left_out < 40
    assert any(f"grey photos are left out ({left_out} of 2100" in note for note in data.notes)


def test_real_masks_need_no_description_here(real):
    data = photos_of(real("fasseg_v2"))
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 16, "val": 4, "test": 50}
