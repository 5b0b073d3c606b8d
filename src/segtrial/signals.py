"""SIGINT and SIGTERM -> a request that a loop reads between two steps; the second one ends at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from segtrial.errors import Interrupted


class StopRequest:
    """Holds the signal that asked to stop, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def raise_if_asked(self) -> None:
        """Raise Interrupted if a signal came."""
        if self.signal is not None:
            raise Interrupted(self.signal)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise Interrupted(number, "interrupted twice: stopped at once")
        self.signal = number


@contextmanager
def listening() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request while the block runs, then restore what was there before."""
    request = StopRequest()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, request._receive) for number in numbers]
    try:
        yield request
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
