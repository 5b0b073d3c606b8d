"""A model file's header and its run's records in, README.md for the hub out: the model card.

It says what the records say: data, scores with definitions and intervals, limits, how to load. Paths of the machine
are left out; a data set is called by its folder's name.
"""

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from segtrial.reports import wording
from segtrial.reports.records import Json, Run

PIPELINES = {"classification": "image-classification", "colorization": "image-to-image"}
METRICS = {"miou_dataset": "mean_iou", "accuracy": "accuracy"}
"""Names of ours that the hub knows by another."""


def card(
    repository: str, license: str, header: Json, run: Run | None = None, findings: Sequence[Json] | None = None
) -> str:
    """The card in Markdown under its head in YAML. `header` is the model file's; `run` what it came from, if known.

    `findings` are those of `segtrial inspect DATA --json`, of which the leaks are listed.
    """
    parts = [
        f"---\n{yaml.safe_dump(_head(repository, license, header, run), sort_keys=False, allow_unicode=True)}---",
        f"# {_safe(repository.partition('/')[2])}",
        _summary(header, run),
        "\n".join(_loading(repository, header)),
        "\n".join(_data(header, run)),
        "\n".join(_scores(run)),
        "\n".join(_limits(header, run, findings)),
        "\n".join(_making(header, run)),
    ]
    return "\n\n".join(parts) + "\n"


def _head(repository: str, license: str, header: Json, run: Run | None) -> dict[str, Any]:
    pipeline = PIPELINES.get(header["task"].partition("_")[0], "image-segmentation")
    head = {
        "license": license,
        "library_name": "segtrial",
        "pipeline_tag": pipeline,
        "tags": ["segtrial", header["task"], header["architecture"]],
    }
    if run is None or run.evaluation is None:
        return head
    values = {name: value for name, value in run.evaluation["scores"].items() if value is not None}
    metrics = [
        {"type": METRICS.get(name, name), "name": name, "value": round(value, 6)} for name, value in values.items()
    ]
    dataset = {"name": _data_name(run), "type": _data_name(run), "split": run.split}
    result = {"task": {"type": pipeline}, "dataset": dataset, "metrics": metrics}
    return head | {"model-index": [{"name": repository.partition("/")[2], "results": [result]}]}


def _summary(header: Json, run: Run | None) -> str:
    options = ", ".join(f"{name}={value}" for name, value in header["options"].items())
    network = f"`{header['architecture']}`" + (f" ({_safe(options)})" if options else "")
    trained = f", trained on {_safe(_data_name(run))}" if run else ""
    known = f" with {len(header['classes']['names'])} classes" if _has_classes(header) else ""
    return f"{network} for {header['task']}{known}{trained}, with Segtrial {_safe(header['provenance']['segtrial'])}."


def _loading(repository: str, header: Json) -> Iterator[str]:
    yield "## Use it\n"
    yield '```\npip install segtrial\n```\n\n```python\nimport segtrial as st\n\nst.predict("' + repository
    yield '", ["photos/"], "answers")\nmodel = st.load("' + repository + '")  # network, classes and header\n```\n'
    sees = f"images of any size with {header['in_channels']} channels"
    if header["task"].startswith("colorization"):
        sees = "photos of any size, of which the network sees the lightness alone"
    yield f"It takes {sees}; normalisation and padding are inside. Loading runs no code: the file is safetensors."


def _data(header: Json, run: Run | None) -> Iterator[str]:
    yield "## Data\n"
    if run is None:
        yield "Nothing is recorded but the classes and a checksum: the card was made from a model file without its run."
    else:
        counts = ", ".join(f"{wording.count(number)} {part}" for part, number in run.plan["parts"].items())
        yield f"{_safe(_data_name(run))} ({_safe(run.plan['layout'])}): {counts} images. {_groups(run)}"
    yield f"\nSHA-256 over the training data: `{header['provenance']['manifest']}`."
    if run:
        yield "".join(f"\n- {_safe(note)}" for note in run.plan["notes"])
    if _has_classes(header):
        yield "\nClasses, in order: " + ", ".join(_safe(name) for name in header["classes"]["names"]) + "."


def _groups(run: Run) -> str:
    split = run.recipe["split"]
    how = "Groups of images that belong together (a sequence, a patient) are never cut by the split"
    if split["val_groups"]:
        return f"{how}; val are the groups {_safe(', '.join(split['val_groups']))}."
    return f"{how}; val is the data's own part, or a share of {split['val_share']:g} of the groups."


