"""Labels judged by models: planted errors come first, and nobody judges what a model has trained on."""

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from segtrial import cli, models
from segtrial.data import SplitOptions, open_dataset
from segtrial.data.street import BUILDING, CAR, ROAD, TABLE
from segtrial.data.toytown import Toytown
from segtrial.errors import DataError, ModelFileError, RunError
from segtrial.inspection import inspect
from segtrial.inspection.labels import LEAST, check_labels, load_judges, with_findings
from tests.inspection import judges

STREET, STREET_COLORS = tuple(TABLE), tuple(TABLE.values())
NAMES, COLORS = ("ground", "thing"), ((40, 120, 60), (220, 40, 30))
GOOD = judges.nearest(COLORS)
WRONG = judges.nearest(COLORS[::-1])
SIZE = (16, 24)


@pytest.fixture(autouse=True)
def one_more_architecture(monkeypatch):
    module = ModuleType(f"segtrial.models.{judges.NAME}")
    monkeypatch.setattr(module, "build", judges.build, raising=False)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    known = models.names()
    monkeypatch.setattr(models, "names", lambda: [*known, judges.NAME])


def painted(mask: np.ndarray, colors, seed: int) -> np.ndarray:
    """The picture that a mask is right for: the colours of its classes, and noise."""
    noise = np.random.default_rng(seed).integers(-6, 7, (*mask.shape, 3))
    return (np.array(colors)[mask] + noise).clip(0, 255).astype(np.uint8)


def rectangle(number: int) -> np.ndarray:
    """A thing on the ground, at a place of its own."""
    mask = np.zeros(SIZE, np.uint8)
    mask[3 : 7 + number % 3, 2 + number : 8 + number] = 1
    return mask


