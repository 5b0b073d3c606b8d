"""Model files on disk -> networks that answer, each exchanged for its new version while requests run.

A request is answered by one version from beginning to end. A new version must have the classes, the task and the
channels of the old one, which otherwise stays, as it does if the file is damaged.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segtrial.classes import Classes
from segtrial.data.memory import stamp
from segtrial.errors import Refused, UserError
from segtrial.serving.batching import Batcher
from segtrial.serving.workers import Staff
from segtrial.tasks import Task, make

Hire = Callable[[Path], Awaitable[Staff]]
"""Starts the processes that hold the model in a file. Raises UserError."""

SAME = ("task", "channels", "classes")
"""What clients rely on."""


@dataclass(frozen=True)
class Version:
    """A model file as it was once: what it says of itself, its task, and the line before its network."""

    info: dict[str, Any]
    task: Task
    batcher: Batcher
    stamp: str


class Served:
    """One model by its name. `version` answers what comes now."""

    def __init__(self, name: str, path: Path, hire: Hire, sizes: Callable[[int], None]):
        self.name, self._path, self._hire, self._sizes = name, path, hire, sizes
        self._lock = asyncio.Lock()
        self._leaving: set[asyncio.Task] = set()
        self.version: Version

    @property
    def ready(self) -> bool:
        return self.version.batcher.staff.ready

    @property
    def stamp(self) -> str:
        """Of the file as it is now; "" if it is gone."""
        try:
            return stamp(self._path)
        except UserError:
            return ""

    async def start(self) -> "Served":
        """Raises UserError if there is no such model."""
        self.version = await self._load()
        return self

    async def reload(self) -> bool:
        """Whether the file had changed. Raises Refused (409) if it cannot take the old one's place."""
        async with self._lock:
            old = self.version
            try:
                if stamp(self._path) == old.stamp:
                    return False
                new = await self._load()
            except UserError as error:
                raise Refused(409, f"model {self.name}", _without_place(error), error.fix) from error
            except OSError as error:  # no memory, or no file descriptor, for one more process
                found = f"no process can be started for the new file ({error.strerror})"
                raise Refused(503, f"model {self.name}", found, "Try again later", retry=10) from error
            different = [what for what in SAME if new.info[what] != old.info[what]]
            if different:
                await new.batcher.stop()
                found = f"the new file has another {' and another '.join(different)}"
                raise Refused(409, f"model {self.name}", found, "Start a server of its own for it")
            self.version = new
            leaving = asyncio.create_task(old.batcher.stop())
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            return True

    async def stop(self) -> None:
        await asyncio.gather(self.version.batcher.stop(), *self._leaving)

    def described(self) -> dict[str, Any]:
        """The model as `GET /models` lists it, without limits."""
        classes = self.version.task.classes
        rows = zip(classes.names, classes.colors, strict=True)
        listed = [{"id": index, "name": name, "color": list(color)} for index, (name, color) in enumerate(rows)]
        info = self.version.info
        return {"name": self.name, "task": info["task"], "classes": listed, "parameters": info["parameters"]}

    async def _load(self) -> Version:
        before = stamp(self._path)  # not after: a change in between would be missed
        staff = await self._hire(self._path)
        info = staff.hello
        mean_color = None if info["mean_color"] is None else tuple(info["mean_color"])
        task = make(info["task"], Classes.from_json(info["classes"]), mean_color)
        return Version(info, task, Batcher(staff, self._sizes), before)


def _without_place(error: UserError) -> str:
    """A client need not know where files lie."""
    return f"the new file cannot be served: {error.found}"
