"""What a run says while it works -> whoever watches: a terminal, a log, or nobody."""

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Watch(Protocol):
    """Told what happens; changes nothing about the result."""

    def note(self, text: str) -> None:
        """A sentence for the reader."""

    def bar(self, done: int, total: int, what: str) -> None:
        """`done` of `total` pieces of `what` are finished."""

    def step(self, record: dict[str, Any]) -> None:
        """One training step: step, steps, loss, images_per_second, seconds_left; headline names the score."""


class Silent:
    """A Watch that says nothing."""

    def note(self, text: str) -> None:
        pass

    def bar(self, done: int, total: int, what: str) -> None:
        pass

    def step(self, record: dict[str, Any]) -> None:
        pass
