"""Sources and results in, what is generated of README.md, docs and the recipes' headers out: `python docs/generate.py`.

A generated part stands between <!-- NAME --> and <!-- /NAME -->. A test compares; nobody keeps it by hand.
"""

import ast
import csv
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import benchmark_tables
import minutes_page
import recipe_tables
import results_page
import which_page
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segtrial import models, scores, tasks
from segtrial.optimizers import DEFAULTS
from segtrial.presets import PRESETS
from segtrial.recipe import Recipe

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "segtrial"

JOURNEY = (
    ("words", "shapes errors classes colors randomness files plain_yaml"),
    (
        "rooms that never see each other",
        "data models losses class_weights counts boundaries calibration image_scores label_quality optimizers schedules"
        " statistics",
    ),
    ("machinery of that floor", "clusters drawing fetching hardware hub presets ranks signals tensorfile unpacking"),
    ("what decides a run; rows of counts to scores; public sets", "recipe scores data_sets"),
    ("what an answer means: targets, losses, scores, pictures", "tasks"),
    ("one file in, a network out; any image, an answer", "modelfile prediction"),
    (
        "what an encoder starts from; model + images -> counts; everybody's mean IoU",
        "pretrained evaluation definitions",
    ),
    (
        "the loop; the data doctor; files for others; why an answer; answers over HTTP; answers of others",
        "training inspection exporting explaining serving answers",
    ),
    ("curves -> sentences; many runs -> a recipe", "fitdoctor tuning"),
    ("many runs -> a verdict", "comparison"),
    ("records -> pages", "reports"),
    ("the door", "api cli console"),
)
"""The tree in the order of the floors; files that no line names come at the end of theirs."""


def pages() -> dict[Path, str]:
    """What each page with generated parts must say, whole; figures and the headers of recipes are pages too."""
    parts = {
        "rooms": tree(room_of),
        "tree": tree(files_of),
        "fields": fields(),
        "definitions": definitions(),
        "task-scores": task_scores(),
    }
    parts |= {"networks": networks(), "sheets": sheets(), "counts": counts(), "presets": presets()}
    parts |= {
        "optimizers": optimizer_table(),
        "recipe-files": recipe_files(),
        **benchmark_tables.parts(),
        **results_page.parts(),
    }
    parts |= minutes_page.parts() | recipe_tables.parts() | which_page.parts()
    filled = {page: _filled(page, parts) for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
    figures = minutes_page.figures() | recipe_tables.figures() | results_page.figures()
    return filled | recipe_tables.headers() | figures


def tree(listed: Callable[[str], Iterator[str]]) -> str:
    """The captioned tree of the package: first lines of docstrings, in journey order; `listed` lists a room."""
    lines = ["src/segtrial/"]
    for title, rooms in JOURNEY:
        lines.append(f"  -- {title}")
        for room in rooms.split():
            lines += listed(room)
    return "```\n" + "\n".join(lines) + "\n```"


def room_of(room: str) -> Iterator[str]:
    """A room in a line, whether it is a folder, a file, or a file and its sisters."""
    place = PACKAGE / room
    if place.is_dir():
        yield f"  {room + '/':<19} {_caption(place / '__init__.py')}"
    else:
        name = f"{room}*.py" if len(list(_sisters(room))) > 1 else f"{room}.py"
        yield f"  {name:<19} {_caption(place.with_suffix('.py'))}"


def files_of(room: str) -> Iterator[str]:
    """Every file of a room, in a line each."""
    if (PACKAGE / room).is_dir():
        yield f"  {room}/"
        for path in sorted((PACKAGE / room).glob("*.py")):
            yield f"    {path.name:<18} {_caption(path)}"
    else:
        for path in _sisters(room):
            yield f"  {path.name:<20} {_caption(path)}"


def _sisters(room: str) -> Iterator[Path]:
    """The file of a room, and those that continue it under its name."""
    for path in sorted(PACKAGE.glob(f"{room}.py")) + sorted(PACKAGE.glob(f"{room}_*.py")):
        if path.stem == room or path.stem.startswith(("api_", "cli_", "recipe_")):
            yield path


def _caption(path: Path) -> str:
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0].rstrip(".:")


def fields() -> str:
    """The table of recipe fields: dotted key, values, default, meaning."""
    rows = [f"| `{key}` | {kind} | {default} | {meaning} |" for key, kind, default, meaning in _fields(Recipe)]
    return "\n".join(["| key | values | default | meaning |", "|---|---|---|---|", *rows])


