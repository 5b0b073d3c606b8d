"""Memory: what did not change is not looked at again, by this process or the next; what cannot be read costs a look."""

import json
import os

import pytest

from segtrial.data import memory
from segtrial.data.memory import Kind, is_remembered, remembering, seen
from segtrial.data.sample import Item
from segtrial.errors import DataError, ImageError


@pytest.fixture
def place(tmp_path):
    return tmp_path / "memory.jsonl"


@pytest.fixture
def texts(tmp_path):
    """Three files."""
    for name in "abc":
        (tmp_path / name).write_text(f"text of {name}")
    return [tmp_path / name for name in "abc"]


class Reader:
    """Reads a file, and counts how often."""

    def __init__(self):
        self.read: list[str] = []
        self.kind = Kind("text", self, tuple)

    def __call__(self, path) -> tuple[str, int]:
        self.read.append(path.name)
        if path.read_text() == "faulty":
            raise ImageError(path, "faulty", "Mend it")
        return (path.read_text(), 1)


def ask(place, texts, **how) -> tuple[list, list[str]]:
    """What is said of the files, and which were read for it."""
    reader = Reader()
    with remembering(place, **how):
        found = list(seen(reader.kind, texts))
    return found, sorted(reader.read)


def test_without_memory_every_file_is_read_every_time(texts):
    reader = Reader()
    assert list(seen(reader.kind, texts)) == list(seen(reader.kind, texts))
    assert sorted(reader.read) == ["a", "a", "b", "b", "c", "c"]
    assert not is_remembered()


def test_files_are_read_once_and_a_changed_one_again(place, texts):
    expected = [(f"text of {name}", 1) for name in "abc"]
    assert ask(place, texts) == (expected, ["a", "b", "c"])
    assert ask(place, texts) == (expected, [])
    texts[1].write_text("new")
    expected[1] = ("new", 1)
    assert ask(place, texts) == (expected, ["b"])
    os.utime(texts[2], ns=(1, 1))  # the same size, another time
    assert ask(place, texts) == (expected, ["c"])
    assert ask(place, texts[:1]) == (expected[:1], [])
    assert ask(place, texts) == (expected, [])  # nothing was new: nothing is forgotten


def test_one_memory_reads_a_file_once(place, texts):
    reader = Reader()
    with remembering(place):
        assert is_remembered()
        assert list(seen(reader.kind, [*texts, texts[0]])) == [*seen(reader.kind, texts), *seen(reader.kind, texts[:1])]
    assert sorted(reader.read) == ["a", "b", "c"]


def test_another_question_has_another_answer(place, texts):
    ask(place, texts)
    with remembering(place):
        assert list(seen(Kind("length", lambda path: len(path.read_text()), int), texts)) == [9, 9, 9]


@pytest.mark.parametrize("change", [("SCHEMA", 99), ("version", lambda _: "99.0")])
def test_the_memory_of_another_version_is_not_used(place, texts, monkeypatch, change):
    ask(place, texts)
    monkeypatch.setattr(memory, *change)
    assert ask(place, texts)[1] == ["a", "b", "c"]
    assert ask(place, texts)[1] == []


def test_half_a_memory_is_no_harm(place, texts):
    expected, _ = ask(place, texts)
    whole = place.read_bytes()
    for end in [*range(0, len(whole), 7), len(whole) - 1]:
        place.write_bytes(whole[:end])
        found, read = ask(place, texts)
        assert found == expected
        assert len(read) == 3 - max(0, whole[: end + 1].count(b"\n") - 1)  # of whole lines, but for the last line's end


@pytest.mark.parametrize("line", [b"[", b"{}", b'["text", 1]', b'[["text"], 1, 2, 3]', b"\xff\xff", b"7"])
def test_foreign_lines_are_passed_over(place, texts, line):
    expected, _ = ask(place, texts)
    head = place.read_bytes().split(b"\n")[0]
    place.write_bytes(head + b"\n" + line + b"\n")
    assert ask(place, texts) == (expected, ["a", "b", "c"])


def test_an_answer_of_another_shape_is_asked_for_again(place, texts):
    ask(place, texts)
    lines = [json.loads(line) for line in place.read_text().splitlines()]
    lines[2][3] = 5  # no tuple
    place.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ask(place, texts)[1] == ["b"]


def test_a_memory_that_cannot_be_written_is_none(tmp_path, texts):
    (tmp_path / "file").write_text("")
    for _ in range(2):
        assert ask(tmp_path / "file" / "memory.jsonl", texts)[1] == ["a", "b", "c"]


def test_faults_are_values_and_are_looked_at_again(place, texts):
    texts[1].write_text("faulty")
    for files in (["a", "b", "c"], ["b"]):
        found, read = ask(place, texts)
        assert isinstance(found[1], DataError)
        assert (str(found[1]), read) == (f"{texts[1]}: faulty. Mend it", files)


def test_an_end_in_between_keeps_what_was_seen(place, texts):
    reader = Reader()
    ask(place, texts[:2])

    def interrupted() -> None:
        with remembering(place):
            list(seen(reader.kind, texts[2:]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert ask(place, texts)[1] == []


def test_a_file_that_changes_while_it_is_read_is_read_again(place, texts):
    def slow(path) -> str:
        text = path.read_text()
        path.write_text("changed meanwhile")
        return text

    with remembering(place):
        assert list(seen(Kind("slow", slow, str), texts[:1])) == ["text of a"]
    with remembering(place):
        assert list(seen(Kind("slow", slow, str), texts[:1])) == ["changed meanwhile"]


def test_items_without_files_are_looked_at_every_time(place):
    asked: list[str] = []

    def look(item: Item) -> str:
        asked.append(item.key)
        return item.key

    kind = Kind("item", look, str)
    with remembering(place):
        for _ in range(2):
            list(seen(kind, [Item("a", "a")]))
    assert asked == ["a", "a"]


def test_progress_counts_what_is_looked_at(place, texts):
    told: list[tuple[int, int]] = []
    for _ in range(2):
        ask(place, texts, progress=lambda *done: told.append(done))
    assert told == [(3, 3)]
