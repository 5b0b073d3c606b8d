"""The plan: every number that the training loop needs, fixed before the first step; `plan.json` in the run folder.

It is the first thing a run writes. A resumed run reads it and measures nothing again, so that minutes become a
step count once and the schedule never moves.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segtrial.classes import Classes
from segtrial.data.batches import Phase


class PlannedPhase(BaseModel):
    """A phase in pixels and steps."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    steps: int
    batch: int
    size: tuple[int, int]
    scale: tuple[float, float]


class Plan(BaseModel):
    """What was resolved before step 0; `plan.json` in the run folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    schema_version: Literal[1] = Field(default=1, alias="schema")
    recipe: dict[str, Any]
    recipe_hash: str
    manifest: str
    start: str | None
    steps: int
    evaluate_at: tuple[int, ...]
    phases: tuple[PlannedPhase, ...]
    seconds_per_step: tuple[float, ...] | None
    device: str
    precision: str
    threads: int
    world: int
    model: dict[str, Any]
    classes: dict[str, list]
    in_channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_pixels: tuple[int, ...]
    class_weights: tuple[float, ...]
    layout: str
    parts: dict[str, int]
    notes: tuple[str, ...]

    def class_table(self) -> Classes:
        """The classes of the data set."""
        return Classes.from_json(self.classes)

    def batch_phases(self) -> tuple[Phase, ...]:
        """The phases in the form that `Batches` takes."""
        return tuple(Phase(p.steps, p.batch, p.size, p.scale) for p in self.phases)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return json.loads(self.model_dump_json(by_alias=True))
