"""Models whose files change: who may ask for it, and that no request is lost."""

import asyncio
from pathlib import Path

import pytest

from segtrial.errors import ModelFileError, Refused
from segtrial.serving import decoding
from segtrial.serving.gate import Door
from segtrial.serving.limits import Limits
from segtrial.serving.metrics import Metrics
from segtrial.serving.reload import Served
from segtrial.serving.service import Service
from tests.prediction.known import CLASSES, Largest, whole
from tests.serving.here import BODY, IMAGE, TOKEN, Direct, Slow, answering, loaded, read, run


def test_reloading_needs_a_token():
    async def story(client, service):
        assert (await client.post("/reload")).status_code == 403

    run(story)

    async def locked(client, service):
        assert (await client.post("/reload")).status_code == 401
        wrong = {"authorization": "Bearer wrong horse battery"}
        assert (await client.post("/reload", headers=wrong)).status_code == 401
        right = {"authorization": f"Bearer {TOKEN}"}
        assert (await client.post("/reload", headers=right)).json() == {"schema": 1, "reloaded": []}
        foreign = {**right, "origin": "http://evil.example"}
        assert (await client.post("/reload", headers=foreign)).status_code == 403

    run(locked, door=Door(token=TOKEN))


def test_a_changed_file_takes_over_between_requests(tmp_path):
    """Of each request all is answered by one version; what cannot take over leaves the old one in place."""
    file = tmp_path / "model.safetensors"
    mirrored = whole(Largest())
    mirrored.std *= -1
    other_classes = loaded(classes=type(CLASSES).numbered(3))
    hired = []

    async def hire(path: Path) -> Direct:
        kind = path.read_text()
        if kind == "damaged":
            raise ModelFileError(path, "damaged", "Copy the file again")
        model = {"first": loaded(), "mirrored": loaded(mirrored), "other": other_classes}[kind]
        hired.append(answering(model))
        return hired[-1]

    def write(kind: str) -> None:
        file.write_text(kind)

    async def play():
        write("first")
        served = await Served("m", file, hire, lambda size: None).start()
        service = Service({"m": served}, read(), Limits(), Metrics())
        old = served.version
        assert not await served.reload()
        under_way = asyncio.create_task(old.batcher.answer(IMAGE))
        await asyncio.sleep(0)
        for kind, words in (("damaged", "cannot be served: damaged"), ("other", "another classes")):
            write(kind)
            with pytest.raises(Refused, match=words) as caught:
                await service.reload()
            assert str(tmp_path) not in str(caught.value)
            assert (caught.value.status, served.version) == (409, old)
        file.unlink()
        with pytest.raises(Refused, match="gone"):
            await served.reload()
        write("mirrored")
        assert await service.reload() == {"schema": 1, "reloaded": ["m"]}
        assert ((await under_way).values == IMAGE.argmax(0)).all()
        assert ((await served.version.batcher.answer(IMAGE)).values == IMAGE.argmin(0)).all()
        await service.stop()
        assert [one.stopped for one in hired] == [True] * 3

    asyncio.run(play())


def test_a_hundred_new_versions_fail_no_request(tmp_path):
    """Each answer is of one version or the other, and each dismissed version is gone in the end."""
    file = tmp_path / "model.safetensors"
    mirrored = whole(Largest())
    mirrored.std *= -1
    models, hired = (loaded(), loaded(mirrored)), []

    async def hire(path: Path) -> Direct:
        hired.append(answering(models[len(path.read_text()) % 2]))
        return hired[-1]

    async def play():
        file.write_text("x")
        served = await Served("m", file, hire, lambda size: None).start()
        service = Service({"m": served}, read(), Limits(), Metrics())
        seen = set()

        async def asking() -> None:
            while len(hired) < 101:
                found = await service.answers(served.version, {"kind": decoding.PICTURE}, BODY, lambda count: None)
                first, second = ((found.answers[0].values == best(0)).all() for best in (IMAGE.argmax, IMAGE.argmin))
                assert first or second
                seen.add(bool(first))

        clients = [asyncio.create_task(asking()) for _ in range(4)]
        for count in range(2, 102):
            file.write_text("x" * count)
            assert await served.reload()
            await asyncio.sleep(0)
        await asyncio.gather(*clients)
        await service.stop()
        assert (seen, len(hired)) == ({True, False}, 101)
        assert all(one.stopped for one in hired)

    asyncio.run(play())


def test_a_version_stays_for_whoever_has_begun_with_it(tmp_path):
    """A picture is still being decoded when another version takes over."""
    file = tmp_path / "model.safetensors"
    file.write_text("first")
    readers = Slow(read())

    async def hire(path: Path) -> Direct:
        return answering()

    async def play():
        served = await Served("m", file, hire, lambda size: None).start()
        service = Service({"m": served}, readers, Limits(), Metrics())
        old = served.version
        job = {"kind": decoding.PICTURE}
        begun = asyncio.create_task(service.answers(old, job, BODY, lambda count: None))
        await asyncio.sleep(0)
        file.write_text("second version")
        assert await served.reload()
        await asyncio.sleep(0.03)
        assert not old.batcher.staff.stopped
        readers.go.set()
        assert ((await begun).answers[0].values == IMAGE.argmax(0)).all()
        await service.stop()
        assert old.batcher.staff.stopped

    asyncio.run(play())
