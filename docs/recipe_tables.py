"""results/recipes in, the tables of recipes on docs/results.md and two lines of each recipe's header out."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import trial_figures
from results_page import NOT_RUN, ROOT, markdown

from segtrial.plain_yaml import parse_yaml
from segtrial.reports import comparison_tables
from segtrial.reports.wording import DASH, duration, plain, score

REPORTS = ("r0", "r1", "r2", "r3", "r4")
CURVED = ("r3", "r4")
"""Reports that speak of overfitting."""
DRAWN = {
    "r1": ("r1-classifier", "r1-classifier-step", "r1-classifier-multistep"),
    "r2": ("r2-unet34", "r2-unet11", "r2-unet16"),
    "r3": ("r3-classifier",),
}
"""Recipes whose curves are drawn, as their reports drew or logged theirs."""
FIGURES = Path("docs/figures/recipes")
OF_CLASS = ("precision", "recall", "f1")

Json = Mapping[str, Any]


def parts(root: Path = ROOT) -> dict[str, str]:
    """Name -> generated text of each part of the page."""
    told = read_records(root)
    found = {f"recipes-{report}": _table(root, report, told) for report in REPORTS}
    found |= {f"fit-{report}": _fit(_of(report, told)) for report in CURVED}
    found |= {f"curves-{report}": _picture(report, told) for report in DRAWN}
    return found | {
        "recipes-count": _counted(root, told),
        "log-r2": _log(_of("r2", told)),
        "classes-r4": _classes(_of("r4", told)),
        "tuned-r4": _tuned(told.get("r4-tuned")),
    }


def figures(root: Path = ROOT) -> dict[Path, str]:
    """Place -> SVG of the curves of some recipes, one run each."""
    told = read_records(root)
    logs = {
        report: _logs({name: told[name] for name in DRAWN[report] if name in _of(report, told)}) for report in DRAWN
    }
    return {
        root / FIGURES / f"{report}.svg": trial_figures.curves(log, list(log["variants"]))
        for report, log in logs.items()
        if log["variants"]
    }


def _logs(told: Mapping[str, Json]) -> Json:
    """Records in the form in which a trial keeps its curves: of one seed."""
    found = {name: {"0": {part: _columns(each, part) for part in ("train", "val")}} for name, each in told.items()}
    return {"score": next((each["headline"] for each in told.values()), ""), "variants": found}


def _columns(told: Json, part: str) -> Json:
    columns = {"steps": "step", "losses": "loss", "scores": told["headline"]}
    return {name: [line.get(field) for line in told[part]] for name, field in columns.items()}


def _picture(report: str, told: Mapping[str, Json]) -> str:
    names = [name for name in DRAWN[report] if name in _of(report, told)]
    return f"![Curves of {', '.join(names)}, one run each](figures/recipes/{report}.svg)" if names else ""


def headers(root: Path = ROOT) -> dict[Path, str]:
    """Recipe file -> its text, with what is known of its cost and its scores."""
    told = read_records(root)
    return {file: _with_lines(file, told.get(file.stem)) for file in _files(root)}


def read_records(root: Path = ROOT) -> dict[str, Json]:
    """Recipe -> what is kept of its run on the small budget."""
    files = sorted((root / "results" / "recipes").glob("*.json"))
    return {path.stem: json.loads(path.read_bytes()) for path in files if "." not in path.stem}


def _files(root: Path, report: str = "") -> list[Path]:
    return sorted((root / "recipes").glob(f"{report}*.yaml"))


def _of(report: str, told: Mapping[str, Json]) -> dict[str, Json]:
    """The single runs of a report that ended."""
    return {name: each for name, each in told.items() if name.startswith(report) and "scores" in each}


def _counted(root: Path, told: Mapping[str, Json]) -> str:
    ended = [each for each in told.values() if "failed" not in each]
    failed = [name for name, each in told.items() if "failed" in each]
    number = len(_files(root))
    said = f"{len(ended)} of {number} recipes ran to their end"
    said += f", in {duration(sum(each['seconds'] for each in ended))} together" if ended else ""
    said += f"; {', '.join(failed)} failed" if failed else ""
    cpus = sorted({f"{each['threads']} thread of an {each['cpu']}" for each in ended if each.get("cpu")})
    return f"{said}{f' ({plain(cpus[0])})' if len(cpus) == 1 else ''}."


def _table(root: Path, report: str, told: Mapping[str, Json]) -> str:
    rows = [(_link(file.stem), _about(file), *_found(told.get(file.stem))) for file in _files(root, report)]
    return markdown(("recipe", "what", "data", "took", "score on val, 95 %"), rows)


def _link(name: str) -> str:
    return f"[`{name}`](../recipes/{name}.yaml)"


def _about(file: Path) -> str:
    return file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").rstrip(".")


def _found(told: Json | None) -> tuple[str, str, str]:
    """Data, time and score in three cells."""
    if told is None:
        return "", "", NOT_RUN
    took = duration(told["seconds"])
    if "failed" in told:
        return _data(told), took, f"did not end: {plain(told['failed'])}"
    return _data(told), f"{took}, {told['steps']:,} steps" if "steps" in told else took, _result(told)


def _data(told: Json) -> str:
    """The set, and the size of its pictures where they were made small."""
    return told["data"] + (", {}x{}".format(*told["pictures"]) if told["pictures"] else "")


def _result(told: Json) -> str:
    """The main score with its interval, and of how many images."""
    if "pairs" in told:
        means = [f"{one['name']} {score(one['mean'])}" for one in comparison_tables.ordered({**told, "ranked": True})]
        return f"{told['score']}: {', '.join(means)}; {told['n_images']} images"
    name, grey = told["headline"], told.get("baselines", {}).get("grey")
    beside = f", grey {_value(grey[name])}" if grey else ""  # a photo without any colour, which is easy to miss
    return f"{name} {_value(told['scores'][name])} {_interval(told, name)}{beside}; {told['n_images']:,} images"


def _value(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}" if abs(value) >= 2 else score(value)


def _interval(told: Json, name: str) -> str:
    span = told["intervals"][name]
    return "(one block, no interval)" if span is None else f"({_value(span['low'])} to {_value(span['high'])})"


def _log(told: Mapping[str, Json]) -> str:
    """R2's own log: loss, Dice and Jaccard of train and of val."""
    head = ("recipe", *(f"{part} {what}" for part in ("train", "val") for what in ("loss", "Dice", "Jaccard")))
    rows = [(_link(name), *_logged(each["train"]), *_logged(each["val"])) for name, each in told.items()]
    return markdown(head, rows) if rows else f"{NOT_RUN.capitalize()}."


