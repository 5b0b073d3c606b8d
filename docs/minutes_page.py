"""results/camvid_minutes.json in, what minutes buy out: tables of README.md and docs/results.md, and a figure."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import trial_figures

ROOT = Path(__file__).parents[1]
RECORD, FIGURE = Path("results/camvid_minutes.json"), Path("docs/figures/camvid-minutes.svg")
OWN = "its own"
PROOF = 8
"""Minutes of the first screen's table."""


class Contestant(NamedTuple):
    """What takes part in `benchmarks/camvid_minutes.py`: what it is called, also in short, and which network it is."""

    name: str
    short: str
    spec: str


CONTESTANTS = {
    "ours": Contestant("`compact`, the defaults", "the defaults", "compact"),
    "peer": Contestant(
        "U-Net on ResNet-34 of segmentation_models_pytorch, a plain loop", "a plain loop", "unet:encoder=resnet34"
    ),
}


class Setting(NamedTuple):
    """What runs share that differ in their seeds alone."""

    who: str
    part: str
    minutes: float
    cpu: str

    @property
    def place(self) -> str:
        """What was scored."""
        return "CamVid's val part" if self.part == OWN else f"{self.part}, held out"


Groups = dict[Setting, list[Mapping[str, Any]]]


def parts(root: Path = ROOT) -> dict[str, str]:
    """Name -> table of each generated part."""
    groups = read(root)
    proof = {told: runs for told, runs in groups.items() if told.minutes == PROOF}
    return {"proof": _table(proof), "camvid-minutes": _table(groups, cpu=True)}


def read(root: Path = ROOT) -> Groups:
    """The runs of each setting: ours first, CamVid's own val part first, by minutes."""
    groups: Groups = {}
    for run in json.loads((root / RECORD).read_bytes())["runs"]:
        groups.setdefault(Setting(*(run[field] for field in Setting._fields)), []).append(run)
    return dict(sorted(groups.items(), key=lambda group: (group[0].who, group[0].part != OWN, group[0][2:])))


def figures(root: Path = ROOT) -> dict[Path, str]:
    """Place -> SVG: the score against minutes, of each contestant, part and CPU."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for told, runs in read(root).items():
        name = f"{CONTESTANTS[told.who].short}; {told.place}; {told.cpu.replace('(R)', '')}"
        lines.setdefault(name, []).extend((told.minutes, run["miou_dataset"]) for run in runs)
    return {root / FIGURE: trial_figures.minutes(lines, "miou_dataset")}


def _table(groups: Groups, *, cpu: bool = False) -> str:
    head = ["network", "minutes", "scored on", "seconds", "steps", "images seen", "`miou_dataset`", *["CPU"] * cpu]
    rows = [[*_row(told, runs), *[told.cpu] * cpu] for told, runs in groups.items()]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def _row(told: Setting, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    values = [run["miou_dataset"] for run in runs]
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    score = f"{statistics.mean(values):.3f}{spread} (n = {len(values)})"
    spans = (_range([round(run[key]) for run in runs]) for key in ("seconds", "steps", "images"))
    return [CONTESTANTS[told.who].name, f"{told.minutes:g}", told.place, *spans, score]


def _range(numbers: Sequence[int]) -> str:
    return " to ".join(dict.fromkeys((f"{min(numbers):,}", f"{max(numbers):,}")))
