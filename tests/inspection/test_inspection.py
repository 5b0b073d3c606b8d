"""An inspection: shares counted by hand, an answer from the cache, a description that train reads, the command line."""

import json

import numpy as np
import pytest
import yaml

from segtrial import cli
from segtrial.data import open_dataset
from segtrial.errors import DataError, DataNotFound, RunError
from segtrial.inspection import inspect
from segtrial.inspection.describe import write_description
from tests.data.drawn import labels, photo, scene
from tests.inspection.test_inspect_faults import NAMES, all_masks, colored, good

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def test_shares_are_those_counted_by_hand(make, cache):
    """Class 1 has a quarter of the pixels of two of five masks, class 0 the rest."""
    one = np.zeros((48, 64), np.uint8)
    two = one.copy()
    two[:24, :32] = 1
    masks = {f"masks/{name}.png": two if name in "ab" else one for name in NAMES}
    found = inspect(make(good() | masks), cache=cache)
    assert [share.pixels for share in found.shares] == pytest.approx([0.9, 0.1])
    assert [share.images for share in found.shares] == pytest.approx([1.0, 0.4])


def test_ignored_pixels_are_no_share(make, cache):
    found = inspect(make(good(labels([0, 1, 255, 255], (48, 64)))), cache=cache)
    assert [share.pixels for share in found.shares] == pytest.approx([0.5, 0.5])


def test_a_damaged_cache_is_passed_over(make, cache):
    root = make(good())
    first = inspect(root, cache=cache)
    for file in (cache / "inspect").iterdir():
        file.write_text('[["", {"key": 1}]]')
    assert inspect(root, cache=cache).to_json() == first.to_json()


def test_progress_reaches_its_end_and_is_short_where_all_is_known(make, cache):
    root, seen = make(good()), []
    for _ in range(2):
        inspect(root, cache=cache, progress=lambda *done: seen.append(done))
    assert seen == [(len(NAMES), len(NAMES))] * 4  # images, masks, comparisons; then comparisons alone


def test_copies_and_leaks_are_looked_for(make, cache):
    """A train image that is in val too, byte for byte."""
    files = {f"train/images/{n}.png": photo(n, (48, 64)) for n in range(4)}
    files |= {f"val/images/{n}.png": photo(n + 3, (48, 64)) for n in range(4, 6)}
    files |= {"val/images/again.png": photo(2, (48, 64))}
    files |= {name.replace("images", "masks"): labels([0, 1, 2], (48, 64)) for name in files}
    found = inspect(make(files), cache=cache)
    [twice] = [one for one in found.findings if one.code == "duplicate.across"]
    assert (twice.severity, twice.files) == ("error", ("val/images/again",))


def described(make, cache, tmp_path, files):
    """What `--write` writes of a folder, and the data set that it describes."""
    out = tmp_path / "out" / "data.yaml"
    write_description(inspect(make(good() | files), cache=cache), out)
    return yaml.safe_load(out.read_text()), open_dataset(out)


def targets(dataset) -> dict[str, np.ndarray]:
    return {item.key.rsplit("/", 1)[-1]: dataset.read(item).target for part in dataset.parts.values() for item in part}


def test_colours_beside_the_palette_are_repaired(make, cache, tmp_path):
    """Noise of up to 9 levels on two colours, hundreds of distinct ones: every pixel gets the class it came from."""
    rng = np.random.default_rng(0)
    truth = {name: rng.integers(0, 2, (48, 64)) for name in NAMES}
    files = {}
    for name, classes in truth.items():
        clean = np.array([RED, BLUE])[classes]
        noisy = np.clip(clean + rng.integers(-9, 10, clean.shape), 0, 255)
        files[f"masks/{name}.png"] = np.where(rng.random((48, 64, 1)) < 0.1, noisy, clean).astype(np.uint8)
    text, dataset = described(make, cache, tmp_path, files)
    assert {tuple(one["color"]): one["name"] for one in text["classes"]} == {RED: "red", BLUE: "blue"}
    assert 0 < text["color_tolerance"] <= 17  # 9 levels in each of three channels are 15.6 apart
    order = [dataset.classes.names.index(name) for name in ("red", "blue")]
    for name, target in targets(dataset).items():
        np.testing.assert_array_equal(target, np.array(order)[truth[name]])


def test_values_with_holes_become_classes(make, cache, tmp_path):
    mask = labels([0, 7, 19], (48, 64))
    text, dataset = described(make, cache, tmp_path, all_masks(mask))
    assert [one["ids"] for one in text["classes"]] == [[0], [7], [19]]
    assert dataset.classes.names == ("class_0", "class_7", "class_19")
    np.testing.assert_array_equal(targets(dataset)["a"], labels([0, 1, 2], (48, 64)))


