"""Every refusal: the status, the form of its words, and that the server goes on as if nothing had been."""

import asyncio
import io
import json
import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from segtrial.errors import ModelFileError, RecipeError, Refused
from segtrial.serving import decoding
from segtrial.serving.gate import Door, told
from segtrial.serving.limits import Limits, Room
from segtrial.serving.metrics import Histogram, Metrics
from segtrial.serving.network import describe
from segtrial.serving.reload import Served
from segtrial.serving.server import Wish, named
from segtrial.serving.service import Service
from tests.prediction.known import CLASSES, Largest, noise, whole
from tests.serving.here import PNG, Direct, answering, error_of, loaded, pixels, png, read, run

IMAGE = noise(12, 17)
BODY = png(IMAGE)


async def still_answers(client) -> None:
    response = await client.post("/predict", content=BODY, headers=PNG)
    assert (pixels(response.content) == IMAGE.argmax(0)).all()


def refused(status: int, what: str, *, content=BODY, query: str = "", headers=PNG, **options) -> dict[str, str]:
    """The error of one request, after which another one is answered."""
    found = {}

    async def story(client, service):
        response = await client.post(f"/predict{query}", content=content, headers=headers)
        assert response.status_code == status, response.text
        found.update(error_of(response))
        assert found["what"] == what
        assert (service.room.places, service.room.bytes) == (0, 0)
        await still_answers(client)

    run(story, **options)
    return found


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("?answer=pngs", "answer"),
        ("?opacity=2", "opacity"),
        ("?opacity=nan", "opacity"),
        ("?opacity=-inf", "opacity"),
        ("?opacity=", "opacity"),
        ("?model=nobody", "model"),
        ("?model=../../etc/passwd", "model"),
        ("?opactiy=1", "the query"),
    ],
)
def test_wrong_words_of_the_query(query, what):
    assert refused(422, what, query=query)["fix"]


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json", "application/x-www-form-urlencoded"])
def test_a_body_that_says_it_is_no_picture(kind):
    refused(415, "Content-Type", headers={"content-type": kind} if kind else {})


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has side x side pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")


def animated() -> bytes:
    held = io.BytesIO()
    frames = [Image.fromarray(noise(4, 5, seed=seed).transpose(1, 2, 0)) for seed in (0, 1)]
    frames[0].save(held, "GIF", save_all=True, append_images=frames[1:])
    return held.getvalue()


def transparent() -> bytes:
    held = io.BytesIO()
    Image.new("RGBA", (4, 5), (1, 2, 3, 100)).save(held, "PNG")
    return held.getvalue()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"hello, I am called .png", "known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
        (b"http://169.254.169.254/latest/meta-data", "known format"),
        (BODY[: len(BODY) // 2], "truncated"),
        (BODY[:-12], "truncated"),
        (BODY[:8], "damaged"),
        (bomb(60_000), "too large"),
        (bomb(8_001), "too large"),
        (animated(), "2 frames"),
        (transparent(), "transparent"),
        (bytes(1000), "known format"),
    ],
    ids=str,
)
def test_pictures_that_are_none(body, words, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64_000_000)
    assert words in refused(422, "the picture", content=body)["found"]


def test_an_empty_body():
    assert "empty" in refused(400, "the picture", content=b"")["found"]


def form(*parts: tuple[str, bytes], boundary: bytes = b"xx", extra: bytes = b"") -> bytes:
    begun = [
        b"--" + boundary + b"\r\nContent-Disposition: form-data; name=" + name.encode() + b"\r\n" + extra + b"\r\n"
        for name, _ in parts
    ]
    return b"".join(head + data + b"\r\n" for head, (_, data) in zip(begun, parts, strict=True)) + b"--xx--\r\n"


