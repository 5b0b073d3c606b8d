"""Downloads: whole or absent, continued when cut, checked always, and never from where they should not come."""

import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segtrial import fetching
from segtrial.errors import DataError, DataNotFound
from segtrial.fetching import RemoteFile, fetch, forget, was_downloaded
from tests.loopback import Page, Site, serving

BODY = np.random.default_rng(0).bytes(50_000)
SHA, MD5 = hashlib.sha256(BODY).hexdigest(), hashlib.md5(BODY).hexdigest()
PATH = "/set.zip"


@pytest.fixture
def site(monkeypatch) -> Iterator[Site]:
    monkeypatch.setattr(fetching, "PAUSE", 0.01)
    monkeypatch.setattr(fetching, "PIECE", 4096)
    with serving() as one:
        one.pages[PATH] = Page(BODY)
        yield one


def remote(site: Site, **known) -> RemoteFile:
    return RemoteFile("set.zip", site.url(PATH), **(known or {"size": len(BODY), "sha256": SHA}))


def get(file: RemoteFile, folder: Path) -> fetching.Fetched:
    return fetch(file, folder, lambda done, total, what: None, "Put it there")


def test_a_file_arrives_whole_and_is_not_fetched_again(site, tmp_path):
    bars = []
    found = fetch(remote(site, sha256=SHA, md5=MD5), tmp_path, lambda *bar: bars.append(bar), "")
    assert found.path.read_bytes() == BODY
    assert (found.size, found.sha256) == (len(BODY), SHA)
    assert bars
    assert {what for _, _, what in bars} == {"set.zip (MB)"}
    assert get(remote(site), tmp_path) == found
    assert len(site.asked) == 1


@pytest.mark.parametrize("known", [{"md5": MD5}, {"size": len(BODY)}, {"size": None}], ids=str)
def test_a_cut_download_is_continued_where_it_ended(site, tmp_path, known):
    site.pages[PATH].cuts = [10_000, 20_000]
    assert get(remote(site, **known), tmp_path).path.read_bytes() == BODY
    assert site.asked == [(PATH, None, None), (PATH, "bytes=10000-", '"one"'), (PATH, "bytes=30000-", '"one"')]


def test_a_download_of_an_earlier_process_is_continued(site, tmp_path):
    site.pages[PATH].cuts = [10_000]
    site.pages[PATH].codes = [200, 404]
    with pytest.raises(DataNotFound, match=r"set\.zip: not there, and http\S+ cannot be fetched .*404.* Put it there"):
        get(remote(site), tmp_path)
    assert (tmp_path / "set.zip.part").stat().st_size == 10_000
    assert not (tmp_path / "set.zip").exists()
    assert get(remote(site), tmp_path).path.read_bytes() == BODY
    assert site.asked[-1][1] == "bytes=10000-"


def test_the_rest_of_another_file_is_never_added(site, tmp_path):
    site.pages[PATH].cuts = [10_000]
    site.pages[PATH].codes = [200, 404]
    with pytest.raises(DataNotFound):
        get(remote(site, size=None), tmp_path)
    other = BODY[::-1]
    site.pages[PATH] = Page(other, tag='"two"')
    assert get(remote(site, size=None), tmp_path).path.read_bytes() == other


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_without_a_name_or_a_checksum_of_the_file_it_starts_anew(site, tmp_path, tag):
    site.pages[PATH].tag, site.pages[PATH].cuts = tag, [10_000]
    assert get(remote(site, size=len(BODY)), tmp_path).path.read_bytes() == BODY
    assert [wanted for _, wanted, _ in site.asked] == [None, None]


def test_a_server_without_ranges_starts_anew(site, tmp_path):
    site.pages[PATH].ranges, site.pages[PATH].cuts = False, [10_000]
    assert get(remote(site), tmp_path).path.read_bytes() == BODY
    assert len(site.asked) == 2


def test_a_slow_server_is_waited_for(site, tmp_path):
    site.pages[PATH].pause = 0.02
    assert get(remote(site), tmp_path).path.read_bytes() == BODY
    assert len(site.asked) == 1


def test_a_silent_server_is_asked_again_and_then_given_up(site, tmp_path, monkeypatch):
    """On a busy machine a first piece may come in time: it is counted from there."""
    monkeypatch.setattr(fetching, "SILENCE", 0.1)
    site.pages[PATH].pause = 0.4
    with pytest.raises(DataNotFound, match=r"cannot be fetched \(.*timed out"):
        get(remote(site), tmp_path)
    starts = [start for _, start, _ in site.asked]
    assert starts.count(starts[-1]) == fetching.FRUITLESS