def test_a_lossy_binary_mask_becomes_two_classes(make, cache, tmp_path):
    mask = np.zeros((48, 64), np.uint8)
    mask[8:40, 16:48] = 255
    blurred = mask.copy()
    blurred[8:40, 16] = np.arange(32) * 4 + 129  # an edge of greys nearer to white
    blurred[8:40, 15] = np.arange(32) * 3 + 20  # and one of greys nearer to black
    text, dataset = described(make, cache, tmp_path, all_masks(blurred))
    assert [one["color"] for one in text["classes"]] == [[0, 0, 0], [255, 255, 255]]
    np.testing.assert_array_equal(targets(dataset)["a"], (mask > 0).astype(np.uint8))


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"classes.txt": "sky\nroad: wide\n'tree'\n"},
        all_masks(labels([0, 255], (48, 64))),
        all_masks(labels([0, 1, 255], (48, 64))),
        all_masks(colored(RED, BLUE, GREY)) | {"label_colors.txt": "255 0 0 a\n0 0 255 Void\n128 128 128 c # d\n"},
    ],
    ids=["numbers", "names", "0 and 255", "ignored", "colours"],
)
def test_a_description_means_what_the_folder_means(make, cache, tmp_path, files):
    _, dataset = described(make, cache, tmp_path, files)
    folder = open_dataset(tmp_path / "set")
    assert dataset.classes.names == folder.classes.names
    assert {part: len(items) for part, items in dataset.parts.items()} == {p: len(i) for p, i in folder.parts.items()}
    expected = targets(folder)
    for name, target in targets(dataset).items():
        np.testing.assert_array_equal(target, expected[name])


def test_a_description_is_never_written_over(make, cache, tmp_path):
    found = inspect(make(good()), cache=cache)
    out = tmp_path / "data.yaml"
    out.write_text("mine")
    with pytest.raises(RunError, match=r"data\.yaml: it is there already\. .*--force"):
        write_description(found, out)
    assert out.read_text() == "mine"
    write_description(found, out, force=True)
    assert "classes:" in out.read_text()


def test_what_cannot_be_described_is_said(make, cache, tmp_path):
    with pytest.raises(DataError, match=r"could not be understood \(.*mask\.one_class.*Mend these first"):
        write_description(
            inspect(make(all_masks(labels([0], (48, 64))) | good(labels([0]))), cache=cache), tmp_path / "x"
        )
    with pytest.raises(DataError, match="says everything that train needs"):
        write_description(inspect("toytown:scenes=4,frames=1,size=32x48", cache=cache), tmp_path / "x.yaml")


def test_folders_of_classes_are_recognised(make, cache):
    files = {f"{kind}/{n}.png": photo(n + 10 * len(kind), (48, 64)) for kind in ("cat", "horse") for n in range(4)}
    found = inspect(make(files | {"horse/9.png": photo(99, (48, 64))}), cache=cache)
    assert (found.layout, found.failed) == ("classes", False)
    assert [(share.name, round(share.images, 3)) for share in found.shares] == [("cat", 0.444), ("horse", 0.556)]


def test_what_is_not_there_is_refused(cache, tmp_path):
    with pytest.raises(DataNotFound, match="no such file or folder"):
        inspect(tmp_path / "nowhere", cache=cache)