FORMS = {
    "two pictures": (form(("image", BODY), ("image", BODY)), "2 fields"),
    "another field": (form(("file", BODY)), "'file'"),
    "an extra field": (form(("image", BODY), ("model", b"x")), "'model'"),
    "no field": (b"--xx--\r\n", "no field"),
    "no end": (form(("image", BODY))[:-10], "end"),
    "empty": (b"", "end"),
    "no form": (BODY, ""),
    "10000 parts": (form(*[("image", b"1")] * 10_000), "more than 16"),
    "10000 headers": (form(("image", BODY), extra=b"X-A: b\r\n" * 10_000), "cannot be read"),
    "a header of a megabyte": (form(("image", BODY), extra=b"X-A: " + b"b" * 2**20 + b"\r\n"), "cannot be read"),
    "a huge preamble": (b"a" * 2**22 + form(("image", BODY)), ""),
    "line ends only": (b"\r\n" * 2**20, ""),
    "bare line feeds": (b"--xx\nContent-Disposition: form-data; name=image\n\nx\n--xx--\n", ""),
}


@pytest.mark.parametrize("name", FORMS)
def test_malformed_forms(name):
    body, words = FORMS[name]
    start = time.perf_counter()
    found = refused(400, "the form", content=body, headers={"content-type": "multipart/form-data; boundary=xx"})
    assert time.perf_counter() - start < 1
    assert words in found["found"]
    assert "'image'" in found["fix"]


def test_a_form_in_a_form_is_no_picture():
    inner = form(("image", BODY)).replace(b"--xx", b"--yy")
    body = form(("image", inner), extra=b"Content-Type: multipart/form-data; boundary=yy\r\n")
    refused(422, "the picture", content=body, headers={"content-type": "multipart/form-data; boundary=xx"})


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; x"])
def test_a_form_without_a_boundary(kind):
    refused(400, "the form", content=form(("image", BODY)), headers={"content-type": kind})


def test_an_empty_file_in_a_form():
    headers = {"content-type": "multipart/form-data; boundary=xx"}
    assert "empty" in refused(400, "the picture", content=form(("image", b"")), headers=headers)["found"]


async def trickle(pieces: int, pause: float = 0.0, size: int = 1000):
    for _ in range(pieces):
        await asyncio.sleep(pause)
        yield bytes(size)


def test_a_body_that_says_it_is_too_long_is_not_read():
    read_on = []

    async def body():
        async for piece in trickle(3):
            read_on.append(piece)
            yield piece

    headers = {**PNG, "content-length": "5000"}
    found = refused(413, "the body", content=body(), headers=headers, limits=Limits(bytes=2000))
    assert "5000 bytes" in found["found"]
    assert "2000" in found["found"]


def test_a_body_that_becomes_too_long_is_cut_at_the_limit():
    limits = Limits(bytes=2000)
    assert "3000" in refused(413, "the body", content=trickle(100), limits=limits)["found"]


@pytest.mark.parametrize("length", ["-5", "1e3", "٣", "x"])
def test_lengths_that_are_no_numbers(length):
    headers = {**PNG, "content-length": length.encode()}
    refused(400, "Content-Length", content=trickle(1), headers=headers)


def test_a_slow_body():
    limits = Limits(receive_seconds=0.05)
    assert "0.05 seconds" in refused(408, "the body", content=trickle(100, pause=0.02), limits=limits)["found"]


class Slow(Direct):
    """Answers when it is told to."""

    def __init__(self, other: Direct):
        super().__init__(other.hello, other.handle)
        self.go = asyncio.Event()

    async def ask(self, header, buffers=()):
        await self.go.wait()
        return await super().ask(header, buffers)


def test_a_full_queue_says_when_to_come_again():
    staff = Slow(answering())

    async def story(client, service):
        first = [asyncio.create_task(client.post("/predict", content=BODY, headers=PNG)) for _ in range(2)]
        while service.room.places < 2:
            await asyncio.sleep(0)
        third = await client.post("/predict", content=BODY, headers=PNG)
        assert (third.status_code, third.headers["retry-after"]) == (503, "1")
        assert error_of(third)["what"] == "the queue"
        staff.go.set()
        assert {response.status_code for response in await asyncio.gather(*first)} == {200}
        await still_answers(client)

    run(story, staff=staff, limits=Limits(queue=2))


