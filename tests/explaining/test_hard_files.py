"""Names of images and model files that are not kind to explaining and calibrating."""

import os
import shutil
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
from PIL import Image

import segtrial as st
from segtrial import explaining, hub, modelfile
from segtrial.errors import ModelFileError, RecipeError, RunError
from segtrial.files import folder_lock
from tests.exporting import parts


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return parts.saved(tmp_path_factory.mktemp("model") / "m.safetensors", "compact:width=2")


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3)).astype(np.uint8)).save(path)
    return path


def test_images_called_like_the_index_have_pages_of_their_own(model, tmp_path):
    for name in ("index", "explained", "sub/index", "a#b?c%20", "\udcff"):
        picture(tmp_path / "in" / f"{name}.png")
    told = st.explain(model, [tmp_path / "in"], tmp_path / "out", patch=9)
    names = sorted(["index_image", "explained_image", "sub/index", "a#b?c%20", "\udcff"])
    assert sorted(told["images"]) == names
    index = Path(told["index"]).read_text()
    links = {part.split('"')[0] for part in index.split('<a href="')[1:]}
    pages = {os.fsdecode(unquote_to_bytes(link)) for link in links if not link.startswith("#")}
    assert sorted(pages) == [f"{name}.html" for name in names]
    assert all((tmp_path / "out" / page).is_file() for page in pages)
    assert Path(told["index"]) == tmp_path / "out" / "index.html"
    assert "All explained images" not in index


def test_a_run_that_is_being_trained_is_not_calibrated_but_into_another_file(model, tiny_data, tmp_path, own_cache):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(model, run / "model.safetensors")
    (run / "recipe.yaml").write_text("seed: 0\n")
    before = (run / "model.safetensors").read_bytes()
    with folder_lock(run):  # as training does
        with pytest.raises(RunError, match="in use by process"):
            st.calibrate(run, tiny_data)
        assert (run / "model.safetensors").read_bytes() == before
        told = st.calibrate(run, tiny_data, out=tmp_path / "other.safetensors")
    assert modelfile.load(tmp_path / "other.safetensors").header.temperature == told["temperature"]
    assert (run / "model.safetensors").read_bytes() == before
    assert st.calibrate(run, tiny_data)["model"] == str(run / "model.safetensors")


def test_a_temperature_is_not_given_to_another_model(model, tiny_data, tmp_path, own_cache, monkeypatch):
    mine = Path(shutil.copy(model, tmp_path / "m.safetensors"))
    other = parts.saved(tmp_path / "other.safetensors", "compact:width=3").read_bytes()
    fit = explaining.calibrate

    def meanwhile(*arguments):
        mine.write_bytes(other)
        return fit(*arguments)

    monkeypatch.setattr(explaining, "calibrate", meanwhile)
    with pytest.raises(ModelFileError, match="changed while its temperature was fitted"):
        st.calibrate(mine, tiny_data)
    assert mine.read_bytes() == other


def test_a_model_on_the_hub_is_calibrated_into_a_file_of_ones_own(model, tiny_data, tmp_path, own_cache, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda wanted: model)
    before = model.read_bytes()
    with pytest.raises(RecipeError, match="--out: not given, and me/street is on the hub"):
        st.calibrate("me/street", tiny_data)
    told = st.calibrate("me/street", tiny_data, out=tmp_path / "mine.safetensors")
    assert modelfile.load(tmp_path / "mine.safetensors").header.temperature == told["temperature"] != 1
    assert model.read_bytes() == before
