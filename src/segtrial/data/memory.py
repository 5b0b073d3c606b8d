"""Files -> what was seen of them, remembered: inside `remembering` each is looked at once, and next time not at all.

What is remembered is one line of JSON for each question about each file, with the file's size and time: a file that
changed is looked at again, and so is everything when the version of Segtrial changed.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

from segtrial.data._parallel import Workers, cores, each
from segtrial.data.sample import Item
from segtrial.errors import DataError, DataNotFound, RunError
from segtrial.files import writing

Source = TypeVar("Source", Path, Item)
Seen = TypeVar("Seen")
Progress = Callable[[int, int], object]

SCHEMA = 1
"""Another number makes everything be looked at again: raise it when something else is kept of a file."""

STEPS = 16
"""Files between two calls of a progress function."""


@dataclass(frozen=True)
class Kind(Generic[Source, Seen]):
    """A question about files or items: `look` answers it, and `load` is the inverse of `dump` and a turn through JSON.

    Two kinds of one `name` give one answer. `alone`: `look` is a function that processes can import. `mark` changes
    where other files than those of an item do, on which the answer depends.
    """

    name: str
    look: Callable[[Source], Seen]
    load: Callable[[Any], Seen]
    dump: Callable[[Seen], Any] = lambda seen: seen
    alone: bool = False
    mark: Callable[[Source], str] | None = None


class Memory:
    """What was seen before, by an earlier process or in this one. Faulty files are looked at again by the next one."""

    def __init__(self, file: Path, processes: int | None = 1, progress: Progress | None = None):
        self._file, self._progress, self._workers = file, progress, Workers(processes or cores())
        self._before = _load(file)
        self._now: dict[tuple[str, str], tuple[str, Any]] = {}  # kind and name -> mark, and what was seen
        self._dumps: dict[str, Callable[[Any], Any]] = {}
        self._changed = False

    def see(self, kind: Kind[Source, Seen], sources: Sequence[Source]) -> list[Seen | DataError]:
        """What `kind` says of each source, in order. DataErrors come as values."""
        self._dumps[kind.name] = kind.dump
        names = [(kind.name, _name(source)) for source in sources]
        fresh: dict[tuple[str, str], tuple[str, Source]] = {}
        for name, source in zip(names, sources, strict=True):
            if name not in self._now and name not in fresh:
                mark = _mark(kind, source)  # before it is looked at: if it changes meanwhile, it is looked at again
                if not self._recall(kind, name, mark):
                    fresh[name] = (mark, source)
        found = self._looked_at(kind, fresh)
        return [found[name] if name in found else self._now[name][1] for name in names]

    def _looked_at(
        self, kind: Kind[Source, Seen], fresh: Mapping[tuple[str, str], tuple[str, Source]]
    ) -> dict[tuple[str, str], Seen | DataError]:
        """Look at what is not known; what has no mark is not kept."""
        look = self._workers.each if kind.alone else each
        found: dict[tuple[str, str], Seen | DataError] = {}
        looks = look(kind.look, [source for _, source in fresh.values()])
        for done, ((name, (mark, _)), one) in enumerate(zip(fresh.items(), looks, strict=True), start=1):
            found[name] = one
            if mark:
                self._now[name] = (mark, one)
                self._changed = True
            if self._progress is not None and (done % STEPS == 0 or done == len(fresh)):
                self._progress(done, len(fresh))
        return found

    def _recall(self, kind: Kind, name: tuple[str, str], mark: str) -> bool:
        """Whether it was known before, of files that did not change."""
        before, tree = self._before.pop(name, ("", None))
        if mark and before == mark:
            with suppress(TypeError, ValueError, KeyError):
                self._now[name] = (mark, kind.load(tree))
        return name in self._now

    def close(self, *, finished: bool = True) -> None:
        """Let go of processes and write what was asked for; where that cannot be done, the next one looks again.

        Where not `finished`, what was not asked for yet is written, too.
        """
        self._workers.close()
        if self._changed:
            with suppress(RunError), writing(self._file) as file:
                file.writelines(self._lines({} if finished else self._before))

    def _lines(self, left: Mapping[tuple[str, str], tuple[str, Any]]) -> Iterator[bytes]:
        yield _line(_head())
        for (kind, name), (mark, seen) in self._now.items():
            if not isinstance(seen, DataError):
                yield _line([kind, name, mark, self._dumps[kind](seen)])
        for name, (mark, tree) in left.items():
            yield _line([*name, mark, tree])


_memory: ContextVar[Memory | None] = ContextVar("memory", default=None)


@contextmanager
def remembering(file: Path, processes: int | None = 1, progress: Progress | None = None) -> Iterator[Memory]:
    """Inside, `seen` remembers, in `file`. Many files are looked at by up to `processes` (None: one for each core).

    `progress(done, total)` is called while files are looked at.
    """
    memory, finished = Memory(file, processes, progress), False
    token = _memory.set(memory)
    try:
        yield memory
        finished = True
    finally:
        _memory.reset(token)
        memory.close(finished=finished)


def is_remembered() -> bool:
    """Whether somebody remembers: then it is worth while to see all of a file at once."""
    return _memory.get() is not None


def seen(kind: Kind[Source, Seen], sources: Sequence[Source]) -> Iterator[Seen | DataError]:
    """What `kind` says of each source, in order, from memory if there is one. DataErrors come as values."""
    memory = _memory.get()
    return each(kind.look, sources) if memory is None else iter(memory.see(kind, sources))


def stamp(path: Path) -> str:
    """Size in bytes and time of change in ns. Raises DataNotFound if the file is gone."""
    try:
        stat = path.stat()
    except OSError as error:
        found = f"gone since the folder was read ({error.strerror})"
        raise DataNotFound(path, found, "Restore it, or start again") from error
    return f"{stat.st_size}:{stat.st_mtime_ns}"


def _name(source: Path | Item) -> str:
    return f"{source.key} {source.image or ''}" if isinstance(source, Item) else str(source)


def _mark(kind: Kind[Source, Any], source: Source) -> str:
    """Its files with their sizes and times; "" for what has none, which is never remembered."""
    files = (source.image, source.target) if isinstance(source, Item) else (source,)
    try:
        mark = " ".join(f"{path.name} {stamp(path)}" for path in files if path is not None)
        return f"{mark} {kind.mark(source)}" if mark and kind.mark is not None else mark
    except DataError:
        return ""


def _head() -> dict[str, Any]:
    return {"schema": SCHEMA, "segtrial": version("segtrial")}


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _load(file: Path) -> dict[tuple[str, str], tuple[str, Any]]:
    """What an earlier process kept; nothing of another version, and nothing that cannot be read."""
    known: dict[tuple[str, str], tuple[str, Any]] = {}
    with suppress(OSError, ValueError, TypeError), file.open("rb") as lines:
        if json.loads(next(lines, b"{}")) == _head():
            for line in lines:
                kind, name, mark, tree = json.loads(line)
                known[kind, name] = (mark, tree)
    return known
