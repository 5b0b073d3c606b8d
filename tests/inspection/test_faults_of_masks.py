"""Masks, arrays and lists of classes as exports break them: each is named by `inspect`, or read for what it is."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segtrial.inspection import inspect
from tests.data.drawn import labels, photo
from tests.data.test_npz_pairs import npz
from tests.inspection.test_faults_of_files import SIZE, codes, the, tiff
from tests.inspection.test_inspect_faults import MASK, NAMES, all_masks, good, of


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def pairs(**other: Any) -> dict[str, bytes]:
    """Five .npz files of an image and a mask, the second with these arrays in place of its own."""
    return {f"{name}.npz": npz(**{"image": photo(n, SIZE), "mask": MASK} | (other if name == "b" else {}))
            for n, name in enumerate(NAMES)}  # fmt: skip


def masks_as(ending: str, content: bytes) -> dict:
    """Five pairs, the second mask with this in it."""
    return {place: one for place, one in good().items() if place != "masks/b.png"} | {f"masks/b.{ending}": content}


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [False, True], ids=["numbers", "names"])
def test_negative_values_stand_for_no_class(make, cache, named):
    signed = MASK.astype("<i2")
    signed[0, :7] = -1
    table = {"classes.txt": "a\nb\nc\n"} if named else {}
    found = inspect(make(masks_as("tif", tiff(signed.tobytes(), SIZE, bits=16, kind=2)) | table), cache=cache)
    [one] = of(found, "class.table" if named else "mask.holes")
    assert one.severity == "error"
    assert "-1 (7 pixels, first in " in one.message
    assert "masks/b.tif)" in one.message
    assert ("Correct the masks" if named else "`segtrial inspect DATA --write") in one.fix


def test_a_value_above_the_declared_ones_is_named_by_its_file(make, cache):
    wrong = MASK.copy()
    wrong[0, :5] = 9
    about = "classes: [{name: a, ids: [0]}, {name: b, ids: [1]}, {name: c, ids: [2]}]\n"
    found = inspect(make(good() | {"masks/b.png": wrong, "data.yaml": about}), cache=cache)
    one = the(found, "mask.unknown_values", "error", "masks/b.png", "declare the values in data.yaml")
    assert "9 (5 pixels)" in one.message


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_an_opaque_mask_is_read_and_a_transparent_one_is_not(make, cache, mode):
    def picture(alpha: int) -> Image.Image:
        mask = Image.fromarray(MASK)
        made = mask.convert("P").convert("PA") if mode == "PA" else mask.convert(mode)
        made.putalpha(Image.fromarray(labels([255, alpha], SIZE)))
        return made

    place = "masks/b.tif" if mode == "PA" else "masks/b.png"
    whole = {name: one for name, one in good().items() if name != "masks/b.png"}
    assert not inspect(make(whole | {place: picture(255)}), cache=cache).failed
    the(inspect(make({place: picture(254)}), cache=cache), "mask.alpha", "error", place, "Flatten it")


@pytest.mark.parametrize("kind", ["tif", "npy", "npz"])
def test_probabilities_are_no_mask(make, cache, kind):
    soft = (MASK / 3).astype(np.float32)
    if kind == "tif":
        picture = io.BytesIO()
        Image.fromarray(soft).save(picture, "TIFF")
        found = inspect(make(masks_as("tif", picture.getvalue())), cache=cache)
        the(found, "mask.range", "error", "masks/b.tif", "Save masks as 8-bit PNG")
    elif kind == "npy":
        images = {name: one for name, one in good().items() if name.startswith("images")}
        found = inspect(make(images | {f"masks/{name}.npy": npy(soft) for name in NAMES}), cache=cache)
        assert codes(found) == {"layout.unknown"}
        the(found, "layout.unknown", "error", "masks/a.npy", "argmax")
    else:
        found = inspect(make(pairs(mask=soft)), cache=cache)
        assert codes(found) == {"mask.range"}
        one = the(found, "mask.range", "error", "b.npz", "argmax")
        assert "(48, 64) of float32" in one.message
        assert sum(found.parts.values()) == 4  # the others are understood without it


# ---- arrays ---------------------------------------------------------------------------------------------------------


class _Touches:
    """Unpickled, it makes a file: the proof that code was run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["mask", "image"])
