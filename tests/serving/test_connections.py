"""Clients that are slow, cut off, or speak no HTTP: over real connections, to the server's own protocol."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, suppress

import pytest
from uvicorn.server import ServerState

from segtrial.serving import gate
from segtrial.serving.app import make_app
from segtrial.serving.gate import Door
from segtrial.serving.limits import Limits
from segtrial.serving.server import configuration
from tests.prediction.known import noise
from tests.serving.here import pixels, png, run

IMAGE = noise(12, 17)
BODY = png(IMAGE)
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"


@asynccontextmanager
async def listening(app, limits: Limits):
    """The port of a server with uvicorn's loop left out."""
    config = configuration(app, limits)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: config.http_protocol_class(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(state.connections):
            connection.transport.abort()
        await asyncio.sleep(0.01)


def connected(story, limits: Limits) -> None:
    """Tell the story to a server whose port it is given."""

    async def play(client, service):
        async with listening(make_app(service, Door()), limits) as port, asyncio.timeout(10):
            await story(port, service)
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY)
            assert (pixels(body_of(await reader.read())) == IMAGE.argmax(0)).all(), "nobody else is answered any more"
            assert (service.room.places, service.room.bytes) == (0, 0)
            writer.close()

    run(play, limits=limits)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> bytes:
    return answer.split(b"\r\n\r\n", 1)[1]


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /health HTT",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /hea",  # the second request of a connection
    ],
    ids=["nothing", "a line", "headers", "a second request"],
)
def test_who_sends_headers_too_slowly_is_left(begun):
    """Also if a byte comes now and then."""

    async def story(port, service):
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        end = asyncio.ensure_future(reader.read())
        while not end.done():
            if begun:
                writer.write(b"x")
            await asyncio.sleep(0.03)
        assert time.perf_counter() - start >= 0.15
        writer.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("asyncio.selector_events._SelectorSocketTransport.write", _quiet_write())
        connected(story, Limits(head_seconds=0.15))


def _quiet_write():
    """asyncio warns of writing to a connection that the other side has just cut."""
    from asyncio.selector_events import _SelectorSocketTransport

    write = _SelectorSocketTransport.write
    return lambda self, data: None if self._conn_lost else write(self, data)


def test_many_slow_clients_keep_nobody_waiting(monkeypatch):
    monkeypatch.setattr(gate, "DRAIN_SECONDS", 0.1)

    async def story(port, service):
        slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(100)]
        for index, (_, writer) in enumerate(slow):
            writer.write(POST + b"Content-Length: 1000\r\n\r\nabc" if index % 2 else b"POST /pre")
        await asyncio.sleep(0.02)
        start = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(BODY) + BODY)
        assert status_of(await reader.read()) == 200
        assert time.perf_counter() - start < 0.5
        writer.close()
        answers = await asyncio.gather(*(reader.read() for reader, _ in slow), return_exceptions=True)
        said = [answer for answer in answers if isinstance(answer, bytes) and answer]
        assert {status_of(answer) for answer in said} == {408}
        assert len(said) == 50
        for _, writer in slow:
            writer.close()

    connected(story, Limits(head_seconds=0.7, receive_seconds=0.7, queue=4))


def test_who_sends_too_much_still_sees_the_answer():
    """A server that closed at once would reset the connection, and the answer with it."""

    async def story(port, service):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Content-Length: 3000000\r\n\r\n" + bytes(3_000_000))
        await writer.drain()
        answer = await reader.read()
        assert status_of(answer) == 413
        assert json.loads(body_of(answer))["error"]["what"] == "the body"
        assert b"connection: close" in answer.lower()
        writer.close()

    connected(story, Limits(bytes=2_000_000))


def test_a_refused_request_that_goes_on_for_ever_ends():
    async def story(port, service):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        end = asyncio.ensure_future(reader.read())
        while not end.done():
            writer.write(b"3e8\r\n" + bytes(1000) + b"\r\n")
            await asyncio.sleep(0.001)
        writer.close()

    connected(story, Limits(bytes=5000))


@pytest.mark.parametrize(
    "said",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 2**20 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        POST + b"Content-Length: -5\r\n\r\n",
        POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["TLS", "no version", "a long header", "many headers", "no host", "negative", "two lengths", "no chunk"],
)
def test_what_is_no_http(said):
    async def story(port, service):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(said)
        try:
            answer = await reader.read()
        except ConnectionResetError:  # it was still sending
            answer = b""
        assert answer or len(said) > 16384
        if answer:
            assert status_of(answer) == 400
            assert b"connection: close" in answer.lower()
            assert set(json.loads(body_of(answer))["error"]) == {"what", "found", "fix"}
        writer.close()

    connected(story, Limits(head_seconds=1, receive_seconds=1))


@pytest.mark.parametrize("sent", [10, len(BODY)], ids=["while it sends", "when all is sent"])
def test_who_leaves_frees_all_that_was_held(sent):
    async def story(port, service):
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY[:sent])
            await writer.drain()
            writer.transport.abort()
        while service.metrics.gone + service.metrics.requests["/predict", 200] < 20:
            await asyncio.sleep(0.01)

    connected(story, Limits())


def test_there_are_so_many_connections_and_no_more():
    async def story(port, service):
        first = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0.02)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        for _, each in (*first, (reader, writer)):
            each.close()
        await asyncio.sleep(0.05)

    connected(story, Limits(connections=3))


def test_who_does_not_read_its_answer_is_left():
    ended = []

    async def left(receive):
        while (await receive())["type"] != "http.disconnect":
            pass

    async def endless(scope, receive, send):
        leaving = asyncio.ensure_future(left(receive))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not leaving.done():
            await send({"type": "http.response.body", "body": bytes(2**20), "more_body": True})
            await asyncio.sleep(0)
        ended.append(True)

    async def play():
        async with listening(endless, Limits(receive_seconds=0.2)) as port, asyncio.timeout(10):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while not ended:
                await asyncio.sleep(0.02)
            writer.close()

    asyncio.run(play())
