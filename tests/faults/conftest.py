"""A finished tiny run -> a world of one test's own to break."""

import shutil

import huggingface_hub
import pytest

from tests.faults.world import World


def no_network(*_, **__):
    raise ConnectionError("no network in tests")


@pytest.fixture
def world(tiny_data, tiny_run, tmp_path, own_cache, monkeypatch) -> World:
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", no_network)
    data = shutil.copytree(tiny_data, tmp_path / "data")
    return World(tmp_path, data, tmp_path / "out", tiny_run)
