"""Duplicates: a planted copy is found and named by its part, and pictures that are merely alike are left alone."""

import io

import numpy as np
import pytest
from PIL import Image

from segtrial.data import SplitOptions, open_dataset
from segtrial.data.likeness import look_at
from segtrial.data.sample import Dataset
from segtrial.inspection.duplicates import check_duplicates
from segtrial.inspection.finding import Finding
from tests.data.drawn import labels, scene

SIZE = (64, 96)


def found(dataset: Dataset, **how) -> dict[str, Finding]:
    looks = look_at([item for items in dataset.parts.values() for item in items], dataset.read)
    findings = check_duplicates(dataset, looks, **how)
    assert len({one.code for one in findings}) == len(findings)
    return {one.code: one for one in findings}


def encoded(pixels: np.ndarray, kind: str = "PNG", **how) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **how)
    return file.getvalue()


def folder(make, images, masks=None) -> Dataset:
    """Four different images in each part, and `images`: {"val/x": bytes}; `masks` differ from the usual one."""
    everything = {f"train/t{n}": encoded(scene(n)) for n in range(4)}
    everything |= {f"val/v{n}": encoded(scene(10 + n)) for n in range(4)}
    files = {}
    for name, content in {**everything, **images}.items():
        part, stem = name.split("/")
        ending = "jpg" if content[:2] == b"\xff\xd8" else "png"
        size = Image.open(io.BytesIO(content)).size
        files[f"{part}/images/{stem}.{ending}"] = content
        files[f"{part}/masks/{stem}.png"] = (masks or {}).get(name, labels([0, 1], (size[1], size[0])))
    return open_dataset(make(files))


def test_different_pictures_are_no_finding(make):
    assert found(folder(make, {})) == {}


@pytest.mark.parametrize("how", [{}, {"compress_level": 1}])
def test_the_same_pixels_in_train_and_val_are_an_error(make, how):
    """The same bytes, and the same pixels in other bytes."""
    findings = found(folder(make, {"val/copy": encoded(scene(2), **how)}))
    assert set(findings) == {"duplicate.across"}
    one = findings["duplicate.across"]
    assert (one.severity, one.count, one.files) == ("error", 1, ("val/images/copy",))
    assert "val/images/copy = train/images/t2" in one.message
    assert "in one part only" in one.fix


CHANGES = {
    "jpeg": encoded(scene(2), "JPEG", quality=60),
    "half": encoded(np.asarray(Image.fromarray(scene(2)).resize((48, 32)))),
    "darker": encoded((scene(2) * 0.85).astype(np.uint8)),
    "mirrored": encoded(np.ascontiguousarray(scene(2)[:, ::-1])),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_in_another_part_is_a_warning(make, change):
    findings = found(folder(make, {f"val/{change}": CHANGES[change]}))
    assert set(findings) == {"duplicate.near"}
    one = findings["duplicate.near"]
    assert (one.severity, one.count, one.files) == ("warning", 1, (f"val/images/{change}",))
    assert f"val/images/{change} = train/images/t2" in one.message


def test_copies_inside_a_part(make):
    repeated = {f"train/again{n}": encoded(scene(3)) for n in "ab"}
    findings = found(folder(make, {**repeated, "val/soft": encoded(scene(11), "JPEG")}))
    assert {code: (one.severity, one.count) for code, one in findings.items()} == {
        "duplicate.inside": ("warning", 2),
        "duplicate.similar": ("note", 1),
    }
    assert findings["duplicate.similar"].files == ("val/images/v1",)


def test_copies_of_copies_are_found_once_each(make):
    """Bytes, pixels and looks agree on one picture in train, whatever leads to which."""
    copies = {
        "val/a": encoded(scene(0)),
        "val/b": encoded(scene(0), compress_level=1),
        "val/c": encoded(scene(0), "JPEG", quality=70),
        "val/d": encoded(scene(0), "JPEG", quality=50),
    }
    findings = found(folder(make, copies))
    assert findings["duplicate.across"].files == ("val/images/a", "val/images/b")
    assert findings["duplicate.near"].files == ("val/images/c", "val/images/d")


def test_the_same_picture_with_another_mask_is_an_error(make):
    other = labels([0, 1], SIZE)
    other[:16] = 1 - other[:16]  # a quarter of the rows
    findings = found(folder(make, {"train/copy": encoded(scene(2))}, {"train/copy": other}))
    one = findings["duplicate.masks"]
    assert (one.severity, one.count, one.files) == ("error", 1, ("train/images/t2",))
    assert "up to 25.0% of the pixels differ" in one.message
    assert findings["duplicate.inside"].count == 1


def test_the_same_photograph_under_two_classes(make):
    files = {f"{kind}/{kind}{n}.png": scene(n + shift) for kind, shift in (("cat", 0), ("dog", 50)) for n in range(3)}
    data = open_dataset(make(files | {"dog/copy.png": scene(0)}), SplitOptions(), "classes")
    one = found(data, whole=True)["duplicate.classes"]
    assert (one.severity, one.count) == ("warning", 1)
    assert "dog/copy" in one.message
    assert "cat/cat0" in one.message


def test_frames_of_one_clip_are_no_copies_of_each_other(make):
    wide = scene(1, (64, 128))
    frames = {f"images/a_{n:03}.png": wide[:, n : n + 96] for n in range(12)}
    data = open_dataset(make(frames | {name.replace("images", "masks"): labels([0, 1], SIZE) for name in frames}))
    assert {item.group for item in data.parts["train"]} == {"a"}
    assert found(data) == {}
