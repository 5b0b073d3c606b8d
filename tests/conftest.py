"""What tests of several rooms share: a tiny data set, a finished run on it, and a cache of their own."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from segtrial import cli
from tests import tiny

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch loads: workers of pytest-xdist share the cores
os.environ["SEGTRIAL_CACHE"] = tempfile.mkdtemp(prefix="segtrial-tests-")  # never the user's
atexit.register(shutil.rmtree, os.environ["SEGTRIAL_CACHE"], ignore_errors=True)
gc.disable()  # until every test is found: what is imported by then stays, and is not looked through again and again


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # what is frozen at the end looks leaked to those who count


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own_cache(shared_cache, monkeypatch) -> None:
    """Decoded data goes to a folder of the tests, not to the user's."""
    monkeypatch.setenv("SEGTRIAL_CACHE", str(shared_cache))


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """Read only: copy it before you break it."""
    return tiny.write_data(tmp_path_factory.mktemp("tiny") / "data")


@pytest.fixture(scope="session")
def tiny_run(tiny_data, shared_cache, tmp_path_factory) -> Path:
    """Read only: a finished run, through the command line."""
    out = tmp_path_factory.mktemp("tiny") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGTRIAL_CACHE", str(shared_cache))
        assert cli.main(["--traceback", *tiny.words(tiny_data, out)]) == 0
    return out


@pytest.fixture
def real() -> Callable[[str], Path]:
    """`real("camvid")` -> the folder of that real set; the test is skipped where it is not at hand."""

    def find(name: str) -> Path:
        base = os.environ.get("SEGTRIAL_DATA") or Path(__file__).parents[1].parent / "shared" / "data"
        folder = Path(base) / name
        if not folder.is_dir():
            pytest.skip(f"real data {name!r} is not at hand (set SEGTRIAL_DATA)")
        return folder

    return find
