"""Connections -> HTTP, where a client that sends or reads too slowly is left: uvicorn itself waits for ever."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from segtrial.errors import Refused
from segtrial.serving.gate import told
from segtrial.serving.limits import Limits

HEAD_BYTES, PIECE = 16 * 1024, 2048
"""Of a request's line and headers, at most one piece more."""


def impatient(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol with deadlines for headers and for reading the answer, and a limit of connections."""

    class Impatient(H11Protocol):
        _head: asyncio.TimerHandle | None = None
        _write: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.abort()
            self._expect_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._forget()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            """Headers in small pieces: h11 measures only what it has not understood yet, never one long piece."""
            while data and not self.transport.is_closing():
                piece = data[:PIECE] if self.conn.their_state is h11.IDLE else data
                super().data_received(piece)
                data = data[len(piece) :]
            if self.conn.their_state is h11.IDLE:
                self._expect_head()
            elif self._head is not None:
                self._head.cancel()
                self._head = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._write = self.loop.call_later(limits.receive_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._write is not None:
                self._write.cancel()

        def send_400_response(self, msg: str) -> None:
            fault = Refused(400, "the request", msg.rstrip("."), "Send HTTP/1.1, with headers of at most 16 KiB")
            status, headers, body = told(fault)
            answer = h11.Response(status_code=status, headers=[*headers, (b"connection", b"close")])
            for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()

        def _expect_head(self) -> None:
            if self._head is None:
                self._head = self.loop.call_later(limits.head_seconds, self.transport.abort)

        def _forget(self) -> None:
            for timer in (self._head, self._write):
                if timer is not None:
                    timer.cancel()

    return Impatient
