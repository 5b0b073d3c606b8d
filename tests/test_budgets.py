"""`--budget NAME`: one of a file's `budgets` lies over the rest of it, and below the words of the command."""

import re

import pytest

from segtrial import cli
from segtrial.api import make_recipe
from segtrial.comparison.request import read_request, recipes_of
from segtrial.errors import RecipeError
from segtrial.plain_yaml import parse_yaml
from segtrial.recipe import Recipe, from_tree

TREE = {
    "preset": "r0-segnet",  # 30 epochs, Adam at .001
    "optimizer": {"weight_decay": 0.5},
    "budgets": {"small": {"minutes": 3, "optimizer": {"lr": 0.5}}, "paper": {}},
}
PLAIN = {name: value for name, value in TREE.items() if name != "budgets"}
NONE = {"epochs": None, "steps": None, "minutes": None}


def made(word: str | None, budget: dict[str, float | int | None] | None = None, *settings: str) -> Recipe:
    return make_recipe({}, {**NONE, **(budget or {})}, TREE, settings, word)


def test_a_budget_lies_over_the_file_and_replaces_its_length():
    wanted = from_tree({**PLAIN, "minutes": 3, "optimizer": {"weight_decay": 0.5, "lr": 0.5}})
    assert made("small") == wanted
    assert (wanted.epochs, wanted.minutes) == (None, 3)
    assert made(None) == made("paper") == from_tree(PLAIN) == from_tree(TREE)
    assert made("paper").epochs == 30


def test_one_length_replaces_another_within_a_file_too():
    tree = {"epochs": 9, "budgets": {"small": {"steps": 4}, "same": {"seed": 1}}}
    lengths = {word: make_recipe({}, NONE, tree, (), word) for word in ("small", "same")}
    assert (lengths["small"].steps, lengths["small"].epochs) == (4, None)
    assert (lengths["same"].steps, lengths["same"].epochs, lengths["same"].seed) == (None, 9, 1)


def test_words_and_settings_go_over_a_budget():
    assert (made("small", {"steps": 7}).steps, made("small", {"steps": 7}).minutes) == (7, None)
    assert made("small", None, "optimizer.lr=0.25").optimizer.lr == 0.25


@pytest.mark.parametrize(
    ("tree", "word", "message"),
    [
        (TREE, "smal", r"it has no budget 'smal'\. Did you mean 'small'\? There are: small, paper"),
        ({"preset": "r0-segnet"}, "small", r"no budget 'small'\. Give the file `budgets: .*--minutes"),
        ({"budgets": "small"}, None, r"budgets='small' is no table of budgets"),
        ({"budgets": {"small": 3}}, "small", r"is no table of budgets\. .*\{small: \{minutes: 10\}"),
    ],
    ids=["unknown", "none", "text", "number"],
)
def test_what_is_no_budget_is_said(tree, word, message):
    with pytest.raises(RecipeError, match=message):
        make_recipe({}, NONE, tree, (), word)


def test_a_comparison_has_budgets_of_all_its_keys():
    tree = {
        "base": {"epochs": 9, "model": "unet"},
        "variants": {"a": {}, "b": {"seed": 1}},
        "seeds": 5,
        "budgets": {"small": {"seeds": 2, "base": {"steps": 4}}},
    }
    request, place = read_request(tree, "small")
    small = recipes_of(request, place)["b"]
    assert (request.seeds, small.steps, small.epochs, small.model, small.seed) == (2, 4, None, "unet", 1)
    request, place = read_request(tree)
    assert (request.seeds, recipes_of(request, place)["a"].epochs) == (5, 9)
    with pytest.raises(RecipeError, match="There are: small"):
        read_request(tree, "paper")


def test_a_file_is_shown_by_budget_and_checked_in_all(tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("epochs: 9\nbudgets:\n  small: {minutes: 3}\n  wrong: {optimizer: {lrr: 1}}\n")
    assert cli.main(["recipe", "show", str(file), "--budget", "small"]) == 0
    assert from_tree(parse_yaml(capsys.readouterr().out, "shown")) == from_tree({"minutes": 3})
    assert cli.main(["recipe", "check", str(file)]) == 2
    assert re.search(r"mine\.yaml, budget wrong: unknown key 'optimizer\.lrr'", capsys.readouterr().err)
    assert cli.main(["train", str(file), "--out", str(tmp_path / "run"), "--budget", "smal"]) == 2
    assert "Did you mean 'small'" in capsys.readouterr().err
