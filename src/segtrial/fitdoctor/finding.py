"""What the fit doctor reads, and what it says: a finding is a sentence with the figures behind it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Json = Mapping[str, Any]


@runtime_checkable
class Record(Protocol):
    """What `segtrial.reports.records.read` makes of a run folder, as far as it is looked at here."""

    @property
    def plan(self) -> Json: ...

    @property
    def train(self) -> tuple[Json, ...]: ...

    @property
    def val(self) -> tuple[Json, ...]: ...

    @property
    def timing(self) -> tuple[Json, ...]: ...

    @property
    def evaluation(self) -> Json | None: ...


@dataclass(frozen=True)
class Finding:
    """`problem`: the result suffers; `hint`: worth knowing. `evidence` holds the figures of the message."""

    code: str
    severity: Literal["problem", "hint"]
    message: str
    evidence: Json


@dataclass(frozen=True)
class Diagnosis:
    """The findings, problems first, and notes on what could not be looked at."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: `findings` and `notes`."""
        return {"findings": [asdict(finding) for finding in self.findings], "notes": list(self.notes)}
