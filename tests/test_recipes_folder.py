"""recipes/: every file says what it is and how it is run, is a recipe by every budget, and trains."""

import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.recipes import command_of, header_of
from segtrial import api, cli, console
from segtrial.comparison.request import read_request, recipes_of
from segtrial.presets import PRESETS
from segtrial.recipe import Recipe, budgeted, from_tree, read
from tests import tiny

FOLDER = Path(__file__).parents[1] / "recipes"
FILES = {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}
COMPARISONS = [name for name, path in FILES.items() if "variants" in read(path)]
SINGLE = [name for name in FILES if name not in COMPARISONS]
WORDS = ("small", "paper")


def recipe_of(name: str, word: str | None) -> Recipe:
    tree = read(FILES[name])
    return from_tree(budgeted(tree, word, name), name)


def anywhere(recipe: Recipe) -> Recipe:
    """The same, as if its data and the weights that it starts from were there."""
    encoder = recipe.encoder.model_copy(update={"weights": "none", "freeze": "none", "thaw_epoch": None})
    return recipe.model_copy(update={"encoder": encoder, "data": Recipe().data})


@pytest.mark.parametrize("name", SINGLE)
def test_every_file_is_a_recipe_by_both_budgets(name):
    """Networks, losses and all other choices are there; the small one is minutes, the other as long as its report."""
    small, paper = (recipe_of(name, word) for word in WORDS)
    for made in (small, paper):
        api.check(anywhere(made))
    assert small.minutes is not None
    assert small.minutes <= 20
    preset = from_tree({"preset": read(FILES[name])["preset"]})
    assert (paper.epochs, paper.minutes, recipe_of(name, None)) == (preset.epochs, None, paper)
    only_length = {"epochs", "minutes", "phases", "evaluations"}
    if paper.encoder.weights == "imagenet":  # which are fetched; the small one starts from what another recipe trained
        assert Path(small.encoder.weights).name in SINGLE
        small = small.model_copy(update={"encoder": small.encoder.model_copy(update={"weights": "imagenet"})})
    assert small.model_dump(exclude=only_length) == paper.model_dump(exclude=only_length)


@pytest.mark.parametrize("name", COMPARISONS)
def test_every_comparison_is_one_by_both_budgets(name):
    small, paper = (recipes_of(*read_request(FILES[name], word)) for word in WORDS)
    assert list(small) == list(paper)
    assert all(recipe.epochs is None for recipe in small.values())
    for recipe in (*small.values(), *paper.values()):
        api.check(anywhere(recipe))


@pytest.mark.parametrize("path", sorted((FOLDER / "trials").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_trial_is_a_comparison(path):
    for recipe in recipes_of(*read_request(path)).values():
        api.check(anywhere(recipe))


def test_each_preset_of_a_report_has_its_file():
    used = {read(path)["preset"] for name, path in FILES.items() if name in SINGLE}
    assert used == {name for name in PRESETS if re.match(r"r\d-", name)}


@pytest.mark.parametrize("name", FILES)
def test_the_header_says_what_it_is_and_the_command_does_it(name, monkeypatch):
    """The command is run, with nothing behind it."""
    lines = header_of(FILES[name])
    assert re.fullmatch(r"[A-Z].{15,110}\.", lines[0])
    for word in ("Data", "Cost", "Scores"):
        assert sum(line.startswith(f"{word}: ") for line in lines) == 1
    given = {}

    def noted(*words, **options):
        given.update(options, words=words)
        return SimpleNamespace(evaluation={}, path=Path()) if name in SINGLE else {"failures": []}

    monkeypatch.setattr(api, "train" if name in SINGLE else "compare", noted)
    monkeypatch.setattr(console, "print_run", lambda *_: None)
    program, *words = shlex.split(command_of(FILES[name]))
    assert program == "segtrial"
    more = [] if name in SINGLE else ["--json"]
    assert cli.main(["--traceback", *words, *more]) == 0
    assert given["budget"] == "small"
    places = [str(given.get("recipe"))] if name in SINGLE else [str(given["words"][0])]
    assert places == [f"recipes/{name}.yaml"]
    assert Path(str(given["words"][-1])).name == name


# What follows trains: two steps of each, on folders of the same kind as its data.


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> dict[str, Path]:
    """For each task, a folder that it can read; and in the place of trained backbones, two of one step."""
    root = tmp_path_factory.mktemp("recipes")
    found = {"masks": tiny.write_data(root / "masks"), "classes": root / "classes", "two": root / "two.yaml"}
    rng = np.random.default_rng(0)
    for part in ("train", "val"):
        for kind in ("cat", "dog"):
            (found["classes"] / part / kind).mkdir(parents=True)
            for index in range(8):
                pixels = rng.integers(0, 255, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(found["classes"] / part / kind / f"{index}.png")
    two = "classes: [{name: back, ids: [0]}, {name: front, ids: [1, 2]}]"
    found["two"].write_text(f"root: masks\n{two}\n")
    for size in ("resnet18", "resnet50"):
        words = tiny.words(found["classes"], root / size, "--task", "classification")
        if size == "resnet18":
            words = ["train", str(FILES["r1-backbone"]), *words[1:]]
        else:
            words += ["--model", "classifier:encoder=resnet50"]
        assert cli.main(["--traceback", *words, "--steps", "1"]) == 0
        found[size] = root / size
    return found


def data_of(recipe: Recipe, folders: dict[str, Path]) -> str:
    if recipe.split.method == "time":
        return "toytown:scenes=2,frames=8,size=48x64"
    if recipe.task == "classification":
        return str(folders["classes"])
    return str(folders["two"] if recipe.task == "binary" else folders["masks"])


@pytest.mark.slow
@pytest.mark.parametrize("name", SINGLE)
def test_each_trains(name, folders, own_cache, tmp_path):
    recipe = recipe_of(name, "small")
    settings = ["phases=[{share: 1, batch: 2, crop: 1, scale: [1, 1]}]"]
    settings += [f"{key}=1" for key in ("threads", "evaluations")] + ["precision=float32"]
    if recipe.encoder.weights != "none":
        start = folders["resnet18" if recipe.encoder.weights == "runs/r1-backbone" else "resnet50"]
        settings.append(f"encoder.weights={start}")
    command = ["train", str(FILES[name]), "--budget", "small", "--data", data_of(recipe, folders)]
    command += ["--out", str(tmp_path / "run"), "--steps", "2"]
    command += [word for setting in settings for word in ("--set", setting)]
    assert cli.main(["--traceback", *command]) == 0
    run = api.Run(tmp_path / "run")
    assert run.model.exists()
    assert run.report.exists()
    assert any(value is not None for value in run.scores.values())
