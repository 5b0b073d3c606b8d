"""Leaks of a comparison's data are found before its first run, kept, and said beside the verdict."""

import json
import shutil

from segtrial.comparison import leaks
from segtrial.comparison.manifest import read_manifest
from segtrial.reports import comparison_report
from segtrial.training.watch import Silent
from tests import tiny
from tests.comparison import trial
from tests.reports.reading import said


def test_data_without_leaks_say_so(finished):
    told = json.loads((finished / "leaks.json").read_text())
    assert set(told) == {"schema", "part", "variants", "limit", "leaks", "random", "sides", "sentence"}
    (side,) = told["sides"]
    assert set(side) == {
        *("variants", "fold", "train", "images", "in_groups", "near_same_group", "near_other_group", "pairs"),
        "findings",
    }
    assert (told["leaks"], side["train"], side["images"], side["in_groups"]) == (False, 6, 2, 0)
    assert told["sentence"].startswith("None of the 2 val images has a near neighbour in train")


def test_a_comparison_on_leaking_data_says_so_beside_its_verdict(cache, tmp_path):
    """Held-out pictures that train has too, under other names."""
    data = tiny.write_data(tmp_path / "data", train=6)
    for kind in ("images", "masks"):
        for file in (data / "val" / kind).iterdir():
            shutil.copy(sorted((data / "train" / kind).iterdir())[int(file.stem)], file)
    out = tmp_path / "trial"
    result = trial.compared(out, base={**trial.BASE, "data": str(data)}, seeds=1, variants={"a": {}})
    images = result["held_out"]["images"]
    assert result["notes"][0].startswith(f"The data leak: {images} of the {images} val images have a near neighbour")
    shutil.rmtree(data)
    comparison_report.write(out)
    words = said((out / "comparison.html").read_text())
    assert words.index("leak The data leak:") < words.index("Leaks between train and val")
    assert words.count("The data leak:") == 2, "beside the verdict, and above its table"
    assert "leak.near" in words


def test_what_was_found_is_kept_and_looked_at_again_only_for_new_variants(cache, finished, tmp_path):
    out = shutil.copytree(finished, tmp_path / "trial")
    known = {**json.loads((out / "leaks.json").read_text()), "sentence": "as it was"}
    (out / "leaks.json").write_text(json.dumps(known))
    manifest = read_manifest(out)
    assert leaks.write_leaks(out, manifest, Silent()) == known
    grown = manifest.model_copy(update={"variants": {**manifest.variants, "more": manifest.variants["slow"]}})
    assert leaks.write_leaks(out, grown, Silent())["variants"] == ["slow", "fast", "more"]


def test_each_fold_is_looked_at(cache, finished):
    manifest = read_manifest(finished).model_copy(update={"folds": 2})
    sides = leaks.found(manifest, Silent())["sides"]
    assert [(side["fold"], side["train"], side["images"]) for side in sides] == [(0, 4, 4), (1, 4, 4)]
