"""RUN folder -> RUN/report.html: one page, whole in itself, that says how good the network is and how that came about.

The page asks no other address for anything: its policy forbids it. It is read without a script; the one script
in it moves the slider that fades label maps over the photographs.
"""

import shlex
from pathlib import Path
from typing import Any

from segtrial import fitdoctor
from segtrial.errors import listing
from segtrial.files import write_atomic
from segtrial.reports import figures, page, pictures, rates, records, wording
from segtrial.reports.confusion import confusions, heat_map
from segtrial.reports.records import Run

CALLED = {
    "miou_dataset": "mIoU",
    "dice_dataset": "Dice",
    "psnr": "PSNR, dB",
    "psnr_pooled": "PSNR pooled, dB",
    "ab_rmse": "ab-RMSE",
    "f1_macro": "macro F1",
    "iou_foreground": "IoU of the foreground",
}
"""Scores by shorter names."""

UNSCORED = ("step", "epoch", "split", "loss", "learning_rate", "pixel_accuracy")
"""Fields of a line of the log that get no curve of their own as a score."""

MASKS = (
    "by mIoU of the single image. Error: wrong pixels in red, pixels that do not count hatched. Confidence: light "
    "yellow is sure, dark violet is not."
)
RANKINGS = {
    "classification": "wrong ones first.",
    **dict.fromkeys(
        ("colorization", "colorization_rgb", "colorization_bins"),
        "by PSNR of the single photo. Difference: mean over red, green and blue, dark violet is none, light yellow "
        "a quarter of the range or more.",
    ),
}
"""How the examples of a task are ordered, and what their panels show; of all others, MASKS."""


def write(run: Path) -> Path:
    """Write `run/report.html` from the records in `run`, finished or not, and return its path.

    Raises RunError if `run` is no run folder, or if a file of it is damaged.
    """
    report = run / "report.html"
    write_atomic(report, render(records.read(run)).encode())
    return report


def render(run: Run) -> str:
    """The page as HTML. The same records give the same characters."""
    return page.render(
        "run.html.j2",
        script="page.js",
        run=run,
        title=_title(run),
        status=_status(run),
        headline=_headline(run),
        remarks=_remarks(run),
        facts=_facts(run),
        scores=_scores(run),
        definitions=_definitions(run),
        curves=_curves(run),
        findings=fitdoctor.examine(run).findings,
        classes=_classes(run),
        matrix=None if run.confusion is None else heat_map(run.confusion, run.classes.names),
        mistakes=[] if run.confusion is None else confusions(run.confusion, run.classes.names),
        rows=pictures.rows(run.examples, run.classes, run.task),
        masks=run.task not in RANKINGS,
        ranking=RANKINGS.get(run.task, MASKS),
        unit="images" if run.task == "classification" else "pixels",
        baselines=(run.evaluation or {}).get("baselines", {}),
        settings=_settings(run),
        commands=_commands(run),
    )


def _title(run: Run) -> str:
    data = str(run.recipe["data"])
    return f"{run.plan['model']['name']} on {Path(data.split(':')[0]).name or data}"


def _status(run: Run) -> str:
    steps, done = run.plan["steps"], run.last_step
    if not run.finished:
        return f"Not finished: the log ends at step {done:,} of {steps:,}. The same command continues it."
    took = f" in {wording.duration(run.seconds)}" if run.seconds else ""
    early = f", stopped early of {steps:,}" if done < steps else ""
    return f"Finished: {done:,} steps{took}{early}, seed {run.recipe['seed']}."


def _headline(run: Run) -> dict[str, Any] | None:
    """The main score and what is known about its spread, or None before the evaluation."""
    if run.evaluation is None:
        return None
    name = _main_score(run)
    return {
        "name": _called(name),
        "value": run.evaluation["scores"][name],
        "interval": run.evaluation["intervals"][name],
        "reason": run.evaluation.get("reason", "the score is undefined"),
        "images": run.evaluation["n_images"],
    }


def _main_score(run: Run) -> str:
    """The score in the largest type; that of runs older than the other tasks."""
    return str((run.evaluation or {}).get("headline", "miou_dataset"))


def _called(score: str) -> str:
    return CALLED.get(score, score.replace("_", " "))


def _scores(run: Run) -> list[dict[str, Any]]:
    """Name, value, interval (None where there is none) and definition of each score."""
    result = run.evaluation or {"scores": {}}
    return [
        {"name": name, "value": value, "interval": result["intervals"][name], "definition": result["definitions"][name]}
        for name, value in result["scores"].items()
    ]


def _definitions(run: Run) -> dict[str, str]:
    """What else is printed and needs a definition: the columns of the classes, the interval."""
    result = run.evaluation or {"scores": {}, "definitions": {}}
    return {name: text for name, text in result["definitions"].items() if name not in result["scores"]}


def _remarks(run: Run) -> list[str]:
    """What to know before believing the numbers: the notes of data and plan, then what the counts show."""
    rows = run.evaluation["per_class"] if run.evaluation else []
    absent = [row["name"] for row in rows if not row["support"]]
    missed = [row["name"] for row in rows if row["support"] and not row["recall"]]
    remarks = list(run.plan["notes"])
    if absent:
        remarks.append(f"Not in the {run.split} part, so nothing is known about: {listing(absent)}.")
    if missed:
        remarks.append(f"Never found by the network: {listing(missed)}.")
    return [*remarks, *_no_better_than_baselines(run)]


def _no_better_than_baselines(run: Run) -> list[str]:
    """A sentence for each baseline that the network does not beat."""
    if run.evaluation is None:
        return []
    name = _main_score(run)
    found = run.evaluation["scores"][name]
    return [
        f"The network is no better than {wording.baseline(baseline)}: {name} {wording.score(found)}, against"
        f" {wording.score(scores[name])}."
        for baseline, scores in run.evaluation.get("baselines", {}).items()
        if found is not None and found <= scores[name]
    ]


