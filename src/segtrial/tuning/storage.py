"""Words -> where Optuna keeps a search: a file of SQLite, a journal, or a database that many machines reach.

nothing                    study.db in the search's folder
searches/street.journal    a journal: a file that is only ever appended to
postgresql://user@host/db  any URL that SQLAlchemy knows
"""

import os
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from segtrial.errors import RecipeError, RunError
from segtrial.files import sync_folder
from segtrial.tuning.locks import JournalLock

OWN = "study.db"
HIDDEN = "***"
"""What stands for a password wherever the storage is named."""

WAIT_SECONDS = 60
"""For another process to finish what it writes into a file of SQLite."""


def label_of(words: str | None) -> str:
    """How the storage is named in files: a URL without its password. Raises RecipeError for what is no URL."""
    if words is None:
        return OWN
    if "://" not in words:
        return str(Path(words).absolute())
    try:
        return make_url(words).render_as_string(hide_password=True)
    except (SQLAlchemyError, ValueError) as error:
        found = f"no URL of a database ({str(error).splitlines()[0]})"
        raise RecipeError("--storage", found, "Write such as postgresql://user:password@host/database") from error


def words_of(label: str, given: str | None, folder: Path) -> str | None:
    """The storage of a search that was begun with the one called `label`. Raises RunError for another one."""
    if given is None and HIDDEN not in label:
        return None if label == OWN else label
    if given is None or label_of(given) != label:
        said = "none is given" if given is None else f"{label_of(given)} is given"
        raise RunError(folder, f"its search is kept in {label}, and {said}", f"Give --storage '{label}' as it was")
    return given


def opened(words: str | None, folder: Path) -> BaseStorage:
    """The storage, made if it is not there (call it under the folder's lock). Raises RunError if it cannot be used."""
    try:
        if words is None:
            return _own(folder / OWN)
        if "://" in words:
            return RDBStorage(words)
        Path(words).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(words, lock_obj=JournalLock(Path(words))))  # type: ignore[arg-type]
    except ImportError as error:
        missing = error.__cause__ or error
        fix = "Install the database's driver: for postgresql:// pip install psycopg2-binary"
        raise RecipeError("--storage", f"its driver is not installed ({missing})", fix) from error
    except (SQLAlchemyError, OSError, ValueError) as error:
        found = f"cannot be used ({str(error).splitlines()[0]:.200})"
        raise RunError(label_of(words), found, "Give another --storage") from error


def close(storage: BaseStorage) -> None:
    """Give its connections back."""
    storage.remove_session()
    if isinstance(storage, RDBStorage):
        storage.engine.dispose()


def _own(path: Path) -> RDBStorage:
    """A file of SQLite; a new one gets its tables before it gets its name, so that a kill leaves none half made."""
    if not path.exists():
        beside = path.with_name(f".{path.name}.{os.getpid()}.partial")
        beside.unlink(missing_ok=True)
        close(_sqlite(beside))
        os.replace(beside, path)
        sync_folder(path.parent)
    return _sqlite(path)


def _sqlite(path: Path) -> RDBStorage:
    return RDBStorage(f"sqlite:///{path.absolute()}", engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}})
