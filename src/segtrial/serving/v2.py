"""The Open Inference Protocol, version 2, in JSON: what clients of Triton, KServe and others speak.

https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md. Input: `images`, UINT8,
[b, c, h, w]. Outputs: what the task answers, first and by default: `labels`, UINT8, [b, h, w] (multilabel: `masks`,
[b, k, h, w]; classifiers: `probabilities`, FP32, [b, k]; colours: `photos`, FP32, [b, 3, h, w]); and `confidence`,
FP32, [b, h, w], where there is one and it is asked for. Errors are one sentence, as the protocol has them.
"""

from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response

from segtrial.errors import Refused
from segtrial.serving.decoding import INPUT, TENSORS
from segtrial.serving.exchange import answered, as_json
from segtrial.serving.reload import Served
from segtrial.serving.service import Answers, Service
from segtrial.tasks import Task

CONFIDENCE = "confidence"


def add(app: FastAPI, service: Service) -> None:
    """Adds the routes."""

    @app.get("/v2")
    async def server() -> Response:
        return as_json({"name": "segtrial", "version": version("segtrial"), "extensions": []})

    @app.get("/v2/health/live")
    async def live() -> Response:
        return as_json({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> Response:
        return as_json({"ready": service.ready}, 200 if service.ready else 503)

    @app.get("/v2/models/{name}")
    async def metadata(name: str) -> Response:
        return as_json(_metadata(_model(service, name)))

    @app.get("/v2/models/{name}/ready")
    async def model_ready(name: str) -> Response:
        there = _model(service, name).ready
        return as_json({"name": name, "ready": there}, 200 if there else 503)

    @app.post("/v2/models/{name}/infer")
    async def infer(name: str, request: Request) -> Response:
        served = _model(service, name)
        kind = request.headers.get("content-type", "application/json")
        if not kind.lower().startswith("application/json") or "inference-header-content-length" in request.headers:
            raise Refused(415, "Content-Type", repr(kind[:80]), "Send application/json, without the binary extension")

        async def work(body: bytes, more: Callable[[int], None]) -> Response:
            now = served.version
            found = await service.answers(now, {"kind": TENSORS}, body, more)
            return await service.draw(partial(_answer, name, now.task, found))

        return await answered(request, service, work)


def _model(service: Service, name: str) -> Served:
    if name not in service.models:
        raise Refused(404, "model", f"{name[:80]!r} is not served here", f"There are {', '.join(service.models)}")
    return service.models[name]


def _outputs(task: Task) -> dict[str, tuple[str, list[int]]]:
    """Type and shape of each output, -1 where it depends on the images."""
    classes = len(task.classes)
    first = {
        "classes": {"probabilities": ("FP32", [-1, classes])},
        "photos": {"photos": ("FP32", [-1, 3, -1, -1])},
        "masks": {"labels": ("UINT8", [-1, -1, -1])},
    }[task.content]
    if task.content != "masks":
        return first
    several = {"masks": ("UINT8", [-1, classes, -1, -1])} if task.name == "multilabel" else first
    return {**several, CONFIDENCE: ("FP32", [-1, -1, -1])}


def _metadata(served: Served) -> dict[str, Any]:
    current = served.version
    outputs = [
        {"name": name, "datatype": kind, "shape": shape} for name, (kind, shape) in _outputs(current.task).items()
    ]
    inputs = [{"name": INPUT, "datatype": "UINT8", "shape": [-1, current.info["channels"], -1, -1]}]
    return {
        "name": served.name,
        "versions": [current.info["digest"][:12]],
        "platform": "segtrial_pytorch",
        "inputs": inputs,
        "outputs": outputs,
    }


def _answer(name: str, task: Task, found: Answers) -> Response:
    there = _outputs(task)
    wanted = found.asked["outputs"] or [next(iter(there))]
    unknown = [output for output in wanted if output not in there]
    if unknown:
        raise Refused(422, "outputs", f"{unknown[0][:40]!r}", f"Choose among {', '.join(there)}")
    outputs = []
    for output in dict.fromkeys(wanted):
        arrays = [one.confidence if output == CONFIDENCE else one.values for one in found.answers]
        values = np.stack(arrays)  # type: ignore[arg-type]
        plain = values.astype(np.uint8) if values.dtype == bool else values
        outputs.append(
            {"name": output, "datatype": there[output][0], "shape": plain.shape, "data": plain.ravel().tolist()}
        )
    told = {"model_name": name, "outputs": outputs}
    return as_json(told if found.asked["id"] is None else {**told, "id": found.asked["id"]})