def test_a_busy_server_is_asked_again(site, tmp_path):
    site.pages[PATH].codes = [503, 429]
    assert get(remote(site), tmp_path).path.read_bytes() == BODY


def test_no_server_is_said_at_once_with_what_to_do(tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/set.zip"
    start = time.monotonic()
    with pytest.raises(DataNotFound, match=r"cannot be fetched \(.*refused.*\)\. Put it there"):
        get(RemoteFile("set.zip", url), tmp_path)
    assert time.monotonic() - start < 2


def test_where_nothing_answers_it_says_so_in_time(tmp_path, monkeypatch):
    assert fetching.CONNECTING < 5
    monkeypatch.setattr(fetching, "CONNECTING", 0.2)
    over = threading.Event()

    def dropped(*_: object, **__: object) -> None:  # as where packets go nowhere
        over.wait(8)
        raise OSError("timed out")

    monkeypatch.setattr(socket, "create_connection", dropped)
    start = time.monotonic()
    with pytest.raises(DataNotFound, match=r"no answer in 0\.2 s"):
        get(RemoteFile("set.zip", "https://example.invalid/set.zip"), tmp_path)
    assert time.monotonic() - start < 1
    over.set()


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"sha256": "0" * 64}, rf"its SHA-256 is {SHA}, and 0{{64}} is published"),
        ({"md5": "0" * 32}, rf"its MD5 is {MD5}, and 0{{32}} is published"),
        ({"size": len(BODY) + 1}, r"50000 bytes, not 50001"),
        ({"size": 40_000}, r"sends more than 40000 bytes"),
    ],
)
def test_a_wrong_file_is_refused_and_not_kept(site, tmp_path, known, message):
    with pytest.raises(DataError, match=message):
        get(remote(site, **known), tmp_path)
    assert not (tmp_path / "set.zip").exists()
    assert not (tmp_path / "set.zip.part").exists()


def test_a_part_that_is_longer_than_the_file_is_thrown_away(site, tmp_path):
    (tmp_path / "set.zip.part").write_bytes(bytes(len(BODY)))
    assert get(replace(remote(site), size=None), tmp_path).path.read_bytes() == BODY


def test_an_empty_answer_is_no_file(site, tmp_path):
    site.pages[PATH] = Page(b"")
    with pytest.raises(DataError, match="0 bytes, not a whole file"):
        get(remote(site, size=None), tmp_path)


@pytest.mark.parametrize("location", ["http://example.com/set.zip", "file:///etc/passwd", "ftp://127.0.0.1/set.zip"])
def test_redirects_to_anything_but_https_are_refused(site, tmp_path, location):
    site.pages[PATH] = Page(location=location)
    with pytest.raises(DataError, match=r"is not an https address|is not allowed"):
        get(remote(site), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_https_site_cannot_redirect_to_this_machine(site):
    import urllib.request

    request = urllib.request.Request("https://example.com/set.zip")
    with pytest.raises(DataError, match=r"example\.com/set\.zip: it redirects to http://127"):
        fetching._OnlySafe().redirect_request(request, None, 302, "", None, site.url(PATH))
    secure = fetching._OnlySafe().redirect_request(request, None, 302, "", {}, "https://example.org/set.zip")
    assert secure.full_url == "https://example.org/set.zip"


def test_redirects_on_this_machine_are_followed(site, tmp_path):
    site.pages["/old"] = Page(location=site.url(PATH))
    assert get(replace(remote(site), url=site.url("/old")), tmp_path).path.read_bytes() == BODY


@pytest.mark.parametrize(
    "url", ["http://example.com/set.zip", "file:///etc/passwd", "set.zip", "HTTP://127.0.0.1.evil/a"]
)
def test_only_https_addresses_are_opened(url, tmp_path):
    with pytest.raises(DataError, match="is not an https address"):
        get(RemoteFile("set.zip", url), tmp_path)


def test_a_file_that_was_put_there_is_checked_taken_and_never_deleted(site, tmp_path):
    path = tmp_path / "set.zip"
    path.write_bytes(BODY[:-1])
    with pytest.raises(DataError, match=r"49999 bytes, not 50000. Remove it, or put the right file there"):
        get(remote(site), tmp_path)
    path.write_bytes(BODY)
    assert get(remote(site), tmp_path).sha256 == SHA
    assert site.asked == []
    forget(path)
    assert path.exists()
    assert not was_downloaded(path)


def test_a_downloaded_file_can_be_forgotten(site, tmp_path):
    path = get(remote(site), tmp_path).path
    assert was_downloaded(path)
    forget(path)
    assert list(tmp_path.iterdir()) == []
