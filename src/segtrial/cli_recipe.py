"""Recipes for people and editors: `segtrial recipe show` explains one, `check` refuses wrong ones, `schema` says all.

Nothing here loads torch but `check`, which asks the networks and losses themselves.
"""

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from segtrial.errors import RecipeError, UserError

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    epilog="Example: segtrial recipe show quick > mine.yaml, then segtrial train mine.yaml --data photos --out run",
)

BUDGETS = "Name -> fields that go over the others where `--budget NAME` asks for them, such as {small: {minutes: 10}}."
WIDTH = 100
"""Columns of a comment."""


@app.callback()
def _options() -> None:
    """Explain, check and describe recipes: the YAML files that decide runs."""


@app.command(epilog="Example: segtrial recipe show thorough --set optimizer.name=sgd > mine.yaml")
def show(
    source: Annotated[
        str | None,
        typer.Argument(metavar="[PRESET|FILE|RUN]", help="What to show. Default: the defaults.", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any field: optimizer.lr=0.01. May be repeated."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="One of the file's budgets: small, paper, ...", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of YAML.")] = False,
) -> None:
    """Print a whole recipe as YAML, each field explained, and what differs from the defaults marked.

    The output is a recipe file itself.
    """
    from segtrial import recipe

    place = source or "recipe"
    tree = recipe.budgeted(recipe.tree_of(source) if source else {}, budget, place)
    found = recipe.from_tree(recipe.override(tree, settings or ()), place)
    usual = recipe.from_tree({"task": found.task})
    if as_json:
        told = {"schema": 1, "recipe": found.model_dump(mode="json"), "changed": changed(found, usual)}
        print(json.dumps(told, indent=1, allow_nan=False))
    else:
        print(commented(found, usual), end="")


@app.command(epilog="Example: segtrial recipe check mine.yaml")
def check(
    sources: Annotated[list[str], typer.Argument(metavar="FILE...", help="Recipe files; presets and run folders too.")],
) -> None:
    """Say whether recipes are right, down to the options of their networks and losses. Nothing is trained.

    Files of `segtrial compare` and `segtrial tune` are checked as such, and a file's budgets too. Every wrong one is
    named with what is wrong and the fix; then the exit code is 2.
    """
    from segtrial import api

    faults = 0
    for source in sources:
        try:
            for one in _asked(source):
                api.check(one)
            print(f"{source}: ok")
        except UserError as error:
            faults += 1
            print(_placed(source, error), file=sys.stderr)
    if faults:
        found = f"{faults} of {len(sources)} {'is' if faults == 1 else 'are'} wrong"
        raise RecipeError("segtrial recipe check", found, "Correct what is said above")


def _asked(source: str) -> Iterator[Any]:
    """Every recipe that a file asks for: its own, those of a comparison's variants or a search's base; by budget."""
    from segtrial import api_tune, recipe
    from segtrial.comparison.request import read_request, recipes_of

    tree = recipe.tree_of(source)
    for budget in (None, *tree.get("budgets", ())):
        place = source if budget is None else f"{source}, budget {budget}"
        if "variants" in tree:
            yield from recipes_of(read_request(source, budget)[0], place).values()
        elif {"base", "ranges"} & set(tree):
            yield api_tune.searched(source, budget)
        else:
            yield recipe.from_tree(recipe.budgeted(tree, budget, place), place)


@app.command(epilog="Example: segtrial recipe schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON Schema of recipes, by which editors complete and check them.

    The first line of a recipe file names it: # yaml-language-server: $schema=recipe.schema.json
    """
    print(json.dumps(json_schema(), indent=1))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a recipe file: what each field means, may be and is by default."""
    from segtrial.presets import PRESETS
    from segtrial.recipe import Recipe

    described = Recipe.model_json_schema()
    said = "A recipe by name, over which the other keys go: " + " ".join(
        f"{name}: {preset.about}" for name, preset in PRESETS.items()
    )
    preset = {"enum": list(PRESETS), "title": "Preset", "description": said, "type": "string"}
    budgets = {"additionalProperties": True, "description": BUDGETS, "title": "Budgets", "type": "object"}
    described["properties"] = {"preset": preset, "budgets": budgets, **described["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "A recipe of Segtrial",
    }


def changed(found: Any, usual: Any) -> dict[str, Any]:
    """Dotted key -> value in `usual`, a recipe, for each field of `found` that differs."""
    from segtrial.recipe import flat

    now, before = (flat(one.model_dump(mode="json")) for one in (found, usual))
    return {key: before.get(key) for key, value in now.items() if before.get(key) != value}


def commented(found: Any, usual: Any) -> str:
    """A recipe, or a part of one, as YAML with every field explained; what is not as in `usual` is marked."""
    return "".join(f"{line}\n" for line in _lines(found, usual, ""))


def _lines(part: Any, usual: Any, indent: str) -> Iterator[str]:
    from segtrial.recipe_messages import part_in

    for name, field in type(part).model_fields.items():
        value, default = getattr(part, name), getattr(usual, name)
        inner = part_in(field.annotation)
        yield from _comment(field.description or (inner.__doc__ if inner else ""), indent)
        if inner is None:
            yield f"{indent}{name}: {_plain(value)}{'' if value == default else f'  # default: {_plain(default)}'}"
        elif isinstance(value, tuple):
            yield f"{indent}{name}:{'' if value == default else '  # not the default'}"
            for key, each in inner.model_fields.items():
                yield from _comment(f"{key}: {each.description}", f"{indent}  ")
            yield from (f"{indent}  - {_plain(one.model_dump(mode='json'))}" for one in value)
        else:
            yield f"{indent}{name}:"
            yield from _lines(value, default, f"{indent}  ")


def _comment(text: str | None, indent: str) -> list[str]:
    return textwrap.wrap(
        " ".join((text or "").split()), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _plain(value: Any) -> str:
    from segtrial.plain_yaml import to_yaml

    return to_yaml(list(value) if isinstance(value, tuple) else value, flow=True)


def _placed(source: str, error: UserError) -> str:
    """The error's sentence, with the recipe's name in front where it does not name it."""
    said = str(error)
    return said if Path(error.place).name == Path(source).name or source in said else f"{source}: {said}"