def _logged(lines: Sequence[Json]) -> Iterator[str]:
    last = lines[-1] if lines else {}
    for field in ("loss", "dice_dataset", "miou_dataset"):
        yield score(last.get(field))


def _classes(told: Mapping[str, Json]) -> str:
    """Precision, recall and F1, which R4 left undone: means over the classes that occur in val."""
    head = ("recipe", "pixel_accuracy", "miou_dataset", *OF_CLASS, "classes in val")
    rows = [(_link(name), *_class_cells(each)) for name, each in told.items() if "pixel_accuracy" in each["scores"]]
    return markdown(head, rows) if rows else f"{NOT_RUN.capitalize()}."


def _class_cells(told: Json) -> Iterator[str]:
    yield score(told["scores"]["pixel_accuracy"])
    yield score(told["scores"]["miou_dataset"])
    rows = [row for row in told["per_class"] if row["support"]]
    for what in OF_CLASS:
        values = [row[what] or 0.0 for row in rows]  # a class that is never answered has no precision
        yield score(sum(values) / len(values))
    yield str(len(rows))


def _tuned(told: Json | None) -> str:
    """What the tuning of R4's networks chose, and what came of it."""
    if told is None or "failed" in told:
        return f"{NOT_RUN.capitalize()}."
    rows = []
    for one in told["variants"]:
        chosen, sd = told["chosen"][one["name"]], f" ± {one['sd']:.3f}" if one["sd"] is not None else ""
        rates = [DASH if chosen[key] is None else f"{chosen[key]:.2g}" for key in ("lr", "weight_decay")]
        rows.append((one["name"], *rates, f"{score(one['mean'])}{sd}", str(one["n"]), str(one["steps"])))
    head = ("network", "learning rate chosen", "weight decay chosen", told["score"], "seeds", "steps")
    pairs = [f"- {plain(pair['sentence'])}" for pair in told["pairs"]]
    return "\n".join([markdown(head, rows), "", *pairs])


def _fit(told: Mapping[str, Json]) -> str:
    """What the fit doctor reads in the curves of each run; not which classes the data lack or the network misses."""
    found = {name: [each for each in run["fit"] if not each["code"].startswith("class_")] for name, run in told.items()}
    rows = [(_link(name), " ".join(plain(each["message"]) for each in findings)) for name, findings in found.items()]
    said = [(name, text or "nothing stands out") for name, text in rows]
    return markdown(("recipe", "its curves say"), said) if said else f"{NOT_RUN.capitalize()}."


def _with_lines(file: Path, told: Json | None) -> str:
    text = file.read_text(encoding="utf-8")
    small = parse_yaml(text, file.name)["budgets"]["small"]
    for word, line in (("Cost", _cost(told, small)), ("Scores", _scores(told))):
        text = re.sub(rf"^# {word}: .*$", lambda _: f"# {word}: {line}", text, count=1, flags=re.MULTILINE)  # noqa: B023
    return text


def _cost(told: Json | None, small: Json) -> str:
    steps = f"{small['minutes']:g} minutes of steps, then val is scored" if "minutes" in small else "a trial"
    if told is None or "failed" in told:
        return f"small is {steps}; in all: not measured yet. One large GPU: not measured."
    threads = f"{told['threads']} thread{'s' if told['threads'] > 1 else ''}"
    return f"small is {steps}: {duration(told['seconds'])} in all by {threads}. One large GPU: not measured."


def _scores(told: Json | None) -> str:
    if told is None or "failed" in told:
        return f"{NOT_RUN}; what came of it will be in docs/results.md."
    return f"{_result(told)} of {_data(told)}."
