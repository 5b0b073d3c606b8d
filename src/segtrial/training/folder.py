"""A path -> the run folder that lies there: new, to be continued, or finished; anything else is refused."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segtrial import hardware, recipe
from segtrial.errors import RunError
from segtrial.files import append_line, complete_lines, folder_lock, remove_partials, write_atomic, write_json
from segtrial.recipe import Recipe
from segtrial.training.plan import Plan

LAST_WRITTEN = "evaluation.json"
"""A run with this file is finished."""

RATE_TEST = "find_lr.json"
BEFORE_A_RUN = (RATE_TEST, "find_lr.svg")
"""What a test of learning rates leaves in a folder that a run may then begin in."""


class RunFolder:
    """The files of one run. Only rank 0 has one."""

    def __init__(self, path: Path):
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.checkpoint = path / "checkpoint"
        self.model = path / "model.safetensors"

    @property
    def finished(self) -> bool:
        """Whether the run has ended and all its files are written."""
        return (self.path / LAST_WRITTEN).exists()

    def plan(self, wanted: Recipe) -> Plan | None:
        """The plan that lies here, or None in a new folder.

        Raises RunError if the folder holds something else, or a run of another recipe (with the differences).
        """
        file = self.path / "plan.json"
        if not file.exists():
            self._require_empty()
            return None
        try:
            plan = Plan.model_validate_json(file.read_bytes())
        except ValidationError as error:
            raise RunError(file, f"not a plan ({error.error_count()} faults)", "Choose another --out") from error
        begun = recipe.from_tree(plan.recipe, str(file))  # what an earlier Segtrial did not know is at its default
        if begun.hash != wanted.hash:
            changes = recipe.differences(begun, wanted)
            found = f"holds a run of another recipe ({'; '.join(changes)})"
            raise RunError(self.path, found, "Give the same words to continue it, or choose another --out")
        return plan

    def start(self, plan: Plan, wanted: Recipe) -> None:
        """Write the plan, first of all, and then what is for readers."""
        write_json(self.path / "plan.json", plan.to_json())
        self.describe(wanted)

    def describe(self, wanted: Recipe) -> None:
        """Write recipe.yaml and environment.json where a kill left them out."""
        if not (self.path / "recipe.yaml").exists():
            write_atomic(self.path / "recipe.yaml", wanted.to_yaml().encode())
        if not (self.path / "environment.json").exists():
            write_json(self.path / "environment.json", hardware.describe())

    def cut_metrics(self, length: int) -> None:
        """Drop what was logged after the state that the run continues from."""
        data = self.metrics.read_bytes() if self.metrics.exists() else b""
        if len(data) < length:
            raise RunError(
                self.metrics, f"{len(data)} of {length} bytes are left", "Delete the run folder and train again"
            )
        if len(data) > length:
            write_atomic(self.metrics, data[:length])

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl; nothing that a clock decides belongs in it."""
        append_line(self.metrics, json.dumps(record, allow_nan=False))

    def log_bytes(self) -> int:
        """The length of metrics.jsonl."""
        return self.metrics.stat().st_size if self.metrics.exists() else 0

    def log_timing(self, record: dict[str, Any]) -> None:
        """Append one line to timing.jsonl: seconds, speed and restarts, no part of any promise."""
        path = self.path / "timing.jsonl"
        if path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            write_atomic(path, "".join(f"{line}\n" for line in complete_lines(path)).encode())
        append_line(path, json.dumps(record))

    def _require_empty(self) -> None:
        names = sorted(
            path.name for path in self.path.iterdir() if not path.name.startswith(".") and path.name not in BEFORE_A_RUN
        )
        if names:
            raise RunError(
                self.path, f"holds files that are no run ({', '.join(names[:5])})", "Choose an empty or new --out"
            )


@contextmanager
def opened(path: Path) -> Iterator[RunFolder]:
    """The locked run folder at `path`, made if it is not there; a failure before the plan leaves no trace."""
    existed, locked_before = path.exists(), (path / ".lock").exists()
    with folder_lock(path):
        try:
            if (path / "plan.json").exists() or not any(path.glob("[!.]*")):  # elsewhere, nothing is ours to delete
                remove_partials(path)
            yield RunFolder(path)
        except BaseException:
            if not (path / "plan.json").exists():
                with suppress(OSError):
                    if not locked_before:
                        (path / ".lock").unlink()
                    if not existed:
                        path.rmdir()
            raise
