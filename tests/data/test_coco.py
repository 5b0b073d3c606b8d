"""COCO annotations: parts, classes, overlaps and crowds, what is refused and how, and the real fruit."""

import copy
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from segtrial.data import open_dataset
from segtrial.data.polygons import fill
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, MaskError, PairingError
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo
from tests.data.test_polygons import pack_runs, runs_of

SIZE = (12, 16)
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]  # gaps, not in order: car is 1, dog is 2


def box(x: float, y: float, right: float, bottom: float) -> list[float]:
    return [x, y, right, y, right, bottom, x, bottom]


def annotation(image: int, category: int, *rings: list[float], **more: object) -> dict:
    return {"id": 7, "image_id": image, "category_id": category, "segmentation": list(rings), "iscrowd": 0} | more


def content(*annotations: dict, names: tuple[str, ...] = ("a.png", "b.png")) -> dict:
    images = [{"id": n, "file_name": name, "height": 12, "width": 16} for n, name in enumerate(names)]
    return {"info": {}, "images": images, "annotations": list(annotations), "categories": CATEGORIES}


def folder(make, annotations: dict | str):
    text = annotations if isinstance(annotations, str) else json.dumps(annotations)
    return make({"images/a.png": photo(1), "images/b.png": photo(2), "labels.json": text})


def targets(data) -> dict[str, np.ndarray]:
    return {item.key: data.read(item).target for items in data.parts.values() for item in items}


def test_polygons_become_class_numbers(make):
    data = open_dataset(folder(make, content(annotation(0, 3, box(0, 0, 4, 2)), annotation(1, 18, box(8, 6, 16, 12)))))
    assert data.layout == "coco"
    assert data.classes.names == ("background", "car", "dog")
    expected = {"images/a": np.zeros(SIZE), "images/b": np.zeros(SIZE)}
    expected["images/a"][:2, :4] = 1
    expected["images/b"][6:, 8:] = 2
    for key, target in targets(data).items():
        np.testing.assert_array_equal(target, expected[key])
        assert target.dtype == np.uint8
    assert any("pixels under no shape are class 0, background" in note for note in data.notes)
    np.testing.assert_array_equal(data.read(data.parts["train"][0]).image.shape, (3, *SIZE))


def test_the_smaller_object_lies_on_top_and_a_crowd_below_all(make):
    big, small = annotation(0, 3, box(0, 0, 10, 10)), annotation(0, 18, box(2, 2, 4, 4))
    crowd = annotation(0, 18, iscrowd=1, segmentation={"size": [12, 16], "counts": [0, 192]})
    for order in ([big, small, crowd], [crowd, small, big]):
        target = targets(open_dataset(folder(make, content(*order))))["images/a"]
        assert (target[2:4, 2:4] == 2).all()
        assert (target == 1).sum() == 100 - 4
        assert (target == IGNORE).sum() == 192 - 100
    within = [annotation(0, 3, box(0, 0, 10, 10)), annotation(0, 18, box(2, 2, 4, 4), iscrowd=1)]
    data = open_dataset(folder(make, content(*within)))
    assert (targets(data)["images/a"] == 1).sum() == 100  # a crowd hides no object, however small it is
    assert any("1 crowds count nowhere" in note for note in data.notes)
    equal = [annotation(0, 3, box(0, 0, 4, 4)), annotation(0, 18, box(2, 2, 6, 6))]
    assert (targets(open_dataset(folder(make, content(*equal))))["images/a"][2:4, 2:4] == 2).all()  # the later one


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_are_read_both_ways(make, compressed):
    mask = np.random.default_rng(0).random(SIZE) < 0.4
    runs = runs_of(mask)
    outline = {"size": [12, 16], "counts": pack_runs(runs) if compressed else runs}
    data = open_dataset(folder(make, content(annotation(1, 18, segmentation=outline))))
    np.testing.assert_array_equal(targets(data)["images/b"], np.where(mask, 2, 0))


