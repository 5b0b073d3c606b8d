"""`segtrial data`: the table says only what is known, and `get` ends with a whole folder or with none."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrial import cli, data_sets, fetching
from segtrial.data import open_dataset
from segtrial.data_sets import SETS, DataSet
from segtrial.errors import DataError, DataNotFound, RunError, UnknownName
from segtrial.fetching import RemoteFile
from segtrial.files import folder_lock
from tests.data.drawn import labels, photo
from tests.loopback import Page, Site, serving

EXECUTABLE = Path(sys.executable)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


NAMES = [f"p{n}" for n in range(4)]
IMAGES = zipped({f"top/{name}.png": png(photo(n, (40, 40))) for n, name in enumerate(NAMES)})
MASKS = zipped({f"top/{name}_m.png": png(labels([0, 7], (40, 40))) for name in NAMES})
DESCRIPTION = "root: top\nmask_suffix: _m\nclasses: [{name: ground, ids: [0]}, {name: thing, ids: [7]}]\n"


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    with serving() as one:
        one.pages |= {"/images.zip": Page(IMAGES), "/masks.zip": Page(MASKS)}
        yield one


@pytest.fixture
def own(site, monkeypatch, tmp_path) -> DataSet:
    """A set in two archives, the second without a published checksum, known to `get` as `own`."""
    files = (
        RemoteFile("images.zip", site.url("/images.zip"), len(IMAGES), hashlib.sha256(IMAGES).hexdigest()),
        RemoteFile("masks.zip", site.url("/masks.zip")),
    )
    one = DataSet(
        "own", "drawn", "segmentation", 4, "none", "Nobody. Nothing.", "https://example.com", files, DESCRIPTION
    )
    monkeypatch.setattr(data_sets, "SETS", (one,))
    monkeypatch.setenv("SEGTRIAL_CACHE", str(tmp_path / "cache"))
    return one


def get(wanted: DataSet, out: Path) -> bool:
    return data_sets.get(wanted, out, lambda done, total, what: None, out.parent / "notes")


def test_the_table_claims_only_what_can_be_true():
    assert [one.name for one in SETS] == sorted({one.name for one in SETS})
    for one in SETS:
        assert one.licence
        assert one.citation.endswith(".")
        assert one.page.startswith("http")
        for file in one.files:
            assert len(file.sha256) in (0, 64)
            assert len(file.md5) in (0, 32)
            assert not file.url or file.url.startswith("https://")
            assert not file.url or file.url.endswith(file.name)


def test_the_list_for_people_and_programs(capsys):
    assert cli.main(["data", "list"]) == 0
    said = capsys.readouterr().out
    assert cli.main(["data", "list", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1
    for one in told["sets"]:
        row = next(line for line in said.splitlines() if line.startswith(f"{one['name']} "))
        assert one["licence"] in row
        assert f" {one['images']} " in row
    by_name = {one["name"]: one for one in told["sets"]}
    assert by_name["cityscapes"]["by_hand"]
    assert by_name["voc2012"]["size"] == 1_999_639_040
    assert by_name["kvasir_seg"]["files"][0]["sha256"] is None


def test_get_makes_a_folder_that_is_read_at_once(own, tmp_path, capsys):
    out = tmp_path / "some" / "where"
    assert cli.main(["data", "get", "own", "--out", str(out)]) == 0
    assert "Licence: none\nCite: Nobody. Nothing." in capsys.readouterr().out
    data = open_dataset(out)
    assert data.classes.names == ("ground", "thing")
    assert sum(len(items) for items in data.parts.values()) == 4
    source = json.loads((out / data_sets.SOURCE).read_text())
    assert source["fetched"]["masks.zip"] == {"size": len(MASKS), "sha256": hashlib.sha256(MASKS).hexdigest()}
    assert sorted(path.name for path in out.parent.iterdir()) == ["where"]


def test_a_second_get_does_nothing(own, site, tmp_path, capsys):
    out = tmp_path / "own"
    assert get(own, out)
    (out / "top" / "p0.png").unlink()
    asked = len(site.asked)
    assert not get(own, out)
    assert len(site.asked) == asked
    assert not (out / "top" / "p0.png").exists()
    assert cli.main(["data", "get", "own", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "name": "own", "folder": str(out), "made": False}


def test_a_folder_of_something_else_is_left_alone(own, tmp_path):
    (tmp_path / "mine").mkdir()
    assert get(own, tmp_path / "mine")  # empty: nothing is lost
    other = replace(own, name="other")
    for out in (tmp_path / "mine", tmp_path):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(DataError, match="it is there already, and not other"):
            get(other, out)
        assert sorted(tmp_path.rglob("*")) == before


def test_the_first_download_is_noted_and_later_ones_compared(own, site, tmp_path):
    assert get(own, tmp_path / "a")
    assert get(own, tmp_path / "b")
    site.pages["/masks.zip"] = Page(zipped({"top/p0_m.png": b""}))
    with pytest.raises(DataError, match=r"masks\.zip: its SHA-256 is .* is noted from the first download, in .*notes"):
        get(own, tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_without_a_network_it_says_which_files_to_put_where_and_takes_them(own, tmp_path):
    lost = replace(own, files=tuple(replace(file, url="http://127.0.0.1:9/x.zip") for file in own.files))
    folder = tmp_path / "own.download"
    said = rf"Fetch images\.zip \(http://127\S+\), masks\.zip \(\S+\), put it into {folder}, and repeat"
    with pytest.raises(DataNotFound, match=said):
        get(lost, tmp_path / "own")
    (folder / "images.zip").write_bytes(IMAGES)
    with pytest.raises(DataNotFound, match=r"Fetch masks\.zip"):
        get(lost, tmp_path / "own")
    (folder / "masks.zip").write_bytes(MASKS)
    assert get(lost, tmp_path / "own")
    assert len(open_dataset(tmp_path / "own").parts["train"]) > 0
    assert sorted(path.name for path in folder.iterdir() if path.suffix == ".zip") == ["images.zip", "masks.zip"]


def test_a_set_to_register_for_names_its_page(tmp_path, own):
    by_hand = replace(own, files=tuple(RemoteFile(file.name) for file in own.files))
    said = r"Fetch images\.zip, masks\.zip from https://example\.com, put it into"
    with pytest.raises(DataNotFound, match=said):
        get(by_hand, tmp_path / "own")


def test_a_hostile_archive_leaves_no_folder(own, site, tmp_path):
    site.pages["/masks.zip"] = Page(zipped({"../evil.txt": b"1"}))
    with pytest.raises(DataError, match="leads out of its folder"):
        get(own, tmp_path / "own")
    assert not (tmp_path / "own").exists()
    assert not list(tmp_path.rglob("evil.txt"))


def test_an_unknown_name_is_answered_with_the_known(own):
    with pytest.raises(UnknownName, match="Did you mean 'own'"):
        data_sets.find("owm")


def test_two_at_once_are_one_and_one_that_waits(own, site, tmp_path):
    with folder_lock(tmp_path / "own.download"), pytest.raises(RunError, match="in use by process"):
        get(own, tmp_path / "own")
    site.pages["/images.zip"].pause = 0.02
    ends: list[object] = []

    def try_it() -> None:
        try:
            ends.append(get(own, tmp_path / "own"))
        except RunError as error:
            ends.append(error)

    both = [threading.Thread(target=try_it) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert ends.count(True) == 1
    assert [path for path, _, _ in site.asked].count("/images.zip") == 1
    assert len(open_dataset(tmp_path / "own").parts["train"]) > 0


CHILD = """
import json, sys
from pathlib import Path
from segtrial import data_sets, fetching
fetching.PIECE = 4096
told = json.loads(sys.argv[1])
files = tuple(fetching.RemoteFile(**file) for file in told["files"])
one = data_sets.DataSet(*told["about"], files, told["description"])
out = Path(sys.argv[2])
data_sets.get(one, out, lambda *bar: None, out.parent / "notes")
"""


@pytest.mark.parametrize(
    "moment", ["fetch.piece:2", "unpack.file:6", "write.before_sync:3", "get.unpacked", "get.renamed"]
)
def test_a_kill_leaves_a_whole_folder_or_none(own, site, tmp_path, moment):
    out = tmp_path / "own"
    files = [vars(file) for file in own.files]
    about = (own.name, own.about, own.task, own.images, own.licence, own.citation, own.page)
    told = {"about": about, "files": files, "description": DESCRIPTION}
    words = [EXECUTABLE, "-c", CHILD, json.dumps(told), str(out)]
    killed = subprocess.run(words, env=os.environ | {"SEGTRIAL_FAILPOINT": moment}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert out.exists() == (moment == "get.renamed")
    asked = len(site.asked)
    assert get(own, out) == (moment != "get.renamed")
    if moment == "fetch.piece:2":
        assert site.asked[asked][1].startswith("bytes=")
    reference = tmp_path / "reference"
    assert get(own, reference)
    found, expected = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (out, reference)
    )
    assert found == expected
    assert not (tmp_path / "own.download").exists()


def test_cifar_becomes_arrays_that_are_read(tmp_path, site):
    rng = np.random.default_rng(0)
    records = {f"data_batch_{n}": rng.integers(0, 256, (4, 3073), np.uint8) for n in range(1, 6)}
    records["test_batch"] = rng.integers(0, 256, (4, 3073), np.uint8)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, data in records.items():
            data[:, 0] = np.arange(4) + (0 if name == "test_batch" else int(name[-1]))
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = data.size
            archive.addfile(info, io.BytesIO(data.tobytes()))
    site.pages["/c.tar.gz"] = Page(stream.getvalue())
    wanted = replace(data_sets.find("cifar10"), files=(RemoteFile("c.tar.gz", site.url("/c.tar.gz")),))
    assert get(wanted, tmp_path / "cifar10")
    data = open_dataset(tmp_path / "cifar10", content="classes")
    assert data.classes.names == data_sets.CIFAR_CLASSES
    assert {part: len(items) for part, items in data.parts.items()}["test"] == 4
    sample = data.read(data.parts["test"][2])
    np.testing.assert_array_equal(sample.image.reshape(-1), records["test_batch"][2, 1:])
    assert set(np.unique(sample.target)) == {records["test_batch"][2, 0]}


def test_the_penn_fudan_description_reads_numbered_people(tmp_path):
    pixels = labels([0, 1, 2, 5])
    for folder, ending, draw in (("PNGImages", "", photo), ("PedMasks", "_mask", lambda _: pixels)):
        (tmp_path / "PennFudanPed" / folder).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(draw(n)).save(tmp_path / "PennFudanPed" / folder / f"p{n}{ending}.png")
    (tmp_path / "data.yaml").write_text(data_sets.find("penn_fudan").description)
    data = open_dataset(tmp_path)
    assert data.classes.names == ("background", "person")
    np.testing.assert_array_equal(data.read(data.parts["train"][0]).target, pixels > 0)
