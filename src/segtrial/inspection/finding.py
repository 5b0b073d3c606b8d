"""What the data doctor says: a finding has a code, a severity, the files, and the fix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MOST_FILES = 20
"""Files that a finding lists; `count` has all of them."""

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing worth knowing about a data set.

    `code` is family.fault (`mask.size`). An `error` stops training or spoils it; a `warning` makes scores mean
    less than they seem to; a `note` is good to know. `files` are relative to the root, at most MOST_FILES of `count`.
    `beside` has the picture that each of them is like, if likeness was found: its key, or the path of a file elsewhere.
    """

    code: str
    severity: Severity
    message: str
    fix: str
    files: tuple[str, ...] = ()
    count: int = 0
    beside: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, in the order of the contract."""
        return {
            "code": self.code,
            "severity": self.severity,
            "files": list(self.files),
            "count": self.count,
            "message": self.message,
            "fix": self.fix,
        }


def finding(
    code: str,
    severity: Severity,
    message: str,
    fix: str,
    files: Iterable[str | Path] = (),
    count: int | None = None,
    beside: Iterable[str | Path] = (),
) -> Finding:
    """A Finding of all the files it concerns, in their order: the first MOST_FILES are kept, the rest counted."""
    names, like = [str(file) for file in files], [str(file) for file in beside]
    total = len(names) if count is None else count
    return Finding(code, severity, message, fix, tuple(names[:MOST_FILES]), total, tuple(like[:MOST_FILES]))


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then notes; inside each, the order in which they were found."""
    return sorted(findings, key=lambda one: SEVERITIES.index(one.severity))


def has_errors(findings: Sequence[Finding]) -> bool:
    """Whether any finding is an error: exit code 2."""
    return any(one.severity == "error" for one in findings)
