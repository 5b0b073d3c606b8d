"""A file is whole or absent whenever the process dies; a folder has one holder; errors name path and reason."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import pytest

from segtrial import files
from segtrial.errors import RunError
from segtrial.files import (
    append_line,
    complete_lines,
    folder_lock,
    held,
    remove_partials,
    sha256,
    sha256_file,
    write_atomic,
    write_json,
)

OLD, NEW = b"old" * 1000, b"new!" * 1000


def run(code: str, *words: object, failpoint: str = "") -> int:
    """Run some lines in a process of their own; its exit status, negative for a signal."""
    lines = f"import sys\nfrom pathlib import Path\nfrom segtrial.files import *\nplace = Path(sys.argv[1])\n{code}"
    command = [sys.executable, "-c", lines, *map(str, words)]
    return subprocess.run(command, env=os.environ | {"SEGTRIAL_FAILPOINT": failpoint}, check=False).returncode


# ---- atomic writes


def test_a_file_is_written_with_its_folders(tmp_path):
    write_atomic(tmp_path / "a" / "b" / "file", NEW)
    assert (tmp_path / "a" / "b" / "file").read_bytes() == NEW
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ("write.open", OLD),
        ("write.before_sync", OLD),
        ("write.after_sync", OLD),
        ("write.after_rename", NEW),
    ],
)
def test_a_kill_leaves_the_old_file_or_the_new_one(point, expected, tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    write = f"write_atomic(place / 'file', {NEW!r})"
    assert run(write, tmp_path, failpoint=point) == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == expected
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert run(write, tmp_path) == 0
    assert (tmp_path / "file").read_bytes() == NEW


def test_the_third_passage_can_be_aimed_at(tmp_path):
    code = "for name in 'abcde': write_atomic(place / name, b'x')"
    assert run(code, tmp_path, failpoint="write.after_rename:3") == -signal.SIGKILL
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "c"]


def test_the_unfinished_file_lies_beside_its_target(tmp_path):
    """On another file system the rename would be a copy, which a kill can cut."""
    assert run("write_atomic(place / 'file', b'x')", tmp_path, failpoint="write.after_sync") == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".file.")
    assert left.name.endswith(".partial")


def test_the_file_is_synced_before_and_its_folder_after_the_rename(tmp_path, monkeypatch):
    done = []
    real = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        done.append("sync folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "sync file")
        real[0](descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", lambda source, target: (done.append("rename"), real[1](source, target)))
    write_atomic(tmp_path / "file", NEW)
    assert done == ["sync file", "rename", "sync folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_fails_keeps_the_old_file_and_says_so(failing, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(OLD)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(
            RunError, match=r"file: cannot be written \(Input/output error\)\. Choose a folder with space"
        ):
            write_atomic(tmp_path / "file", NEW)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == OLD


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    write_atomic(place / 'file', b'x' * 4000)
except Exception as error:
    assert type(error).__name__ == 'RunError' and 'cannot be written' in str(error), error
    sys.exit(7)
"""


def test_a_full_disk_keeps_the_old_file(tmp_path):
    (tmp_path / "file").write_bytes(OLD)
    assert run(FULL, tmp_path) == 7
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == OLD


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "plain").write_text("")
    with pytest.raises(RunError, match=r"plain/file: cannot be written \(.+\)\. Choose a folder"):
        write_atomic(tmp_path / "plain" / "file", NEW)


def test_json_is_plain_and_refuses_what_json_lacks(tmp_path):
    write_json(tmp_path / "value.json", {"ä": [1, None, 0.1]})
    assert json.loads((tmp_path / "value.json").read_text()) == {"ä": [1, None, 0.1]}
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "value.json", float("nan"))
    assert json.loads((tmp_path / "value.json").read_text()) == {"ä": [1, None, 0.1]}


# ---- logs


