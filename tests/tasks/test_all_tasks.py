"""What every task must do, whichever there are: train, write, evaluate, predict, load, continue, report."""

import io
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from segtrial import api, cli, fitdoctor, modelfile
from segtrial.classes import Classes
from segtrial.data import open_dataset
from segtrial.data.cache import open_store
from segtrial.errors import Interrupted, ModelFileError
from segtrial.evaluation import load_counts
from segtrial.prediction import TABLE
from segtrial.recipe import from_tree, override
from segtrial.reports import records, run_report
from segtrial.shapes import IGNORE
from segtrial.signals import StopRequest
from segtrial.tasks import TASKS, make
from segtrial.tensorfile import load_tensors, save_tensors
from segtrial.training import loop
from segtrial.training.learner import Learner
from segtrial.training.planning import make_plan
from segtrial.training.watch import Silent
from tests.tasks import folders
from tests.training.killing import digests

CHROMIUM = Path("/usr/bin/chromium")
COLORS = sorted(name for name, task in TASKS.items() if task.content == "photos")

OFTEN = ("classification", "colorization")
"""Tasks of which whole runs are tested with the fast tests; all others are of their kinds, and tested as well."""


@dataclass(frozen=True)
class Made:
    """A finished run of a task, and the folder that it learnt from. Read only."""

    task: str
    data: Path
    run: Path

    def json(self, name: str) -> dict:
        return json.loads((self.run / name).read_text())


@pytest.fixture(scope="session")
def make_run(tmp_path_factory, shared_cache) -> Callable[[str], Made]:
    made: dict[str, Made] = {}

    def of(task: str) -> Made:
        if task not in made:
            root = tmp_path_factory.mktemp(task)
            data = folders.write(task, root / "data")
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SEGTRIAL_CACHE", str(shared_cache))
                assert cli.main(["--traceback", *folders.words(data, root / "run", task)]) == 0
            made[task] = Made(task, data, root / "run")
        return made[task]

    return of


def in_turn(names: Iterable[str]) -> list:
    return [pytest.param(name, marks=() if name in OFTEN else pytest.mark.slow) for name in sorted(names)]


@pytest.fixture(params=in_turn(TASKS))
def made(request, make_run, own_cache) -> Made:
    return make_run(request.param)


@pytest.fixture(params=in_turn(TASKS))
def task_and_data(request, tmp_path, own_cache) -> tuple[str, Path]:
    return request.param, folders.write(request.param, tmp_path / "data")


def test_a_run_leaves_everything_and_says_its_task(made):
    for name in (
        *("plan.json", "recipe.yaml", "environment.json", "metrics.jsonl", "timing.jsonl", "model.safetensors"),
        *("evaluation.json", "counts/val.npz", "examples/val/index.json", "report.html"),
    ):
        assert (made.run / name).is_file(), name
    assert made.json("plan.json")["task"] == made.json("evaluation.json")["task"] == made.task
    assert (made.json("plan.json")["mean_color"] is not None) == (made.task in COLORS)


def test_every_score_has_an_interval_and_a_definition(made):
    found, task = made.json("evaluation.json"), api.load(made.run).task
    extras = [extra.name for extra in task.extras]
    assert list(found["scores"]) == list(found["intervals"]) == [*task.table, *extras]
    assert found["headline"] == task.headline
    assert found["headline"] in found["scores"]
    assert set(found["scores"]) <= set(found["definitions"])
    rows = load_counts(made.run / "counts" / "val.npz", task)
    assert task.summary(rows.counts) == {name: found["scores"][name] for name in task.table}
    assert found["n_images"] == len(rows.keys) == 6
    assert list(found.get("baselines", {})) == (["grey", "mean_color"] if made.task in COLORS else [])


def test_the_log_has_the_fields_of_the_task(made):
    lines = [json.loads(line) for line in (made.run / "metrics.jsonl").read_text().splitlines()]
    train = [line for line in lines if line["split"] == "train"]
    val = [line for line in lines if line["split"] == "val"]
    task = TASKS[made.task]
    assert [line["step"] for line in train] == [line["step"] for line in val] == [2, 4]
    for line in train:
        assert list(line) == ["step", "epoch", "split", "loss", "learning_rate", *task.logged]
    for line in val:
        assert set(line) >= {"loss", *api.load(made.run).task.table}
        assert line["loss"] > 0


def test_evaluating_a_run_or_its_model_file_gives_the_scores_of_training(made):
    told = made.json("evaluation.json")
    found = api.evaluate(made.run, extras=True)
    assert json.loads(json.dumps(found)) == nearly(told)
    of_file = api.evaluate(made.run / "model.safetensors", made.data, precision="float32")
    assert of_file["scores"] == {name: found["scores"][name] for name in api.load(made.run).task.table}
    everything = api.evaluate(made.run, split="all")
    assert (everything["n_images"], everything["split"]) == (10, "all")


