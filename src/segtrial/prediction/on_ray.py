"""Chunks of pictures -> their answers, by the nodes of a Ray cluster that see the pictures, the model and the folder.

Each task is a chunk. A process of a node loads the model once, with the first chunk that it gets. The chunks of a node
that is lost are answered by another; files are written whole or not at all, so nothing of it is left over.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from segtrial.clusters import PLACE, connected, most, require_place
from segtrial.errors import DeviceError, RunError, UserError
from segtrial.prediction.folder import Chunk, How, Model, Outcome, answer_chunk

LOCAL, RAY = PLACES = ("local", "ray")

LOST_NODES = 3
"""A chunk that loses more nodes than this is given up: it may be what brings them down."""

AHEAD = 2
"""Chunks that wait or are answered, for each that can be answered at a time."""


@contextmanager
def place(word: str, load: Callable[[str, str], Model], model: str, device: str) -> Iterator["OnRay | None"]:
    """Who answers: the nodes of a cluster, or nobody else.

    Raises RecipeError for a word that there is not, and DeviceError as `segtrial.clusters.connected`.
    """
    require_place(word, PLACES)
    if word == LOCAL:
        yield None
    else:
        with connected() as ray:
            yield OnRay(ray, load, model, device)


@dataclass(frozen=True)
class OnRay:
    """An `Elsewhere` on the cluster that the package `ray` is connected to; `load(model, device)` loads the model."""

    ray: Any
    load: Callable[[str, str], Model]
    model: str
    device: str

    def __call__(self, how: How, out: Path, chunks: Iterator[Chunk]) -> Iterator[Outcome]:
        """Outcomes as they come. Raises DeviceError if no node has the GPU, RunError if one lacks the folder."""
        gpus = self._gpus()
        task = self.ray.remote(_answer).options(num_cpus=1, num_gpus=gpus, max_retries=LOST_NODES)
        there = self.ray.cluster_resources()
        most_waiting = AHEAD * max(1, int(there.get("GPU" if gpus else "CPU", 1)))
        asked = (self.load, self.model, self.device, str(Path.cwd()), how, str(out))
        waiting: list[Any] = []
        for chunk in chunks:
            waiting.append(task.remote(*asked, chunk))
            while len(waiting) >= most_waiting:
                yield self._next(waiting)
        while waiting:
            yield self._next(waiting)

    def _gpus(self) -> int:
        """How many GPUs a process gets: one, if it may use it and there are any."""
        there = most(self.ray, "GPU") >= 1
        if self.device.startswith("cuda") and not there:
            raise DeviceError(PLACE, "the device is to be cuda, and no node has a GPU", "Write --device cpu")
        return int(there and self.device.startswith(("auto", "cuda")))

    def _next(self, waiting: list[Any]) -> Outcome:
        """What is finished first."""
        (ready, *_), _ = self.ray.wait(waiting, num_returns=1)
        waiting.remove(ready)
        try:
            found = self.ray.get(ready)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, UserError) else error from None
        except self.ray.exceptions.RayError as error:
            said = str(error).strip().splitlines()[-1:]
            fix = "The same command continues; smaller --tile takes less memory"
            raise RunError(PLACE, f"Ray gave some pictures up ({''.join(said):.300})", fix) from error
        if isinstance(found, str):
            fix = "Every node must see the pictures, the model and the output folder at the same paths"
            raise RunError(PLACE, found, f"{fix}; the same command continues")
        return found


def _answer(
    load: Callable[[str, str], Model], model: str, device: str, here: str, how: How, out: str, chunk: Chunk
) -> Outcome | str:
    """What a node does for a chunk; a text says what it lacks."""
    for folder in (here, os.path.join(here, out)):
        if not os.path.isdir(folder):
            return f"{socket.gethostname()} does not see {folder}"
    os.chdir(here)
    return answer_chunk(_loaded(load, model, device), how, Path(out), chunk)


@lru_cache(maxsize=1)
def _loaded(load: Callable[[str, str], Model], model: str, device: str) -> Model:
    return load(model, device)
