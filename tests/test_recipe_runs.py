"""benchmarks/recipes.py: what is run, in which order, what is kept of it, and what if something goes wrong."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import recipes
from benchmarks.recipes import Setup, is_done, main, order, read_jobs
from segtrial.errors import DataNotFound, Interrupted
from tests import tiny

SMALL = "small: {steps: 2, evaluations: 1, phases: [{share: 1, batch: 2, crop: 1, scale: [1, 1]}]}"
PLAIN = "model: unet:width=4\nema: 0\nkeep: last\nthreads: 1\nprecision: float32\n"


def write(folder: Path, name: str, data: str = "masks", body: str = "", small: str = SMALL, more: str = "") -> None:
    folder.mkdir(exist_ok=True)
    command = f"segtrial train recipes/{name}.yaml --data {data} \\\n#     --out runs/{name} --budget small"
    head = f"# A network of a test.\n#   {command}\n# Data: generated (masks).\n{more}"
    (folder / f"{name}.yaml").write_text(f"{head}{PLAIN}{body}budgets:\n  {small}\n  paper: {{epochs: 1}}\n")


@pytest.fixture
def setup(tmp_path) -> Setup:
    """Three recipes: the first in the alphabet starts from the last, and one has no data."""
    write(tmp_path / "recipes", "a-second", body="start: runs/z-first\n")
    write(tmp_path / "recipes", "broken", data="nowhere")
    write(tmp_path / "recipes", "z-first")
    return Setup("small", tmp_path / "recipes", tmp_path / "runs", tmp_path / "results")


def due(setup: Setup, *names: str) -> list[str]:
    jobs = read_jobs(setup)
    return list(order(names or list(jobs), jobs, setup))


def faked(monkeypatch) -> list[str]:
    """Training that leaves only weights, and fails without data; the names of the runs, as they come."""
    ran = []

    def train(job, root, out, setup, watch):
        ran.append(job.file.stem)
        if job.data == "nowhere":
            raise DataNotFound(root / job.data, "no such folder", "Give another")
        out.mkdir(parents=True)
        (out / "model.safetensors").write_bytes(b"")
        return {"headline": "miou_dataset", "scores": {"miou_dataset": 1 / 3}, "steps": 2}

    monkeypatch.setattr(recipes, "_train", train)
    return ran


def test_all_are_run_once_each_after_what_it_starts_from(setup, monkeypatch, capsys):
    ran = faked(monkeypatch)
    assert due(setup) == ["z-first", "a-second", "broken"]
    assert due(setup, "a-second") == ["z-first", "a-second"]
    assert main(["/sets"], setup) == 1  # one of three failed
    assert ran == ["z-first", "a-second", "broken"]
    told = {path.stem: json.loads(path.read_text()) for path in setup.results.glob("*.json")}
    assert set(told) == set(ran)
    assert told["broken"]["failed"] == "DataNotFound: DATA_ROOT/nowhere: no such folder. Give another"  # no places
    first = told["z-first"]
    assert first["command"] == "segtrial train recipes/z-first.yaml --data masks --out runs/z-first --budget small"
    assert first["scores"] == {"miou_dataset": 0.33333}
    assert told["a-second"]["built_on"] == {"z-first": first["hash"]}
    assert due(setup) == ["broken"]
    said = capsys.readouterr()
    assert "[3 of 3] segtrial train" in said.out
    assert said.err.endswith("failed: broken\n")


def test_a_run_is_made_again_where_it_must_be(setup, monkeypatch):
    ran = faked(monkeypatch)
    main(["/sets"], setup)
    (setup.runs / "z-first" / "model.safetensors").unlink()
    assert due(setup, "a-second", "z-first") == []  # what came of them is known, and nobody needs the weights
    write(setup.recipes, "a-second", body="start: runs/z-first\nseed: 1\n")
    assert due(setup, "a-second") == ["z-first", "a-second"]
    write(setup.recipes, "a-second", body="start: runs/z-first\n")
    write(setup.recipes, "z-first", small=SMALL.replace("steps: 2", "steps: 1"))
    assert due(setup) == ["z-first", "a-second", "broken"]
    del ran[:]
    assert main(["/sets", "--only", "z-first"], setup) == 0  # its folder is there, of another recipe
    assert ran == ["z-first"]
    assert due(setup) == ["a-second", "broken"]  # what it starts from is another one now


@pytest.mark.slow
def test_what_is_kept_of_a_run(setup, tiny_data, own_cache):
    """Really trained: the second carries the weights of the first over."""
    (setup.recipes / "broken.yaml").unlink()
    (setup.recipes.parent / "masks").symlink_to(tiny_data)
    assert main([str(setup.recipes.parent)], setup) == 0
    told = {path.stem: json.loads(path.read_text()) for path in setup.results.glob("*.json")}
    first = told["z-first"]
    assert (first["steps"], first["parts"], first["n_images"], first["threads"]) == (2, {"train": 4, "val": 6}, 6, 1)
    assert {"miou_dataset", "dice_dataset"} <= set(first["scores"]) == set(first["intervals"])
    assert [row["name"] for row in first["per_class"]] == list(tiny.NAMES)
    assert {row["step"] for row in first["val"]} == {row["step"] for row in first["train"]} == {2}
    assert 0 < first["training_seconds"] < first["seconds"]
    assert told["a-second"]["val"][0]["loss"] < first["val"][0]["loss"]
    assert str(setup.recipes.parent) not in "".join(path.read_text() for path in setup.results.glob("*.json"))


def test_who_stops_it_can_go_on(setup, monkeypatch):
    calls = []

    def stopped(**given):
        given["out"].mkdir(parents=True)
        calls.append(given)
        raise Interrupted(15)

    monkeypatch.setattr(recipes.st, "train", stopped)
    assert main(["/data", "--only", "a-second"], setup) == 143
    assert not setup.results.exists()
    assert [call["out"].name for call in calls] == ["z-first"]
    begun = json.loads((setup.runs / "z-first.begun.json").read_text())
    with recipes._timed(setup.runs / "z-first", begun["digest"]) as seconds:
        assert seconds() > begun["seconds"] > 0  # what it took before counts
    with recipes._timed(setup.runs / "z-first", "another") as seconds:
        assert seconds() < begun["seconds"] + 1
        assert not (setup.runs / "z-first").exists()


def test_data_may_be_described_in_the_header(setup, tmp_path, monkeypatch):
    """Then the description is written out, with the set of the header's line as its root."""
    more = "# own.yaml makes two of three. It says:\n#   classes:\n#     - {name: back, ids: [0]}\n"
    write(setup.recipes, "described", data="own.yaml", more=more)
    job = read_jobs(setup)["described"]
    place = recipes._place(job, tmp_path / "sets", setup)
    assert place.read_text() == f'root: "{tmp_path}/sets/masks"\nclasses:\n  - {{name: back, ids: [0]}}\n'
    assert recipes._set_of(job) == "masks"


