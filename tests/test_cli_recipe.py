"""`segtrial recipe`: what it prints is a recipe again, what it refuses is wrong, and its schema says what we check."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segtrial import cli
from segtrial.cli_recipe import commented, json_schema
from segtrial.errors import RecipeError
from segtrial.plain_yaml import parse_yaml
from segtrial.presets import PRESETS
from segtrial.recipe import Recipe, from_tree, override
from segtrial.recipe_messages import keys

SCHEMA = json_schema()


def printed(capsys: pytest.CaptureFixture, *words: str) -> str:
    assert cli.main(["--traceback", "recipe", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_shown_is_the_recipe_again(name, capsys):
    shown = parse_yaml(printed(capsys, "show", name), "shown")
    assert from_tree(shown) == from_tree({"preset": name})
    assert "preset" not in shown


AWKWARD = ["no", "1e3", "a: b", "# none", "", " x ", "ä", "'", "a\nb", "*a", "- x", "1:30", "null", "~", "x" * 200]


@settings(max_examples=40)
@given(
    data=st.sampled_from(AWKWARD) | st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff")),
    lr=st.none() | st.floats(min_value=1e-30, max_value=1e30),
    groups=st.lists(st.sampled_from(AWKWARD)),
)
def test_whatever_the_values_are_they_come_back(data, lr, groups):
    tree = {"data": data, "optimizer": {"lr": lr}, "split": {"val_groups": groups}}
    made = from_tree(tree)
    assert from_tree(parse_yaml(made.to_yaml(), "file")) == made
    assert from_tree(parse_yaml(commented(made, from_tree({})), "shown")) == made


def test_what_differs_is_marked_and_nothing_else(capsys):
    shown = printed(capsys, "show", "--set", "optimizer.lr=0.5", "--set", "epochs=3", "--set", "augment.rotate=0")
    marked = [line.split("#")[0].strip() for line in shown.splitlines() if "# default" in line]
    assert marked == ["epochs: 3.0", "minutes: null", "lr: 0.5"]
    assert "epochs: 3.0  # default: null" in shown
    assert "minutes: null  # default: 10.0" in shown
    assert "  lr: 0.5  # default: null" in shown


def test_a_task_is_compared_with_its_own_defaults(capsys):
    shown = printed(capsys, "show", "--set", "task=classification")
    assert [line for line in shown.splitlines() if "default" in line and ":" in line.split("#")[0]] == []
    assert "task: classification\n" in shown


def test_every_field_is_explained(capsys):
    shown = printed(capsys, "show")
    lines = shown.splitlines()
    for number, line in enumerate(lines):
        if re.match(r"\s*\w+:", line):
            assert lines[number - 1].lstrip().startswith("#"), line
    for key in keys(Recipe):
        name = key.rpartition(".")[2]
        assert re.search(rf"^\s*(# |- {{.*)?{name}: ", shown, re.MULTILINE), key
    assert max(map(len, lines)) <= 120


def test_show_as_json_says_what_changed(capsys):
    told = json.loads(printed(capsys, "show", "quick", "--set", "seed=3", "--json"))
    assert set(told) == {"schema", "recipe", "changed"}
    assert from_tree(told["recipe"]) == from_tree({"preset": "quick", "seed": 3})
    assert told["changed"]["minutes"] == 10
    assert set(told["changed"]) == {"minutes", "seed", "phases", "evaluations"}


def test_a_file_and_a_run_are_shown_too(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("preset: r4-unet\nseed: 7\n")
    wanted = from_tree({"preset": "r4-unet", "seed": 7})
    assert from_tree(parse_yaml(printed(capsys, "show", str(tmp_path / "mine.yaml")), "")) == wanted
    (tmp_path / "recipe.yaml").write_text(wanted.to_yaml())
    assert from_tree(parse_yaml(printed(capsys, "show", str(tmp_path)), "")) == wanted


@pytest.mark.parametrize("words", [["show", "r4-unet"], ["schema"]], ids=" ".join)
def test_showing_loads_no_torch(words):
    program = (
        "import sys; from segtrial.cli import main; code = main(['recipe', *sys.argv[1:]]);"
        "heavy = {'torch', 'numpy', 'matplotlib', 'rich'} & set(sys.modules);"
        "sys.exit(f'loads {heavy}' if heavy else code)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "thorugh"], "recipe 'thorugh': there is no such file, and no preset of this name. Did you mean"),
        (["show", "quick", "--set", "optimizer.lrr=1"], "quick: unknown key 'optimizer.lrr'. Did you mean"),
        (["show", "absent.yaml"], "absent.yaml: there is no such file"),
    ],
)
def test_what_cannot_be_shown_is_said(words, message, capsys):
    assert cli.main(["recipe", *words]) == 2
    assert message in capsys.readouterr().err


def test_check_is_silent_about_nothing(tmp_path, capsys):
    """Right ones are named too; of wrong ones, all are named, each with its file."""
    texts = {"good": "preset: r4-fcn\n", "key": "epoch: 3\n", "net": "model: unett\n", "yaml": "a: [\n"}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    paths = [str(tmp_path / f"{name}.yaml") for name in texts]
    assert cli.main(["recipe", "check", "quick", *paths]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == ["quick: ok", f"{paths[0]}: ok"]
    lines = said.err.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == paths[1:]
    assert "'epochs'" in lines[0]
    assert "Did you mean 'unet'" in lines[1]
    assert lines[3:] == ["segtrial: segtrial recipe check: 3 of 5 are wrong. Correct what is said above"]
    assert cli.main(["recipe", "check", paths[0], "thorough"]) == 0


def test_files_of_comparisons_and_searches_are_checked_as_such(tmp_path, capsys):
    """Each with its variants, ranges and budgets, and where the fault is."""
    texts = {
        "pair": "variants: {a: {}, b: {model: unet}}\nbudgets: {small: {seeds: 2, base: {steps: 4}}}\n",
        "hunt": "base: {model: segnet}\nranges: {model: [segnet, unet]}\n",
        "network": "variants: {a: {}, b: {model: unett}}\n",
        "budget": "variants: {a: {}, b: {}}\nbudgets: {small: {base: {step: 4}}}\n",
        "key": "variants: {a: {}, b: {}}\nseed: 3\n",
        "range": "base: {}\nranges: {optimizer.lrr: [0.1, 0.2]}\n",
        "trial": "base: {}\nranges: {model: [segnet, unet]}\nbudgets: {small: {base: {step: 4}}}\n",
    }
    paths = {name: tmp_path / f"{name}.yaml" for name in texts}
    for name, text in texts.items():
        paths[name].write_text(text)
    assert cli.main(["recipe", "check", *map(str, paths.values())]) == 2
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{paths['pair']}: ok", f"{paths['hunt']}: ok"]
    network, budget, key, ranges, trial, count = said.err.splitlines()
    assert network.startswith(f"{paths['network']}: ")
    assert "Did you mean 'unet'" in network
    assert budget.startswith(f"{paths['budget']}, budget small: variant a: unknown key 'step'")
    assert key.startswith(f"{paths['key']}: unknown key 'seed'")
    assert "'optimizer.lr'" in ranges
    assert trial.startswith(f"{paths['trial']}")
    assert "unknown key 'step'" in trial
    assert "5 of 7 are wrong" in count


# The schema: that it is one, that it lets through what we let through, and that it stops what we stop.


def parts_of(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and every schema in it."""
    yield schema
    for key in ("properties", "$defs"):
        for inner in schema.get(key, {}).values():
            yield from parts_of(inner)
    for key in ("anyOf", "prefixItems"):
        for inner in schema.get(key, []):
            yield from parts_of(inner)
    if "items" in schema:
        yield from parts_of(schema["items"])


