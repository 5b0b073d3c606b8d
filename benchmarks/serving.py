"""Requests from many clients, one in five hostile -> wrong answers, hangs, memory; and the speed beside a plain loop.

    python benchmarks/serving.py --out results/serving.json

A real `segtrial serve` in a process tree of its own. Good requests carry pictures of several sizes and kinds, each
different from all others; their label maps are compared, pixel by pixel, with what the same model answers offline.
Pixels whose two best scores differ by less than 1e-3 may differ, and are counted. Beside them all the time: clients
that send a byte a second. Then the good requests alone, to this server and to the peer: the loop that tutorials show,
FastAPI with the network called in the handler.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the requests, which are a file of their own

from benchmarks.serving_requests import head, hostile, pictures, posted

PATIENCE = 60.0
"""Seconds without an answer that count as a hang."""

NEAR = 1e-3
HOSTILE_SHARE, KEPT_OPEN = 0.2, 16


@dataclass
class Picture:
    """A file, the label map that the model has for it offline, and where its two best scores are near each other."""

    body: bytes
    labels: np.ndarray
    near: np.ndarray


@dataclass
class Tally:
    """What came of the requests."""

    good: int = 0
    near_pixels: int = 0
    wrong: int = 0
    hangs: int = 0
    unplanned: Counter = field(default_factory=Counter)
    hostile: Counter = field(default_factory=Counter)
    slow_ended: int = 0
    slow_hung: int = 0
    seconds: list[float] = field(default_factory=list)


def offline(model: Path, bodies: list[bytes]) -> list[Picture]:
    """The answers that the server must give, one picture at a time."""
    import torch

    from segtrial import modelfile
    from segtrial.data.pictures import decode_image
    from segtrial.hardware import pick_precision
    from segtrial.prediction import Asker

    loaded = modelfile.load(model)
    ask = Asker(loaded.network, loaded.task, pick_precision("auto", loaded.network.mean.device))
    found = []
    for body in bodies:
        image = torch.from_numpy(decode_image("picture", body, 3))
        scores = ask(image[None])[0]
        best = scores.topk(2, 0).values
        labels = loaded.task.answer(scores, image).values
        found.append(Picture(body, labels, ((best[0] - best[1]) < NEAR).numpy()))
    return found


async def exchange(port: int, request: bytes, *, leave: bool = False) -> tuple[int, bytes]:
    """One request on a connection of its own -> status and body; (0, b"") if the other side only closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        if leave:
            await writer.drain()
            writer.transport.abort()
            return 0, b""
        return await read_answer(reader)
    except (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError):
        return 0, b""
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    top = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", top)
    return int(top.split(b" ", 2)[1]), await reader.readexactly(int(length[1]) if length else 0)


async def ask_good(connection, picture: Picture, tally: Tally) -> None:
    """One picture over a connection that stays open; its answer is compared."""
    reader, writer = connection
    start = time.perf_counter()
    writer.write(posted(picture.body))
    status, body = await asyncio.wait_for(read_answer(reader), PATIENCE)
    tally.seconds.append(time.perf_counter() - start)
    tally.good += 1
    if status != 200:
        tally.unplanned[status] += 1
        return
    with Image.open(io.BytesIO(body)) as answer:
        labels = np.asarray(answer)
    different = labels != picture.labels if labels.shape == picture.labels.shape else np.ones(1, bool)
    tally.near_pixels += int((different & picture.near).sum()) if different.size > 1 else 0
    tally.wrong += bool((different & ~picture.near).any()) if different.size > 1 else 1


async def ask_hostile(port: int, name: str, request: bytes, planned: tuple[int, ...], tally: Tally) -> None:
    status, _ = await asyncio.wait_for(exchange(port, request, leave=not planned), PATIENCE)
    tally.hostile[name] += 1
    if planned and status not in (*planned, 0):  # 0: the connection was cut, as it may be
        tally.unplanned[f"{name}: {status}"] += 1


