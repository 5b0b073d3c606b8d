"""Paths of the server -> what answers them: the page, models, predictions, health, metrics, reload.

GET  /  /page/...                    the page in the browser
GET  /models                         names, classes, limits
POST /predict?model=&answer=&opacity= an image in; a PNG or JSON out
GET  /health  /ready  /metrics       for whoever watches over it
POST /reload                         models whose files changed, with the token
/v2...                               see `v2`
"""

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from segtrial.errors import Refused, UserError, nearest
from segtrial.serving import answers, metrics, v2
from segtrial.serving.decoding import FORM, PICTURE
from segtrial.serving.exchange import answered, as_json
from segtrial.serving.gate import App, Door, Gate, told
from segtrial.serving.service import Service

PAGE = Path(__file__).parent / "page"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""Files of the page; others are not served."""

WORDS = ("model", "answer", "opacity")
"""Of a query."""


def make_app(service: Service, door: Door) -> App:
    """The application: who comes passes the door first."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for kind in (UserError, HTTPException, Exception):
        app.add_exception_handler(kind, partial(_handle, service))
    _add_page(app)
    _add_watching(app, service)
    _add_models(app, service)
    _add_reload(app, service, door)
    v2.add(app, service)
    return Gate(app, door, service.limits, service.metrics)


async def _handle(service: Service, request: Request, fault: Exception) -> Response:
    """A fault's answer, in the form that its path has."""
    if isinstance(fault, HTTPException):
        fix = "See GET /models, and the page at /" if fault.status_code == 404 else "Use another method"
        fault = Refused(fault.status_code, "the path", str(fault.detail).lower(), fix)
    if isinstance(fault, Refused):
        service.metrics.refused[fault.place] += 1
    status, headers, body = told(fault, plain=request.url.path.startswith("/v2"))
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def _add_page(app: FastAPI) -> None:
    files = {path.name: path for path in PAGE.glob("*") if path.suffix in TYPES}  # of no other is a byte ever sent

    @app.get("/")
    async def index() -> Response:
        return await page("index.html")

    @app.get("/page/{name}")
    async def page(name: str) -> Response:
        if name not in files:
            raise Refused(404, "the page", "it has no such file", "Open /")
        return Response(files[name].read_bytes(), media_type=TYPES[files[name].suffix])


def _add_watching(app: FastAPI, service: Service) -> None:
    @app.get("/health")
    async def health() -> Response:
        return as_json({"schema": 1, "live": True})

    @app.get("/ready")
    async def ready() -> Response:
        return as_json({"schema": 1, "ready": service.ready}, 200 if service.ready else 503)

    @app.get("/metrics")
    async def counts() -> Response:
        return Response(service.metrics.text(), headers={"content-type": metrics.TYPE})


def _add_models(app: FastAPI, service: Service) -> None:
    most = {"bytes": service.limits.bytes, "pixels": service.limits.pixels}

    @app.get("/models")
    async def models() -> Response:
        listed = [{**served.described(), "limits": most} for served in service.models.values()]
        return as_json({"schema": 1, "models": listed})

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        wanted = _Wanted(request.query_params)
        job = job_of(request.headers)
        served = service.model(wanted.model)

        async def work(body: bytes, more: Callable[[int], None]) -> Response:
            start = time.monotonic()
            version = served.version
            found = await service.answers(version, job, body, more)
            return await service.draw(
                partial(_drawn, wanted, served.name, version.task, found.images[0], found.answers[0], start)
            )

        return await answered(request, service, work)


def _add_reload(app: FastAPI, service: Service, door: Door) -> None:
    @app.post("/reload")
    async def reload() -> Response:
        if door.token is None:
            fix = "Start the server with --token, or send it SIGHUP"
            raise Refused(403, "/reload", "this server has no token", fix)
        return as_json(await service.reload())


class _Wanted:
    """The words of a query. Raises Refused (422) for others."""

    def __init__(self, query: Mapping[str, str]):
        for word in query:
            if word not in WORDS:
                fix = f"{nearest(word, WORDS)}There are {', '.join(WORDS)}"
                raise Refused(422, "the query", f"{word[:40]!r} is no word of it", fix)
        self.model = query.get("model")
        self.answer = query.get("answer", "png")
        if self.answer not in answers.KINDS:
            fix = f"{nearest(self.answer, answers.KINDS)}Choose {', '.join(answers.KINDS)}"
            raise Refused(422, "answer", f"{self.answer[:40]!r}", fix)
        self.opacity = _opacity(query.get("opacity", str(answers.OPACITY)))


def _opacity(word: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:  # also where it is NaN
        raise Refused(422, "opacity", f"{word[:40]!r}", "Choose a number from 0 (the image) to 1 (the colours)")
    return value


def job_of(headers: Mapping[str, str]) -> dict[str, Any]:
    """How to read a body, by its type. Raises Refused (415)."""
    kind = headers.get("content-type", "")
    if kind.lower().startswith("image/"):
        return {"kind": PICTURE}
    if kind.lower().startswith("multipart/form-data"):
        return {"kind": FORM, "type": kind[:1000]}
    fix = "Send the file with its type, such as image/png, or a form (multipart/form-data) with the field image"
    raise Refused(415, "Content-Type", repr(kind[:80]) if kind else "none", fix)


def _drawn(wanted: _Wanted, name: str, task: Any, image: Any, answer: Any, start: float) -> Response:
    if wanted.answer != "json":
        return Response(answers.picture(wanted.answer, task, image, answer, wanted.opacity), media_type="image/png")
    record = answers.record(name, task, image, answer)
    return as_json({**record, "seconds": round(time.monotonic() - start, 6)})