KEYWORDS = {
    **dict.fromkeys(("$schema", "$ref", "title", "description", "type"), str),
    **dict.fromkeys(("$defs", "properties", "items"), dict),
    **dict.fromkeys(("anyOf", "prefixItems", "enum", "required"), list),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (int, float)),
    **dict.fromkeys(("minItems", "maxItems"), int),
    **dict.fromkeys(("default", "const"), object),
    "additionalProperties": bool,
}
TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "boolean": bool, "null": type(None)}


def test_the_schema_obeys_the_rules_of_json_schema():
    """Draft 2020-12: known keywords of the right kind, types that there are, references that lead somewhere."""
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    for part in parts_of(SCHEMA):
        assert set(part) <= set(KEYWORDS), part
        assert all(isinstance(part[word], KEYWORDS[word]) for word in part), part
        assert part.get("type", "null") in {*TYPES, "integer"}
        assert not part.get("$ref") or part["$ref"].removeprefix("#/$defs/") in SCHEMA["$defs"]
        assert set(part.get("required", [])) <= set(part.get("properties", {}))
        assert part.get("anyOf") != []
        assert len(part.get("enum", [0])) == len({str(one) for one in part.get("enum", [0])}) > 0
        assert part.get("minItems", 0) <= part.get("maxItems", 99)


