"""data.yaml: what it can say of a folder, and how its mistakes are named."""

import numpy as np
import pytest

from segtrial.data import open_dataset
from segtrial.data.split import SplitOptions
from segtrial.errors import DataError, DataNotFound, SplitError, UnknownName
from segtrial.shapes import IGNORE
from tests.data.drawn import labels, photo

NAMES = ("cat_1", "cat_2", "dog_1", "dog_2")
PLAIN = {f"images/{name}.png": photo(n) for n, name in enumerate(NAMES)}
PLAIN |= {f"masks/{name}.png": labels([0, 1, 2, 3]) for name in NAMES}


def described(make, text: str, files=PLAIN):
    return open_dataset(make(files | {"data.yaml": text}))


def targets(data) -> np.ndarray:
    """The meaning of the first four pixels, which hold 0, 1, 2, 3."""
    return data.read(data.parts["train"][0]).target[0, :4]


def test_thirty_two_colours_become_eleven(make):
    colors = [(8 * n, 255 - 8 * n, n) for n in range(32)]
    table = "".join(f"{r} {g} {b}\tthing{n}\n" for n, (r, g, b) in enumerate(colors))
    mask = np.arange(64, dtype=np.uint8).reshape(8, 8) % 32
    files = {f"images/{name}.png": photo(1, (8, 8)) for name in NAMES} | {"label_colors.txt": table}
    files |= {f"masks/{name}.png": np.array(colors, np.uint8)[mask] for name in NAMES}
    merges = {f"thing{n}": f"thing{n % 11}" for n in range(11, 22)}
    drops = [f"thing{n}" for n in range(22, 32)]
    data = described(make, f"merges: {merges}\ndrops: {drops}\n", files)
    assert data.classes.names == tuple(f"thing{n}" for n in range(11))
    assert data.classes.colors == tuple(colors[:11])
    expected = np.where(mask < 22, mask % 11, IGNORE)  # by the same rule, from the numbers
    np.testing.assert_array_equal(data.read(data.parts["train"][0]).target, expected)
    assert any("32 classes became 11" in note for note in data.notes)


def test_a_merge_may_make_a_new_name(make):
    data = described(make, "classes: [a, b, c, d]\nmerges: {b: both, d: both}\ndrops: [a]\n")
    assert data.classes.names == ("both", "c")
    np.testing.assert_array_equal(targets(data), [IGNORE, 0, 1, 0])


def test_ids_and_ignored_values(make):
    text = "classes:\n - {name: thing, ids: [3, 1]}\n - {name: ground, ids: [0]}\nignore: [2]\n"
    np.testing.assert_array_equal(targets(described(make, text)), [1, 0, IGNORE, 0])


def test_names_can_be_ignored(make):
    data = described(make, "classes: [a, b, c, d]\nignore: [c]\n")
    assert data.classes.names == ("a", "b", "d")
    np.testing.assert_array_equal(targets(data), [0, 1, IGNORE, 2])


def test_colours_with_a_tolerance_and_an_ignored_colour(make):
    mask = np.zeros((12, 16, 3), np.uint8)
    mask[0, :4] = [(250, 3, 0), (0, 0, 251), (0, 255, 0), (255, 0, 0)]
    mask[1:] = (255, 0, 0)
    files = PLAIN | {f"masks/{name}.png": mask for name in NAMES}
    text = (
        "classes: [{name: red, color: [255, 0, 0]}, {name: blue, color: [0, 0, 255]}, {name: no, color: [0, 0, 0]}]\n"
    )
    data = described(
        make, text.replace("name: no", "name: dark") + "color_tolerance: 6\nignore: [[0, 255, 0]]\n", files
    )
    np.testing.assert_array_equal(targets(data), [0, 1, IGNORE, 0])


def test_lossy_masks_can_be_read_by_nearest_colour(make):
    soft = np.clip(labels([0, 255]).astype(int) + np.random.default_rng(0).integers(-40, 41, (12, 16)), 0, 255)
    files = PLAIN | {f"masks/{name}.png": soft.astype(np.uint8) for name in NAMES}
    text = "classes: [{name: skin, color: [0, 0, 0]}, {name: polyp, color: [255, 255, 255]}]\ncolor_tolerance: 300\n"
    data = described(make, text, files)
    np.testing.assert_array_equal(data.read(data.parts["train"][0]).target, labels([0, 1]))


def test_folders_elsewhere_and_per_part(make, tmp_path):
    files = {
        "far/x/a.jpg": photo(1),
        "far/x/b.jpg": photo(2),
        "far/y/a.png": labels([0, 1]),
        "far/y/b.png": labels([0, 1]),
    }
    files |= {"far/v/a.jpg": photo(3), "far/w/a.png": labels([0, 1])}
    text = "root: far\nimages: {train: x, val: v}\nmasks: {train: y, val: w}\n"
    (make(files) / "here.yaml").write_text(text)
    data = open_dataset(tmp_path / "set" / "here.yaml")
    keys = {name: [item.key for item in items] for name, items in data.parts.items()}
    assert keys == {"train": ["x/a", "x/b"], "val": ["v/a"]}
    np.testing.assert_array_equal(data.read(data.parts["val"][0]).target, labels([0, 1]))


