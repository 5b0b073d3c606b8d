"""A function and many files -> results in order, by threads or processes; all errors are collected into one."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from segtrial.errors import DataError, listing

Source = TypeVar("Source")
Result = TypeVar("Result")

AHEAD = 4
"""Results kept waiting per thread or process: bounds memory while the reader of the results is slower."""

CHUNK = 32
"""Sources that a process gets at once: asking for one costs as much as looking at a small file."""

FEWEST = 4000
"""For fewer sources, starting processes takes longer than they save."""


def cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def each(function: Callable[[Source], Result], sources: Sequence[Source]) -> Iterator[Result | DataError]:
    """`function` of each source, in order, computed a little ahead by threads. DataErrors come as values."""
    threads = min(cores(), len(sources))
    if threads < 2:
        yield from (_safe(function, source) for source in sources)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from _ahead(pool, partial(_safe, function), sources, AHEAD * threads)


class Workers:
    """Does what `each` does, in up to `processes` processes where the sources are many; 1: always in threads here.

    `function` and results must then be picklable. Processes are started (by spawn, the same on every system) when
    first needed and serve until `close`. The results do not depend on their number.
    """

    def __init__(self, processes: int = 1):
        self.processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def each(self, function: Callable[[Source], Result], sources: Sequence[Source]) -> Iterator[Result | DataError]:
        """As the function `each`. What a process that dies was to do is done here."""
        done = 0
        if self.processes > 1 and len(sources) >= FEWEST:
            chunks = (sources[start : start + CHUNK] for start in range(0, len(sources), CHUNK))
            try:
                for results in _ahead(self._started(), partial(_all, function), chunks, AHEAD * self.processes):
                    for result in results:
                        done += 1
                        yield result
            except BrokenExecutor:
                self.close()
                self.processes = 1
        yield from each(function, sources[done:])

    def close(self) -> None:
        """Let the processes go; nothing of them is left."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.processes, context, _follow)
        return self._pool


def all_of(place: str | Path, function: Callable[[Source], Result], sources: Sequence[Source]) -> list[Result]:
    """`function` of each source. Raises one error for all the files that failed."""
    return collected(place, each(function, sources), len(sources))


def collected(place: str | Path, found: Iterable[Result | DataError], total: int) -> list[Result]:
    """The results, if none is an error. Raises one error for all that are."""
    results: list[Result] = []
    errors: list[DataError] = []
    for result in found:
        if isinstance(result, DataError):
            errors.append(result)
        else:
            results.append(result)
    raise_all(place, errors, total)
    return results


def raise_all(place: str | Path, errors: Sequence[DataError], total: int) -> None:
    """Raise nothing, the one error, or one that lists them (at most 20) under the first one's class and fix."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        first = errors[0]
        faults = listing((f"{error.place}: {error.found}" for error in errors), between="\n  ")
        others = "; `segtrial inspect` says how to mend the others" if len({error.fix for error in errors}) > 1 else ""
        error = type(first)(place, f"{len(errors)} of {total} files are at fault:\n  {faults}", first.fix + others)
        error.parts = tuple(errors)
        raise error


def _ahead(
    pool: Executor, function: Callable[[Source], Result], sources: Iterable[Source], most: int
) -> Iterator[Result]:
    """Results in order, with at most `most` of them under way."""
    waiting = deque()
    for source in sources:
        if len(waiting) == most:
            yield waiting.popleft().result()
        waiting.append(pool.submit(function, source))
    while waiting:
        yield waiting.popleft().result()


def _safe(function: Callable[[Source], Result], source: Source) -> Result | DataError:
    try:
        return function(source)
    except DataError as error:
        return error


def _all(function: Callable[[Source], Result], sources: Sequence[Source]) -> list[Result | DataError]:
    return [_safe(function, source) for source in sources]


def _follow() -> None:
    """In a process that was started: leave Ctrl-C to the one that started it, and end when that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