def nearly(told: object) -> object:
    """The same, with floats that may differ by how a processor rounds when weights lie in memory in another order."""
    if isinstance(told, dict):
        return {name: nearly(value) for name, value in told.items()}
    if isinstance(told, list):
        return [nearly(value) for value in told]
    return pytest.approx(told, rel=1e-4, abs=1e-5) if isinstance(told, float) else told


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name[0] != "."
    }


def test_predicting_again_gives_the_same_bytes_and_resume_keeps_them(made, tmp_path):
    pictures, out = tmp_path / "new", tmp_path / "out"
    for name, size in (("a.png", (24, 32)), ("deep/b.png", (17, 41)), ("c.jpg", (1, 1))):
        folders.save(pictures / name, folders.photo(3, size=size))
    (pictures / "torn.png").write_bytes(b"\x89PNG and no more")
    report = api.predict(made.run, [pictures], out)
    assert (len(report.done), len(report.skipped)) == (3, 1)
    first, parts = contents(out), api.load(made.run).task.parts  # multilabel has one for each class
    if parts:
        assert set(first) == {f"{stem}{part}.png" for stem in ("a", "deep/b", "c") for part in parts}
        assert {Image.open(io.BytesIO(first[f"deep/b{part}.png"])).size for part in parts} == {(41, 17)}
    else:
        rows = first[TABLE].decode().splitlines()
        assert rows[0].startswith("file,")
        assert len(first) == 1
        assert len(rows) == 4
    api.predict(made.run, [pictures], tmp_path / "again")
    assert contents(tmp_path / "again") == first
    resumed = api.predict(made.run, [pictures], out, resume=True)
    assert len(resumed.kept) == 3
    assert contents(out) == first


def test_a_part_may_be_left_out(made, tmp_path):
    api.predict(made.run, [made.data / "val"], tmp_path / "out", overlay=False, confidence=False)
    names = contents(tmp_path / "out")
    assert names
    assert not [name for name in names if "_overlay" in name or "_confidence" in name]


def test_a_model_file_knows_its_task_and_answers_alike(made):
    first, second = api.load(made.run), api.load(made.run / "model.safetensors")
    assert first.task.name == second.task.name == made.task
    assert first.task.outputs == next(iter(first.network(torch.zeros(1, 3, 8, 8)))).shape[0]
    assert first.task.mean_color == second.task.mean_color
    image = torch.from_numpy(folders.photo(1).transpose(2, 0, 1).copy())
    with torch.inference_mode():
        assert torch.equal(first.network(image[None]), second.network(image[None]))


def changed(made: Made, tmp_path: Path, **changes: object) -> Path:
    tensors, info = load_tensors(made.run / "model.safetensors")
    save_tensors(tmp_path / "other.safetensors", tensors, {**info, **changes})
    return tmp_path / "other.safetensors"


def test_an_unknown_task_is_refused(made, tmp_path):
    with pytest.raises(ModelFileError, match=r"segmentatoin.*There are|Did you mean.*segmentation"):
        modelfile.load(changed(made, tmp_path, task="segmentatoin"))


@pytest.mark.parametrize("mean_color", [[1.0], [1.0, 2.0, 3.0], [float(10**400 > 0), "x"], "grey", {"a": 1}], ids=str)
def test_a_mean_colour_that_is_none_is_refused(made, tmp_path, mean_color):
    with pytest.raises(ModelFileError, match="header mean_color"):
        modelfile.load(changed(made, tmp_path, mean_color=mean_color))


def test_a_mean_colour_that_is_not_finite_is_refused(make_run, own_cache):
    header = api.load(make_run("colorization").run).header
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="mean_color"):
            modelfile.Header.model_validate(header.model_dump(by_alias=True) | {"mean_color": (number, 0.0)})


@pytest.mark.slow
def test_a_task_that_contradicts_classes_or_outputs_is_refused(make_run, own_cache, tmp_path):
    three, colors = make_run("segmentation"), make_run("colorization")
    with pytest.raises(ModelFileError, match=r"3 classes .*binary has two"):
        modelfile.load(changed(three, tmp_path, task="binary"))
    for task in ("colorization_rgb", "colorization_bins"):
        with pytest.raises(ModelFileError, match=r"tensor core\..* is float32 \["):
            modelfile.load(changed(colors, tmp_path, task=task))
    with pytest.raises(ModelFileError, match=r"tensor core\..* is float32 \[|colou?r"):
        modelfile.load(changed(three, tmp_path, task="colorization"))


@pytest.mark.parametrize("task", in_turn(COLORS))
def test_a_colorizer_of_three_channels_is_refused(make_run, own_cache, tmp_path, task):
    """A mean of three channels would make three of the one that is seen."""
    made = make_run(task)
    tensors, info = load_tensors(made.run / "model.safetensors")
    fits = {name: tensor for name, tensor in tensors.items() if name not in ("mean", "std")}
    first = next(name for name, tensor in fits.items() if tensor.ndim == 4 and tensor.shape[1] == 1)
    fits[first] = fits[first].expand(-1, 3, -1, -1).contiguous()
    fits |= {"mean": torch.full((3,), 0.5), "std": torch.full((3,), 0.5)}
    header = {**info, "in_channels": 3, "mean": [0.5] * 3, "std": [0.5] * 3}
    save_tensors(tmp_path / "wide.safetensors", fits, header)
    with pytest.raises(ModelFileError, match=f"3 channels, and {task} is shown one channel of a photo"):
        modelfile.load(tmp_path / "wide.safetensors")