def test_objects_in_arrays_are_never_unpickled(make, cache, tmp_path, name):
    found = inspect(make(pairs(**{name: np.array([_Touches(tmp_path / "executed")])})), cache=cache)
    one = the(found, "file.objects", "error", "b.npz", "Save plain numbers")
    assert one.message.startswith(f"{name}: Python objects")
    assert codes(found) == {"file.objects"}
    assert not (tmp_path / "executed").exists()


def test_objects_beside_labels_are_never_unpickled(make, cache, tmp_path):
    labelled = {
        "images": np.stack([photo(n) for n in range(4)]),
        "labels": np.array([_Touches(tmp_path / "executed")] * 4),
    }
    found = inspect(make({"train.npz": npz(**labelled)}), cache=cache)
    the(found, "file.objects", "error", "train.npz", "Save plain numbers")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("parted", [False, True], ids=["one folder", "parts"])
def test_a_folder_of_arrays_has_no_false_fault(make, cache, parted):
    files = pairs()
    if parted:
        files = {f"{part}/{name}": one for part in ("train", "val") for name, one in files.items()}
        files |= {f"val/{name}.npz": npz(image=photo(n + 9, SIZE), mask=MASK) for n, name in enumerate(NAMES)}
    found = inspect(make(files | {"classes.txt": "sky\nroad\ntree\n"}), cache=cache)
    assert (found.layout, found.failed) == ("npz pairs", False)
    assert {one.code for one in found.findings if one.severity == "warning"} == {"part.few"}
    assert [round(share.pixels, 3) for share in found.shares] == [0.333] * 3
    assert {record.image.size for record in found.records if record.image} == {SIZE}


def test_a_damaged_file_of_arrays_is_named_and_the_others_are_read(make, cache):
    for broken in ("a", "c"):
        whole = pairs()
        found = inspect(make(whole | {f"{broken}.npz": whole[f"{broken}.npz"][:-300]}), cache=cache)
        the(found, "data.truncated", "error", f"{broken}.npz", "Save it again with numpy.savez")
        assert (found.layout, sum(found.parts.values())) == ("npz pairs", 4)


# ---- lists of classes -----------------------------------------------------------------------------------------------


def test_blanks_behind_names_are_no_names(make, cache):
    found = inspect(make(good() | {"classes.txt": "\ufeffsky \r\nroad\t\r\n tree\r\n\r\n"}), cache=cache)
    assert [share.name for share in found.shares] == ["sky", "road", "tree"]
    assert not found.failed


def test_folders_are_classes_by_their_names_in_every_part(make, cache):
    """Numbers sort as text, and the folder that val lacks does not shift those behind it."""
    train = {
        f"train/{name}/{n}.png": photo(10 * len(name) + n + ord(name[-1]), SIZE)
        for name in ("1", "10", "2")
        for n in range(3)
    }
    found = inspect(make(train | {"val/1/x.png": photo(901), "val/2/x.png": photo(902)}), cache=cache)
    assert [share.name for share in found.shares] == ["1", "10", "2"]
    counted = {record.key: record.counts for record in found.records if record.part == "val"}
    assert counted == {"val/1/x": (1, 0, 0, 0), "val/2/x": (0, 0, 1, 0)}
    [missing] = of(found, "class.missing")
    assert (missing.severity, missing.count) == ("warning", 1)
    assert "val has no pixel of 10" in missing.message
    assert "every part has every class" in missing.fix


SIDED = {
    "a partner is missing": ("skin\nl_eye\nr_eye\nl_brow\n", ["l_brow"]),
    "l is lower beside u": ("skin\nl_eye\nr_eye\nu_lip\nl_lip\n", []),
    "words": ("left lane\nlane\nroad\n", ["left lane"]),
    "no sides": ("l\nbright\nleftover\n", []),
}


@pytest.mark.parametrize(("names", "alone"), SIDED.values(), ids=SIDED)
def test_a_side_without_the_other_is_named(make, cache, names, alone):
    """A flip would show a left one as what is called left and lies right."""
    masks = all_masks(labels(list(range(len(names.splitlines()))), SIZE))
    found = [
        one
        for one in inspect(make(good() | masks | {"classes.txt": names}), cache=cache).findings
        if "sided" in one.code
    ]
    assert [one.count for one in found] == ([len(alone)] if alone else [])
    for one in found:
        assert (one.code, one.severity) == ("class.one_sided", "warning")
        assert one.message.endswith(f"no class: {', '.join(alone)}")
        assert "augment.flip_horizontal=0" in one.fix


# ---- layouts --------------------------------------------------------------------------------------------------------