def test_one_client_may_not_have_all_places():
    room = Room(Limits(queue=3, per_client=2))
    with room.place("a"), room.place("a"), room.place("b"):
        with pytest.raises(Refused, match="this client: 2 requests") as caught, room.place("a"):
            pass
        assert (caught.value.status, caught.value.retry) == (429, 1)
        with pytest.raises(Refused, match="the queue: 3 requests") as caught, room.place("c"):
            pass
        assert caught.value.status == 503
    with room.place("a"):
        assert room.places == 1


def test_memory_is_counted_and_given_back():
    limits = Limits(held=len(BODY) + 100)  # the body has room, its image has not
    found = {}

    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers=PNG)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        found.update(error_of(response))
        assert (service.room.places, service.room.bytes) == (0, 0)

    run(story, limits=limits)
    assert found["what"] == "memory"


def test_an_answer_that_takes_too_long():
    staff = Slow(answering())

    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers=PNG)
        assert response.status_code == 504
        assert "0.05 seconds" in error_of(response)["found"]
        assert service.room.places == 0
        staff.go.set()
        await still_answers(client)

    run(story, staff=staff, limits=Limits(seconds=0.05))


def test_a_client_that_leaves_frees_its_place():
    staff = Slow(answering())

    async def story(client, service):
        messages = [{"type": "http.request", "body": BODY}, {"type": "http.disconnect"}]
        sent = []

        async def receive():
            if len(messages) == 1:
                while not service.room.places:
                    await asyncio.sleep(0)
            return messages.pop(0) if messages else await asyncio.Event().wait()

        async def send(message):
            sent.append(message)

        headers = [(b"host", b"localhost"), (b"content-type", b"image/png"), (b"content-length", b"9")]
        scope = {"type": "http", "method": "POST", "path": "/predict", "query_string": b"", "headers": headers}
        app = client._transport.app
        await app({**scope, "scheme": "http", "root_path": "", "client": ("1.2.3.4", 5), "server": None}, receive, send)
        assert (service.room.places, service.room.bytes, service.metrics.gone) == (0, 0, 1)
        staff.go.set()
        await still_answers(client)

    run(story, staff=staff)


def test_a_client_that_leaves_while_it_sends():
    from segtrial.serving.limits import read_body

    async def receive():
        return {"type": "http.disconnect"}

    with pytest.raises(ConnectionResetError):
        asyncio.run(read_body(receive, {}, Limits(), lambda count: None))


class Dying(Direct):
    """Dies of the first `deaths` frames."""

    def __init__(self, other: Direct, deaths: int):
        super().__init__(other.hello, other.handle)
        self.deaths = deaths

    async def ask(self, header, buffers=()):
        if self.deaths:
            self.deaths -= 1
            raise ChildProcessError("killed")
        return await super().ask(header, buffers)


def test_a_network_that_dies_costs_its_requests_and_no_others():
    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers=PNG)
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        assert "process ended" in error_of(response)["found"]
        await still_answers(client)

    run(story, staff=Dying(answering(), 1))


def test_a_picture_that_kills_its_reader_twice_is_refused():
    """Once may have been another picture's fault."""

    async def answered(client, service):
        await still_answers(client)

    run(answered, readers=Dying(read(), 1))
    assert "breaks the decoder" in refused(422, "the picture", readers=Dying(read(), 2))["found"]


def test_decoding_that_takes_too_much_memory(monkeypatch):
    def hungry(*words):
        raise MemoryError

    monkeypatch.setattr(decoding, "decode_image", hungry)
    header, _ = decoding.handle({"kind": decoding.PICTURE, "channels": 3}, [b"x"])
    assert header["refused"][0] == 422


