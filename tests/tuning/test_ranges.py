"""What is written in a search's file -> ranges, or an error that says the key, the value and the fix."""

import pytest

from segtrial.errors import RecipeError, RunError, UserError
from segtrial.recipe import Recipe
from segtrial.tuning import rule, storage, wish
from segtrial.tuning.ranges import own_values, space_of, with_point
from segtrial.tuning.space import Choices, Numbers, point, space_from, space_to
from tests.comparison import trial
from tests.tuning import searches


def asked(**told):
    """The base and the space of a search in a mapping."""
    return rule.asked(*wish.read_wish({"base": dict(trial.BASE), **told}))


WRONG = {
    "unknown key": ({"optimizer.lrr": {"low": 0.1, "high": 1.0}}, "unknown key 'optimizer.lrr'.*'optimizer.lr'"),
    "unknown part": ({"optimiser.lr": {"low": 0.1, "high": 1.0}}, "unknown key 'optimiser'.*'optimizer'"),
    "no number": ({"optimizer.name": {"low": 0.1, "high": 1.0}}, "optimizer.name=0.1 is no choice.*sgd"),
    "unknown choice": ({"optimizer.name": ["sgd", "adamm"]}, "'adamm' is no choice.*'adam'"),
    "end refused": ({"ema": {"low": 0.5, "high": 1.0}}, "ema=1.0 is too large. Give less than 1"),
    "no whole number": ({"accumulate": {"low": 1, "high": 2.5}}, "accumulate: 1 to 2.5 are no whole numbers"),
    "turned round": ({"optimizer.lr": {"low": 1.0, "high": 0.1}}, "low 1.0 is not below high 0.1"),
    "no logarithm": ({"optimizer.lr": {"low": 0.0, "high": 0.1}}, "low 0.0 has no logarithm.*log: false"),
    "no end": ({"optimizer.lr": {"low": 0.1}}, r"is no range. Write \{low"),
    "another word": ({"optimizer.lr": {"low": 0.1, "hihg": 1.0}}, "'hihg'.*Did you mean 'high'"),
    "one choice": ({"model": ["segnet"]}, "is no range. .*two choices"),
    "twice": ({"model": ["segnet", "segnet"]}, "has a choice twice"),
    "unknown network": ({"model": ["compact", "compcat"]}, "'compcat'.*compact"),
    "unknown loss": ({"loss.name": ["dice", "dise"]}, "'dise'.*dice"),
    "whole and part": ({"optimizer": [{"lr": 1.0}, {"lr": 2.0}], "optimizer.lr": None}, "holds the second"),
    "no usual range": ({"clip": None}, "clip has no range"),
    "what it costs": ({"steps": [2, 4]}, "steps is the same for all trials.*in base"),
    "what is scored": ({"split.val_share": {"low": 0.1, "high": 0.2}}, "split.val_share is the same for all trials"),
    "looks at val": ({"keep": ["last", "best"]}, "keep=best goes by the val part.*held_out: test"),
    "only together": ({"keep": ["ema", "last"], "ema": [0.0, 0.9]}, "keep=ema needs ema > 0"),
    "no mapping": ({"optimizer.lr.x": [1, 2]}, "optimizer.lr="),
    "none at all": ({}, "at least one range"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_recipe_could_have_is_refused(name):
    ranges, said = WRONG[name]
    with pytest.raises(UserError, match=said):
        asked(ranges=ranges)


def test_an_unknown_word_of_the_file_is_refused():
    with pytest.raises(RecipeError, match=r"unknown key 'trails'. Did you mean 'trials'"):
        asked(trails=3)


def test_usual_ranges_lie_around_what_the_recipe_has():
    _, space = asked()
    assert space == (
        Numbers("optimizer.lr", 0.005, 0.5, log=True),
        Numbers("optimizer.weight_decay", 1e-5, 1e-3, log=True),  # of sgd, 1e-4
    )
    _, one = asked(ranges={"optimizer.weight_decay": None, "model": ["compact:width=4", "compact:width=8"]})
    assert one == (space[1], Choices("model", ('"compact:width=4"', '"compact:width=8"')))


def test_a_plain_recipe_is_a_base(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("model: compact\nsteps: 3\noptimizer: {name: adam}\n")
    base, space = rule.asked(*wish.read_wish(file))
    assert (base.model, base.steps) == ("compact", 3)
    assert space[0] == Numbers("optimizer.lr", 1e-4, 1e-2, log=True)


def test_a_point_of_a_space_is_a_recipe_and_nothing_else_changes():
    space = space_from(searches.RANGES)
    assert space_from(space_to(space)) == space
    values = {"optimizer.lr": 0.25, "optimizer.name": '"adam"', "accumulate": 3}
    setting = point(space, values)
    assert setting == {"optimizer.lr": 0.25, "optimizer.name": "adam", "accumulate": 3}
    recipe = with_point(searches.base(), setting, "here")
    assert recipe.model_copy(update={"optimizer": searches.base().optimizer, "accumulate": 1}) == searches.base()
    assert own_values(space, recipe) == values


def test_whole_parts_may_be_choices():
    phases = [[{"share": 1.0, "batch": batch, "crop": 1.0, "scale": [0.9, 1.1]}] for batch in (2, 4)]
    base, space = asked(ranges={"phases": phases})
    recipe = with_point(base, point(space, {"phases": space[0].at(0.9)}), "here")
    assert recipe.phases[0].batch == 4


def test_a_trial_never_has_the_val_part_and_a_seed_of_its_own():
    recipe = searches.rule().trial_recipe({"optimizer.lr": 0.25})
    assert isinstance(recipe, Recipe)
    assert (recipe.split.inner, recipe.seed) == (0.2, 1_000_000)


def test_held_out_test_may_be_tuned_by_val():
    space = space_of({"keep": ["last", "best"]}, searches.base(), "test", "here", lambda recipe: None)
    assert space[0].ends() == ["last", "best"]


def test_passwords_stand_in_no_file(tmp_path):
    url = "postgresql://me:secret@host/db"
    label = storage.label_of(url)
    assert "secret" not in label
    assert storage.words_of(label, url, tmp_path) == url
    with pytest.raises(RunError, match=r"none is given. Give --storage"):
        storage.words_of(label, None, tmp_path)
    with pytest.raises(RunError, match=r"is kept in .*other/db is given"):
        storage.words_of(label, "postgresql://me:secret@other/db", tmp_path)
    with pytest.raises(RecipeError, match="no URL of a database"):
        storage.label_of("postgresql:/://")


def test_the_usual_storage_and_a_journal_need_not_be_said_again(tmp_path):
    journal = str(tmp_path / "j.journal")
    assert storage.words_of(storage.label_of(None), None, tmp_path) is None
    assert storage.words_of(storage.label_of(journal), None, tmp_path) == journal