def test_groups_by_a_rule(make):
    data = described(make, "group: '([a-z]+)_'\n")
    groups = {name: {item.group for item in items} for name, items in data.parts.items()}
    assert sorted(map(tuple, groups.values())) == [("cat",), ("dog",)]
    held_out = open_dataset(data.root, SplitOptions(val_groups=("cat",)))
    assert {item.group for item in held_out.parts["val"]} == {"cat"}


def test_splits_by_beginnings_and_by_lists(make):
    files = PLAIN | {"val.txt": "dog_1\ndog_2.png\n"}
    data = described(make, "splits: {train: [cat_1], val: val.txt}\n", files)
    assert [item.key for item in data.parts["train"]] == ["images/cat_1"]
    assert [item.key for item in data.parts["val"]] == ["images/dog_1", "images/dog_2"]
    assert any("1 image is in no part of splits" in note for note in data.notes)


MISTAKES = {
    "clases: [a]": (DataError, r"data\.yaml: unknown key 'clases'\. Did you mean 'classes'\? Keys are: classes,"),
    "classes: [a]\nclasses: [b]": (DataError, r"the key 'classes' is there twice.*line 2"),
    "classes: [a, 3]": (DataError, r"data\.yaml: classes\.1: .*found '3'"),
    "classes: [{name: a, colour: [1, 2, 3]}]": (DataError, r"data\.yaml: classes\..*colour"),
    "classes: [{name: a, color: [1, 2, 300]}]": (DataError, r"data\.yaml: classes\..*255"),
    "classes: [{name: a, ids: [0]}, {name: b, ids: [0]}]": (DataError, r"classes: value 0 stands for several classes"),
    "classes: [{name: a, ids: [0]}, {name: b}]": (DataError, r"1 of 2 classes have ids\. Give it to all or to none"),
    "a: !!python/object/apply:os.system [exit]": (DataError, r"not plain YAML: could not determine a constructor"),
    "root: &x .\nmasks: *x": (DataError, r"not plain YAML: an alias"),
    "a: [": (DataError, r"not plain YAML: .*Correct that line"),
    "just words": (DataError, r"a str, not a table of keys"),
    "root: nowhere": (DataNotFound, r"root: .*nowhere is no folder"),
    "images: images": (DataError, r"only one of images and masks is given"),
    "images: imgs\nmasks: masks": (DataNotFound, r"imgs is no folder\. Correct images, relative to"),
    "classes: [a, b, c, d]\nmerges: {e: a}": (UnknownName, r"class 'e': no class has this name.*a, b, c, d"),
    "classes: [a, b, c, d]\nmerges: {a: b, b: c}": (DataError, r"merges: b take and give pixels"),
    "classes: [a, b, c, d]\ndrops: [a, b, c, d]": (DataError, r"every class is dropped"),
    "classes: [a, b, c]": (DataError, r"data\.yaml has 3 names but masks hold 3 \(192 pixels"),
    "group: '('": (DataError, r"group: '\(' is no regular expression"),
    "group: 'cat'": (DataError, r"group: 'cat' has 0 parentheses\. It needs exactly one"),
    "group: '(cat)'": (SplitError, r"group: '\(cat\)' is not found in images/dog_1, images/dog_2"),
    "splits: {training: [cat]}": (DataError, r"splits: unknown parts \['training'\]\. Parts are: train, val, test"),
    "splits: {train: [cow]}": (SplitError, r"splits\.train: no image begins with cow\. A key is 'images/cat_1'"),
    "splits: {train: [cat, dog], val: [dog_1]}": (SplitError, r"in several parts: images/dog_1 \(train and val\)"),
    "splits: {train: [cat], val: val.txt}": (DataNotFound, r"splits\.val: there is no file val\.txt"),
}


@pytest.mark.parametrize("text", MISTAKES, ids=str)
def test_mistakes_are_named(make, text):
    kind, message = MISTAKES[text]
    with pytest.raises(kind, match=f"(?s){message}"):
        described(make, text)


def test_a_list_with_an_unknown_name_gives_the_line(make):
    with pytest.raises(SplitError, match=r"val\.txt:2: no image is called 'cow_1'"):
        described(make, "splits: {train: [cat], val: val.txt}\n", PLAIN | {"val.txt": "dog_1\ncow_1\n"})


def test_real_descriptions(real, tmp_path):
    table = {"background": [255, 0, 0], "hair": [127, 0, 0], "skin": [255, 255, 0]}
    table |= {"eyes": [0, 0, 255], "mouth": [0, 255, 0], "nose": [0, 255, 255]}
    classes = [{"name": name, "color": color} for name, color in table.items()]
    (tmp_path / "faces.yaml").write_text(f"root: {real('fasseg_v2')}\nclasses: {classes}\ncolor_tolerance: 300\n")
    data = open_dataset(tmp_path / "faces.yaml")
    assert {name: len(items) for name, items in data.parts.items()} == {"train": 16, "val": 4, "test": 50}
    assert data.read(data.parts["val"][0]).target.max() == 5
    (tmp_path / "vessels.yaml").write_text(f"root: {real('chasedb1')}\nmask_suffix: _1stHO\n")
    data = open_dataset(tmp_path / "vessels.yaml")
    assert len({item.group for items in data.parts.values() for item in items}) == 14
    assert set(np.unique(data.read(data.parts["val"][0]).target)) == {0, 1}