def test_a_fault_of_ours_shows_no_traceback_to_the_client(capsys):
    def broken(header, buffers):
        raise RuntimeError("secret /home/me")

    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers=PNG)
        assert response.status_code == 500
        assert "secret" not in response.text
        error_of(response)

    run(story, readers=Direct({}, broken))
    assert "RuntimeError: secret" in capsys.readouterr().err


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8765"},
        {"host": ""},
        {"host": "[::1"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "http://localhost:8765"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_other_sites_may_not_ask(headers):
    async def story(client, service):
        response = await client.post("/predict", content=BODY, headers={**PNG, **headers})
        assert response.status_code == 403
        error_of(response)
        if "host" in headers:
            assert (await client.get("/models", headers=headers)).status_code == 403

    run(story)


@pytest.mark.parametrize("headers", [{}, {"origin": "http://127.0.0.1:8765", "sec-fetch-site": "same-origin"}], ids=str)
def test_our_own_page_and_programs_may_ask(headers):
    async def story(client, service):
        assert (await client.post("/predict", content=BODY, headers={**PNG, **headers})).status_code == 200
        assert (await client.get("/models", headers={"host": "localhost:8765"})).status_code == 200

    run(story)


TOKEN = "correct horse battery"


def test_with_a_token_only_who_knows_it_is_answered():
    async def story(client, service):
        for path in ("/", "/models", "/metrics", "/page/page.js", "/v2"):
            response = await client.get(path)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith("Basic")
            assert TOKEN not in response.text
        assert (await client.get("/health")).json() == {"schema": 1, "live": True}
        assert (await client.get("/ready")).json() == {"schema": 1, "ready": True}
        for wrong in (TOKEN[:-1], "", TOKEN + "x"):
            assert (await client.get("/models", headers={"authorization": f"Bearer {wrong}"})).status_code == 401
            assert (await client.get("/models", auth=("me", wrong))).status_code == 401
        for damaged in ("Basic ???", f"Digest {TOKEN}", TOKEN, "Basic /w=="):
            assert (await client.get("/models", headers={"authorization": damaged})).status_code == 401
        assert (await client.get("/models", headers={"authorization": f"Bearer {TOKEN}"})).status_code == 200
        assert (await client.get("/models", auth=("me", TOKEN))).status_code == 200

    run(story, door=Door(token=TOKEN))


HIDDEN = (
    *("/page/../app.py", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/%2e%2e%2fapp.py", "/page/..%5capp.py"),
    *("/page//etc/passwd", "/page/%2fetc%2fpasswd", "/page/index.html%00.py", "/page/", "/page", "/etc/passwd"),
    *("/page/index.html/", "/page/../../../../canary", "/static/canary", "/docs", "/openapi.json", "//evil.example"),
    *("/v2/models/..%2f..%2fcanary", "/v2/models/%00", "/page/file:%2f%2f%2fetc%2fpasswd", "/page/C:%5ccanary"),
)


@pytest.mark.parametrize("path", HIDDEN)
def test_no_path_leads_to_other_files(path):
    async def story(client, service):
        request = client.build_request("GET", "http://127.0.0.1:8765/")
        request.url = request.url.copy_with(raw_path=path.encode())
        response = await client.send(request)
        assert response.status_code in (404, 307)
        assert "make_app" not in response.text
        assert "root:" not in response.text
        assert "evil" not in response.headers.get("location", "")

    run(story)


def test_a_method_that_there_is_not():
    async def story(client, service):
        for method, path in (("GET", "/predict"), ("DELETE", "/models"), ("PUT", "/predict"), ("POST", "/metrics")):
            response = await client.request(method, path)
            assert response.status_code == 405
            error_of(response)

    run(story)


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


def test_an_answer_that_nobody_foresaw_leaves_nobody_waiting(capsys):
    def other(header, buffers):
        return {"nothing": 1}, []

    async def story(client, service):
        for _ in range(2):
            assert (await client.post("/predict", content=BODY, headers=PNG)).status_code == 500

    run(story, staff=Direct(describe(loaded()), other))
    assert "KeyError" in capsys.readouterr().err


def test_who_may_enter_is_decided_before_anything_is_loaded(tmp_path):
    models = {"m": tmp_path}
    assert Wish(models).door() == Door(frozenset({"localhost", "127.0.0.1", "::1"}), None)
    for host in ("0.0.0.0", "192.168.1.2", "::"):
        with pytest.raises(RecipeError, match=r"could reach it.*--token.*--anyone"):
            Wish(models, host=host).door()
        assert Wish(models, host=host, anyone=True).door() == Door(None, None)
        assert Wish(models, host=host, token=TOKEN).door() == Door(None, TOKEN)
    assert "pixels.example" in (Wish(models, host="0.0.0.0", token=TOKEN, names=("Pixels.example",)).door().hosts or ())
    with pytest.raises(RecipeError, match="fewer than 8"):
        Wish(models, token="short").door()


def test_models_are_called_as_their_folders(tmp_path):
    for run_folder in ("a", "b"):
        (tmp_path / run_folder).mkdir()
        (tmp_path / run_folder / "model.safetensors").touch()
    (tmp_path / "c.safetensors").touch()
    a, b, c = (str(tmp_path / name) for name in ("a", "b", "c.safetensors"))
    assert list(named([a, f"{b}/model.safetensors", c, f"again={a}"])) == ["a", "b", "c", "again"]
    with pytest.raises(RecipeError, match="'a' is the name of"):
        named([a, a])
    with pytest.raises(RecipeError, match="no model there"):
        named([str(tmp_path)])


def test_what_is_counted():
    """Prometheus' buckets count all values up to their bound."""
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1, 1.5, 7):
        histogram.add(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="1"} 2',
        'x_bucket{le="2"} 3',
        'x_bucket{le="+Inf"} 4',
        "x_sum 10.000000",
        "x_count 4",
    ]

    async def story(client, service):
        await still_answers(client)
        await client.post("/predict", content=b"x", headers=PNG)
        await client.get('/"}%0Afake 1')
        text = (await client.get("/metrics")).text
        assert 'segtrial_requests_total{route="/predict",status="200"} 1' in text
        assert 'segtrial_requests_total{route="/predict",status="422"} 1' in text
        assert 'segtrial_requests_total{route="other",status="404"} 1' in text
        assert 'segtrial_refused_total{reason="the picture"} 1' in text
        assert "segtrial_batch_images_count 1" in text
        assert "segtrial_queue_length 0" in text
        assert "segtrial_ready 1" in text
        assert "fake" not in text

    run(story)


def test_not_ready_while_a_process_is_missing():
    staff = answering()

    async def story(client, service):
        assert (await client.get("/ready")).status_code == 200
        staff.ready = False
        for path in ("/ready", "/v2/health/ready", "/v2/models/known/ready"):
            assert (await client.get(path)).status_code == 503
        assert (await client.get("/health")).status_code == 200

    run(story, staff=staff)


def test_faults_in_one_sentence_or_in_parts():
    error = Refused(429, "this client", "9 requests", "Wait", retry=3)
    status, headers, body = told(error)
    assert (status, json.loads(body)) == (429, {"error": {"what": "this client", "found": "9 requests", "fix": "Wait"}})
    assert (b"retry-after", b"3") in headers
    assert json.loads(told(error, plain=True)[2]) == {"error": "this client: 9 requests. Wait"}


def test_numbers_beyond_a_byte_never_wrap():
    """300 must not become 44."""
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 3, 1, 1], "data": [1, 2, 300]}
    header, _ = decoding.handle({"kind": decoding.TENSORS, "channels": 3}, [json.dumps({"inputs": [tensor]}).encode()])
    assert header["refused"][0] == 422
