"""results/claims.yaml and results/trials in, the generated parts of docs/results.md out: what came of each claim."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import trial_figures

from segtrial import models
from segtrial.comparison.manifest import FILE, RESULT
from segtrial.plain_yaml import parse_yaml
from segtrial.reports import comparison_tables
from segtrial.reports.wording import plain, short_count

ROOT = Path(__file__).parents[1]
CURVES, FIGURES = "curves.json", Path("docs/figures/trials")
SIZE = (360, 480)
"""Pixels at which multiply-adds are counted."""

ANSWERS: Mapping[str, tuple[set[str], set[str]]] = {
    "better": ({"better"}, {"worse", "equivalent"}),
    "worse": ({"worse"}, {"better", "equivalent"}),
    "different": ({"better", "worse"}, {"equivalent"}),
    "no better": ({"worse", "equivalent"}, {"better"}),
}
"""What is claimed -> the verdicts that confirm it, and those that contradict it; neither does "cannot tell"."""
TURNED = {"better": "worse", "worse": "better"}
NOT_RUN, NOT_TESTABLE = "not run yet", "not testable here"
STATES = ("confirmed", "contradicted", "cannot tell", NOT_RUN, NOT_TESTABLE)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """What one test says of a claim: one of STATES, and why.

    `here` is the state by these images alone: another one where the verdict is on new scenes.
    """

    state: str
    test: str
    sentence: str
    here: str = ""

    @property
    def words(self) -> str:
        """The state, or both."""
        if self.here in ("", self.state):
            return f"**{self.state}**"
        return f"**{self.here}** for these images, **{self.state}** for new scenes"


def parts(root: Path = ROOT) -> dict[str, str]:
    """Name -> generated text of each part of the page."""
    claims, trials = read_claims(root), read_trials(root)
    answers = [list(answers_to(claim, trials)) for claim in claims]
    told = {"claims-count": _counted(answers), "claims": _table(claims, answers)}
    for report, own in _by_report(claims).items():
        told[f"trials-{report.lower()}"] = "\n\n".join(
            _section(name, used, trials, report) for name, used in _used(own).items()
        )
    return told | {
        "trial-again": _again(trials),
        "trial-defaults": _section("defaults", _all(trials, "defaults"), trials, ""),
    }


def figures(root: Path = ROOT) -> dict[Path, str]:
    """Place -> SVG of each figure of the page."""
    claims, trials = read_claims(root), read_trials(root)
    wanted = [(report, name, used) for report, own in _by_report(claims).items() for name, used in _used(own).items()]
    wanted += [("", name, _all(trials, name)) for name in ("again", "defaults")]
    drawn = [_drawn(_stem(report, name), used, trials[name]) for report, name, used in wanted if name in trials]
    return {root / FIGURES / name: text for each in drawn for name, text in each.items()}


def _all(trials: Mapping[str, Json], name: str) -> list[str]:
    """The variants of a trial, if it was run."""
    return [variant["name"] for variant in trials[name]["variants"]] if name in trials else []


def _by_report(claims: Sequence[Json]) -> dict[str, list[Json]]:
    reports = dict.fromkeys(claim["report"] for claim in claims)
    return {report: [claim for claim in claims if claim["report"] == report] for report in reports}


def _stem(report: str, name: str) -> str:
    return f"{report.lower()}-{name}".removeprefix("-")


def _drawn(stem: str, variants: Sequence[str], told: Json) -> dict[str, str]:
    """File name -> SVG: the curves of some variants of a trial, where they were kept, and their pairs' intervals.

    There are no curves of more variants than colours.
    """
    found = {}
    if "curves" in told and len(told["variants"]) <= len(trial_figures.COLORS):
        found[f"{stem}-curves.svg"] = trial_figures.curves(told["curves"], variants)
    if shown := _pairs_of(told, variants):
        found[f"{stem}-pairs.svg"] = trial_figures.pairs(told, shown)
    return found


def _pairs_of(told: Json, variants: Sequence[str]) -> list[Json]:
    return [pair for pair in told["pairs"] if {pair["a"], pair["b"]} <= set(variants)]


def read_claims(root: Path = ROOT) -> list[Json]:
    """The claims, in the order of the file."""
    path = root / "results" / "claims.yaml"
    return list(parse_yaml(path.read_text(encoding="utf-8"), str(path)))


def read_trials(root: Path = ROOT) -> dict[str, Json]:
    """Name -> result of each trial that was run, its rule under "rule", its curves under "curves" if they were kept."""
    found = {}
    for path in sorted((root / "results" / "trials").glob(f"*/{RESULT}")):
        rule = parse_yaml(path.with_name(FILE).read_text(encoding="utf-8"), FILE)
        found[path.parent.name] = {**json.loads(path.read_text()), "rule": rule}
        if (log := path.with_name(CURVES)).exists():
            found[path.parent.name]["curves"] = json.loads(log.read_text())
    return found


def answers_to(claim: Json, trials: Mapping[str, Json]) -> Iterator[Answer]:
    """One answer for each test of a claim; one that says why, where there is none."""
    if "why" in claim:
        yield Answer(NOT_TESTABLE, "", claim["why"])
    elif "counts" in claim:
        yield _by_counting(claim["counts"])
    elif "rate" in claim:
        yield _by_rate(claim["rate"], trials.get(claim["rate"]["trial"]))
    else:
        yield from (_by_trial(test, trials.get(test["trial"])) for test in claim["tests"])


def _by_trial(test: Json, told: Json | None) -> Answer:
    a, b = test["pair"]
    name = f"`{test['trial']}`: {b} against {a}"
    if told is None:
        return Answer(NOT_RUN, name, "")
    pair = next(each for each in told["pairs"] if {each["a"], each["b"]} == {a, b})
    states = [_state(test, found, turned=pair["a"] == b) for found in (pair, pair["these_images"] or pair)]
    return Answer(states[0], name, _found(pair, told["score"]), here=states[1])


def _found(pair: Json, score: str) -> str:
    """The difference and its intervals in a line; the comparison's own page has them in sentences."""
    here, scenes = (comparison_tables.signed_range(pair[name]) for name in ("interval", "interval_new_scenes"))
    difference = f"{plain(pair['b'])} - {plain(pair['a'])} in {score} {comparison_tables.signed(pair['difference'])}"
    return f"{difference} (these images {here}; new scenes {scenes}; {pair['n_seeds']} seeds)"


