"""Source files in, the generated parts of README.md and docs/*.md out: `python docs/generate.py` writes them.

A generated part stands between <!-- NAME --> and <!-- /NAME -->. A test compares; nobody keeps it by hand.
"""

import ast
import csv
import json
import re
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from segtrial import models, scores, tasks
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
    ("machinery of that floor", "drawing fetching hardware presets ranks signals tensorfile unpacking"),
    ("what decides a run; rows of counts to scores; public sets", "recipe scores data_sets"),
    ("what an answer means: targets, losses, scores, pictures", "tasks"),
    ("one file in, a network out; any image, an answer", "modelfile prediction"),
    (
        "what an encoder starts from; model + images -> counts; everybody's mean IoU",
        "pretrained evaluation definitions",
    ),
    ("the loop; the data doctor; files for others; answers of others", "training inspection exporting answers"),
    ("curves -> sentences", "fitdoctor"),
    ("many runs -> a verdict", "comparison"),
    ("records -> pages", "reports"),
    ("the door", "api cli console"),
)
"""The tree in the order of the floors; files that no line names come at the end of theirs."""


def pages() -> dict[Path, str]:
    """What each page with generated parts must say, whole."""
    parts = {"tree": tree(), "fields": fields(), "definitions": definitions(), "proof": proof()}
    parts |= {
        "networks": networks(),
        "sheets": sheets(),
        "counts": counts(),
        "overfit": overfit(),
        "coverage": coverage(),
        "false-verdicts": false_verdicts(),
        "power": power(),
        "together": together(),
        "freedoms": freedoms(),
        "parity": parity(),
        "inspect-speed": inspect_speed(),
        "label-errors": label_errors(),
        "presets": presets(),
        "task-scores": task_scores(),
        "leak-effect": leak_effect(),
    }
    return {page: _filled(page, parts) for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}


def tree() -> str:
    """The captioned tree of the package: first lines of docstrings, in journey order."""
    lines = ["src/segtrial/"]
    for title, rooms in JOURNEY:
        lines.append(f"  -- {title}")
        for room in rooms.split():
            lines += _room(room)
    return "```\n" + "\n".join(lines) + "\n```"


def _room(room: str) -> Iterator[str]:
    if (PACKAGE / room).is_dir():
        yield f"  {room}/"
        for path in sorted((PACKAGE / room).glob("*.py")):
            yield f"    {path.name:<18} {_caption(path)}"
    else:
        for path in sorted(PACKAGE.glob(f"{room}.py")) + sorted(PACKAGE.glob(f"{room}_*.py")):
            if path.stem == room or path.stem.startswith(("cli_", "recipe_")):
                yield f"  {path.name:<20} {_caption(path)}"


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


def proof() -> str:
    """The runs under results/ as one table: a row for each network, data and validation part, over its seeds."""
    rows: dict[tuple[str, ...], list[tuple[float, dict[str, Any]]]] = {}
    for path in sorted((ROOT / "results").glob("*/*/plan.json")):
        plan, result = json.loads(path.read_text()), json.loads(path.with_name("evaluation.json").read_text())
        recipe = plan["recipe"]
        part = ", ".join(recipe["split"]["val_groups"]) or "its own"
        key = (
            recipe["model"],
            plan["layout"],
            part,
            f"{recipe['minutes']:g}",
            f"{plan['model']['parameters'] / 1e6:.1f} M",
        )
        rows.setdefault(key, []).append((result["scores"]["miou_dataset"], plan))
    head = "| network | parameters | data | val part | minutes | steps | val `miou_dataset` |\n" + "|---" * 7 + "|"
    return "\n".join([head, *(_proof_row(key, found) for key, found in rows.items())])


def _proof_row(key: tuple[str, ...], found: list[tuple[float, dict[str, Any]]]) -> str:
    model, layout, part, minutes, parameters = key
    values, steps = [score for score, _ in found], [plan["steps"] for _, plan in found]
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    score = f"{statistics.mean(values):.3f}{spread} (n = {len(values)})"
    taken = f"{min(steps)}" if len(set(steps)) == 1 else f"{min(steps)}-{max(steps)}"
    return f"| `{model}` | {parameters} | {layout} | {part} | {minutes} | {taken} | {score} |"


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


def overfit() -> str:
    """What `benchmarks/overfit.py` left in results/."""
    head = "| network | mIoU | aim | ceiling | finest stride | steps | seconds |\n" + "|---" * 7 + "|"
    path = ROOT / "results" / "overfit.json"
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    return "\n".join([head, *(_overfit_row(run) for run in runs)])


