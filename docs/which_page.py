"""results in, the generated parts of docs/which-network.md out: which network did best, at what cost, how surely."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from minutes_page import CONTESTANTS, OWN, PROOF, read
from results_page import NOT_RUN, ROOT, TURNED, count_of, markdown, read_trials

from segtrial.reports.comparison_tables import ordered, signed
from segtrial.reports.wording import DASH, score, short_count

SHOWN = ("networks", "encoders", "segnet", "carried", "colors", "choices", "batch", "defaults")
"""Trials of the page, in its order."""
FAST = ("compact", "segformer", "fcn:stride=8,encoder=resnet18", "deeplabv3plus:encoder=resnet18", "fpn", "unet")
"""Networks whose cost is laid side by side."""
THIN = "pole"
OFFICIAL = "the official val part"

Json = Mapping[str, Any]


def parts(root: Path = ROOT) -> dict[str, str]:
    """Name -> generated text of each part of the page."""
    trials, minutes = read_trials(root), read_minutes(root)
    return {
        "which-answers": _answers(trials, minutes),
        "which-minutes": _minutes_table(minutes),
        "which-costs": _costs(),
        "which-trials": "\n\n".join(_trial(name, trials.get(name)) for name in SHOWN),
    }


def read_minutes(root: Path = ROOT) -> dict[tuple[str, str], list[Json]]:
    """(who, what was held out) -> its runs of 8 minutes on two cores (`benchmarks/camvid_minutes.py`).

    Where they were made on several CPUs, those of the one with most of them: runs of two are never put together.
    """
    groups = sorted(read(root).items(), key=lambda group: len(group[1]))
    found = {
        (told.who, OFFICIAL if told.part == OWN else f"the sequence {told.part}"): runs
        for told, runs in groups
        if told.minutes == PROOF
    }
    return dict(sorted(found.items()))


def _answers(trials: Mapping[str, Json], minutes: Mapping[tuple[str, str], Sequence[Json]]) -> str:
    rows = [
        ("few images, and nothing to start from", "`compact`, the default", _of_minutes(minutes, "miou_dataset")),
        ("a network of the papers, nothing to start from", *_picked(trials, "networks")),
        ("a U-Net: on which encoder?", *_picked(trials, "encoders")),
        ("the encoder of a trained classifier to start from", *_picked(trials, "carried")),
        ("speed, or little memory", *_fastest()),
        ("thin objects: poles, vessels, wires", "a network with fine scores, not a coarse one", _thin(trials, minutes)),
        ("colours for grey photos", *_picked(trials, "colors")),
        ("one class for a whole image", "`classifier`", "it is the only one: `--task classification`"),
    ]
    return markdown(("you have or need", "take", "because"), rows)


def _picked(trials: Mapping[str, Json], name: str) -> tuple[str, str]:
    """The cheapest variant that is not known to be worse than another one, and how it stands to the rest."""
    if name not in trials:
        return f"{NOT_RUN}", f"[`{name}`](#the-trials) will say"
    told = trials[name]
    names = [one["name"] for one in told["variants"]]
    beaten = {one for one in names if any(verdict(told, one, other) == "worse" for other in names)}
    level = [one for one in told["variants"] if one["name"] not in beaten and one["mean"] is not None]
    chosen = min(level, key=lambda one: (one["multiply_adds"], -one["mean"]))
    others = [one for one in level if one is not chosen]
    because = f"`{name}`: {told['score']} {_mean(chosen)}"
    if others:
        means = [f"{one['name']} {_mean(one)}" for one in others]
        dearer = any(one["multiply_adds"] > chosen["multiply_adds"] for one in others)
        because += f"; nobody can tell it from {' or '.join(means)}{', and it costs least' if dearer else ''}"
    better = [one for one in names if verdict(told, chosen["name"], one) == "better"]
    because += f"; better than {', '.join(better)} on these images" if better else ""
    return _words(told, chosen["name"]), because


def verdict(told: Json, first: str, second: str) -> str:
    """What is said of the first against the second, for these images; a pair that was not compared: cannot tell."""
    for pair in told["pairs"]:
        if {pair["a"], pair["b"]} == {first, second} and first != second:
            said = (pair["these_images"] or pair)["verdict"]
            return said if pair["b"] == first else TURNED.get(said, said)
    return "cannot tell"


def _words(told: Json, name: str) -> str:
    """The network of a variant, and its name where others of the trial have the same network."""
    specs = {one: each["recipe"]["model"] for one, each in told["rule"]["variants"].items()}
    same = sum(spec == specs[name] for spec in specs.values()) > 1
    return f"`{specs[name]}`{f' ({name})' if same else ''}"


def _mean(one: Json) -> str:
    spread = f" ± {one['sd']:.3f}" if one["sd"] is not None else ""
    return f"{score(one['mean'])}{spread}"


def _fastest() -> tuple[str, str]:
    costs = sorted((count_of(spec, "multiply_adds"), spec) for spec in FAST)
    (least, first), (next_one, second), (most, last) = costs[0], costs[1], costs[-1]
    said = [f"`{spec}` {short_count(cost)}" for cost, spec in ((least, first), (next_one, second), (most, last))]
    return f"`{first}` or `{second}`", f"multiply-adds for 360x480: {', '.join(said)}"


def _of_minutes(minutes: Mapping[tuple[str, str], Sequence[Json]], name: str) -> str:
    own = {who: runs for (who, part), runs in minutes.items() if part == OFFICIAL}
    said = [f"{CONTESTANTS[who].name}: {_spread(runs, name)}" for who, runs in own.items()]
    return f"8 minutes of two cores on CamVid, {name} on its val part. {'; '.join(said)}" if said else NOT_RUN


def _spread(runs: Sequence[Json], name: str) -> str:
    """Mean and standard deviation over runs."""
    values = [run[name] for run in runs]
    if len(values) < 2:
        return f"{score(values[0])} (one run)"
    return f"{score(statistics.mean(values))} ± {statistics.stdev(values):.3f} ({len(values)} runs)"


def _thin(trials: Mapping[str, Json], minutes: Mapping[tuple[str, str], Sequence[Json]]) -> str:
    own = {who: runs for (who, part), runs in minutes.items() if part == OFFICIAL}
    said = [f"{CONTESTANTS[who].name}: {score(_thin_iou(runs))}" for who, runs in own.items()]
    found = [f"IoU of {THIN}s after 8 minutes. {'; '.join(said)}"] if said else []
    if told := trials.get("networks"):
        found += [_pair_words(pair) for pair in told["pairs"] if (pair["a"], pair["b"]) == ("fcn32s", "fcn8s")]
    return "; ".join(found) or NOT_RUN


def _thin_iou(runs: Sequence[Json]) -> float:
    return statistics.mean(run["iou"][THIN] for run in runs)


def _pair_words(pair: Json) -> str:
    """ "fcn8s against fcn32s +0.038: better, also for new scenes"."""
    here, new = (pair["these_images"] or pair)["verdict"], pair["verdict"]
    scenes = "also for new scenes" if here == new else f"for new scenes {new}"
    return f"{pair['b']} against {pair['a']} {signed(pair['difference'])}: {here}, {scenes}"


def _minutes_table(minutes: Mapping[tuple[str, str], Sequence[Json]]) -> str:
    head = ("network", "held out", "miou_dataset", f"IoU of {THIN}", "steps", "parameters", "multiply-adds, 360x480")
    rows = []
    for (who, part), runs in minutes.items():
        steps = sorted(run["steps"] for run in runs)
        cells = (
            _spread(runs, "miou_dataset"),
            score(_thin_iou(runs)),
            " to ".join(f"{each:,}" for each in dict.fromkeys((steps[0], steps[-1]))),
        )
        rows.append((CONTESTANTS[who].name, part, *cells, *_costs_of(CONTESTANTS[who].spec)))
    return markdown(head, rows)


def _costs_of(spec: str) -> tuple[str, str]:
    return tuple(short_count(count_of(spec, what)) for what in ("parameters", "multiply_adds"))  # type: ignore[return-value]


def _costs() -> str:
    rows = sorted(((spec, *_costs_of(spec)) for spec in FAST), key=lambda row: count_of(row[0], "multiply_adds"))
    return markdown(("network", "parameters", "multiply-adds, 360x480"), [(f"`{row[0]}`", *row[1:]) for row in rows])


def _trial(name: str, told: Json | None) -> str:
    """What a trial measured, what is known from it, and what nobody can tell yet."""
    if told is None:
        return f"### {name}\n\n{NOT_RUN.capitalize()}: `python benchmarks/trials.py CAMVID PHOTOS --only {name}`."
    rows = [_variant_row(told, one) for one in ordered({**told, "ranked": True})]
    table = markdown(("variant", "network", told["score"], "seeds", "parameters", "multiply-adds to train"), rows)
    link = f"[The whole trial](../results/trials/{name}/comparison.html)."
    return "\n\n".join([f"### {name}", link, table, *_told(told)])


def _variant_row(told: Json, one: Json) -> Sequence[str]:
    spec = told["rule"]["variants"][one["name"]]["recipe"]["model"]
    mean = DASH if one["mean"] is None else _mean(one)
    costs = (short_count(one[what]) for what in ("parameters", "multiply_adds"))
    return one["name"], f"`{spec}`", mean, str(one["n"]), *costs


KINDS = ("Known, also of new scenes", "Known of these images alone", "Nobody can tell yet")
WORDS = {"better": "better than", "worse": "worse than", "equivalent": "the same as", "cannot tell": "against"}


def _told(told: Json) -> Iterator[str]:
    """Pairs that are settled, those that are so for these images alone, and the open ones."""
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for pair in told["pairs"]:
        here, new = (pair["these_images"] or pair)["verdict"], pair["verdict"]
        kind = KINDS[2] if here == "cannot tell" else KINDS[1] if new == "cannot tell" else KINDS[0]
        found[kind].append(f"{pair['b']} {WORDS[here]} {pair['a']} ({signed(pair['difference'])})")
    for kind, said in found.items():
        if said:
            yield f"**{kind}:** {', '.join(said)}."