async def client(port: int, work: asyncio.Queue, bad: dict, tally: Tally) -> None:
    """One of the clients: takes requests until there are no more."""
    connection = None
    while not work.empty():
        job = work.get_nowait()
        try:
            if isinstance(job, str):
                await ask_hostile(port, job, *bad[job], tally)
            else:
                connection = await ask_over(connection, port, job, tally)
        except TimeoutError:
            tally.hangs += 1
            connection = None
    if connection:
        connection[1].close()


async def ask_over(connection, port: int, job: Picture, tally: Tally):
    """A good request over a connection that is kept; over a new one if the server had closed it, being idle."""
    for last in (False, True):
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", port)
            await ask_good(connection, job, tally)
            return connection
        except (ConnectionError, asyncio.IncompleteReadError):
            connection = None
            if last:
                tally.unplanned["a connection was cut"] += 1
    return None


async def slow(port: int, begun: bytes, deadline: float, tally: Tally) -> None:
    """A client that sends a byte a second; the server must end it by its deadline."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        start, end = time.perf_counter(), asyncio.ensure_future(reader.read())
        while not end.done() and time.perf_counter() - start < deadline + 10:
            await asyncio.sleep(1)
            with contextlib.suppress(ConnectionError):
                writer.write(b"x")
        tally.slow_ended += end.done()
        tally.slow_hung += not end.done()
        end.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await end
        writer.transport.abort()


async def watch_memory(process: int, megabytes: list[float]) -> None:
    """Resident memory of a process and all below it, twice a second (Linux)."""
    while True:
        with contextlib.suppress(OSError):
            megabytes.append(sum(_resident(one) for one in tree(process)) / 1e6)
        await asyncio.sleep(0.5)


def tree(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    children = [child for file in files for child in file.read_text().split()]
    return [process, *(below for child in children for below in tree(int(child)))]


def _resident(process: int) -> int:
    """Private and shared bytes, those that n processes share counted as 1/n of them."""
    told = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    return int(told[1]) * 1024 if told else 0


async def storm(port: int, process: int | None, jobs: list, bad: dict, clients: int, slow_ones: int):
    """All jobs by so many clients; tally, seconds, and the server's memory over time."""
    tally, megabytes = Tally(), []
    work: asyncio.Queue = asyncio.Queue()
    for job in jobs:
        work.put_nowait(job)
    beginnings = (head("/predict", "Content-Type: image/png", length=1000) + b"x", 30.0), (b"POST /predict HTT", 10.0)
    aside = [asyncio.create_task(slow(port, *beginnings[index % 2], tally)) for index in range(slow_ones)]
    if process:
        aside.append(asyncio.create_task(watch_memory(process, megabytes)))
    start = time.perf_counter()
    await asyncio.gather(*(client(port, work, bad, tally) for _ in range(clients)))
    seconds = time.perf_counter() - start
    for task in aside:
        task.cancel()
    await asyncio.gather(*aside, return_exceptions=True)
    return tally, seconds, megabytes


def plain_server(model: str) -> None:
    """The peer: FastAPI, and the network in the handler."""
    import torch
    import uvicorn
    from fastapi import FastAPI, Request, Response

    from segtrial import modelfile
    from segtrial.data.pictures import decode_image
    from segtrial.drawing import label_png
    from segtrial.hardware import keep_memory, pick_precision
    from segtrial.prediction import Asker

    keep_memory()
    loaded = modelfile.load(model)
    ask = Asker(loaded.network, loaded.task, pick_precision("auto", loaded.network.mean.device))
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        image = torch.from_numpy(decode_image("picture", await request.body(), 3))
        answer = loaded.task.answer(ask(image[None])[0], image)
        return Response(label_png(answer.values, loaded.classes), media_type="image/png")

    config = uvicorn.Config(app, port=0, log_level="info", access_log=False)
    uvicorn.Server(config).run()