def test_parts_come_from_the_names_of_the_files(make):
    pictures = {"train2017/a.png": photo(1), "train2017/b.png": photo(2), "val2017/a.png": photo(3)}
    files = {
        "annotations/instances_train2017.json": json.dumps(content(annotation(0, 3, box(0, 0, 9, 9)))),
        "annotations/instances_val2017.json": json.dumps(
            content(annotation(0, 18, box(0, 0, 9, 9)), names=("a.png",)) | {"categories": CATEGORIES[::-1]}
        ),
        "annotations/person_keypoints_train2017.json": json.dumps(content(annotation(0, 3, box(0, 0, 2, 2)))),
    }
    data = open_dataset(make(pictures | files))
    keys = {part: [item.key for item in items] for part, items in data.parts.items()}
    assert keys == {"train": ["train2017/a", "train2017/b"], "val": ["val2017/a"]}
    assert targets(data)["val2017/a"].max() == 2


def test_roboflow_keeps_a_file_in_each_part_and_an_empty_category(make):
    above = [{"id": 0, "name": "pets", "supercategory": "none"}]
    below = [{"id": 1, "name": "cat", "supercategory": "pets"}, {"id": 2, "name": "dog", "supercategory": "pets"}]
    files = {}
    for seed, part in enumerate(("train", "valid", "test")):
        text = content(annotation(0, 2, box(0, 0, 9, 9)), names=("a.png",)) | {"categories": above + below}
        files |= {f"{part}/a.png": photo(seed), f"{part}/_annotations.coco.json": json.dumps(text)}
    data = open_dataset(make(files))
    assert data.classes.names == ("background", "cat", "dog")
    assert {part: len(items) for part, items in data.parts.items()} == {"train": 1, "val": 1, "test": 1}
    assert any("pets only groups the other categories" in note for note in data.notes)
    assert targets(data)["valid/a"].max() == 2


def test_folders_in_names_choose_among_pictures(make):
    text = content(annotation(1, 3, box(0, 0, 9, 9)), names=("x\\a.png", "y/a.png"))
    data = open_dataset(make({"x/a.png": photo(1), "y/a.png": photo(2), "all.json": json.dumps(text)}))
    assert not targets(data)["x/a"].any()
    assert targets(data)["y/a"].any()


def test_a_picture_in_another_format_will_do(make):
    text = content(annotation(0, 3, box(0, 0, 9, 9)), names=("a.jpg", "b.png"))
    assert (targets(open_dataset(folder(make, text)))["images/a"] == 1).sum() == 81


def test_what_was_clipped_or_empty_or_left_out_is_said(make):
    root = folder(make, content(annotation(0, 3, box(-5, -5, 99, 3))))
    make({"images/c.png": photo(3)})
    data = open_dataset(root)
    assert (targets(data)["images/a"] == 1).sum() == 3 * 16
    for note in ("1 shape reaches out of its picture: clipped", "1 picture has no shape", "1 picture is in no"):
        assert any(note in said for said in data.notes), note


def test_masks_that_do_not_pair_are_not_passed_over(make):
    root = folder(make, GOOD)
    make({"masks/a.png": labels([0, 1])})
    with pytest.raises(PairingError, match=r"1 image without a mask: images/b\.png"):
        open_dataset(root)


def test_background_and_void_categories_are_not_classes(make):
    names = [{"id": 1, "name": "Background"}, {"id": 2, "name": "car"}, {"id": 3, "name": "void"}]
    shapes = [annotation(0, 2, box(0, 0, 9, 9)), annotation(0, 1, box(0, 0, 2, 2)), annotation(0, 3, box(7, 7, 12, 12))]
    data = open_dataset(folder(make, content(*shapes) | {"categories": names}))
    assert data.classes.names == ("background", "car")
    target = targets(data)["images/a"]
    assert (target[0, 0], target[5, 5], target[8, 8]) == (0, 1, IGNORE)


def test_the_reader_can_be_sent_to_another_process_and_sees_changes(make):
    root = folder(make, content(annotation(0, 3, box(0, 0, 4, 2))))
    data = open_dataset(root)
    item = data.parts["train"][0]
    read, fingerprint = pickle.loads(pickle.dumps((data.read, data.fingerprint)))
    np.testing.assert_array_equal(read(item).target, data.read(item).target)
    before = fingerprint(item)
    (root / "labels.json").write_text(json.dumps(content(annotation(0, 3, box(0, 0, 400, 2)))))
    assert open_dataset(root).fingerprint(item) != before


def test_masks_come_before_annotations(make):
    root = folder(make, content(annotation(0, 3, box(0, 0, 4, 2))))
    make({"masks/a.png": labels([0, 1]), "masks/b.png": labels([0, 1])})
    assert open_dataset(root).layout == "folder"


