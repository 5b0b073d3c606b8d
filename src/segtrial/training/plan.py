"""The plan: every number that the training loop needs, fixed before the first step; `plan.json` in the run folder.

It is the first thing a run writes. A resumed run reads it and measures nothing again, so that minutes become a
step count once and the schedule never moves.
"""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from segtrial import tasks
from segtrial.classes import Classes
from segtrial.data.batches import Phase
from segtrial.errors import several


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
    start: str | None = None
    encoder_weights: str | None = None
    """Digest of the file that the encoder's first weights come from; a plan of earlier runs has none."""
    steps: int
    evaluate_at: tuple[int, ...]
    phases: tuple[PlannedPhase, ...]
    seconds_per_step: tuple[float, ...] | None
    device: str
    precision: str
    threads: int
    world: int
    model: dict[str, Any]
    task: str = "segmentation"
    mean_color: tuple[float, float] | None = None
    """Mean a and b of the training photos, for tasks that answer with colours."""
    classes: dict[str, list]
    in_channels: int
    """Of what the network is shown, as `mean` and `std`; a colorizer is shown one channel of its photos."""
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

    def make_task(self) -> tasks.Task:
        """The task, over the classes of the data set."""
        return tasks.make(self.task, self.class_table(), self.mean_color)

    def batch_phases(self) -> tuple[Phase, ...]:
        """The phases in the form that `Batches` takes."""
        return tuple(Phase(p.steps, p.batch, p.size, p.scale) for p in self.phases)

    def images_until(self, step: int) -> int:
        """Images that the first `step` steps learn from."""
        images = 0
        for phase in self.phases:
            taken = min(step, phase.steps)
            images, step = images + taken * phase.batch, step - taken
        return images

    def epoch(self, step: int) -> float:
        """The passes over the training images that the first `step` steps make."""
        return self.images_until(step) / max(1, self.parts["train"])

    def sentence(self) -> str:
        """What will be done, in words."""
        return (
            f"Trains {self.model['name']} ({self.model['parameters']:,} parameters) on "
            f"{several(self.parts['train'], 'image')} for {several(self.steps, 'step')}, "
            f"{self.epoch(self.steps):.3g} times each image, on {self.device}; val has {self.parts['val']}."
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return json.loads(self.model_dump_json(by_alias=True))
