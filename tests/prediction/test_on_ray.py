"""Chunks of pictures, answered by other processes: the files of one machine, whoever answers and whoever dies."""

import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from segtrial import api
from segtrial.errors import RecipeError
from segtrial.prediction import Tiling, folder, predict_files
from segtrial.prediction.folder import Chunk, How, Outcome, answer_chunk
from segtrial.prediction.journal import FILE
from tests.prediction.known import Loaded, put, tree
from tests.three_nodes import three_nodes as three_nodes

EVERYTHING = ("labels", "overlay", "confidence", "probabilities", "polygons", "areas")


@dataclass
class Others:
    """An `Elsewhere`: all that goes there and back is pickled, and the last chunk is answered first."""

    model: Loaded
    chunks: list[int] = field(default_factory=list)

    def __call__(self, how: How, out: Path, chunks: Iterator[Chunk]) -> Iterator[Outcome]:
        sent = [pickle.dumps((how, out, chunk)) for chunk in chunks]
        for parcel in reversed(sent):
            how, out, chunk = pickle.loads(parcel)
            self.chunks.append(sum(map(len, chunk.groups)))
            yield pickle.loads(pickle.dumps(answer_chunk(self.model, how, out, chunk)))


@pytest.fixture
def pictures(tmp_path, monkeypatch) -> Path:
    """Of three sizes, one to be cut into tiles, one broken."""
    monkeypatch.setattr(folder, "CHUNK", 3)
    for index, size in enumerate([(6, 9)] * 5 + [(7, 8)] * 3 + [(40, 30)]):
        put(tmp_path / "in" / f"{index}.png", *size, seed=index)
    (tmp_path / "in" / "4a.png").write_bytes(b"no picture")
    return tmp_path / "in"


def answered(pictures: Path, out: Path, others: Others | None = None):
    model, told = others.model if others else Loaded(), []
    report = predict_files(
        model, [pictures], out, save=EVERYTHING, tiling=Tiling((16, 16), 4, 200), elsewhere=others,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    return report, told


def test_others_leave_the_files_and_the_report_of_one_machine(pictures, tmp_path):
    here, _ = answered(pictures, tmp_path / "here")
    others = Others(Loaded())
    there, told = answered(pictures, tmp_path / "there", others)
    assert there == here
    assert [path.name for path, _ in there.skipped] == ["4a.png"]
    assert tree(tmp_path / "there") == tree(tmp_path / "here")
    assert len(others.chunks) > 2
    assert told[-1] == (10, 10)
    lines = [sorted((tmp_path / one / FILE).read_text().splitlines()) for one in ("here", "there")]
    assert lines[0] == lines[1]


def test_what_is_there_is_kept_whoever_answered_it(pictures, tmp_path):
    out, others = tmp_path / "out", Others(Loaded())
    answered(pictures, out)
    before = tree(out)
    (out / "1.png").unlink()
    report, _ = answered(pictures, out, others)
    assert [path.name for path in report.done] == ["1.png"]
    assert len(report.kept) == 8
    assert tree(out) == before
    again, _ = answered(pictures, out)
    assert (again.done, len(again.kept)) == ((), 9)


def test_a_place_that_there_is_not_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="Did you mean 'ray'"):
        api.predict(tmp_path, [tmp_path], tmp_path / "out", on="rya")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_cluster_that_loses_a_node_leaves_the_files_of_one_machine(tiny_run, tmp_path, three_nodes):
    for index in range(700):
        put(tmp_path / "in" / f"{index:03d}.png", 24, 32, seed=index)
    here, out = tmp_path / "here", tmp_path / "there"
    words = [sys.executable, "-m", "segtrial", "predict", str(tiny_run), str(tmp_path / "in"), "--out"]
    environment = {**os.environ, "RAY_ADDRESS": three_nodes.address, "OMP_NUM_THREADS": "1"}
    alone = subprocess.run([*words, str(here)], env=environment, capture_output=True, text=True)
    assert alone.returncode == 0, alone.stderr
    driver = subprocess.Popen(
        [*words, str(out), "--on", "ray", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(out.glob("*.png")):
        assert driver.poll() is None, driver.communicate()
        time.sleep(0.02)
    three_nodes.lose_one()
    said, complaint = driver.communicate(timeout=300)
    assert driver.returncode == 0, complaint
    assert len(json.loads(said)["done"]) == 700
    assert tree(out) == tree(here)