def _fields(part: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    said = _said(part)
    for name, field in part.model_fields.items():
        inner, several = _inner(field.annotation)
        if several:
            yield prefix + name, "list of parts", f"{len(field.default)} parts", said.get(name, "")
        if inner:
            yield from _fields(inner, f"{prefix}{name}{'[]' if several else ''}.")
        else:
            yield prefix + name, _kind(field), _default(field), said.get(name, "")


def _inner(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The part that a field holds, if it holds one, and whether it holds several."""
    first = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return (
        (first, first is not annotation) if isinstance(first, type) and issubclass(first, BaseModel) else (None, False)
    )


def _said(part: type[BaseModel]) -> dict[str, str]:
    """The text under each field; fields without one share the text of the next that has it."""
    body = next(n for n in ast.walk(_SOURCE) if isinstance(n, ast.ClassDef) and n.name == part.__name__).body
    said: dict[str, str] = {}
    waiting: list[str] = []
    for node in body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            waiting.append(node.target.id)
        elif waiting and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            text = " ".join(str(node.value.value).split())
            said |= dict.fromkeys(waiting, text)
            waiting = []
        elif waiting:
            break
    return said


_SOURCE = ast.parse("".join((PACKAGE / name).read_text() for name in ("recipe_parts.py", "recipe.py")))


def _kind(field: FieldInfo) -> str:
    text = re.sub(r"typing\.Literal\[(.*?)\]", lambda m: m[1].replace("'", ""), str(field.annotation))
    text = re.sub(r"typing\.Union\[(.*)\]", r"\1", text)
    text = re.sub(r"<class '(\w+)'>", r"\1", text).replace(" | None", " or none").replace("tuple", "list")
    bounds = [str(limit) for limit in field.metadata]
    words = [re.sub(r"\w+\((\w+)=(.*?)\)", lambda m: f"{_SIGNS[m[1]]} {m[2]}", bound) for bound in bounds]
    return ", ".join([text.replace(", ...", ""), *words]).replace("|", "or")


_SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "(needed)"
    words = {None: "none", True: "true", False: "false"}
    if isinstance(field.default, tuple):
        return str(list(field.default))
    return words[field.default] if type(field.default) in (bool, type(None)) else str(field.default)


def definitions() -> str:
    """Every score of segmentation with its definition, the extras too."""
    extras = {one.name: one.score.definition for one in tasks.TASKS["segmentation"].extras}
    return _defined(scores.DEFINITIONS | extras)


def task_scores() -> str:
    """What the other tasks count, as far as it is not what segmentation counts; the three ways to colour are one."""
    sections = []
    for name in ("binary", "multilabel", "classification", "colorization"):
        texts = tasks.TASKS[name].definitions.items()
        own = {score: text for score, text in texts if scores.DEFINITIONS.get(score) != text}
        sections.append(f"## Scores of {name}\n\n{_defined(own)}")
    return "\n\n".join(sections)


def _defined(texts: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {text.replace('|', chr(92) + '|')} |" for name, text in texts.items()]
    return "\n".join(["| score | definition |", "|---|---|", *rows])


def presets() -> str:
    """Every preset with what it is."""
    rows = [f"| `{name}` | {preset.about} |" for name, preset in PRESETS.items()]
    return "\n".join(["| preset | what |", "|---|---|", *rows])


def optimizer_table() -> str:
    """Every optimizer with what it takes where a recipe says nothing."""
    rows = [
        f"| `{name}` | {each.lr:g} | {each.weight_decay:g} | {each.momentum:g} |" for name, each in DEFAULTS.items()
    ]
    return "\n".join(["| optimizer.name | lr | weight_decay | momentum |", "|---|---|---|---|", *rows])


def recipe_files() -> str:
    """Every file of recipes/ with the first line of its header."""
    files = sorted((ROOT / "recipes").glob("*.yaml"))
    rows = [f"| `{path.name}` | {path.read_text().splitlines()[0].removeprefix('# ')} |" for path in files]
    return "\n".join(["| file | what |", "|---|---|", *rows])


SIZE = (360, 480)
"""Pixels at which costs are counted: CamVid's usual size."""


def networks() -> str:
    """Every architecture in a line: what it costs at its defaults."""
    head = "| network | parameters | multiply-adds | a training step keeps | paper |\n" + "|---" * 5 + "|"
    return "\n".join([head, *(_network_row(models.describe(name, SIZE)) for name in models.names())])


def _network_row(told: dict[str, Any]) -> str:
    costs, paper = told["costs"], told["paper"]
    title, year, address = (
        re.findall(pattern, paper)[0] for pattern in (r"\. (.+?)\. ", r"\d{4}", r"https://[^\s),]+")
    )
    return (
        f"| [`{told['name']}`](#{told['name']}) | {told['parameters'] / 1e6:.1f} M "
        f"| {costs['multiply_adds'] / 1e9:.1f} G | {costs['bytes_per_image'] / 1e6:.0f} MB an image "
        f"| [{title}]({address}), {year} |"
    )


def sheets() -> str:
    """A section for every architecture: its paper, where it differs, what may be chosen."""
    return "\n\n".join(_sheet(models.describe(name)) for name in models.names())


def _sheet(told: dict[str, Any]) -> str:
    lines = [f"### {told['name']}", told["caption"], told["paper"], told["differs"]]
    if told["options"]:
        rows = [f"| `{o['name']}` | `{_spelt(o['default'])}` | {_choices(o)} |" for o in told["options"]]
        lines.append("\n".join(["| option | default | may be |", "|---|---|---|", *rows]))
    return "\n\n".join(line for line in lines if line)


def _choices(option: dict[str, Any]) -> str:
    listed = option["choices"] or ([True, False] if option["type"] == "bool" else [])
    return ", ".join(f"`{_spelt(choice)}`" for choice in listed) or f"a number ({option['type']})"


def _spelt(value: object) -> str:
    return str(value).lower() if isinstance(value, bool | None) else str(value)


def counts() -> str:
    """The published parameter counts that tests hold our networks to."""
    with (ROOT / "tests" / "models" / "counts.csv").open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["spec"].partition(":")[0])
    lines = [
        f"| `{row['spec']}` | {row['channels']} | {row['classes']} | {int(row['parameters']):,} | {row['source']} |"
        for row in rows
    ]
    return "\n".join(["| network | channels | classes | parameters | as |", "|---|---|---|---|---|", *lines])


def _filled(page: Path, parts: dict[str, str]) -> str:
    text = page.read_text()
    for name, body in parts.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{body}\n{m[2]}", text, flags=re.S)  # noqa: B023
    return text


if __name__ == "__main__":
    for page, text in pages().items():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text)