GOOD = content(annotation(0, 3, box(0, 0, 4, 2)))


def broken(*path: str | int, value: object) -> str:
    """GOOD as text, with one value replaced."""
    changed = copy.deepcopy(GOOD)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(changed)


OUTLINE = ("annotations", 0, "segmentation")
CASES = {
    "damaged": (json.dumps(GOOD)[:-9], DataError, r"labels\.json: not readable JSON: .*Export it again"),
    "deep": ("[" * 100_000 + json.dumps(GOOD), DataError, r"labels\.json: not readable JSON: .*recursion"),
    "a list": (f"[{json.dumps(GOOD)}]", DataError, r"labels\.json: JSON, but a list, not a table"),
    "NaN": (broken(*OUTLINE, value=[box(0, 0, float("nan"), 2)]), DataError, r"not readable JSON: NaN is no number"),
    "infinite": (
        broken(*OUTLINE, value=[box(0, 0, 7.5, 2)]).replace("7.5", "1e999"),
        MaskError,
        r"labels\.json, annotation 7: a coordinate is inf\. Coordinates are pixels",
    ),
    "absurd": (broken(*OUTLINE, value=[box(0, 0, 10**400, 2)]), MaskError, r"annotation 7: a coordinate is 1000"),
    "text": (broken(*OUTLINE, value=[["1"] * 8]), MaskError, r"annotation 7: a coordinate is text"),
    "two points": (
        broken(*OUTLINE, value=[[1, 2, 3, 4]]),
        MaskError,
        r"labels\.json, annotation 7: a polygon of 4 numbers \(2 points\)\. Remove it, or draw it again",
    ),
    "half a point": (broken(*OUTLINE, value=[[1, 2, 3, 4, 5, 6, 7]]), MaskError, r"a polygon of 7 numbers"),
    "flat polygon": (broken(*OUTLINE, value=box(0, 0, 4, 2)), MaskError, r"holds a (whole )?number, not lists of x, y"),
    "box only": (broken(*OUTLINE, value=[]), MaskError, r"annotation 7: it has a box and no outline\. Export it again"),
    "endless": (broken(*OUTLINE, value=[[0, 1] * 100_001]), MaskError, r"a polygon of 100001 points\. Simplify it"),
    "short runs": (
        broken(*OUTLINE, value={"size": [12, 16], "counts": [10, 20]}),
        MaskError,
        r"annotation 7: run lengths that do not add up to 12x16 pixels",
    ),
    "negative runs": (
        broken(*OUTLINE, value={"size": [12, 16], "counts": [-8, 200]}),
        MaskError,
        r"run lengths that do not add up",
    ),
    "runs of another size": (
        broken(*OUTLINE, value={"size": [9, 9], "counts": [81]}),
        MaskError,
        r"run lengths for \[9, 9\], but its image is \[12, 16\] \(height, width\)",
    ),
    "bad runs": (broken(*OUTLINE, value={"size": [12, 16], "counts": "1 2"}), MaskError, r"counts: ' ' in run lengths"),
    "no image": (
        broken("annotations", 0, "image_id", value=5),
        DataError,
        r"labels\.json, annotation 7: image_id 5 is the id of no image.*Remove it, or add the image",
    ),
    "no category": (
        broken("annotations", 0, "category_id", value=4),
        DataError,
        r"annotation 7: category_id 4 is no category\. Categories are: 3 car, 18 dog",
    ),
    "true is no number": (broken("annotations", 0, "image_id", value=True), DataError, r"image_id is .*not a whole"),
    "image twice": (broken("images", 1, "id", value=0), DataError, r"labels\.json, image 0: another image has this id"),
    "image without a size": (
        broken("images", 0, "width", value="16"),
        DataError,
        r"image 0: width is text, not a whole",
    ),
    "no pixels": (broken("images", 0, "width", value=0), DataError, r"image 0: a picture of 12x0 \(height x width\)"),
    "an image that is text": (broken("images", 0, value="a.png"), DataError, r"image 0: it is text, not a table"),
    "images as a table": (broken("images", value={}), DataError, r"labels\.json: images is a table, not a list"),
    "absent picture": (
        broken("images", 0, "file_name", value="c.png"),
        PairingError,
        r"labels\.json, image 0: there is no picture 'c\.png' below .*Did you mean '.\.png'\? Put it there",
    ),
    "a way out": (
        broken("images", 0, "file_name", value="../../../etc/passwd"),
        PairingError,
        r"there is no picture '\.\./\.\./\.\./etc/passwd' below",
    ),
    "picture twice": (
        broken("images", 1, "file_name", value="a.png"),
        PairingError,
        r"images/a\.png is described twice.*labels\.json",
    ),
    "category twice": (
        broken("categories", 1, "name", value="dog"),
        DataError,
        r"labels\.json: category 3 \('dog'\) is there twice\. Give each one number and one name",
    ),
    "no category at all": (broken("categories", value=[]), DataError, r"names no class besides the background"),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_message_names_file_finding_and_fix(make, case):
    text, kind, message = CASES[case]
    root = folder(make, text)
    with pytest.raises(kind, match=f"(?s){message}"):
        open_dataset(root)


@pytest.mark.parametrize(("size", "hint"), [((10, 10), ""), ((16, 12), r" \(height and width are exchanged\)")])
def test_a_picture_of_another_size_names_both(make, size, hint):
    root = folder(make, GOOD)
    make({"images/a.png": photo(1, size)})
    data = open_dataset(root)
    message = rf"a\.png: labels\.json says 12x16, but the picture is {size[0]}x{size[1]} \(height x width\){hint}\. Use"
    with pytest.raises(MaskError, match=message):
        targets(data)


def test_a_picture_turned_by_exif_is_named(make):
    root = folder(make, GOOD)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(1)).save(root / "images/a.png", exif=exif)
    with pytest.raises(MaskError, match=r"12x16, but the picture is 16x12 .*turned by its EXIF orientation"):
        targets(open_dataset(root))