def _state(test: Json, found: Json, *, turned: bool) -> str:
    """What a verdict makes of a claim; `turned` where it is that of the first against the second."""
    verdict = TURNED.get(found["verdict"], found["verdict"]) if turned else found["verdict"]
    confirming, contradicting = ANSWERS[test["claimed"]]
    return "confirmed" if verdict in confirming else "contradicted" if verdict in contradicting else "cannot tell"


def _by_counting(counts: Json) -> Answer:
    what, words = counts["what"], counts["what"].replace("_", "-")
    first, second = (count_of(spec, what) for spec in counts["pair"])
    a, b = (f"`{spec}`" for spec in counts["pair"])
    said = f"{b} has {short_count(second)} {words}, {a} {short_count(first)}."
    return Answer("confirmed" if second > first else "contradicted", f"{words} counted", said)


@cache
def count_of(spec: str, what: str) -> int:
    """Parameters or multiply-adds of a network."""
    told = models.describe(spec, SIZE)
    return told["parameters"] if what == "parameters" else told["costs"][what]


def _by_rate(asked: Json, told: Json | None) -> Answer:
    """Confirmed if of the rates that were tried, the nearest to the claimed one did best."""
    name = f"`{asked['trial']}`: the tuning of {asked['variant']}"
    if told is None:
        return Answer(NOT_RUN, name, "")
    tuned = told["tuning"]["variants"][asked["variant"]]
    tried, best = sorted({trial["lr"] for trial in tuned["trials"]}), tuned["chosen"]["lr"]
    nearest = min(tried, key=lambda rate: abs(math.log(rate / asked["claimed"])))
    said = f"Of {', '.join(f'{rate:.2g}' for rate in tried)}, {best:.2g} did best."
    return Answer("confirmed" if best == nearest else "contradicted", name, said)


