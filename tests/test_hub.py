"""Models that go to a hub and come back, against a stand-in of its HTTP on loopback; and what their cards say."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard, constants

import segtrial as st
from segtrial import cli, hub
from segtrial.errors import DataError, ModelFileError, RecipeError, RunError
from segtrial.reports import model_card, records
from tests.hub_standin import TOKEN, Hub, Repository, commit_name
from tests.reports import fake_run

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's own

NAME = "me/street"


@pytest.fixture
def place(monkeypatch, tmp_path):
    """A hub, asked with a token; caches and logins of its own; nothing else is reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks git-LFS
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)  # where no folder is called like an owner
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture(scope="module")
def header(tiny_run):
    return st.load(tiny_run).header.model_dump(by_alias=True, mode="json")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return records.read(fake_run.whole(tmp_path_factory.mktemp("fake") / "run"))


def test_a_pushed_run_is_loaded_bit_for_bit(place, tiny_run):
    told = st.Run(tiny_run).push_to_hub(NAME, "apache-2.0")
    assert told == {
        "schema": 1,
        "repository": NAME,
        "url": f"{place.url}/{NAME}",
        "commit": commit_name(0),
        "files": ["model.safetensors", "README.md"],
    }
    (files,) = place.repositories[NAME].commits
    assert files["model.safetensors"] == (tiny_run / "model.safetensors").read_bytes()
    place.asked.clear()
    loaded, ours = st.load(NAME), st.load(tiny_run)
    assert loaded.digest == ours.digest
    assert loaded.header == ours.header
    theirs = loaded.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.network.state_dict().items())
    assert {path.rpartition("/")[2] for _, path, _ in place.asked} == {"model.safetensors"}, "nothing else is fetched"


def test_a_revision_is_a_branch_or_a_commit(place, tiny_run):
    st.push(tiny_run / "model.safetensors", NAME, "mit")
    broken = Repository(commits=[*place.repositories[NAME].commits, {"model.safetensors": b"not a model"}])
    place.repositories[NAME] = broken
    assert st.load(f"{NAME}@{commit_name(0)}").digest == st.load(tiny_run).digest
    for name in (NAME, f"{NAME}@main"):
        with pytest.raises(ModelFileError):
            st.load(name)


def test_what_was_fetched_is_loaded_without_a_network(place, tiny_run):
    st.push(tiny_run, NAME, "mit")
    first = st.load(NAME)
    place.stop()
    assert st.load(NAME).digest == first.digest
    with pytest.raises(ModelFileError, match="me/other: the hub cannot be reached, and no copy is kept here"):
        st.load("me/other")
    with pytest.raises(RunError, match="the exchange with the hub failed"):
        st.push(tiny_run, NAME, "mit")


@pytest.mark.parametrize(
    ("repository", "wanted", "said"),
    [
        (None, NAME, "no such repository, or a private one. Check its name; if private, log in"),
        (Repository(commits=[{"a": b""}], gated=True), NAME, "gated.. Ask on its page for access, and log in"),
        (Repository(commits=[{"a": b""}]), NAME, "the repository has no model.safetensors. Name one"),
        (Repository(commits=[{"a": b""}]), f"{NAME}@v2", "no such revision. Name a branch"),
    ],
    ids=["none", "gated", "no model", "no revision"],
)
def test_what_cannot_be_fetched_is_explained(place, repository, wanted, said):
    if repository:
        place.repositories[NAME] = repository
    with pytest.raises(ModelFileError, match=f"^{wanted}: .*{said}") as caught:
        st.load(wanted)
    assert TOKEN not in str(caught.value)