def test_many_faults_are_listed_and_counted(make):
    faults = [annotation(0, 3, [1, 2, 3, 4], id=n) for n in range(30)]
    with pytest.raises(MaskError, match=r"(?s)30 of 32 files are at fault:.*annotation 0: a polygon of.*and 10 more"):
        open_dataset(folder(make, content(*faults)))


def test_a_picture_in_two_files_is_refused(make):
    root = folder(make, GOOD)
    make({"again.json": json.dumps(GOOD)})
    with pytest.raises(
        PairingError, match=r"images/a\.png is described twice.*again\.json, .*labels\.json.*Remove one"
    ):
        open_dataset(root)


def test_many_json_files_are_not_looked_through(make, monkeypatch):
    root = folder(make, GOOD)
    make({"x.json": "{}", "images/y.json": "{}"})
    assert open_dataset(root).layout == "coco"
    monkeypatch.setattr("segtrial.data._annotation.MOST_FILES", 2)
    with pytest.raises(PairingError, match=r"labels\.json: 2 images and no masks"):
        open_dataset(root)


def test_a_file_that_is_too_large_is_not_read(make, monkeypatch):
    monkeypatch.setattr("segtrial.data.coco.LARGEST", 100)
    with pytest.raises(DataError, match=r"labels\.json: \d+ bytes; at most 100 are read"):
        open_dataset(folder(make, GOOD))


def test_real_fruit(real):
    root = real("fruit_coco")
    data = open_dataset(root, SplitOptions(val_share=0.2))
    assert (data.layout, data.classes.names) == ("coco", ("background", "date", "fig", "hazelnut"))
    assert sum(len(items) for items in data.parts.values()) == 18
    written = json.loads((root / "trainval.json").read_text())
    areas = {image["id"]: 0.0 for image in written["images"]}
    for one in written["annotations"]:
        areas[one["image_id"]] += one["area"]  # as the set's own tool worked it out; fruit overlap little
    by_name = {image["file_name"]: areas[image["id"]] for image in written["images"]}
    for item in data.parts["val"]:
        sample = data.read(item)
        assert sample.image.shape == (3, 600, 800)
        assert (sample.target > 0).sum() == pytest.approx(by_name[item.image.name], rel=0.03)


def test_real_polygons_have_the_areas_that_the_set_says(real):
    written = json.loads((real("fruit_coco") / "trainval.json").read_text())
    for one in written["annotations"][::8]:
        ring = np.array(one["segmentation"][0]).reshape(-1, 2)
        assert fill(ring, (600, 800)).sum() == pytest.approx(one["area"], rel=0.01)
