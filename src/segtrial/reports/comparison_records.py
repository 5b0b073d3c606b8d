"""A comparison folder's files in, one frozen record out: the rule, the result, the runs and their rows of counts.

The folder is one of `segtrial compare`, whose runs lie in it, or of `segtrial report`, whose runs lie elsewhere.
A comparison that has not ended is a record too, of what there is. Damaged files raise RunError.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from jaxtyping import Int64

from segtrial.errors import RunError
from segtrial.plain_yaml import parse_yaml
from segtrial.reports import records
from segtrial.reports.records import Json, Run
from segtrial.statistics import video_blocks

RULES = ("comparison.yaml", "report.yaml")
RESULT, PICTURES, LEAKS = "comparison.json", "pictures/index.json", "leaks.json"
AGAIN = "Run the command segtrial compare again to write it anew"


@dataclass(frozen=True, eq=False)
class Rows:
    """The counts of one run on the held-out part, in key order: rows the truth, columns the answer."""

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    counts: Int64[np.ndarray, "n k k"]


@dataclass(frozen=True)
class Shown:
    """One image under every variant: its pictures by what they show, and how far the variants are apart on it."""

    key: str
    apart: float
    pictures: Mapping[str, Path]
    scores: Mapping[str, float | None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What a comparison folder says. `runs` holds, by variant and seed, a run or, with folds, several."""

    folder: Path
    rule: Json
    rule_text: str
    told: Json
    runs: Mapping[str, Mapping[int, tuple[Run, ...]]]
    shown: tuple[Shown, ...]
    leaks: Json | None = None
    """What was found to be shared between the held-out part and what is trained on; None where nobody looked."""

    @property
    def gathered(self) -> bool:
        """Whether the runs were there before, and are only put together here."""
        return "runs" in self.told

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def variants(self) -> tuple[str, ...]:
        """Their names, in the order in which they were given."""
        return tuple(variant["name"] for variant in self.told["variants"])

    def first(self) -> Run | None:
        """Any run: data, classes and machine are those of all."""
        found = [run for seeds in self.runs.values() for folds in seeds.values() for run in folds]
        return found[0] if found else None

    def rows(self, variant: str, seed: int) -> Rows | None:
        """The counts of the runs of one seed, all folds together; None where classes do not exclude each other."""
        part = self.told["held_out"]["part"]
        found = [_rows(run.folder / "counts" / f"{part}.npz") for run in self.runs[variant][seed]]
        if not found or any(each is None for each in found):
            return None
        known = [each for each in found if each is not None]
        keys = [key for each in known for key in each.keys]
        groups = [group for each in known for group in each.groups]
        groups = video_blocks(keys, groups, self.told["held_out"].get("block_frames"))
        counts = np.concatenate([each.counts for each in known])
        order = sorted(range(len(keys)), key=keys.__getitem__)
        return Rows(tuple(keys[i] for i in order), tuple(groups[i] for i in order), counts[order])


def read(folder: Path) -> Comparison:
    """Read a comparison folder. Raises RunError if it is none, has no result yet, or if a file of it is damaged."""
    rule = next((folder / name for name in RULES if (folder / name).is_file()), None)
    if rule is None:
        raise RunError(folder, f"no comparison (no {RULES[0]} in it)", "Name the folder given to compare as --out")
    told = _object(folder / RESULT, ("pairs", "variants", "held_out", "score"))
    text = rule.read_text(encoding="utf-8")
    leaks = _object(folder / LEAKS, ("sides", "sentence")) if (folder / LEAKS).is_file() else None
    return Comparison(
        folder, parse_yaml(text, str(rule)), text, told, _all_runs(folder, told), _shown(folder / PICTURES), leaks
    )


def _object(path: Path, fields: tuple[str, ...]) -> Json:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(path, "there is no result yet", "Let segtrial compare end first; it continues") from error
    except (ValueError, OSError) as error:
        raise RunError(path, f"not JSON ({error})", AGAIN) from error
    missing = [field for field in fields if not isinstance(value, dict) or field not in value]
    if missing:
        raise RunError(path, f"lacks {', '.join(missing)}", AGAIN)
    return value


def _all_runs(folder: Path, told: Json) -> dict[str, dict[int, tuple[Run, ...]]]:
    """The runs in the folder, or those of which the result says where they are."""
    if "runs" not in told:
        return {variant["name"]: _runs(folder / "runs" / variant["name"], variant) for variant in told["variants"]}
    return {
        name: {int(seed): tuple(records.read(folder / place) for place in places) for seed, places in seeds.items()}
        for name, seeds in told["runs"].items()
    }


def _runs(folder: Path, variant: Json) -> dict[int, tuple[Run, ...]]:
    """The finished runs of a variant by seed; of each seed one, or one for each fold."""
    found = {}
    for seed in variant["seeds"]:
        place = folder / str(seed)
        folds = sorted((path.parent for path in place.glob("*/plan.json")), key=lambda path: int(path.name))
        found[int(seed)] = tuple(records.read(path) for path in (folds or [place]))
    return found


def _rows(path: Path) -> Rows | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            keys, groups, counts = (arrays[name] for name in ("keys", "groups", "counts"))
    except (ValueError, KeyError, OSError, BadZipFile, EOFError) as error:
        raise RunError(path, f"not the counts of a run ({error})", AGAIN) from error
    if counts.dtype != np.int64 or counts.ndim != 3 or counts.shape[1] != counts.shape[2]:
        return None
    return Rows(tuple(keys.tolist()), tuple(groups.tolist()), counts)


def _shown(index: Path) -> tuple[Shown, ...]:
    if not index.is_file():
        return ()
    return tuple(_one_shown(index.parent, entry) for entry in _object(index, ("images",))["images"])


def _one_shown(folder: Path, entry: Mapping[str, Any]) -> Shown:
    pictures = {what: folder / name for what, name in entry["pictures"].items() if Path(name).name == name}
    return Shown(str(entry["key"]), float(entry["apart"]), pictures, dict(entry["scores"]))
