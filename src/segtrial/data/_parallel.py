"""A function and many files -> results in order, by threads; all errors are collected into one."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from segtrial.errors import DataError, listing

Source = TypeVar("Source")
Result = TypeVar("Result")

AHEAD = 4
"""Results kept waiting per thread: bounds memory while the reader of the results is slower."""


def each(function: Callable[[Source], Result], sources: Sequence[Source]) -> Iterator[Result | DataError]:
    """`function` of each source, in order, computed a little ahead. DataErrors come as values."""
    threads = os.cpu_count() or 1

    def safe(source: Source) -> Result | DataError:
        try:
            return function(source)
        except DataError as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(sources), threads * AHEAD):
            yield from pool.map(safe, sources[start : start + threads * AHEAD])


def all_of(place: str | Path, function: Callable[[Source], Result], sources: Sequence[Source]) -> list[Result]:
    """`function` of each source. Raises one error for all the files that failed."""
    results: list[Result] = []
    errors: list[DataError] = []
    for result in each(function, sources):
        if isinstance(result, DataError):
            errors.append(result)
        else:
            results.append(result)
    raise_all(place, errors, len(sources))
    return results


def raise_all(place: str | Path, errors: Sequence[DataError], total: int) -> None:
    """Raise nothing, the one error, or one that lists them (at most 20) under the first one's class and fix."""
    if len(errors) == 1:
        raise errors[0]
    if errors:
        first = errors[0]
        faults = listing(f"\n  {error.place}: {error.found}" for error in errors)
        error = type(first)(place, f"{len(errors)} of {total} files are at fault:{faults}", first.fix)
        error.parts = tuple(errors)
        raise error