def test_a_run_that_was_stopped_ends_with_the_same_bits(made, tmp_path, monkeypatch):
    step, out = Learner.step, tmp_path / "run"

    def stopped(learner, batch):
        if learner.steps_done == 3:
            raise Interrupted(15)
        return step(learner, batch)

    words = folders.words(made.data, out, made.task)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "step", stopped)
        assert cli.main(words) == 143
    assert not (out / "evaluation.json").exists()
    assert cli.main(words) == 0
    assert digests(out) == digests(made.run)


def trainable(task_and_data: tuple[str, Path], *settings: str) -> tuple[Learner, dict]:
    task, data = task_and_data
    tree = {"task": task, "data": str(data), "steps": 12}
    recipe = from_tree(override(tree, [*folders.SETTINGS, "evaluations=6", *settings]), "test")
    dataset = open_dataset(recipe.data, content=TASKS[task].content)
    stores = {part: open_store(dataset, part) for part in ("train", "val")}
    device = torch.device("cpu")
    return Learner(recipe, make_plan(recipe, dataset, stores, device, Silent(), StopRequest()), device), stores


def test_early_stopping_the_best_weights_and_the_plateau_go_by_the_headline(task_and_data, monkeypatch):
    """It says 5, 9, 8, 7 after steps 2, 4, 6, 8: the best is after 4, the rate falls after 6, the run stops after 8."""
    wishes = ("keep=best", "patience=2", "schedule.name=plateau", "schedule.patience=1", "schedule.warmup=0")
    learner, stores = trainable(task_and_data, *wishes)
    said, rates, step = iter([5.0, 9.0, 8.0, 7.0]), [], learner.step

    def noted(batch):
        rates.append(learner.learning_rate())
        return step(batch)

    weights: dict[int, torch.Tensor] = {}

    def scored(*_):
        weights[learner.steps_done] = next(learner.kept().core.parameters()).clone()
        others = {name: -float(len(weights)) for name in learner.task.table}  # by these, the first is the best
        return others | {"loss": 1.0, learner.task.headline: next(said)}

    monkeypatch.setattr(learner, "step", noted)
    monkeypatch.setattr(loop, "validate", scored)
    progress, best = loop.run_steps(learner, stores, None, Silent(), StopRequest())
    assert (learner.steps_done, progress.stopped, progress.best_score) == (8, True, 9.0)
    assert progress.scores == (5.0, 9.0, 8.0, 7.0)
    name = f"core.{next(iter(dict(learner.kept().core.named_parameters())))}"
    assert torch.equal(best[name], weights[4])
    assert rates[6] < rates[5] == rates[0]


def test_the_scores_of_a_batch_are_those_of_its_rows(task_and_data):
    learner, stores = trainable(task_and_data)
    batches = loop.make_batches(learner.recipe, learner.plan, stores["train"], learner.device)
    batch = batches.batch(0, 0, 1)
    rows, found = learner.rows(batch).numpy(), loop.batch_scores(learner, batch)
    assert list(found) == list(learner.task.logged)
    assert found == {name: learner.task.summary(rows)[name] for name in found}
    assert rows.dtype == learner.task.empty.dtype
    assert rows.shape[1:] == learner.task.empty.shape[1:]


@pytest.mark.parametrize("name", sorted(TASKS))
def test_where_nothing_counts_nothing_is_scored(name):
    task = make(name, Classes.numbered(2))
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    planes = torch.full((2, 16, 16), IGNORE, dtype=torch.uint8)
    rows = task.rows(torch.randn(2, task.outputs, 16, 16), images, planes).numpy()
    assert set(task.summary(rows).values()) == {None}
    assert np.isnan(task.of_image(rows)).all()
    assert set(task.summary(rows[:0]).values()) == {None}
    json.dumps(task.words(rows, task.classes.names), allow_nan=False)


def test_the_report_says_the_scores_and_nothing_undefined(made):
    page = (made.run / "report.html").read_text()
    assert run_report.render(records.read(made.run)) == page
    text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)
    for name, value in made.json("evaluation.json")["scores"].items():
        assert name in text
        assert value is None or f"{value:.3f}" in text
    assert not re.search(r"\bnan\b|\binf\b|\bNone\b(?!:)", re.sub(r"(?s)Recipe\s+task:.*?Use it", "", text))
    for finding in fitdoctor.examine(records.read(made.run)).findings:
        assert finding.message


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM.exists(), reason=f"needs {CHROMIUM} (apt-get install chromium)")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_report_and_complains_of_nothing(made, width):
    from playwright.sync_api import sync_playwright

    complaints = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto((made.run / "report.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        browser.close()
    assert complaints == []
