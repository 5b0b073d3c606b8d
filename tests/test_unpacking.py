"""Archives from strangers: what comes out is what went in, and nothing else is made anywhere."""

import gzip
import io
import stat
import tarfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from segtrial.errors import DataError
from segtrial.unpacking import Limits, unpack

FILES = {"a/x.png": b"one" * 1000, "a/b/y.txt": b"", "z": b"three"}
KINDS = ("zip", "tar", "tar.gz")


def zipped(path: Path, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (modes or {}).get(name, stat.S_IFREG | 0o644) << 16
            archive.writestr(info, data)
    return path


def tarred(path: Path, files: dict[str, bytes], kinds: dict[str, bytes] | None = None) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            info.mode = 0o7777
            info.size, info.linkname = (len(data), "") if info.isreg() else (0, data.decode())
            archive.addfile(info, io.BytesIO(data))
    return path


def packed(kind: str, folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / f"archive.{kind}"
    return zipped(path, files) if kind == "zip" else tarred(path, files)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def into(tmp_path) -> Path:
    (tmp_path / "deep" / "into").mkdir(parents=True)
    return tmp_path / "deep" / "into"


@pytest.mark.parametrize("kind", KINDS)
def test_what_went_in_comes_out(kind, tmp_path, into):
    heard = []
    assert unpack(packed(kind, tmp_path, FILES), into, said=heard.append) == 3
    assert contents(into) == FILES
    assert heard == [1, 2, 3]
    assert not any(path.stat().st_mode & 0o7111 for path in into.rglob("*") if path.is_file())


NAMES = st.text(st.sampled_from("ab./\\: "), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(NAMES, min_size=1, max_size=3, unique=True), kind=st.sampled_from(("zip", "tar")))
def test_no_name_leads_out(tmp_path_factory, names, kind):
    outer = tmp_path_factory.mktemp("outer")
    archive = packed(kind, tmp_path_factory.mktemp("archive"), dict.fromkeys(names, b"data"))
    into = outer / "deep" / "into"
    into.mkdir(parents=True)
    with suppress(DataError):
        unpack(archive, into)
    assert all(path.is_relative_to(into) for path in outer.rglob("*") if path.is_file())
    assert not any(path.is_symlink() for path in outer.rglob("*"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "..\\x", "C:\\x", "\\x"])
def test_names_that_lead_out_are_refused_by_name(kind, name, tmp_path, into):
    with pytest.raises(DataError, match="a name that leads out of its folder"):
        unpack(packed(kind, tmp_path, {name: b"data"}), into)


@pytest.mark.parametrize("kind", ["tar", "tar.gz"])
@pytest.mark.parametrize(
    ("type_", "found"),
    [
        (tarfile.SYMTYPE, "a link to '/etc/passwd'"),
        (tarfile.LNKTYPE, "a link to"),
        (tarfile.CHRTYPE, "no plain file"),
        (tarfile.FIFOTYPE, "no plain file"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(kind, type_, found, tmp_path, into):
    archive = tarred(tmp_path / f"a.{kind}", {"good": b"1", "bad": b"/etc/passwd"}, {"bad": type_})
    with pytest.raises(DataError, match=rf"a\.{kind}: 'bad' in it: {found}"):
        unpack(archive, into)
    assert list(contents(into)) == ["good"]


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFBLK])
def test_links_and_devices_in_a_zip_are_refused(mode, tmp_path, into):
    archive = zipped(tmp_path / "a.zip", {"bad": b"/etc/passwd"}, {"bad": mode | 0o777})
    with pytest.raises(DataError, match=r"'bad' in it: (a link|no plain file)"):
        unpack(archive, into)
    assert contents(into) == {}


def test_an_encrypted_zip_is_refused(tmp_path, into):
    data = bytearray(zipped(tmp_path / "a.zip", {"secret": b"1"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory at the end
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(DataError, match="'secret' in it: encrypted"):
        unpack(tmp_path / "a.zip", into)


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_may_be_there_once(kind, tmp_path, into):
    with pytest.raises(DataError, match="there twice"):
        unpack(packed(kind, tmp_path, {"a//x": b"1", "a/./x": b"2"}), into)
    with pytest.raises(DataError, match="a file and a folder at once"):
        unpack(packed(kind, tmp_path, {"q": b"1", "q/x": b"2"}), into)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused_while_they_grow(kind, tmp_path, into):
    archive = packed(kind, tmp_path, {"zeros": bytes(30_000_000)})
    with pytest.raises(DataError, match="grow out of all proportion"):
        unpack(archive, into, Limits(small=1_000_000))
    assert sum(path.stat().st_size for path in into.rglob("*")) <= archive.stat().st_size * 100 + 1_000_000
    assert unpack(packed(kind, tmp_path, {"ones": bytes(900_000)}), into, Limits(small=1_000_000)) == 1


def test_a_header_that_grows_is_refused_too(tmp_path, into):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("x")
        info.pax_headers = {"comment": "0" * 30_000_000}
        archive.addfile(info)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(raw.getvalue()))
    with pytest.raises(DataError, match="grow out of all proportion"):
        unpack(tmp_path / "a.tar.gz", into, Limits(small=1_000_000))


@pytest.mark.parametrize("kind", KINDS)
def test_too_many_files_are_refused(kind, tmp_path, into):
    archive = packed(kind, tmp_path, {f"{n}": b"" for n in range(11)})
    with pytest.raises(DataError, match="more than 10 files"):
        unpack(archive, into, Limits(files=10))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("left", [0.3, 0.6, 0.9])
def test_cut_archives_are_refused_or_short_of_nothing(kind, left, tmp_path, into):
    files = {f"{n}": bytes([n]) * 5000 for n in range(9)}
    archive = packed(kind, tmp_path, files)
    archive.write_bytes(archive.read_bytes()[: int(left * archive.stat().st_size)])
    with suppress(DataError):
        unpack(archive, into)
        assert contents(into) == files  # a tar ends in zeros, which nobody misses


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>", b"PK\x03\x04rest"])
def test_what_is_no_archive_is_named(content, tmp_path, into):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: (no zip, tar or tar\.gz|damaged)"):
        unpack(tmp_path / "a.zip", into)


def test_an_archive_of_nothing_is_refused(tmp_path, into):
    with pytest.raises(DataError, match="no file in it"):
        unpack(zipped(tmp_path / "a.zip", {"folder/": b""}), into)
