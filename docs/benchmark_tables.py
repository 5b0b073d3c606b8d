"""What benchmarks left in results/ in, the tables of README.md and docs/*.md that show it out."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def parts() -> dict[str, str]:
    """Name -> table of each generated part that shows what a benchmark left."""
    return {
        "overfit": overfit(),
        "coverage": coverage(),
        "false-verdicts": false_verdicts(),
        "power": power(),
        "together": together(),
        "freedoms": freedoms(),
        "parity": parity(),
        "export-speed": export_speed(),
        "inspect-speed": inspect_speed(),
        "label-errors": label_errors(),
        "leak-effect": leak_effect(),
        "serving": serving(),
        "temperature": temperature(),
        "huge-image": huge_image(),
        "newcomer": newcomer(),
    }


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


def export_speed() -> str:
    """What `benchmarks/export_speed.py` left in results/: a line for each file."""
    record = json.loads((ROOT / "results" / "export_speed.json").read_text())
    lines = ["| file | batch 1 | batch 8 | mIoU | same answer | MB |", "|---|---|---|---|---|---|"]
    for name, told in record["files"].items():
        ratios = record["ratios"].get(name, {}).values()
        times = [f"{each['median']:.2f} ({each['low']:.2f} to {each['high']:.2f})" for each in ratios]
        change = f"{100 * told['difference']:+.2f} points"
        cells = [name, *(times or ["not timed"] * 2), change, f"{told['argmax_agreement']:.2%}"]
        lines.append(f"| {' | '.join(cells)} | {told['bytes'] / 1e6:.0f} |")
    before = next(iter(record["files"].values()))["miou_before"]
    how = (
        f"Threads: {record['threads']}; rounds: {record['rounds']}; load of the machine before: {record['load_before']}"
    )
    lines.append(f"\n{how}; mIoU of the val part in torch: {before:.4f}.")
    return "\n".join(lines)


def serving() -> str:
    """What `benchmarks/serving.py` left in results/: what many requests met, and speed beside a plain loop."""
    told = json.loads((ROOT / "results" / "serving.json").read_text())
    first, last = (told["memory_mb"][f"{which}_quarter"] for which in ("first", "last"))
    hostile, unplanned = (sum(told[what].values()) for what in ("hostile", "unplanned"))
    met = ["| what | seen |", "|---|---|"]
    met += [f"| requests, from {told['clients']} clients | {told['requests']} |", f"| of them hostile | {hostile} |"]
    met += [f"| wrong answers | {told['wrong_answers']} |", f"| hangs | {told['hangs']} |"]
    met += [f"| pixels where near scores were decided otherwise | {told['near_pixels_that_differ']} |"]
    met += [f"| unplanned statuses | {unplanned} |", f"| memory, first and last quarter | {first} and {last} MB |"]
    lines = ["| good requests alone | a second | p50 | p99 |", "|---|---|---|---|"]
    for name, key in (("`segtrial serve`", "good_alone"), ("a plain FastAPI loop", "plain_fastapi")):
        speed = told[key]
        lines.append(f"| {name} | {speed['requests_per_second']} | {speed['p50_ms']} ms | {speed['p99_ms']} ms |")
    how = f"Cores, which the clients share: {told['cores']}; images a batch on average: {told['images_a_batch']}."
    return "\n".join([*met, "", *lines, "", how])


def temperature() -> str:
    """What `benchmarks/temperature.py` left in results/: each half by the temperature of the other one."""
    told = json.loads((ROOT / "results" / "temperature.json").read_text())
    lines = ["| fitted on | temperature | ECE of the other half | NLL of the other half |", "|---|---|---|---|"]
    for half in told["halves"]:
        before, after = half["before"], half["after"]
        changes = [f"{before[name]:.3f} → {after[name]:.3f}" for name in ("ece", "nll")]
        which = ("first half", "second half")[half["fitted_on"]]
        lines.append(f"| {which} | {half['temperature']:.3f} | {' | '.join(changes)} |")
    how = f"`{told['network']}`, {told['images']} images in {told['blocks']} blocks."
    return "\n".join([*lines, "", how])


def newcomer() -> str:
    """What `benchmarks/newcomer.py` left in results/: seconds of each step from a fresh clone on, long ones alone."""
    told = json.loads((ROOT / "results" / "newcomer.json").read_text())
    rows = [f"| `{step['command']}` | {step['seconds']:.0f} |" for step in told["steps"] if step["seconds"] >= 1]
    head = ["| command | seconds |", "|---|---|"]
    return "\n".join([*head, *rows, f"| everything | {told['seconds']:.0f} |"])


def huge_image() -> str:
    """What `benchmarks/huge_image.py` left in results/: the most memory that an answer took."""
    told = json.loads((ROOT / "results" / "huge_image.json").read_text())
    lines = ["| file | MB on disk | most memory | before the first pixel |", "|---|---|---|---|"]
    for kind, file in told["files"].items():
        lines.append(f"| .{kind} | {file['file_mb']} | {file['resident_mb']} MB | {file['resident_idle_mb']} MB |")
    same = all(told["same_answers"].values())
    how = f"{told['what']}, {told['threads']} thread; both answers are {'' if same else 'not '}the same bytes."
    return "\n".join([*lines, "", how])


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