def write(root: Path, masks: dict[str, np.ndarray], written: dict[str, np.ndarray], names, colors) -> Path:
    """Pictures of `masks`, and masks in which `written` stands instead."""
    for number, (key, mask) in enumerate(masks.items()):
        image, target = root / f"{key}.png", root / f"{key.replace('images', 'masks')}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(painted(mask, colors, number)).save(image)
        Image.fromarray(written.get(key, mask)).save(target)
    (root / "classes.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture
def plain(tmp_path) -> Path:
    """Nine pictures of a thing each, all masks right; no parts."""
    masks = {f"images/{letter}": rectangle(number) for number, letter in enumerate("abcdefghi")}
    return write(tmp_path / "plain", masks, {}, NAMES, COLORS)


def fold(data: Path, number: int, folds: int = 3) -> set[str]:
    """Keys of that fold."""
    return {item.key for item in open_dataset(data, SplitOptions(folds=folds, fold=number)).parts["val"]}


def folds_of(where: Path, data: Path, weights, folds: int = 3) -> list[Path]:
    """A run for each fold."""
    split = [{"folds": folds, "fold": number} for number in range(folds)]
    return [
        judges.write_run(where / f"fold{number}", data, NAMES, weights[number], split=one)
        for number, one in enumerate(split)
    ]


def judged(data, *places, cache=None, progress=None):
    return check_labels(inspect(data, cache=cache), load_judges(places, "cpu"), progress)


def keys_of(rows) -> set[str]:
    return {row.key for row in rows}


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Generated streets in the colours of their classes; three of twelve masks are wrong, each in its own way."""
    town = Toytown(scenes=6, frames=2, size=(48, 64))
    frames = [town.read(town.item(scene, frame)).target for scene in range(6) for frame in range(2)]
    masks = {f"images/{chr(97 + number)}": mask for number, mask in enumerate(frames)}
    shares = {key: np.bincount(mask.ravel(), minlength=len(STREET)) / mask.size for key, mask in masks.items()}
    shifted, exchanged, *rest = masks
    missing = max(rest, key=lambda key: shares[key][CAR])
    assert shares[missing][CAR] > 0.02
    swap = np.arange(len(STREET), dtype=np.uint8)
    swap[[BUILDING, ROAD]] = ROAD, BUILDING
    wrong = {
        shifted: np.roll(masks[shifted], 9, axis=1),
        exchanged: swap[masks[exchanged]],
        missing: np.where(masks[missing] == CAR, ROAD, masks[missing]).astype(np.uint8),
    }
    root = write(tmp_path_factory.mktemp("streets"), masks, wrong, STREET, STREET_COLORS)
    return root, {"shifted": shifted, "exchanged": exchanged, "missing": missing}


def test_planted_errors_come_first(streets, tmp_path, own_cache, capsys):
    """Through the command line, with a run for each of three folds."""
    data, planted = streets
    words = []
    for number in range(3):
        run = judges.write_run(
            tmp_path / f"fold{number}", data, STREET, judges.nearest(STREET_COLORS), split={"folds": 3, "fold": number}
        )
        words += ["--model", str(run)]
    assert cli.main(["inspect", str(data), *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    labels = told["labels"]
    assert {row["key"] for row in labels["images"][:3]} == set(planted.values())
    assert [row["key"] for row in labels["images"] if row["suspicious"]] == [row["key"] for row in labels["images"][:3]]
    assert (labels["judged"], labels["unjudged"]) == (12, [])
    assert sum(model["judged"] for model in labels["models"]) == 12
    regions = {row["key"]: row["region"] for row in labels["images"]}
    assert regions[planted["missing"]]["written"] == "road"
    assert regions[planted["missing"]]["looks_like"] == "car"
    pair = regions[planted["exchanged"]]
    assert {pair["written"], pair["looks_like"]} == {"road", "building"}
    found = {one["code"]: one for one in told["findings"]}
    suspicious = found["label.suspicious"]
    assert (suspicious["severity"], suspicious["count"]) == ("warning", 3)
    assert set(suspicious["files"]) == {f"masks/{key.removeprefix('images/')}.png" for key in planted.values()}
    assert "12 of 12 images were judged by models that have not trained on them" in found["label.judged"]["message"]
    assert found["label.confused"]["severity"] == "note"

    assert cli.main(["inspect", str(data), *words]) == 0
    said = capsys.readouterr().out
    assert "labels of 12 images, the most suspicious first" in said
    assert "warning   label.suspicious: 3 of 12 masks look wrong" in said


def test_the_shape_of_the_json(plain, tmp_path, cache):
    check = judged(plain, judges.write_run(tmp_path / "run", plain, NAMES, GOOD), cache=cache)
    told = json.loads(json.dumps(check.to_json(), allow_nan=False))
    assert list(told) == [
        *("schema", "classes", "models", "judged", "unjudged", "unread", "scores", "thresholds", "joint", "images"),
    ]
    assert told["schema"] == 1
    assert list(told["models"][0]) == ["model", "judged", "doubt"]
    assert list(told["scores"]) == ["pixel_accuracy", "miou_dataset"]
    assert list(told["images"][0]) == ["key", "file", "quality", "disagreement", "suspicious", "region"]
    assert told["scores"] == {"pixel_accuracy": 1.0, "miou_dataset": 1.0}


def test_the_place_of_a_missing_thing(tmp_path, cache):
    """A thing of 4 x 6 pixels that the mask of "a" does not have, at rows 3 to 6 and columns 2 to 7."""
    masks = {f"images/{letter}": rectangle(number) for number, letter in enumerate("abcdef")}
    data = write(tmp_path / "set", masks, {"images/a": np.zeros(SIZE, np.uint8)}, NAMES, COLORS)
    check = judged(data, judges.write_model_of(tmp_path, NAMES, GOOD), cache=cache)
    first = check.rows[0]
    assert (first.key, first.file) == ("images/a", "masks/a.png")
    assert first.region is not None
    assert (first.region.written, first.region.likely, first.region.pixels) == (0, 1, 24)
    assert first.region.box == (3, 2, 7, 8)
    assert first.disagreement == pytest.approx(24 / (16 * 24))
    assert check.joint[0, 1] == 24
    assert check.joint[1, 0] == 0
    [finding] = [one for one in check.findings if one.code == "label.suspicious"]
    assert "masks/a.png (ground -> thing, 6.2 % of the pixels, rows 3-6, columns 2-7)" in finding.message


def test_only_what_stands_out_is_suspicious(tmp_path, cache):
    """Four pixels that the model takes for a thing everywhere are its own fault; a whole thing is not."""
    written = {f"images/{letter}": rectangle(number) for number, letter in enumerate("abcdefgh")}
    masks = {key: mask.copy() for key, mask in written.items()}
    for mask in masks.values():
        mask[12:14, 12:14] = 1
    written["images/c"] = np.zeros(SIZE, np.uint8)
    data = write(tmp_path / "set", masks, written, NAMES, COLORS)
    check = judged(data, judges.write_model_of(tmp_path, NAMES, GOOD), cache=cache)
    assert all(row.disagreement > LEAST for row in check.rows)
    assert [row.key for row in check.rows if row.suspicious] == ["images/c"]


def test_ignored_pixels_are_not_judged(tmp_path, cache):
    """What is wrong lies under 255."""
    masks = {f"images/{letter}": rectangle(number) for number, letter in enumerate("abcdef")}
    ignored = np.where(masks["images/a"] == 1, 255, 0).astype(np.uint8)
    data = write(tmp_path / "set", masks, {"images/a": ignored}, NAMES, COLORS)
    check = judged(data, judges.write_model_of(tmp_path, NAMES, GOOD), cache=cache)
    row = next(row for row in check.rows if row.key == "images/a")
    assert (row.pixels, row.disagreement, row.region) == (16 * 24 - 24, 0.0, None)
    assert not any(row.suspicious for row in check.rows)
    assert check.confusion.sum() == 6 * 16 * 24 - 24


def test_each_image_is_judged_by_the_run_that_left_it_out(plain, tmp_path, cache):
    """The run of fold 1 takes things for ground: only what fold 1 holds looks wrong."""
    check = judged(plain, *folds_of(tmp_path, plain, (GOOD, WRONG, GOOD)), cache=cache)
    assert list(check.judged_by.values()) == [3, 3, 3]
    assert keys_of(row for row in check.rows if row.quality < 0.5) == fold(plain, 1)
    assert check.unjudged == ()


def test_what_all_have_trained_on_is_not_judged(plain, tmp_path, cache):
    runs = folds_of(tmp_path, plain, (GOOD, GOOD, GOOD))[:2]
    check = judged(plain, *runs, cache=cache)
    assert set(check.unjudged) == fold(plain, 2)
    assert keys_of(check.rows) == fold(plain, 0) | fold(plain, 1)
    one = check.findings[-1]
    assert (one.code, one.severity, one.count) == ("label.judged", "note", 6)
    assert set(one.files) == fold(plain, 2)
    assert "3 were not judged: all models have trained on them" in one.message
    assert "split.folds=5" in one.fix


def test_several_models_judge_by_the_mean_of_their_probabilities(plain, tmp_path, cache):
    """.9 and .5 of ground make .7, .1 and .5 of thing make .3."""
    places = [
        judges.write_model_of(tmp_path / name, NAMES, judges.constant(p))
        for name, p in (("sure", (0.9, 0.1)), ("unsure", (0.5, 0.5)))
    ]
    check = judged(plain, *places, cache=cache)
    assert check.thresholds == pytest.approx((0.7, 0.3), rel=1e-5)
    for row, number in zip(sorted(check.rows, key=lambda row: row.key), range(9), strict=True):
        thing = int(rectangle(number).sum())
        ground, (low, high) = 16 * 24 - thing, np.exp([-7.0, -3.0])
        wanted = (0.7 * ground * low + 0.3 * thing * high) / (ground * low + thing * high)
        assert row.quality == pytest.approx(wanted, rel=1e-4)
        assert row.disagreement == pytest.approx(thing / (16 * 24))  # ground is what is likeliest, and reaches .7


def test_a_file_without_its_run_judges_with_a_warning(plain, tmp_path, cache):
    check = judged(plain, judges.write_model_of(tmp_path, NAMES, GOOD), cache=cache)
    assert len(check.rows) == 9
    [one] = [one for one in check.findings if one.code == "label.unknown_training"]
    assert one.severity == "warning"
    assert "it is a model file without its run" in one.message
    assert "have not trained" not in check.findings[-1].message


def test_the_file_of_a_run_knows_its_run(plain, tmp_path, cache):
    run = judges.write_run(tmp_path / "run", plain, NAMES, GOOD, split={"folds": 3})
    check = judged(plain, run / "model.safetensors", cache=cache)
    assert keys_of(check.rows) == fold(plain, 0)


def test_data_that_moved_are_known_by_their_names(plain, tmp_path, cache):
    run = judges.write_run(tmp_path / "run", plain, NAMES, GOOD, split={"folds": 3})
    wanted = fold(plain, 0)
    moved = Path(shutil.move(plain, tmp_path / "elsewhere"))
    check = judged(moved, run, cache=cache)
    assert (keys_of(check.rows), check.doubts) == (wanted, {})


def test_a_folder_of_the_data_is_known_by_its_files(tmp_path, cache):
    masks = {f"{part}/images/{n}": rectangle(n) for part, count in (("train", 4), ("val", 3)) for n in range(count)}
    data = write(tmp_path / "set", masks, {}, NAMES, COLORS)
    run = judges.write_run(tmp_path / "run", data, NAMES, GOOD)
    assert len(judged(data, run, cache=cache).rows) == 3
    for part in ("train", "val"):
        shutil.copy(data / "classes.txt", data / part)
    none = judged(data / "train", run, cache=cache)
    assert (none.rows, len(none.unjudged)) == ((), 4)
    assert (none.findings[0].code, none.findings[0].severity) == ("label.judged", "warning")
    assert len(judged(data / "val", run, cache=cache).rows) == 3


def test_other_data_were_not_trained_on(plain, tmp_path, cache):
    run = judges.write_run(tmp_path / "run", plain, NAMES, GOOD)
    masks = {f"images/{letter}": rectangle(number) for number, letter in enumerate("uvwxyz")}
    other = write(tmp_path / "other", masks, {}, NAMES, COLORS)
    check = judged(other, run, cache=cache)
    assert (len(check.rows), check.doubts) == (6, {})
    shutil.rmtree(plain)
    doubtful = judged(other, run, cache=cache)
    assert len(doubtful.rows) == 6
    assert "are not there any more" in next(iter(doubtful.doubts.values()))


def test_after_images_were_added_only_those_of_val_are_judged(plain, tmp_path, cache):
    run = judges.write_run(tmp_path / "run", plain, NAMES, GOOD, split={"folds": 3})
    wanted = fold(plain, 0)
    write(plain, {"images/new": rectangle(4)}, {}, NAMES, COLORS)
    check = judged(plain, run, cache=cache)
    assert (keys_of(check.rows), check.doubts) == (wanted, {})
    assert "images/new" in check.unjudged


def test_what_the_first_weights_have_seen_counts(plain, tmp_path, cache):
    first = judges.write_run(tmp_path / "first", plain, NAMES, GOOD, split={"folds": 3, "fold": 0})
    again = judges.write_run(tmp_path / "again", plain, NAMES, GOOD, split={"folds": 3, "fold": 1}, start=first)
    assert judged(plain, again, cache=cache).rows == ()
    judges.write_run(tmp_path / "first", plain, NAMES, WRONG, split={"folds": 3, "fold": 0})
    other = judged(plain, again, cache=cache)
    assert keys_of(other.rows) == fold(plain, 1)
    assert "which is another model now" in next(iter(other.doubts.values()))
    shutil.rmtree(first)
    assert "which is not there any more" in next(iter(judged(plain, again, cache=cache).doubts.values()))


def test_a_real_run(tiny_data, tiny_run, own_cache):
    check = judged(tiny_data, tiny_run)
    assert keys_of(check.rows) == {f"val/images/{n}" for n in range(6)}
    assert set(check.unjudged) == {f"train/images/{n}" for n in range(4)}
    assert check.doubts == {}
    assert all(0 <= row.quality <= 1 for row in check.rows)


def test_pictures_in_the_wrong_folder(tmp_path, cache):
    """Classes of whole pictures: a mask of one pixel each."""
    root = tmp_path / "sorted"
    names = ("grass", "brick")
    for name, color in zip(names, COLORS, strict=True):
        for number in range(5):
            lies = "brick" if (name, number) == ("grass", 3) else name
            (root / lies).mkdir(parents=True, exist_ok=True)
            pixels = painted(np.zeros((32, 32), np.uint8), [color], number)
            Image.fromarray(pixels).save(root / lies / f"{name}{number}.png")
    model = judges.write_model_of(tmp_path, names[::-1], WRONG, task="classification")
    check = judged(root, model, cache=cache)
    assert [row.key for row in check.rows if row.suspicious] == ["brick/grass3"]
    assert check.rows[0].quality < 0.01
    assert check.confusion.tolist() == [[5, 1], [0, 4]]
    [one] = [one for one in check.findings if one.code == "label.suspicious"]
    assert "1 of 10 classes look wrong" in one.message
    assert "brick/grass3 (brick -> grass)" in one.message


def test_progress_reaches_its_end_over_both_passes(plain, tmp_path, cache):
    seen: list[tuple[int, int]] = []
    judged(plain, judges.write_model_of(tmp_path, NAMES, GOOD), cache=cache, progress=lambda *step: seen.append(step))
    assert seen == [(number, 18) for number in range(1, 19)]


def test_the_same_again_is_the_same(streets, tmp_path, cache):
    data, _ = streets
    model = judges.write_model_of(tmp_path, STREET, judges.nearest(STREET_COLORS, 20.0))
    assert judged(data, model, cache=cache).to_json() == judged(data, model, cache=cache).to_json()


def test_findings_join_those_of_the_inspection(plain, tmp_path, cache):
    inspection = inspect(plain, cache=cache)
    check = check_labels(inspection, load_judges([judges.write_model_of(tmp_path, NAMES, WRONG)], "cpu"))
    both = with_findings(inspection, check.findings)
    assert {one.code for one in both.findings} >= {"label.judged", "part.few"}
    severities = [one.severity for one in both.findings]
    assert severities == sorted(severities, key=("error", "warning", "note").index)


def test_models_that_cannot_judge(plain, tmp_path, cache):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(RunError, match=r"no model\.safetensors in it.*run folder that has finished"):
        load_judges([empty])
    many = judges.write_model_of(tmp_path / "many", NAMES, GOOD, task="multilabel")
    with pytest.raises(ModelFileError, match=r"a model of multilabel.*Give models of segmentation"):
        load_judges([many])
    whole = judges.write_model_of(tmp_path / "whole", NAMES, GOOD, task="classification")
    with pytest.raises(DataError, match=r"its pictures have masks, and .* is a model of classes"):
        judged(plain, whole, cache=cache)
    renamed = judges.write_model_of(tmp_path / "renamed", ("ground", "animal"), GOOD)
    with pytest.raises(DataError, match=r"classes ground, thing, but the model knows ground, animal"):
        judged(plain, renamed, cache=cache)
    run = judges.write_run(tmp_path / "run", plain, NAMES, GOOD)
    (run / "plan.json").write_text('{"recipe": {}}')
    with pytest.raises(RunError, match=r"plan\.json: not a plan \(KeyError"):
        judged(plain, run, cache=cache)


def test_data_that_cannot_be_opened_are_inspected_all_the_same(plain, tmp_path, own_cache, capsys):
    (plain / "masks" / "a.png").write_bytes(b"")
    (plain / "classes.txt").write_text("ground\nground\n")
    model = judges.write_model_of(tmp_path, NAMES, GOOD)
    assert cli.main(["inspect", str(plain), "--model", str(model)]) == 2
    said = capsys.readouterr()
    assert "labels were not judged" in said.err
    assert "class.table" in said.out


def test_binary_models_judge_too(plain, tmp_path, cache):
    """One score: that of things against ground."""
    two = judges.nearest(COLORS)
    one = (two[0][1:] - two[0][:1], two[1][1:] - two[1][:1])
    place = judges.write_model_of(tmp_path / "one", NAMES, one, task="binary")
    single = judged(plain, place, cache=cache)
    both = judged(plain, judges.write_model_of(tmp_path / "two", NAMES, two), cache=cache)
    for a, b in zip(single.rows, both.rows, strict=True):
        assert a.quality == pytest.approx(b.quality, abs=1e-4)
    assert torch.equal(torch.from_numpy(single.confusion), torch.from_numpy(both.confusion))