SQUARES = [{"label": "cat", "points": [[2, 2], [6, 2], [6, 6], [2, 6]], "shape_type": "polygon"}]
RING = [2, 2, 6, 2, 6, 6, 2, 6]


def outlines(tool: str) -> dict[str, str]:
    """Five pictures described as a tool does it: in one file, or in one each."""
    if tool == "labelme":
        size = {"imageHeight": 48, "imageWidth": 64}
        return {
            f"images/{name}.json": json.dumps({"shapes": SQUARES, "imagePath": f"{name}.png", **size}) for name in NAMES
        }
    if tool == "coco":
        images = [{"id": n, "file_name": f"{name}.png", "height": 48, "width": 64} for n, name in enumerate(NAMES)]
        shapes = [{"id": n, "image_id": n, "category_id": 1, "segmentation": [RING]} for n in range(len(NAMES))]
        table = {"images": images, "annotations": shapes, "categories": [{"id": 1, "name": "cat"}]}
        return {"labels.json": json.dumps(table)}
    if tool == "via":
        form = {"name": "polygon", "all_points_x": RING[::2], "all_points_y": RING[1::2]}
        one = {"regions": [{"shape_attributes": form, "region_attributes": {"class": "cat"}}]}
        return {"via.json": json.dumps({f"{name}.png": {"filename": f"{name}.png", **one} for name in NAMES})}
    shape = '<polygon label="cat" points="2,2;6,2;6,6;2,6" z_order="0"/>'
    images = "".join(f'<image id="0" name="{name}.png" width="64" height="48">{shape}</image>' for name in NAMES)
    meta = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    return {"annotations.xml": f"<annotations>{meta}{images}</annotations>"}


def layered() -> dict[str, np.ndarray]:
    """A file for each of two classes."""
    return {
        f"masks/{kind}/{name}.png": labels([0, n], SIZE) for name in NAMES for n, kind in enumerate(("cat", "dog"), 1)
    }


def listed() -> dict[str, np.ndarray | str]:
    """Pascal VOC."""
    files = {name.replace("masks", "SegmentationClass"): mask for name, mask in all_masks(MASK).items()}
    return files | {"ImageSets/Segmentation/train.txt": "a\nb\nc\n", "ImageSets/Segmentation/val.txt": "d\ne\n"}


LAYOUTS = {
    **{tool: (tool, "images", outlines(tool)) for tool in ("labelme", "coco", "via", "cvat")},
    "layers": ("layers", "images", layered()),
    "voc": ("voc", "JPEGImages", listed()),
    "classes": ("classes", "cat", {f"dog/{name}.png": photo(n + 50, SIZE) for n, name in enumerate(NAMES)}),
}


@pytest.mark.parametrize(("layout", "folder", "files"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_damaged_picture_is_the_only_fault_in_any_layout(make, cache, layout, folder, files):
    """What describes it, masks, outlines and lists, is no fault, and the others are understood."""
    pictures = {f"{folder}/{name}.png": photo(n, SIZE) for n, name in enumerate(NAMES)}
    whole = inspect(make(pictures | files), cache=cache)
    assert (whole.layout, whole.failed) == (layout, False)
    found = inspect(make({f"{folder}/b.png": b""}), cache=cache)
    the(found, "image.empty", "error", f"{folder}/b.png", "Put a picture there")
    assert (found.layout, codes(found)) == (layout, {"image.empty"})
    assert sum(found.parts.values()) == sum(whole.parts.values()) - 1
    assert found.shares


def test_every_file_of_a_picture_is_looked_at_again_when_it_changes(make, cache):
    """The second of its masks, in a folder that was inspected before."""
    pictures = {f"images/{name}.png": photo(n, SIZE) for n, name in enumerate(NAMES)}
    assert not inspect(make(pictures | layered()), cache=cache).failed
    found = inspect(make({"masks/dog/b.png": b""}), cache=cache)
    the(found, "mask.empty", "error", "masks/dog/b.png", "Put a picture there")


def test_a_mask_without_its_picture_is_named_in_layers(make, cache):
    pictures = {f"images/{name}.png": photo(n, SIZE) for n, name in enumerate(NAMES) if name != "b"}
    found = inspect(make(pictures | layered()), cache=cache)
    [one] = of(found, "pair.missing")
    assert (one.severity, one.files) == ("error", ("masks/cat/b.png", "masks/dog/b.png"))
    assert "Name masks" in one.fix
    assert (codes(found), found.layout) == ({"pair.missing"}, "layers")
