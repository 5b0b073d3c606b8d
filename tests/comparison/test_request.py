"""What a comparison is asked to be: read from YAML, and refused in plain words."""

import pytest

from segtrial.comparison.request import expanded, read_request, recipes_of
from segtrial.errors import RecipeError
from segtrial.recipe import from_tree
from tests.comparison import trial

WRONG = {  # what a file says -> what must stand in the message
    "variant: {a: {}}": ["unknown key 'variant'", "'variants'"],
    "variants: {a: {}}\nseed: 3": ["unknown key 'seed'", "'seeds'"],
    "variants: {a: {}}\ntune: {trial: 3}": ["unknown key 'tune.trial'", "'tune.trials'"],
    "seeds: 3": ["variants is not given"],
    "variants: {}": ["give at least one variant"],
    "variants: {a: 3}": ["variants=3 is no mapping", "such as {epochs: 3}"],
    "variants: {../up: {}}": ["no name for a folder: '../up'", "letters, digits"],
    "variants: {a: {}}\nseeds: 0": ["1 to 1000"],
    "variants: {a: {}}\nseeds: [1, 1]": ["none twice"],
    "variants: {a: {}}\nseeds: []": ["at least one"],
    "variants: {a: {}}\nseeds: [-1]": ["none below 0"],
    "variants: {a: {}}\nmargin: -1": ["margin=-1", "at least 0"],
    "variants: {a: {}}\nbudget: hours": ["budget='hours' is no choice", "steps, minutes, multiply-adds"],
    "variants: {a: {}}\ntune: {lr: [1, 0.1]}": ["a range rises"],
    "variants: {a: {}}\ntune: {seeds: [0]}": ["tune.seeds and seeds share 0"],
    "variants: {a: {}}\ntune: {trials: 1}": ["tune.trials=1", "at least 2"],
    "variants: {plain: {}}\nbaseline: plian": ["no variant is called 'plian'", "'plain'"],
    "variants: {a: {}}\nfolds: 3\ntune: {}": ["folds and tune", "tune.folds"],
    "variants: {a: {}}\nfolds: 3\nheld_out: test": ["folds and held_out"],
    "variants: {a: {epoch: 3}}": ["variant a", "unknown key 'epoch'", "'epochs'"],
    "variants: {a: {optimizer.name: sdg}}": ["variant a", "optimizer.name='sdg'", "'sgd'"],
    "variants: {a: {}, b: {task: binary}}": ["variants differ in task", "a: segmentation, b: binary"],
    "variants: {a: {threads: 1}, b: {threads: 2}}": ["variants differ in threads"],
    "variants: {a: {augment.own: blur}}": ["augment.own of a", "other processes"],
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_said_with_its_place_and_the_fix(text, tmp_path):
    file = tmp_path / "trial.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError) as caught:
        recipes_of(*read_request(file))
    said = str(caught.value)
    assert said.startswith(str(file))
    assert [part for part in WRONG[text] if part.lower() not in said.lower()] == [], said


def test_a_variant_is_the_base_with_its_own_fields(tmp_path):
    file = tmp_path / "trial.yaml"
    file.write_text(
        "base: {model: unet, epochs: 9, optimizer: {name: sgd, lr: 0.5}}\n"
        "variants:\n  plain:\n  slow: {optimizer.lr: 0.1}\n  nested: {optimizer: {lr: 0.2}}\n  short: {steps: 3}\n"
    )
    found = recipes_of(*read_request(file))
    base = {"model": "unet", "optimizer": {"name": "sgd", "lr": 0.5}}
    assert found["plain"] == from_tree({**base, "epochs": 9})
    assert found["slow"] == from_tree({**base, "epochs": 9, "optimizer": {"name": "sgd", "lr": 0.1}})
    assert found["nested"].optimizer.lr == 0.2
    assert (found["short"].steps, found["short"].epochs) == (3, None)


def test_a_preset_lies_below_everything():
    found = recipes_of(*read_request({"base": {"preset": "r0-segnet", "epochs": 2}, "variants": {"a": {}}}))
    assert found["a"] == from_tree({"preset": "r0-segnet", "epochs": 2})


def test_seeds_are_counted_or_listed():
    seeds = [read_request(trial.request(seeds=seeds))[0].seed_list for seeds in (3, [5, 2])]
    assert seeds == [(0, 1, 2), (5, 2)]


def test_dotted_keys_are_nested_ones():
    assert expanded({"a.b.c": 1, "a": {"d": 2}, "e": {}}) == {"a": {"b": {"c": 1}, "d": 2}, "e": {}}