def _facts(run: Run) -> list[tuple[str, str]]:
    parts = ", ".join(f"{count:,} {name}" for name, count in run.plan["parts"].items())
    speeds = [line["images_per_second"] for line in run.timing if "images_per_second" in line]
    facts = [("images", parts), ("parameters", wording.short_count(run.plan["model"]["parameters"]))]
    if run.seconds:
        facts.append(("training time", wording.duration(run.seconds)))
    if speeds:
        facts.append(("images per second", wording.short_count(speeds[-1])))
    return [*facts, ("device", f"{run.plan['device']}, {run.plan['precision']}")]


def _curves(run: Run) -> list[dict[str, str]]:
    """The figures for which there are numbers: title, SVG."""
    both = ("train", "val")
    logged = [name for name in (run.train[-1] if run.train else {}) if name not in UNSCORED]
    wanted = [
        ("loss", "Loss", "Lower is better.", both),
        *((name, _called(name), _caption(name), both) for name in logged),
        ("learning_rate", "Learning rate", "The largest of all groups of weights.", ("train",)),
    ]
    drawn = [figure for one in wanted if (figure := _figure(run, *one))]
    return [*drawn, *([_rates(run.rate_test)] if run.rate_test else [])]


def _caption(score: str) -> str:
    lower = " Lower is better." if score == "ab_rmse" else ""
    return f"Of the last training batch, and of the whole val part.{lower}"


def _rates(test: records.Json) -> dict[str, str]:
    of = "{optimizer}, {batch} crops of {size[0]}×{size[1]}".format(**test)
    caption = f"Before the run, with a network thrown away ({of}). {wording.rate_test(test)}"
    return {"title": "Learning rates tried", "caption": caption, "svg": rates.draw(test)}


def _figure(run: Run, field: str, title: str, caption: str, splits: tuple[str, ...]) -> dict[str, str] | None:
    looks = {"train": (run.train, figures.TRAIN), "val": (run.val, figures.VAL)}
    noisy = field != "learning_rate"
    curves = []
    for split in splits:
        lines, color = looks[split]
        label = split if noisy else ""
        curves.append(figures.curve(label, color, lines, field, noisy=noisy and split == "train"))
    told = [one for one in curves if one.steps]
    if not told:
        return None
    ends = [f"{one.label} from {one.values[0]:.4g} to {one.values[-1]:.4g}".strip() for one in told]
    words = f"{title} over {told[0].steps[-1]} steps: {'; '.join(ends)}"
    svg = figures.draw(field, told, _stretches(run), words)
    return {"title": title, "caption": caption, "svg": svg}


def _stretches(run: Run) -> list[figures.Stretch]:
    stretches, first = [], 0
    for phase in run.plan["phases"]:
        height, width = phase["size"]
        stretches.append(figures.Stretch(first, first + phase["steps"], f"{height}×{width}"))
        first += phase["steps"]
    return stretches


def _classes(run: Run) -> list[dict[str, Any]]:
    """One row per class in class order: colour, training share and weight; scores once there are any."""
    trained = run.plan["class_pixels"]
    scored = run.evaluation["per_class"] if run.evaluation else [{}] * len(run.classes)
    if not scored:
        return []  # colours have no classes
    total = sum(row.get("support", 0) for row in scored)
    return [
        {
            "name": name,
            "color": color,
            "scores": row,
            "share": row.get("support", 0) / total if total else None,
            "trained": pixels / sum(trained) if sum(trained) else None,
            "weight": weight,
        }
        for name, color, row, pixels, weight in zip(
            run.classes.names, run.classes.colors, scored, trained, run.plan["class_weights"], strict=True
        )
    ]


def _settings(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """What was run, on what, and where: titled lists of names and values."""
    plan, model = run.plan, run.plan["model"]
    options = ", ".join(f"{key}={value}" for key, value in model["options"].items()) or "none"
    network = [("model", model["name"]), ("options", options), ("parameters", wording.count(model["parameters"]))]
    data = [
        ("data", str(run.recipe["data"])),
        ("layout", str(plan["layout"])),
        *((f"{name} images", wording.count(count)) for name, count in plan["parts"].items()),
        ("channels", str(plan["in_channels"])),
        ("mean", _numbers(plan["mean"])),
        ("standard deviation", _numbers(plan["std"])),
        ("manifest", plan["manifest"]),
    ]
    compute = [(name, str(plan[name])) for name in ("device", "precision", "threads", "world")]
    compute += [("started", f"{run.starts} ×"), ("seconds", wording.duration(run.seconds))]
    machine = [(name, _value(value)) for name, value in run.environment.items() if name != "schema"]
    lists = [("Network", network), ("Data", data), ("Training", compute), ("Machine", machine)]
    return [(title, rows) for title, rows in lists if rows]


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)


def _commands(run: Run) -> list[tuple[str, str]]:
    """What to type beside the run folder, each with what it does."""
    name = shlex.quote(run.name)
    again = shlex.quote(f"{run.name}-again")
    rerun = ("Train once more from the same recipe.", f"segtrial train --recipe {name}/recipe.yaml --out {again}")
    if not run.finished:
        return [("Continue this run to its end.", f"segtrial train --recipe {name}/recipe.yaml --out {name}"), rerun]
    data = shlex.quote(str(run.recipe["data"]))
    return [
        (
            "Answer for new images with the model file.",
            f"segtrial predict {name}/model.safetensors IMAGES --out ANSWERS",
        ),
        ("Score it again.", f"segtrial evaluate {name} --data {data} --split {run.split} --json"),
        rerun,
    ]
