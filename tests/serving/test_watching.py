"""Model files that are watched, and what takes a process's place: a bad file is tried once and never served."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from segtrial.errors import ModelFileError, Refused
from segtrial.serving import server
from segtrial.serving.limits import Limits
from segtrial.serving.metrics import Metrics
from segtrial.serving.reload import Served
from segtrial.serving.service import Service
from segtrial.serving.workers import Crew
from tests.serving.here import Direct, answering, read


def play(story: Callable[..., Awaitable[None]], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell the story with a server that watches the file `path`, and the words that were loaded from it."""
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.002)
    loads: list[str] = []

    async def hire(path: Path) -> Direct:
        loads.append(path.read_text())
        if loads[-1].startswith("damaged"):
            raise ModelFileError(path, "damaged", "Copy the file again")
        if loads[-1].startswith("too many"):
            raise OSError(24, "Too many open files")
        return answering()

    async def told() -> None:
        path.write_text("first")
        served = await Served("m", path, hire, lambda size: None).start()
        service = Service({"m": served}, read(), Limits(), Metrics())
        watching = asyncio.create_task(server._watch(service))
        await story(served, loads)
        assert not watching.done()
        watching.cancel()
        await service.stop()

    asyncio.run(told())


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.002)


def test_a_watched_file_is_loaded_when_it_changes_and_only_then(tmp_path, monkeypatch, capsys):
    async def story(served, loads):
        await asyncio.sleep(0.02)
        assert loads == ["first"]
        old, path = served.version, tmp_path / "m.safetensors"
        path.write_text("second version")
        await until(lambda: served.version is not old)
        await asyncio.sleep(0.02)
        assert loads == ["first", "second version"]

    play(story, tmp_path / "m.safetensors", monkeypatch)
    assert capsys.readouterr().err == "segtrial: loaded anew: m\n"


@pytest.mark.parametrize("trouble", ["damaged", "too many open files", "gone"])
def test_a_watched_file_that_cannot_be_served_is_tried_once_and_watched_on(trouble, tmp_path, monkeypatch, capsys):
    async def story(served, loads):
        old, path = served.version, tmp_path / "m.safetensors"
        path.unlink() if trouble == "gone" else path.write_text(trouble)
        await until(lambda: "the old one is kept" in capsys.readouterr().err)
        await asyncio.sleep(0.05)
        assert "the old one" not in capsys.readouterr().err, "it is tried again and again"
        assert served.version is old
        path.write_text("third, which is sound")
        await until(lambda: served.version is not old)
        assert len(loads) == (2 if trouble == "gone" else 3)

    play(story, tmp_path / "m.safetensors", monkeypatch)


def test_a_file_that_changes_while_it_is_loaded_is_loaded_again(tmp_path, monkeypatch):
    """As when training ends just then: neither the start of a server nor that of watching may miss it."""
    monkeypatch.setattr(server, "LOOK_SECONDS", 0.002)
    path, loads = tmp_path / "m.safetensors", []

    async def hire(path: Path) -> Direct:
        loads.append(path.read_text())
        path.write_text("second version")
        return answering()

    async def told() -> None:
        path.write_text("first")
        served = await Served("m", path, hire, lambda size: None).start()
        service = Service({"m": served}, read(), Limits(), Metrics())
        watching = asyncio.create_task(server._watch(service))
        await until(lambda: loads[-1] == "second version")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await service.stop()

    asyncio.run(told())


def test_who_asks_for_a_reload_asks_again(tmp_path):
    """Only watching is content with one look."""
    path = tmp_path / "m.safetensors"

    async def hire(path: Path) -> Direct:
        if path.read_text() != "first":
            raise OSError(12, "Cannot allocate memory")
        return answering()

    async def told() -> None:
        path.write_text("first")
        served = await Served("m", path, hire, lambda size: None).start()
        path.write_text("second")
        for _ in range(2):
            with pytest.raises(Refused, match="no process can be started") as caught:
                await served.reload()
            assert (caught.value.status, caught.value.retry) == (503, 10)
        await served.stop()

    asyncio.run(told())


def _worker(settings):
    """One that says of itself what its file says, as the process of a network does."""
    said = Path(settings["path"]).read_text()

    def handle(header, buffers):
        if header["do"] == "die":
            os._exit(3)
        return {"said": said}, []

    return {"classes": said.split()[0], "weights": said.split()[1]}, handle


@pytest.mark.slow
def test_a_process_that_dies_is_not_replaced_by_one_with_other_classes(tmp_path, capfd):
    path = tmp_path / "m.txt"

    async def told() -> None:
        path.write_text("cats 1")
        crew = Crew(_worker, {"path": str(path)}, size=1, seconds=5, died=lambda: None, same=("classes",))
        await crew.start()
        path.write_text("dogs 1")
        with pytest.raises(ChildProcessError):
            await crew.ask({"do": "die"})
        waiting = asyncio.create_task(crew.ask({"do": "tell"}))
        async with asyncio.timeout(60):
            while "another classes" not in capfd.readouterr().err:
                await asyncio.sleep(0.05)
        assert not crew.ready
        path.write_text("cats 2")
        assert (await waiting)[0] == {"said": "cats 2"}
        await crew.stop()

    asyncio.run(told())
