"""A hub's id -> its model file, kept here; files -> a repository on the hub: all through huggingface_hub.

An id is owner/name or owner/name@revision. Only model.safetensors is fetched, and nothing of a repository is run.
The token is the hub's own (HF_TOKEN, or what `hf auth login` keeps); it is read by huggingface_hub alone. HF_ENDPOINT
names another hub.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from segtrial.errors import ModelFileError, RecipeError, RunError

FILE = "model.safetensors"
LOGIN = "log in (hf auth login, or HF_TOKEN)"

_PART = r"[A-Za-z0-9][\w.-]{0,95}"  # no longer than the hub's own; ".." is none
_ID = re.compile(rf"({_PART}/{_PART})(?:@({_PART}(?:/{_PART}){{0,9}}))?")
_PATIENCE = 10.0  # seconds


@dataclass(frozen=True)
class Id:
    """A repository on the hub, and the branch, tag or commit wanted of it; None is its main branch."""

    repository: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The repository's, without its owner's."""
        return self.repository.partition("/")[2]

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}" if self.revision else self.repository


def id_of(text: str) -> Id | None:
    """The id that `text` is, unless it is a path: one that is there, or one into a folder that is there."""
    found = _ID.fullmatch(text)
    if not found or Path(text).exists():
        return None
    inside = Path(text).parts[0]
    if found[2] is None and (Path(inside).is_dir() or text.endswith(".safetensors")):
        return None  # a path with a slip in it: no hub is asked for it
    return Id(found[1], found[2])


def fetch(wanted: Id) -> Path:
    """The model file of a repository, in the hub's own cache; fetched unless it is there in that revision.

    Raises ModelFileError if there is no such repository, revision or file, if it is gated, or cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    asked = {"revision": wanted.revision, "endpoint": _endpoint()}
    try:
        away = not _reached(wanted.repository, asked)
        path = hf_hub_download(wanted.repository, FILE, **asked, local_files_only=away)  # type: ignore[call-overload]
    except Exception as error:  # each library below has its own
        raise ModelFileError(*_said(str(wanted), error)) from error
    return Path(path)


def _reached(repository: str, asked: Mapping[str, str | None]) -> bool:
    """Whether the hub has the file; False if it cannot be reached, which a download would try six times."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        get_hf_file_metadata(hf_hub_url(repository, FILE, **asked), timeout=_PATIENCE)
    except (EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError):
        raise
    except Exception:  # no network, or a hub that fails: a copy may be kept here
        return False
    return True


def require_name(repository: str) -> None:
    """Raise RecipeError unless it is owner/name."""
    found = _ID.fullmatch(repository)
    if not found or found[2]:
        raise RecipeError(repository, "no name of a repository", "Write owner/name, as on the hub")


def push(repository: str, files: Mapping[str, Path | bytes], message: str, *, public: bool = False) -> tuple[str, str]:
    """Put files, by their names there, into a repository as one commit: its address, and the commit's.

    A repository that is not there is made, private unless `public`; one that is there stays what it is. Raises
    RecipeError for a name that is none and without a login, RunError if the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token

    require_name(repository)
    if get_token() is None:
        raise RecipeError(repository, "nobody is logged in to the hub", LOGIN[0].upper() + LOGIN[1:])
    hub = HfApi(endpoint=_endpoint())
    added = [CommitOperationAdd(name, held) for name, held in files.items()]
    try:
        place = hub.create_repo(repository, private=not public, exist_ok=True)
        commit = hub.create_commit(repository, added, commit_message=message)
    except Exception as error:
        raise RunError(*_said(repository, error)) from error
    return str(place), commit.oid


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT") or None


def _said(place: str, error: Exception) -> tuple[str, str, str]:
    """Place, what was found and the fix, of an exception of huggingface_hub; of its words none, they may be secret."""
    from huggingface_hub import errors as hub

    if type(error) is RuntimeError and isinstance(error.__cause__, Exception):  # of a file that it was sending
        return _said(place, error.__cause__)
    explained: list[tuple[type[Exception], str, str]] = [
        (hub.LocalEntryNotFoundError, "the hub cannot be reached, and no copy is kept here", "Connect, then try again"),
        (hub.GatedRepoError, "its owner lets in by hand (it is gated)", f"Ask on its page for access, and {LOGIN}"),
        (hub.RevisionNotFoundError, "the repository has no such revision", "Name a branch, a tag or a commit of it"),
        (hub.RepositoryNotFoundError, "no such repository, or a private one", f"Check its name; if private, {LOGIN}"),
        (hub.EntryNotFoundError, f"the repository has no {FILE}", "Name one that `segtrial push` wrote"),
    ]
    for kind, found, fix in explained:
        if isinstance(error, kind):
            return place, found, fix
    if isinstance(error, hub.HfHubHTTPError):
        status = error.response.status_code
        fix = f"Check that you may write there, and {LOGIN}" if status in (401, 403) else "Try again later"
        return place, f"the hub answers {status}", fix
    return place, f"the exchange with the hub failed ({type(error).__name__})", "Check the network, then try again"