def test_the_object_has_the_frozen_shape(make, own_cache, capsys):
    root = make(good() | {"images/a.png": b""})
    assert cli.main(["inspect", str(root), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["schema", "layout", "classes", "parts", "findings"]
    assert (told["schema"], told["layout"], set(told["parts"])) == (1, "folder", {"train", "val"})
    assert [list(one) for one in told["classes"]] == [["name", "color", "pixels", "images"]] * 3
    assert {tuple(one) for one in told["findings"]} == {("code", "severity", "files", "count", "message", "fix")}
    assert told["findings"][0]["code"] == "image.empty"
    assert (told["findings"][0]["files"], told["findings"][0]["count"]) == (["images/a.png"], 1)


def test_the_command_prints_classes_and_findings_and_writes(make, own_cache, capsys, tmp_path):
    root = make(good() | {"classes.txt": "sky\nroad\ntree\n"})
    out = tmp_path / "data.yaml"
    assert cli.main(["inspect", str(root), "--write", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "road" in printed
    assert "33.33 %" in printed
    assert "0 errors, 1 warning" in printed
    assert f"segtrial train --data {out}" in printed
    assert cli.main(["inspect", str(root), "--write", str(out)]) == 2


NAMED = {"classes.txt": "sky\nroad\ntree\n"}
BROKEN = {"images/b.png": b""}


@pytest.mark.parametrize(
    ("files", "code", "next_is"),
    [
        (NAMED, 0, "segtrial train --data ROOT --minutes 8 --out runs/first"),
        (NAMED | BROKEN, 2, "mend the errors, then look again: segtrial inspect ROOT"),
        (all_masks(colored(RED, BLUE)), 2, "segtrial inspect ROOT --write data.yaml"),
    ],
    ids=["sound", "broken", "no table"],
)
def test_what_to_type_next(files, code, next_is, make, own_cache, capsys):
    root = make(good() | files)
    assert cli.main(["inspect", str(root)]) == code
    assert capsys.readouterr().out.endswith(f"\nNext    {next_is.replace('ROOT', str(root))}\n")


@pytest.mark.parametrize(
    ("files", "then"),
    [({}, "then: segtrial train --data "), (BROKEN, "mend the other errors above; then: segtrial inspect ")],
    ids=["sound", "broken"],
)
def test_a_description_mends_no_broken_file(files, then, make, cache, tmp_path):
    found = inspect(make(good() | all_masks(colored(RED, BLUE)) | files), cache=cache)
    assert then in write_description(found, tmp_path / "data.yaml")


@pytest.fixture
def clips(make):
    """`train` has every second frame of a clip, `other` the frames between them, beside photographs of its own."""
    wide, files = scene(1, (48, 160)), {}
    for number in range(30):
        source, part = ("train", "") if number % 2 else ("other", "val/")
        files[f"{source}/{part}images/f{number}.png"] = wide[:, number : number + 96]
    files |= {f"other/train/images/p{number}.png": scene(100 + number, (48, 96)) for number in range(15)}
    masks = {name.replace("images", "masks"): labels([0, 1, 2], (48, 96)) for name in files}
    return make(files | masks)


def test_what_two_sources_share_is_said(clips, own_cache, capsys):
    train, other = str(clips / "train"), str(clips / "other")
    assert cli.main(["inspect", train, "--against", other, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["against"] == {
        "source": other, "layout": "folder", "parts": {"train": 15, "val": 15}, "images": 15, "near": 15,
    }  # fmt: skip
    [one] = [one for one in told["findings"] if one["code"] == "leak.against"]
    assert (one["severity"], one["count"], len(one["files"])) == ("warning", 15, 15)
    assert one["message"].startswith("15 of 15 train images have a near neighbour in other (100%; there in val 15): ")
    assert one["fix"] == "Do not test on train what has learned from other, or the other way round"
    assert cli.main(["inspect", other, "--against", train]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"against {train}: layout folder, train" in said
    assert "15 of 30 images have a near neighbour there" in said
    assert "leak.against" in said


def test_sources_that_share_nothing_say_so(clips, make, own_cache, capsys):
    alone = {f"../alone/images/{n}.png": scene(500 + n, (48, 96)) for n in range(9)}
    make(alone | {name.replace("images", "masks"): labels([0, 1], (48, 96)) for name in alone})
    assert cli.main(["inspect", str(clips / "train"), "--against", str(clips.parent / "alone")]) == 0
    said = capsys.readouterr().out
    assert "0 of 15 images have a near neighbour there" in said
    assert "leak.against" not in said


def test_sources_with_faults_can_be_compared(clips, cache):
    """A mask and a picture are damaged: the others are compared. And masks are not needed for it."""
    (clips / "other/val/masks/f2.png").write_bytes(b"")
    (clips / "train/images/f1.png").write_bytes(b"")
    held = inspect(clips / "train", against=clips / "other", cache=cache).against
    assert held is not None
    assert (held.images, held.near, held.parts) == (14, 14, {"train": 15, "val": 14})
    held = inspect(clips / "train", against=clips / "other/val/images", cache=cache).against
    assert held is not None
    assert (held.layout, held.parts, held.near) == ("unknown", {"all": 15}, 14)


def test_what_cannot_be_held_against_is_refused(clips, cache, tmp_path):
    with pytest.raises(DataNotFound, match="no such file or folder"):
        inspect(clips / "train", against=tmp_path / "nowhere", cache=cache)
    with pytest.raises(DataError, match="it is the source itself"):
        inspect(clips / "train", against=clips / "other/../train", cache=cache)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no picture of it can be read\. Look at it alone first"):
        inspect(clips / "train", against=tmp_path / "empty", cache=cache)


@pytest.mark.parametrize("lists", [True, False], ids=["lists", "beginnings"])
def test_a_description_elsewhere_is_inspected_as_its_folder_is(make, cache, tmp_path, lists):
    """A damaged picture takes its mask with it, and what the parts say of it is no other fault."""
    files = {place.replace("images", "pics").replace("masks", "drawn"): one for place, one in good().items()}
    root = make(files | {"pics/b.png": b"", "train.txt": "a\nb\n", "val.txt": "pics/d.png\n"})
    parts = "{train: train.txt, val: val.txt}" if lists else "{train: [a, b], val: [d]}"
    about = tmp_path / "about.yaml"
    about.write_text(f"root: {root.name}\nimages: pics\nmasks: drawn\nsplits: {parts}\n")
    found = inspect(about, cache=cache)
    errors = {one.code: one.files for one in found.findings if one.severity == "error"}
    assert errors == {"image.empty": ("pics/b.png",)}
    assert found.parts == {"train": 1, "val": 1, "left out": 2}


def test_copies_are_found_before_the_colours_have_names(make, cache):
    colors = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)[labels([0, 1], (48, 64))]
    names = [f"{part}/{kind}/{n}.png" for part in ("train", "val") for kind in ("images", "masks") for n in range(4)]
    files = {name: colors if "masks" in name else photo(int(name[-5]), (48, 64)) for name in names}
    files |= {f"val/images/{n}.png": photo(20 + n, (48, 64)) for n in range(1, 4)}
    found = inspect(make(files), cache=cache)
    assert found.guessed
    assert [one.files for one in found.findings if one.code == "duplicate.across"] == [("val/images/0",)]