def test_streets_and_faces_are_made_small(setup, tmp_path, monkeypatch):
    """Masks keep their classes, images are averaged, other files stay."""
    source = tmp_path / "sets" / "streets"
    for folder in ("images", "labels"):
        (source / folder).mkdir(parents=True)
        Image.fromarray(np.array([[0, 0, 8], [0, 8, 8], [0, 8, 8], [8, 8, 8]], np.uint8)).save(
            source / folder / "1.png"
        )
    (source / "label_colors.txt").write_text("0 0 0 Void")
    monkeypatch.setitem(recipes.SMALL, "streets", (1, 2))
    write(setup.recipes, "of-streets", data="streets")
    place = recipes._place(read_jobs(setup)["of-streets"], tmp_path / "sets", setup)
    image, mask = (np.asarray(Image.open(place / folder / "1.png")).ravel() for folder in ("images", "labels"))
    assert image.tolist() == [4, 7]  # 24 / 6 and 40 / 6
    assert set(mask.tolist()) <= {0, 8}
    assert (place / "label_colors.txt").read_text() == "0 0 0 Void"
    large = replace(setup, budget="paper")
    assert recipes._place(read_jobs(large)["of-streets"], tmp_path / "sets", large) == source


def test_a_comparison_is_recorded_or_fails_as_a_whole(setup, monkeypatch, tmp_path):
    text = "# Two.\n#   segtrial compare recipes/both.yaml --out trials/both --budget small\n# Data: (masks).\n"
    text += (
        "base: {data: masks, steps: 1, seed: 3}\nvariants: {a: {}, b: {model: segnet}}\nbudgets: {small: {seeds: 2}}\n"
    )
    (setup.recipes / "both.yaml").write_text(text)
    given = []

    def fails(tree, out, **options):
        given.append((tree["base"], options["budget"], options["workers"]))
        return {"failures": [{"message": f"no disk at {tmp_path}/sets"}]}

    monkeypatch.setattr(recipes.st, "compare", fails)
    assert main([f"{tmp_path}/sets", "--only", "both"], setup) == 1
    assert given == [({"data": f"{tmp_path}/sets/masks", "steps": 1, "seed": 3}, "small", 1)]
    assert json.loads((setup.results / "both.json").read_text())["failed"] == "no disk at DATA_ROOT"
    before = read_jobs(setup)["both"].hash
    (setup.recipes / "both.yaml").write_text(text.replace("seeds: 2", "seeds: 3"))
    assert read_jobs(setup)["both"].hash != before


def test_another_budget_is_another_run(setup):
    small, paper = read_jobs(setup), read_jobs(replace(setup, budget="paper"))
    assert small["z-first"].hash != paper["z-first"].hash
    assert replace(setup, budget="paper").record("z-first").name == "z-first.paper.json"
    with pytest.raises(SystemExit, match="2"):
        main(["/data", "--only", "nobody"], setup)


def test_the_recipes_of_the_reports():
    jobs = read_jobs(Setup())
    assert {name: job.needs for name, job in jobs.items() if name.endswith("-carried")} == {
        "r1-fcn-carried": {"encoder.weights": "r1-backbone"},
        "r1-unet-carried": {"encoder.weights": "r1-backbone"},
    }
    assert jobs["r4-frozen"].needs == jobs["r4-fine-tuned"].needs == {"encoder.weights": "r4-backbone"}
    assert {recipes._set_of(job) for job in jobs.values()} == {
        *("camvid", "camseq01", "celebamask19_256", "cifar10", "scenes64")
    }
    assert [name for name, job in jobs.items() if job.compares] == ["r4-tuned"]


def test_every_record_fits_its_recipe():
    """If this fails: python benchmarks/recipes.py DATA_ROOT"""
    jobs, setup = read_jobs(Setup()), Setup()
    kept = [path.stem for path in setup.results.glob("*.json") if "failed" not in json.loads(path.read_bytes())]
    assert [name for name in kept if "." not in name and not is_done(name, jobs, setup)] == []