def test_the_schema_says_all_that_a_recipe_may_hold():
    objects = [part for part in parts_of(SCHEMA) if "properties" in part]  # not: parameters of augment.albumentations
    assert len(objects) == 1 + len(SCHEMA["$defs"])
    assert all(part["additionalProperties"] is False and part["description"] for part in objects)
    assert set(SCHEMA["properties"]) == {"preset", "budgets", *Recipe.model_fields}
    assert SCHEMA["properties"]["preset"]["enum"] == list(PRESETS)
    for part in objects:
        for name, field in part["properties"].items():
            whole = {**field, **(SCHEMA["$defs"][field["$ref"].rpartition("/")[2]] if "$ref" in field else {})}
            described = whole.get("description") or SCHEMA["$defs"].get(name.capitalize(), {}).get("description")
            assert len(described or "") > 9, name


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value is what a schema of KEYWORDS describes; written from the standard, sections 6 and 10."""
    if "$ref" in schema:
        return fits(value, SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in schema and not any(fits(value, one) for one in schema["anyOf"]):
        return False
    if value not in schema.get("enum", [value]) or schema.get("const", value) != value:
        return False
    return _has_type(value, schema.get("type")) and _fits_inside(value, schema)


def _has_type(value: Any, name: str | None) -> bool:
    if name is None:
        return True
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, TYPES[name])


def _fits_inside(value: Any, schema: dict[str, Any]) -> bool:
    if isinstance(value, dict):
        known = schema.get("properties", {})
        if set(schema.get("required", [])) - set(value) or (
            schema.get("additionalProperties") is False and set(value) - set(known)
        ):
            return False
        return all(fits(one, known[name]) for name, one in value.items() if name in known)
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = [schema.get("items", {})] * (len(value) - len(first))
        within = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        return within and all(fits(one, part) for one, part in zip(value, [*first, *rest], strict=False))
    if isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        above, below = schema.get("exclusiveMinimum", value - 1), schema.get("exclusiveMaximum", value + 1)
        return low <= value <= high and above < value < below
    return True


@pytest.mark.parametrize("name", PRESETS)
def test_defaults_and_presets_fit_the_schema_as_they_are_and_resolved(name):
    assert fits(dict(PRESETS[name].tree), SCHEMA)
    assert fits(from_tree({"preset": name}).model_dump(mode="json"), SCHEMA)
    assert fits({"preset": name, "seed": 3}, SCHEMA)


STOPPED = (
    *("seed=x", "seed=-1", "ema=1", "clip=0", "keep=worst", "optimizer.lrr=1", "optimizer=sgd", "optimizer.name=sdg"),
    *("phases=[{share: 1}]", "phases=[{share: 1, batch: 0, crop: 1, scale: [1, 1]}]", "deterministic=1", "data=3"),
    *("phases=[{share: 1, batch: 1, crop: 1, scale: [1]}]", "schedule.warmup=1", "augment.rotate=181", "task=faces"),
    *("split.val_groups=a", "split.val_groups=[1]", "threads=0", "threads=1.5", "xyzzy=1", "preset=quik", "model=~"),
)


@pytest.mark.parametrize("setting", STOPPED)
def test_what_the_schema_stops_a_recipe_stops(setting):
    tree = override({}, [setting])
    assert not fits(tree, SCHEMA)
    with pytest.raises(RecipeError):
        from_tree(tree)


def test_the_schema_is_what_is_printed(capsys):
    assert json.loads(printed(capsys, "schema")) == SCHEMA


def test_the_pages_say_how_an_editor_finds_it():
    page = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text()
    assert "# yaml-language-server: $schema=recipe.schema.json" in page
    assert "segtrial recipe schema > recipe.schema.json" in page