def test_nothing_of_a_repository_is_run(place, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    place.repositories[NAME] = Repository(commits=[{"model.safetensors": pickle.dumps(Bomb()), "model.py": b"boom"}])
    with pytest.raises(ModelFileError, match="a pickle"):
        st.load(NAME)
    assert not (tmp_path / "harm").exists()


def test_a_private_model_needs_the_token_and_a_new_one_is_private(place, tiny_run, monkeypatch):
    st.push(tiny_run, NAME, "mit")
    assert place.repositories[NAME].private
    assert all(known for _, path, known in place.asked if path.startswith("/api/repos"))
    st.push(tiny_run, "me/open", "mit", public=True)
    assert not place.repositories["me/open"].private
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(ModelFileError, match="no such repository, or a private one"):
        st.load(NAME)
    assert st.load("me/open").digest == st.load(tiny_run).digest
    with pytest.raises(RecipeError, match=r"nobody is logged in to the hub. Log in \(hf auth login, or HF_TOKEN\)"):
        st.push(tiny_run, NAME, "mit")


def test_a_hub_that_refuses_is_reported_without_the_token(place, tiny_run, capfd, caplog):
    place.read_only = True
    with pytest.raises(RunError, match="me/street: the hub answers 403") as caught:
        st.push(tiny_run, NAME, "mit")
    said = capfd.readouterr()
    assert TOKEN not in said.out + said.err + caplog.text + str(caught.value)
    for name in ("street", "me/street@main", "me/str/eet", "../x"):
        with pytest.raises(RecipeError, match="Write owner/name"):
            st.push(tiny_run, name, "mit")


def test_a_path_with_a_slip_is_not_sent_to_a_hub(place, tmp_path):
    (tmp_path / "runs").mkdir()
    for path in ("runs/frist", "runs/first/model.safetensors", "me/model.safetensors", "./me/street", "/me/street"):
        assert hub.id_of(path) is None
        with pytest.raises(ModelFileError):
            st.load(path)
    assert place.asked == []
    assert hub.id_of("runs/first@main") == hub.Id("runs/first", "main"), "with a revision it is no path"


@pytest.mark.parametrize(
    "name",
    [
        *("me/..", "../me", "me/street@..", "me/street@../../x", "me/street@refs/../../x", "me/street@/etc"),
        *("me/street@-x", "me/street\n", f"me/{300 * 's'}", f"me/street@{300 * 'v'}"),
    ],
)
def test_no_name_leads_out_of_the_cache(name, place):
    """A branch is a file of its cache: one called ../../x would be written outside of it."""
    assert hub.id_of(name) is None
    assert hub.id_of("me/street@refs/pr/1") == hub.Id("me/street", "refs/pr/1")


def test_the_card_is_understood_by_the_hubs_own_reader(header, run):
    text = model_card.card(NAME, "cc-by-4.0", header, run)
    card = ModelCard(text)
    assert card.data.license == "cc-by-4.0"
    assert card.data.library_name == "segtrial"
    assert card.data.pipeline_tag == "image-segmentation"
    assert {"segtrial", header["architecture"]} <= set(card.data.tags)
    told = {result.metric_name: result.metric_value for result in card.data.eval_results}
    scores = {name: value for name, value in run.evaluation["scores"].items() if value is not None}
    assert told == pytest.approx(scores, abs=1e-6)
    assert {result.dataset_split for result in card.data.eval_results} == {"val"}


def test_the_card_says_scores_with_definitions_and_intervals(header, run):
    text = plain(model_card.card(NAME, "mit", header, run))
    for name, value in run.evaluation["scores"].items():
        entry = run.evaluation["intervals"][name]
        row = f"| {name} | {value:.3f} | {entry['low']:.3f} to {entry['high']:.3f} |"
        assert row in text
        assert f"{row} {run.evaluation['definitions'][name]} |".replace("<", "&lt;").replace(">", "&gt;") in text
    for row in run.evaluation["per_class"]:
        assert f"| {row['name']} |" in text
    parts = run.plan["parts"]
    assert all(f"{count} {part}" in text for part, count in parts.items())
    assert header["provenance"]["manifest"] in text
    known = [row for row in run.evaluation["per_class"] if row["iou"] is not None and row["support"]]
    assert f"Weakest class: {min(known, key=lambda row: row['iou'])['name']}, IoU" in text


def plain(text: str) -> str:
    return text.replace("\\", "")


def test_the_card_says_its_limits(header, run):
    evaluation = {**run.evaluation, "intervals": dict.fromkeys(run.evaluation["scores"]), "reason": "one block"}
    kept = {**run.plan, "recipe": {**run.recipe, "keep": "best"}}
    text = plain(model_card.card(NAME, "mit", header, replace(run, evaluation=evaluation, plan=kept)))
    assert "No interval: one block." in text
    assert "its weights were chosen on the same part" in text
    assert "no temperature was fitted" in text
    assert "was not looked at here: `segtrial inspect` tells" in text
    leak = {"code": "leak.time", "message": "101 frames are a second apart"}
    findings = [leak, {"code": "mask.value", "message": "odd"}]
    text = plain(model_card.card(NAME, "mit", {**header, "temperature": 1.25}, run, findings))
    assert "softmax(scores / 1.25)" in text
    assert "Leak found by `segtrial inspect` (leak.time): 101 frames are a second apart" in text
    assert "odd" not in text
    assert "found no leak" in model_card.card(NAME, "mit", header, run, [])


def test_the_card_of_a_file_without_its_run_says_so(header):
    text = plain(model_card.card(NAME, "mit", header))
    assert "the card was made from a model file without its run" in text
    assert "None are recorded with this file" in text
    assert "model-index" not in text
    assert 'st.load("me/street")' in text


def test_the_card_of_colours_and_of_classes_of_images(header):
    assert "pipeline_tag: image-to-image" in model_card.card(NAME, "mit", {**header, "task": "colorization_bins"})
    assert "pipeline_tag: image-classification" in model_card.card(NAME, "mit", {**header, "task": "classification"})


def test_names_of_data_make_no_markup_and_paths_stay_at_home(header, run, tmp_path):
    evil = "<img src=x>|`sky`\n# Title"
    row = {**run.evaluation["per_class"][0], "name": evil}
    recipe = {**run.recipe, "data": str(tmp_path / "secret" / "photos"), "start": str(tmp_path / "older.safetensors")}
    changed = replace(run, evaluation={**run.evaluation, "per_class": [row]}, plan={**run.plan, "recipe": recipe})
    names = {**header["classes"], "names": [evil, *header["classes"]["names"][1:]]}
    text = model_card.card(NAME, "mit", {**header, "classes": names}, changed)
    assert "<img" not in text
    assert "\n# Title" not in text
    (line,) = [line for line in text.splitlines() if line.startswith("| ") and "img" in line]
    assert len(line.replace("\\|", "").split("|")) == 7, "five cells"
    assert "photos" in text
    assert str(tmp_path) not in text


def test_the_command_line_pushes_and_prints_one_object(place, tiny_run, capsys):
    assert cli.main(["push", str(tiny_run), NAME, "--license", "mit", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"schema", "repository", "url", "commit", "files"}
    assert told["schema"] == 1
    assert cli.main(["push", str(tiny_run), NAME, "--license", "mit"]) == 0
    assert f'Load    segtrial.load("{NAME}")' in capsys.readouterr().out
    assert cli.main(["push", str(tiny_run), NAME]) == 2
    assert "--license" in capsys.readouterr().err


def test_the_card_alone_is_written_without_asking_anybody(place, tiny_run, tmp_path, capsys):
    findings = tmp_path / "findings.json"
    findings.write_text(json.dumps({"schema": 1, "findings": [{"code": "leak.near", "message": "two are alike"}]}))
    words = ["push", str(tiny_run), NAME, "--license", "mit", "--card", "README.md", "--findings", str(findings)]
    assert cli.main(words) == 0
    assert "Nothing was sent" in capsys.readouterr().out
    assert "two are alike" in (tmp_path / "README.md").read_text()
    assert place.asked == []
    assert cli.main(["push", str(tiny_run), 'x"); evil("/y', "--license", "mit", "--card", "evil.md"]) == 2
    assert "Write owner/name" in capsys.readouterr().err
    assert not (tmp_path / "evil.md").exists()
    findings.write_text("[]")
    assert cli.main(words) == 2
    assert "no findings of an inspection" in capsys.readouterr().err
    with pytest.raises(DataError, match="segtrial inspect DATA --json"):
        st.push(tiny_run, NAME, "mit", findings=tmp_path / "nowhere.json")


def test_predict_takes_a_hubs_id(place, tiny_run, tiny_data, tmp_path):
    st.push(tiny_run, NAME, "mit")
    images = [tiny_data / "val/images/0.png"]
    st.predict(NAME, images, tmp_path / "theirs")
    st.predict(tiny_run, images, tmp_path / "ours")
    ours, theirs = ((tmp_path / name / "0.png").read_bytes() for name in ("ours", "theirs"))
    assert ours == theirs
    assert np.frombuffer(ours, np.uint8).size