def inspect_speed() -> str:
    """What `benchmarks/inspect_pairs.py` left in results/."""
    head = "| check | pairs/s | peak memory, MB | kB a pair |\n" + "|---" * 4 + "|"
    path = ROOT / "results" / "inspect_pairs.json"
    if not path.exists():
        return head
    told = json.loads(path.read_text())
    names = {"plain": "plain loop", "cold": "inspect, cold", "warm": "inspect, again"}
    names |= {f"{name}_{told['cores']}_cores": f"{names[name]}, {told['cores']} cores" for name in ("cold", "warm")}
    rows = [
        f"| {names[name]} | {rate:,.0f} | {told['peak_mb'][name]:.0f} | {told['kb_per_pair'][name]:.1f} |"
        for name, rate in told["pairs_per_second"].items()
    ]
    return "\n".join([head, *rows])


def _overfit_row(run: dict[str, Any]) -> str:
    missed = "" if run["miou"] >= run["aim"] else " (missed)"
    return (
        f"| `{run['spec']}` | {run['miou']:.3f} | {run['aim']:.3f}{missed} | {run['ceiling']:.3f} | {run['stride']} "
        f"| {run['steps']} | {run['seconds']:.0f} |"
    )


def leak_effect() -> str:
    """What a random split of a clip promises, beside an honest one, from results/leak_effect.json."""
    told = json.loads((ROOT / "results" / "leak_effect.json").read_text())
    lines = [
        "| val | near neighbours in train | mIoU on val | elsewhere | promised too much |",
        "|---|---|---|---|---|",
    ]
    names = {"random": "frames drawn at random", "time": "the clip's end, after a gap"}
    for split, name in names.items():
        cells = told["table"][split]
        spans = [_span(cells[column]) for column in ("val", "elsewhere", "promised")]
        lines.append(f"| {name} | {cells['near']['mean']:.0%} | {' | '.join(spans)} |")
    count = told["table"]["random"]["val"]["n"]
    lines.append(
        f"\n{count} seeds each, {told['steps']} steps, {told['train']} frames to train on, {told['val']} in val."
    )
    return "\n".join(lines)


def _span(cell: Mapping[str, float]) -> str:
    return f"{cell['mean']:.3f} ({cell['low']:.3f} to {cell['high']:.3f})"


def label_errors() -> str:
    """What `benchmarks/label_errors.py` left in results/."""
    told = json.loads((ROOT / "results" / "label_errors.json").read_text())
    kinds, flagged = told["planted"], told["flagged"]
    lines = [
        f"| images by | AUROC (95 % interval) | {' | '.join(kinds)} | precision |",
        "|---" * (3 + len(kinds)) + "|",
    ]
    for name, row in told["scores"].items():
        each = " | ".join(f"{row['auroc_of'][kind]:.3f}" for kind in kinds)
        auroc = "{value:.3f} ({low:.3f} to {high:.3f})".format(**row["auroc"])
        lines.append(f"| {name.replace('_', ' ')} | {auroc} | {each} | {row['precision_at_n']:.2f} |")
    size, models = told["arguments"], told["models"]
    said = (
        f"{sum(kinds.values())} errors in {told['images']} masks of {'x'.join(map(str, size['size']))} pixels, judged "
        f"by {size['folds']} runs of {size['steps']} steps each (miou_dataset {models['miou_dataset']:.2f}). "
        f"`label.suspicious` names {flagged['images']}: {flagged['precision']:.0%} of them are planted, and "
        f"{flagged['recall']:.0%} of the planted are named."
    )
    return "\n".join([*lines, "", said])


def parity() -> str:
    """What `benchmarks/export_parity.py` left in results/: a line for each network, a column for each format."""
    path = ROOT / "results" / "export_parity.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    formats = list(dict.fromkeys(row["format"] for row in rows))
    head = "| network | " + " | ".join(formats) + " |\n|---" + "|---" * len(formats) + "|"
    cells = {(row["spec"], row["format"]): _parity_cell(row) for row in rows}
    specs = sorted({row["spec"] for row in rows})
    lines = [f"| `{spec}` | " + " | ".join(cells.get((spec, form), "") for form in formats) + " |" for spec in specs]
    refused = dict.fromkeys(f"`{row['spec']}`: {row['refused']}" for row in rows if row["refused"])
    return "\n".join([head, *lines, *([f"\nRefused: {'; '.join(refused)}."] if refused else [])])


