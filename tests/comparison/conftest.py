"""A finished comparison, and a cache of its own."""

from pathlib import Path

import pytest

from tests.comparison import trial


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Decoded data goes to a folder of the module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGTRIAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Read only: two variants on two seeds."""
    out = tmp_path_factory.mktemp("finished") / "trial"
    trial.compared(out)
    return out