def _counted(answers: Sequence[Sequence[Answer]]) -> str:
    states = Counter(answer.state for each in answers for answer in each)
    said = ", ".join(f"{states[state]} {state}" for state in STATES if states[state])
    open_ones = Counter(answer.here for each in answers for answer in each if answer.state == "cannot tell")
    here = [f"{open_ones[state]} {state}" for state in STATES[:2] if open_ones[state]]
    more = f" Of those that cannot tell of new scenes, {' and '.join(here)} for these images." if here else ""
    return f"{len(answers)} claims, {states.total()} answers: {said}.{more}"


def _table(claims: Sequence[Json], answers: Sequence[Sequence[Answer]]) -> str:
    rows = [(claim["report"], _claim(claim), *_cells(each)) for claim, each in zip(claims, answers, strict=True)]
    return markdown(("report", "it says", "put to the test by", "what came of it"), rows)


def _claim(claim: Json) -> str:
    note = f" <br>*{claim['note']}*" if "note" in claim else ""
    return f"\N{LEFT DOUBLE QUOTATION MARK}{claim['says']}\N{RIGHT DOUBLE QUOTATION MARK}{note}"


def _cells(answers: Sequence[Answer]) -> tuple[str, str]:
    tests = dict.fromkeys(answer.test for answer in answers)
    said = [answer.words + (f": {answer.sentence}" if answer.sentence else "") for answer in answers]
    return " <br>".join(tests), " <br>".join(dict.fromkeys(said))


def _used(claims: Sequence[Json]) -> dict[str, list[str]]:
    """Trial -> the variants of it that these claims speak of."""
    used: dict[str, list[str]] = {}
    for claim in claims:
        for test in claim.get("tests", ()):
            used.setdefault(test["trial"], []).extend(test["pair"])
        if "rate" in claim:
            used.setdefault(claim["rate"]["trial"], []).append(claim["rate"]["variant"])
    return used


def _section(name: str, variants: Sequence[str], trials: Mapping[str, Json], report: str) -> str:
    """What was run, and what came out of it, of some variants of a trial: figures and tables."""
    if name not in trials:
        return f"`{name}`: not run yet (`python benchmarks/trials.py CAMVID PHOTOS --only {name}`)."
    told = trials[name]
    some = {**told, "variants": [variant for variant in told["variants"] if variant["name"] in variants]}
    pictures = [_picture(file, name) for file in _drawn(_stem(report, name), variants, told)]
    tables = (
        comparison_tables.variants_table(some),
        comparison_tables.pairs_table({**told, "pairs": _pairs_of(told, variants)}),
    )
    return "\n\n".join([_what_was_run(name, told), *pictures, *(markdown(head, rows) for head, rows in tables)])


def _picture(file: str, name: str) -> str:
    what = "every seed thin, their mean thick" if file.endswith("-curves.svg") else "differences and their intervals"
    return f"![{name}: {what}](figures/trials/{file})"


def _what_was_run(name: str, told: Json) -> str:
    held, recipe = told["held_out"], next(iter(told["rule"]["variants"].values()))["recipe"]
    groups = ", ".join(recipe["split"]["val_groups"])
    tuning = "a learning rate of each variant's own" if told["tuning"] else "one learning rate for all"
    return (
        f"[`{name}`](../results/trials/{name}/comparison.html): on {Path(recipe['data']).name}, with {tuning}; "
        f"compared by `{told['score']}` on {held['part']}{f' ({groups})' if groups else ''}, {held['images']} images "
        f"in {held['groups']} blocks."
    )


def _again(trials: Mapping[str, Json]) -> str:
    if "again" not in trials:
        return _section("again", (), trials, "")
    told = trials["again"]
    said = " ".join(plain(pair["sentence"]) for pair in told["pairs"])
    pictures = [_picture(file, "again") for file in _drawn("again", _all(trials, "again"), told)]
    return "\n\n".join([f"{_what_was_run('again', told)} {said}", *pictures])


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; strokes in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