def _parity_cell(row: Mapping[str, Any]) -> str:
    """ "3.8e-06, 99.999%, 0 apart"."""
    if row["refused"]:
        return "refused"
    return f"{row['largest_difference']:.1e}, {row['agreement']:.3%}, {row['apart']} apart"


def coverage() -> str:
    """What `benchmarks/coverage.py` left in results/: how often intervals hold the truth, and their widths."""
    head = (
        "| seeds | blocks | these images: covered | width | bootstrap | new scenes: covered | width | bootstrap |\n"
        + "|---" * 8
        + "|"
    )
    rows = []
    for (seeds, blocks), found in _simulated("bootstrap"):
        cells = [
            cell for kind in ("images", "scenes") for cell in (*_ranges(kind, seeds, blocks), f"{found[kind]:.3f}")
        ]
        rows.append(f"| {seeds} | {blocks} | {' | '.join(cells)} |")
    return "\n".join([head, *rows])


def false_verdicts() -> str:
    """How often a variant is better or worse than itself."""
    head = "| seeds | blocks | margin | better or worse | equivalent | cannot tell |\n" + "|---" * 6 + "|"
    rows = [
        f"| {seeds} | {blocks} | {margin.removeprefix('margin ')} "
        f"| {shares.get('better', 0) + shares.get('worse', 0):.3f} "
        f"| {shares.get('equivalent', 0):.3f} | {shares.get('cannot tell', 0):.3f} |"
        for (seeds, blocks), said in _simulated("verdicts")
        for margin, shares in said.items()
    ]
    return "\n".join([head, *rows])


def power() -> str:
    """Planted differences: found, and promised."""
    head = "| seeds | blocks | world | found | predicted |\n" + "|---" * 5 + "|"
    rows = [
        f"| {seeds} | {blocks} | {world} | {cell['found']:.3f} | {cell['predicted']:.3f} |"
        for (seeds, blocks), _ in _simulated("bootstrap")
        for world, effect, cell in _worlds("images", seeds, blocks)
        if effect == "better"
    ]
    return "\n".join([head, *rows])


def together() -> str:
    """Families of intervals that all hold."""
    found = {name: cell for name, cell in _studies().items() if name.startswith("together: ")}
    titles = list(next(iter(found.values()), {}))
    head = f"| seeds | {' | '.join(titles)} |\n" + "|---" * (len(titles) + 1) + "|"
    rows = [
        f"| {name.split()[1]} | {' | '.join(f'{cell[title]:.3f}' for title in titles)} |"
        for name, cell in found.items()
    ]
    return "\n".join([head, *rows])


def freedoms() -> str:
    """The lowest coverage of the sum of two variances, by seeds and blocks."""
    head = "| seeds | blocks | as here | with Satterthwaite's f |\n" + "|---" * 4 + "|"
    rows = [
        f"| {seeds} | {blocks} | {found['ours']:.3f} | {found['satterthwaite']:.3f} |"
        for (seeds, blocks), found in _simulated("freedom")
    ]
    return "\n".join([head, *rows])


def _studies() -> dict[str, dict[str, Any]]:
    path = ROOT / "results" / "coverage.json"
    return json.loads(path.read_text())["found"] if path.exists() else {}


def _simulated(kind: str) -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    """What was made of this kind, by seeds and blocks."""
    for name, cell in _studies().items():
        if match := re.fullmatch(rf"{kind}: (\d+) seeds, (\d+) blocks", name):
            yield (match[1], match[2]), cell


def _worlds(kind: str, seeds: str, blocks: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, cell in _studies().items():
        if match := re.fullmatch(rf"{kind}: {seeds} seeds, {blocks} blocks, ([\w ]+), (\w+)", name):
            yield match[1], match[2], cell


def _ranges(kind: str, seeds: str, blocks: str) -> tuple[str, str]:
    """The lowest and highest coverage and width over all worlds and effects."""
    cells = [cell for *_, cell in _worlds(kind, seeds, blocks)]
    covered, width = ([cell[name] for cell in cells] for name in ("covered", "width"))
    return f"{min(covered):.3f} to {max(covered):.3f}", f"{min(width):.2f} to {max(width):.2f}"


def _filled(page: Path, parts: dict[str, str]) -> str:
    text = page.read_text()
    for name, body in parts.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m: f"{m[1]}{body}\n{m[2]}", text, flags=re.S)  # noqa: B023
    return text


if __name__ == "__main__":
    for page, text in pages().items():
        page.write_text(text)