def test_lines_come_back_in_order(tmp_path):
    for line in ("one", "two"):
        append_line(tmp_path / "log", line)
    assert complete_lines(tmp_path / "log") == ["one", "two"]
    assert complete_lines(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("point", "expected"),
    [("append.before", ["one"]), ("append.half", ["one"]), ("append.after", ["one", "two"])],
)
def test_a_killed_append_leaves_no_half_line_to_be_read(point, expected, tmp_path):
    append_line(tmp_path / "log", "one")
    assert run("append_line(place / 'log', 'two')", tmp_path, failpoint=point) == -signal.SIGKILL
    assert complete_lines(tmp_path / "log") == expected


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(RunError, match=r"absent/log: cannot be written \(No such file or directory\)"):
        append_line(tmp_path / "absent" / "log", "one")


# ---- locks


def test_a_folder_has_one_holder_at_a_time(tmp_path):
    take = "try:\n with folder_lock(place): pass\nexcept Exception as error: sys.exit(str(error))"
    with folder_lock(tmp_path / "run"):
        assert run(take, tmp_path / "run") == 1
        with (
            pytest.raises(RunError, match=rf"run: in use by process {os.getpid()} on .+\. Wait for it, or choose"),
            folder_lock(tmp_path / "run"),
        ):
            pass
    assert run(take, tmp_path / "run") == 0


def test_a_killed_holder_holds_nothing(tmp_path):
    die = "with folder_lock(place): failpoint('here')"
    assert run(die, tmp_path / "run", failpoint="here") == -signal.SIGKILL
    with folder_lock(tmp_path / "run"):
        pass


def test_a_holder_that_fails_lets_go(tmp_path):
    with pytest.raises(KeyError), folder_lock(tmp_path):
        raise KeyError
    with folder_lock(tmp_path):
        pass


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match=r"file: cannot be used as a folder \(.+\)\. Choose another --out"),
        folder_lock(tmp_path / "file"),
    ):
        pass


def test_a_file_is_held_by_one_and_the_next_one_waits(tmp_path):
    first, waited = ExitStack(), []
    first.enter_context(held(tmp_path / "new" / "lock"))

    def meanwhile() -> None:
        waited.append(1)
        if len(waited) == 3:
            first.close()

    with held(tmp_path / "new" / "lock", meanwhile):
        assert len(waited) == 3
    with held(tmp_path / "new" / "lock", meanwhile):
        assert len(waited) == 3, "nobody is waited for"


def test_waiting_ends_by_what_is_raised_meanwhile(tmp_path):
    def meanwhile() -> None:
        raise KeyError

    with held(tmp_path / "lock"), pytest.raises(KeyError), held(tmp_path / "lock", meanwhile):
        raise AssertionError("two hold it")


def test_a_killed_holder_of_a_file_holds_nothing(tmp_path):
    die = "with held(place / 'lock'): failpoint('here')"
    assert run(die, tmp_path, failpoint="here") == -signal.SIGKILL
    with held(tmp_path / "lock", meanwhile=lambda: pytest.fail("it is held")):
        pass


# ---- hashes and leftovers


def test_hashes_are_hashlibs(tmp_path):
    (tmp_path / "file").write_bytes(NEW)
    assert sha256(NEW) == sha256_file(tmp_path / "file") == hashlib.sha256(NEW).hexdigest()


def test_only_leftovers_are_removed(tmp_path):
    for name in (".file.99999999.partial", ".file.1.partial", ".movie.partial", "file.partial", "file", ".hidden"):
        (tmp_path / name).write_text("")
    remove_partials(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".file.1.partial",  # process 1 is at work
        ".hidden",
        ".movie.partial",
        "file",
        "file.partial",
    ]


def test_other_words_kill_nothing(monkeypatch):
    monkeypatch.setenv("SEGTRIAL_FAILPOINT", "elsewhere")
    files.failpoint("here")
    monkeypatch.delenv("SEGTRIAL_FAILPOINT")
    files.failpoint("here")


def test_leftovers_where_others_write_are_left(tmp_path):
    for folder in ("mine", "theirs/deep"):
        write_atomic(tmp_path / folder / ".file.99999999.partial", b"")
    remove_partials(tmp_path, but=("theirs",))
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.partial")] == [
        "theirs/deep/.file.99999999.partial"
    ]
