"""A Ray cluster that somebody runs -> a connection to it, or what to do about there being none."""

import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

from segtrial.errors import DeviceError, RecipeError, install, listing, nearest

PLACE = "--on ray"


def require_place(word: str, there: Sequence[str]) -> None:
    """Raise RecipeError for a word of `--on` that is not among these."""
    if word not in there:
        raise RecipeError(
            "--on", f"{word!r} is no place to work at", f"{nearest(word, there)}Choose among {listing(there)}"
        )


@contextmanager
def connected() -> Iterator[Any]:
    """The package `ray`, connected to the cluster that RAY_ADDRESS names, else to the one that this machine is in.

    A connection that the process has already is used, and left as it is. Raises DeviceError if Ray is not installed, or
    if there is no cluster: none is started, since one would be no more than this machine.
    """
    try:
        import ray
    except ImportError:
        raise DeviceError(PLACE, "Ray is not installed", install("ray")) from None
    if ray.is_initialized():
        yield ray
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address="auto", logging_level=logging.ERROR, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        found = f"no Ray cluster answers ({str(error).splitlines()[0]:.200})"
        fix = "Start one (ray start --head, and ray start --address=HEAD:6379 elsewhere), or set RAY_ADDRESS"
        raise DeviceError(PLACE, found, fix) from error
    finally:
        for number, handler in handlers.items():  # Ray puts its own in their place
            signal.signal(number, handler)
    with redirect_stdout(sys.stderr):  # Ray tells there of nodes that it lost, amid what a program reads
        try:
            yield ray
        finally:
            ray.shutdown()  # which tells the rest


def most(ray: Any, resource: str) -> float:
    """As much of a resource, "CPU" or "GPU", as the node of the cluster has that has most of it."""
    return max((node["Resources"].get(resource, 0.0) for node in ray.nodes() if node["Alive"]), default=0.0)
