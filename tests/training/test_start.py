"""`--from MODEL`: what fits is taken over, what does not is drawn, and the file is the one of the plan."""

import pytest
import torch

import segtrial as st
from segtrial.errors import ModelFileError, RunError

WORDS = ("threads=1", "precision=float32", "evaluations=1", "phases=[{share: 1, batch: 2, crop: 1, scale: [1, 1]}]")
SLOW = (*WORDS, "optimizer.name=sgd", "optimizer.lr=1e-30")  # one step that moves nothing


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    out = tmp_path_factory.mktemp("first") / "run"
    return st.train("compact:width=8", "toytown:scenes=6,frames=2,size=32x48", out, steps=2, settings=WORDS)


def core_of(run) -> dict[str, torch.Tensor]:
    return st.load(run.path).network.core.state_dict()


def test_all_weights_are_taken_over(first, tmp_path):
    data = "toytown:scenes=6,frames=2,size=32x48,seed=1"
    second = st.train("compact:width=8", data, tmp_path / "run", steps=1, seed=5, start=first.path, settings=SLOW)
    before, after = core_of(first), core_of(second)
    weights = [name for name in before if "running" not in name and "tracked" not in name]
    assert all(torch.equal(before[name], after[name]) for name in weights)
    assert second.path.joinpath("plan.json").read_text().count(st.load(first.path).digest) == 1
    assert st.load(second.path).header.mean == st.load(first.path).header.mean  # what the weights were made for


def test_a_network_that_shares_nothing_is_refused(first, tmp_path):
    with pytest.raises(RunError, match=r"a compact, of whose \d+ tensors \d fit unet:width=4\. Train a compact"):
        st.train(
            "unet:width=4",
            "toytown:scenes=6,frames=2,size=32x48",
            tmp_path / "run",
            steps=1,
            start=first.path,
            settings=WORDS,
        )
    assert not (tmp_path / "run" / "plan.json").exists()  # so that the right command may use the folder


def test_what_is_no_model_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04pickled")
    with pytest.raises(ModelFileError, match=r"a pickle"):
        st.train("compact:width=8", "toytown:scenes=6,frames=2,size=32x48", tmp_path / "run", steps=1,
                 start=tmp_path / "model.safetensors", settings=WORDS)  # fmt: skip
    assert not (tmp_path / "run").exists()