def _scores(run: Run | None) -> Iterator[str]:
    yield "## Scores\n"
    if run is None or run.evaluation is None:
        yield "None are recorded with this file: `segtrial evaluate` scores it on your data."
        return
    found = run.evaluation
    yield f"Of the {_safe(run.split)} part, {wording.count(found['n_images'])} images.\n"
    yield "| score | value | 95 % interval | definition |\n|---|---|---|---|"
    for name, value in found["scores"].items():
        entry = found["intervals"].get(name)
        definition = _safe(found["definitions"].get(name, ""))
        yield f"| {_safe(name)} | {wording.score(value)} | {wording.interval(entry)} | {definition} |"
    if found.get("reason"):
        yield f"\nNo interval: {_safe(found['reason'])}."
    elif "interval" in found["definitions"]:
        yield f"\nInterval: {_safe(found['definitions']['interval'])}"
    if found["per_class"]:
        yield "\n| class | IoU | precision | recall | support |\n|---|---|---|---|---|"
        for row in found["per_class"]:
            values = " | ".join(wording.score(row[name]) for name in ("iou", "precision", "recall"))
            yield f"| {_safe(row['name'])} | {values} | {wording.count(row['support'])} |"


def _limits(header: Json, run: Run | None, findings: Sequence[Json] | None) -> Iterator[str]:
    yield "## Limits\n"
    low, high = (" x ".join(map(str, header["image_sizes"][name])) for name in ("smallest", "largest"))
    yield f"- Scored on images of {low} to {high} pixels (height x width); what it does on others was not tested."
    yield "- Not tested on images from other places, cameras or times than its data's, nor for any use."
    if header["temperature"] == 1:
        yield "- Its confidence is what the network says: no temperature was fitted (`segtrial calibrate` does it)."
    else:
        yield f"- Its confidence is softmax(scores / {header['temperature']:.4g}), fitted on data with known masks."
    if run is not None:
        yield from _limits_of_scores(run)
    yield from _leaks(findings)


def _limits_of_scores(run: Run) -> Iterator[str]:
    if run.split == "val":
        chosen = run.recipe["keep"] == "best" or run.recipe["patience"] is not None
        why = "its weights were chosen on the same part" if chosen else "settings may have been chosen on the same part"
        yield f"- The scores are of val, and {why}: new data may be harder."
    if run.evaluation and run.evaluation.get("reason"):
        yield f"- How far the scores would be off on other scenes is unknown: {_safe(run.evaluation['reason'])}."
    rows = run.evaluation["per_class"] if run.evaluation else []
    absent = [str(row["name"]) for row in rows if not row["support"]]
    if absent:
        yield f"- Never tested, since they are in no mask of {_safe(run.split)}: {_safe(', '.join(absent))}."
    known = [row for row in rows if row["iou"] is not None and row["support"]]
    if known:
        worst = min(known, key=lambda row: row["iou"])
        yield f"- Weakest class: {_safe(worst['name'])}, IoU {wording.score(worst['iou'])}."


def _leaks(findings: Sequence[Json] | None) -> Iterator[str]:
    if findings is None:
        yield "- Whether parts of the data share pictures was not looked at here: `segtrial inspect` tells."
        return
    leaks = [finding for finding in findings if str(finding["code"]).startswith("leak")]
    if not leaks:
        yield "- `segtrial inspect` found no leak between the parts of the data."
    for leak in leaks:
        yield f"- Leak found by `segtrial inspect` ({_safe(leak['code'])}): {_safe(leak['message'])}"


def _making(header: Json, run: Run | None) -> Iterator[str]:
    made = header["provenance"]
    yield "## How it was made\n"
    yield f"{wording.count(made['steps'])} steps, seed {made['seed']}, recipe `{made['recipe_hash']}`."
    if run is None:
        return
    recipe = {**run.recipe, "data": _data_name(run), "start": run.recipe["start"] and Path(run.recipe["start"]).name}
    text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True)
    fence = "`" * 3
    while fence in text:
        fence += "`"
    yield f"\n{fence}yaml\n{text}{fence}"


def _data_name(run: Run) -> str:
    """What the data set is called, without where it lies."""
    path = Path(run.recipe["data"])
    named = path.parent if path.name == "data.yaml" else path
    return named.name or "data"


def _has_classes(header: Json) -> bool:
    return not str(header["task"]).startswith("colorization")


def _safe(text: object) -> str:
    """One line of words: names of somebody's data make no markup."""
    escaped = html.escape(wording.plain(text), quote=False)
    return "".join(f"\\{letter}" if letter in "\\`*_[]#|" else letter for letter in escaped)