@contextlib.contextmanager
def server(*words: str, pattern: str):
    """A server's process and its port, which it prints."""
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout
    for line in process.stdout:
        if found := re.search(pattern, line):
            break
    else:
        raise SystemExit(f"no server: {' '.join(words)}")
    try:
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait(30)


def train(folder: Path, model: str) -> Path:
    words = ["train", "--model", model, "--data", "toytown:scenes=8,frames=2,size=32x32", "--steps", "2"]
    command = [sys.executable, "-m", "segtrial", *words, "--out", str(folder / "run"), "--set", "threads=1"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "run"


def speeds(tally: Tally, seconds: float) -> dict[str, float]:
    ordered = sorted(tally.seconds)
    return {
        "requests_per_second": round(tally.good / seconds, 1),
        "p50_ms": round(1000 * statistics.median(ordered), 1),
        "p99_ms": round(1000 * ordered[int(0.99 * (len(ordered) - 1))], 1),
    }


def measure(options: argparse.Namespace, run: Path) -> dict:
    model = run / "model.safetensors"
    known = offline(model, pictures(options.pictures, seed=1))
    bad = hostile(known[0].body)
    rng = random.Random(0)
    jobs = [
        rng.choice(list(bad)) if rng.random() < HOSTILE_SHARE else known[index % len(known)]
        for index in range(options.requests)
    ]
    good = [known[index % len(known)] for index in range(options.requests // 5)]
    ours = (sys.executable, "-m", "segtrial", "serve", f"run={run}", "--port", "0", "--max-mb", "1", "--device", "cpu")
    with server(*ours, "--queue", str(2 * options.clients), pattern=r"http://127\.0\.0\.1:(\d+)") as (process, port):
        tally, seconds, megabytes = asyncio.run(storm(port, process, jobs, bad, options.clients, KEPT_OPEN))
        alone, alone_seconds, _ = asyncio.run(storm(port, None, good, {}, options.clients, 0))
        _, counts = asyncio.run(exchange(port, head("/metrics", method="GET")))
    peer = (sys.executable, __file__, "--plain", str(model))
    with server(*peer, pattern=r"http://127\.0\.0\.1:(\d+)") as (_, port):
        plain, plain_seconds, _ = asyncio.run(storm(port, None, good, {}, options.clients, 0))
    quarter = max(1, len(megabytes) // 4)
    images, batches = (float(re.search(rf"batch_images_{what} (\S+)", counts.decode())[1]) for what in ("sum", "count"))
    return {
        "requests": options.requests,
        "clients": options.clients,
        "good": tally.good,
        "hostile": dict(sorted(tally.hostile.items())),
        "wrong_answers": tally.wrong,
        "near_pixels_that_differ": tally.near_pixels,
        "hangs": tally.hangs + tally.slow_hung,
        "unplanned": dict(tally.unplanned),
        "slow_clients_ended": tally.slow_ended,
        "seconds": round(seconds, 1),
        "mixed": speeds(tally, seconds),
        "memory_mb": {
            "first_quarter": round(statistics.mean(megabytes[:quarter])),
            "last_quarter": round(statistics.mean(megabytes[-quarter:])),
        },
        "images_a_batch": round(images / batches, 2),
        "good_alone": speeds(alone, alone_seconds),
        "plain_fastapi": speeds(plain, plain_seconds),
        "wrong_answers_alone": alone.wrong,
        "wrong_answers_plain": plain.wrong,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=1000, help="different ones")
    parser.add_argument("--model", default="compact:width=4", help="trained for two steps")
    parser.add_argument("--run", type=Path, help="a finished run instead")
    parser.add_argument("--plain", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.plain:
        return plain_server(options.plain)
    with tempfile.TemporaryDirectory() as place:
        found = measure(options, options.run or train(Path(place), options.model))
    record = {
        "schema": 1,
        "what": f"segtrial serve, {options.model} on a CPU: mixed requests, then good ones beside a plain FastAPI loop",
        **found,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
    }
    print(json.dumps(record, indent=2))
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
