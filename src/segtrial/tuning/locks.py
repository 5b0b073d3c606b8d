"""An Optuna journal -> held by one writer at a time, whole lines only, however the others and this one end."""

import fcntl
import os
from pathlib import Path

LONGEST_LINE = 1_000_000
"""Bytes of a line of a journal; Optuna's have a few hundred."""


class JournalLock:
    """What Optuna holds while it appends to a journal: freed by the system however its holder ends.

    A line that a killed writer left half is cut off before anybody writes on.
    """

    def __init__(self, journal: Path):
        self._journal, self._opened = journal, -1

    def acquire(self) -> bool:
        """Wait for it, and mend the journal."""
        beside = self._journal.with_name(f".{self._journal.name}.lock")
        self._opened = os.open(beside, os.O_RDWR | os.O_CREAT, 0o644)
        fcntl.flock(self._opened, fcntl.LOCK_EX)
        mend(self._journal)
        return True

    def release(self) -> None:
        """Let the next one write."""
        os.close(self._opened)


def mend(journal: Path) -> None:
    """Cut off what follows the last whole line."""
    with journal.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LONGEST_LINE))
        tail = file.read()
        if tail and not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
