"""Words, lists and stdin name pictures; every picture has a name that the same words give again."""

import io
from pathlib import Path

import pytest

from segtrial.errors import DataNotFound
from segtrial.prediction.sources import sources
from tests.prediction.known import put


def names(*inputs: object, out: Path) -> list[str]:
    return [relative.as_posix() for _, relative in sources([str(one) for one in inputs], out)]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    for name in ("one/a.png", "two/a.png", "two/deep/b.webp"):
        put(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


LISTED = {
    "relative": "one/a.png\ntwo/deep\n",
    "blank lines and windows": "\ufeffone/a.png\r\n\r\ntwo/deep\r\n",
    "no last end": "one/a.png\ntwo/deep",
    "a glob": "one/*.png\ntwo/deep/*",
    "find -print0": "one/a.png\0two/deep\0",
}


@pytest.mark.parametrize("text", LISTED.values(), ids=LISTED.keys())
def test_lists_and_stdin_say_what_could_be_typed(text, here, monkeypatch):
    (here / "list.txt").write_text(text, "utf-8", newline="")
    monkeypatch.setattr("sys.stdin", io.StringIO(text.removeprefix("\ufeff")))
    typed = names("one/a.png", "two/deep", out=here / "out")
    assert typed == ["a.png", "b.webp"]
    assert names("list.txt", out=here / "out") == names("-", out=here / "out") == typed


def test_what_a_list_names_and_is_gone_is_left_to_be_reported(here):
    (here / "list.txt").write_text(f"one/a.png\nabsent.png\n{300 * 'x'}.png\n")
    assert sources(["list.txt"], here / "out") == [
        (Path("one/a.png"), Path("a.png")),
        (Path("absent.png"), Path("absent.png")),
        (Path(f"{300 * 'x'}.png"), Path(f"{300 * 'x'}.png")),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xff\xfe"])
def test_a_list_of_nothing_is_named(data, here):
    (here / "list.txt").write_bytes(data)
    with pytest.raises(DataNotFound, match=r"list\.txt: (no picture in it|cannot be read as a list)"):
        sources(["list.txt"], here / "out")


def test_one_name_in_two_folders_gets_the_folders_that_tell_them_apart(here):
    assert names("one/a.png", "two/a.png", out=here / "out") == ["one/a.png", "two/a.png"]
    assert names("one", "two", out=here / "out") == ["one/a.png", "two/a.png", "deep/b.webp"]
    put(here / "x/three/a.png")
    put(here / "y/three/a.png")
    found = names("x/three/a.png", "y/three/a.png", "one/a.png", out=here / "out")
    assert found == ["x/three/a.png", "y/three/a.png", f"{here.name}/one/a.png"]


def test_other_inputs_do_not_change_a_name_that_is_alone(here):
    assert names("two/deep/b.webp", out=here / "out") == ["b.webp"]
    assert names("one/a.png", "two/deep/b.webp", out=here / "out") == ["a.png", "b.webp"]


def test_arrays_are_pictures_where_they_are_named(here):
    (here / "one/c.npy").write_bytes(b"")
    assert names("one/c.npy", out=here / "out") == ["c.npy"]
    assert names("one/*", out=here / "out") == ["a.png", "c.npy"]
    assert names("one", out=here / "out") == ["a.png"]
