"""A request with a body -> its place, its memory, its deadline and, if the client stays, its answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request, Response

from segtrial.errors import Refused
from segtrial.serving.limits import Receive, read_body
from segtrial.serving.service import Service

T = TypeVar("T")

Work = Callable[[bytes, Callable[[int], None]], Awaitable[Response]]
"""Told the body, and whom to tell of memory that it takes."""


async def answered(request: Request, service: Service, work: Work) -> Response:
    """Reads the body, then does the work in a place of the queue. Raises Refused, of 504 if that takes too long.

    A place is taken when the body is there: slow senders keep nobody waiting.
    """
    limits, client = service.limits, request.client.host if request.client else ""
    with service.room.holding() as more:
        body = await read_body(request.receive, request.headers, limits, more)
        try:
            with service.room.place(client):
                async with asyncio.timeout(limits.seconds):
                    return await while_there(request.receive, work(body, more))
        except TimeoutError as error:
            found = f"no answer within {limits.seconds} seconds"
            raise Refused(504, "the request", found, "Send a smaller picture, or try again later") from error


async def while_there(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`, which is given up if the client leaves: then ConnectionResetError is raised."""
    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ConnectionResetError("the client is gone")
    finally:
        for one in (task, leaving):
            one.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    """A response."""
    return Response(json.dumps(value, allow_nan=False), status, media_type="application/json")


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
