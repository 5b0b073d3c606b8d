"""A run folder is read whole or not at all; what a kill leaves half written is no fault, what is damaged is named."""

import json

import numpy as np
import pytest

from segtrial.classes import Classes
from segtrial.errors import RunError
from segtrial.reports import records
from tests.reports import fake_run

CLASSES = Classes.named(["sky", "road", "car", "pole"])


@pytest.fixture
def run(tmp_path):
    return fake_run.whole(tmp_path / "run", CLASSES)


def test_everything_that_was_written_is_read(run):
    record = records.read(run)
    assert (record.name, record.split, record.classes, record.last_step) == ("run", "val", CLASSES, 360)
    assert [line["step"] for line in record.val] == [90, 180, 270, 360]
    assert len(record.train) == 72
    assert len(record.examples) == len(fake_run.PLACES)
    counts = np.load(run / "counts" / "val.npz")["counts"]
    np.testing.assert_array_equal(record.confusion, counts.sum(axis=0))


def test_a_begun_run_is_a_record_without_results(tmp_path):
    fake_run.start(tmp_path / "run", CLASSES)
    record = records.read(tmp_path / "run")
    assert not record.finished
    assert (record.evaluation, record.confusion, record.examples, record.train, record.last_step) == (
        None,
        None,
        (),
        (),
        0,
    )


def test_a_half_written_last_line_is_dropped(run):
    with (run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 361, "spl')
    assert records.read(run).last_step == 360


def test_seconds_add_up_over_restarts(tmp_path):
    fake_run.start(tmp_path / "run", CLASSES)
    lines = [{"event": "start", "step": 0}, {"step": 5, "seconds": 10.0}, {"step": 9, "seconds": 18.0}]
    lines += [{"event": "start", "step": 7}, {"step": 12, "seconds": 4.5}]
    (tmp_path / "run" / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = records.read(tmp_path / "run")
    assert (record.seconds, record.starts) == (22.5, 2)


def test_a_folder_without_a_plan_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"not a run folder \(no plan.json in it\).*--out"):
        records.read(tmp_path)


DAMAGES = {
    "plan.json": ("{", r"plan.json: not JSON"),
    "evaluation.json": ('{"scores": {}}', r"evaluation.json: lacks intervals, per_class, definitions, split"),
    "metrics.jsonl": ('{"step": 5}\n', r"metrics.jsonl, line 1: lacks split"),
    "timing.jsonl": ("seconds\n", r"timing.jsonl, line 1: not JSON"),
    "counts/val.npz": ("PK nonsense", r"val.npz: not the counts of a run"),
    "examples/val/index.json": ("[]", r"index.json: lacks images"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_named(run, name):
    text, message = DAMAGES[name]
    (run / name).write_text(text)
    with pytest.raises(RunError, match=message):
        records.read(run)


def test_a_truncated_counts_file_is_named(run):
    data = (run / "counts" / "val.npz").read_bytes()
    (run / "counts" / "val.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match="not the counts of a run"):
        records.read(run)


def test_counts_of_another_class_table_are_refused(run):
    np.savez(run / "counts" / "val.npz", counts=np.zeros((2, 3, 3), np.int64))
    with pytest.raises(RunError, match=r"shape \(2, 3, 3\) for 4 classes"):
        records.read(run)


@pytest.mark.parametrize("name", ["../../plan.json", "/etc/hostname", "a/b.png"])
def test_an_index_cannot_reach_outside_its_folder(run, name):
    index = run / "examples" / "val" / "index.json"
    value = json.loads(index.read_text())
    value["images"][0]["pictures"]["image"] = name
    index.write_text(json.dumps(value))
    with pytest.raises(RunError, match="outside its folder"):
        records.read(run)


def test_a_lost_picture_is_named(run):
    (run / "examples" / "val" / "3.answer.png").unlink()
    with pytest.raises(RunError, match=r"3\.answer\.png: named by index.json but not there"):
        records.read(run)
