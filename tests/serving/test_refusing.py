"""Every refusal: the status, the form of its words, and that the server goes on as if nothing had been."""

import asyncio
import io
import struct
import time
import zlib

import pytest
from PIL import Image

from segtrial.errors import Refused
from segtrial.serving import decoding
from segtrial.serving.limits import Limits, Room
from segtrial.serving.network import describe
from tests.prediction.known import noise
from tests.serving.here import BODY, PNG, Direct, Slow, answering, error_of, loaded, read, run, still_answers


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
        (b"hello, I am called .png", "not a picture but text"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "text"),
        (b"http://169.254.169.254/latest/meta-data", "text"),
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
        assert "0.5 seconds" in error_of(response)["found"]
        assert service.room.places == 0
        staff.go.set()
        await still_answers(client)

    run(story, staff=staff, limits=Limits(seconds=0.5))


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


def test_an_answer_that_nobody_foresaw_leaves_nobody_waiting(capsys):
    def other(header, buffers):
        return {"nothing": 1}, []

    async def story(client, service):
        for _ in range(2):
            assert (await client.post("/predict", content=BODY, headers=PNG)).status_code == 500

    run(story, staff=Direct(describe(loaded()), other))
    assert "KeyError" in capsys.readouterr().err
