"""Every exception, drawn as a tree; each message names the place, what was found, and the fix.

    SegtrialError
    +-- UserError                 the input is at fault: exit code 2
    |   +-- DataError             a folder, image or mask is not what it must be
    |   |   +-- DataNotFound      nothing to read where data was promised
    |   |   +-- ImageError        an image cannot be decoded or has the wrong form
    |   |   +-- MaskError         a mask holds values, colours or sizes it must not
    |   |   +-- PairingError      images and masks do not pair up
    |   |   +-- SplitError        a part is empty, or a split would cut what it must not
    |   +-- UnknownName           a name that is on no list (the list is in the message)
    |   +-- RecipeError           a setting is wrong, unknown or contradicts another
    |   +-- ModelFileError        a model file is hostile, damaged or of another kind
    |   +-- RunError              a run folder is taken, locked, foreign or damaged
    |   +-- DeviceError           a device was asked for that is not there, or is too small
    |   +-- Refused               a request that the server does not answer, with its HTTP status
    +-- Interrupted               asked to stop (SIGINT 130, SIGTERM 143); what was done is saved

`UserError` is for what a user can mend. Invariants of ours are `assert`ed; a failed one is exit code 1.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path


class SegtrialError(Exception):
    """The root of the tree."""


class UserError(SegtrialError):
    """The user's input is at fault. `UserError(place, found, fix)` reads "place: found. fix".

    `parts` are the errors that this one lists, and `files` the files at fault where `place` is not one of them.
    """

    parts: tuple["UserError", ...] = ()
    files: tuple[str, ...] = ()

    def __init__(self, place: str | Path, found: str, fix: str):
        super().__init__(f"{place}: {found}. {fix}")
        self.place, self.found, self.fix = str(place), found, fix

    def __reduce__(self) -> tuple:  # kinds differ in what they are made of: pickled is what became of it
        return _again, (type(self), str(self)), vars(self)


def _again(kind: type[UserError], text: str) -> UserError:
    return kind.__new__(kind, text)


class DataError(UserError):
    """A folder, image or mask is not what it must be."""


class DataNotFound(DataError):
    """Nothing to read where data was promised."""


class ImageError(DataError):
    """An image cannot be decoded, or has the wrong form."""


class MaskError(DataError):
    """A mask holds values, colours or sizes that it must not."""


class PairingError(DataError):
    """Images and masks do not pair up."""


class SplitError(DataError):
    """A part is empty, or a split would cut what it must not."""


class UnknownName(UserError):
    """A name that is on no list."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        names = sorted(known)
        super().__init__(
            f"{kind} {name!r}", f"no {kind} has this name", f"{nearest(name, names)}There are: {', '.join(names)}"
        )


class RecipeError(UserError):
    """A setting is wrong, unknown, or contradicts another."""


class ModelFileError(UserError):
    """A model file is hostile, damaged, or of another kind."""


class RunError(UserError):
    """A run folder is taken, locked, foreign or damaged."""


class DeviceError(UserError):
    """A device was asked for that is not there, or that is too small."""


class Refused(UserError):
    """A request that the server does not answer. `retry`: after so many seconds it may be sent again."""

    def __init__(self, status: int, place: str, found: str, fix: str, *, retry: int | None = None):
        super().__init__(place, found, fix)
        self.status, self.retry = status, retry


class Interrupted(SegtrialError):
    """Asked to stop by `signal` (SIGINT or SIGTERM). Exit code 128 + signal."""

    def __init__(self, signal: int, message: str = "interrupted"):
        super().__init__(message)
        self.signal = signal


def nearest(name: str, known: Sequence[str]) -> str:
    """ "Did you mean 'x'? " if some known name is close, else nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}? " if close else ""


def listing(items: Iterable[object], most: int = 20, between: str = ", ") -> str:
    """ "a, b, c and 17 more": at most `most` items, then the count of the rest."""
    names = [str(item) for item in items]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(names[:most]) + more


def install(*extras: str) -> str:
    """The fix where packages of pyproject's extras are missing."""
    chosen = " ".join(f"--extra {name}" for name in extras)
    return f"Install the extra: pip install 'segtrial[{','.join(extras)}]', or uv sync --inexact {chosen} in a clone"


def several(number: int, one: str, many: str = "") -> str:
    """ "1 mask", "2 masks"; `many` where more than an s differs: several(1, "mask has", "masks have")."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"
