"""A real `segtrial serve`, its processes and signals; what it survives."""

import asyncio
import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import pytest
import torch

from segtrial import api, cli, modelfile
from segtrial.errors import UserError
from segtrial.hardware import pick_precision
from segtrial.prediction import Asker
from segtrial.serving.workers import Crew
from tests.prediction.known import noise
from tests.serving.here import PNG, pixels, png

ROOT = Path(__file__).parents[2]
SOON = 5.0
"""Seconds within which a request in a process that dies is answered."""


@dataclass
class Running:
    """A server, its address, the file it serves."""

    process: subprocess.Popen
    address: str
    model: Path

    def client(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.address, timeout=30, headers={"authorization": "Bearer sesame, open"})

    def workers(self) -> list[int]:
        """The processes that decode, and those that hold a network."""
        server = below(self.process.pid)
        return [worker for keeper in server for worker in below(keeper)]


def below(process: int) -> list[int]:
    files = Path(f"/proc/{process}/task").glob("*/children")
    return [int(child) for file in files for child in file.read_text().split()]


@contextlib.contextmanager
def serving(model: Path, *words: str, before=None, ends: int = 0) -> Iterator[Running]:
    command = [sys.executable, "-m", "segtrial", "serve", str(model), "--port", "0", "--token", "sesame, open", *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=before)
    try:
        assert process.stdout
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said
        yield Running(process, found[0], model)
        if process.poll() is None:
            process.terminate()
        assert process.wait(30) == ends
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def model(tiny_run, tmp_path) -> Path:
    return Path(shutil.copy(tiny_run / "model.safetensors", tmp_path / "model.safetensors"))


@dataclass
class Expected:
    """What predict answers; where two classes have all but equal scores, either of them."""

    labels: np.ndarray
    near: np.ndarray

    def __eq__(self, found: object) -> bool:
        return bool((self.near | (self.labels == found)).all())


def expected(model: Path, image: np.ndarray) -> Expected:
    loaded = api.load(model)
    pixels = torch.from_numpy(image)
    scores = Asker(loaded.network, loaded.task, pick_precision("auto", loaded.network.mean.device))(pixels[None])[0]
    best = scores.topk(2, 0).values
    return Expected(loaded.task.answer(scores, pixels).values, (best[0] - best[1] < 1e-3).numpy())


def ready(client: httpx2.Client, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while client.get("/ready").status_code != 200:
        assert time.monotonic() < end, "it did not recover"
        time.sleep(0.05)


@pytest.mark.slow
def test_every_process_may_be_killed(model):
    """Requests in it are answered soon, with 503 at worst; all others are right."""
    image = noise(24, 32)
    labels = expected(model, image)
    with serving(model) as server, server.client() as client:
        for number in range(len(server.workers())):
            victim = server.workers()[number]
            os.kill(victim, signal.SIGKILL)
            start = time.monotonic()
            response = client.post("/predict", content=png(image), headers=PNG)
            assert time.monotonic() - start < SOON + 10, "it hung"
            assert response.status_code in (200, 503)
            ready(client)
            assert labels == pixels(client.post("/predict", content=png(image), headers=PNG).content)
        text = client.get("/metrics").text
    assert int(re.search(r"worker_deaths_total (\d+)", text)[1]) == number + 1


@pytest.mark.slow
def test_a_killed_network_fails_only_what_it_was_answering(model):
    images = [noise(24, 32, seed=seed) for seed in range(24)]
    answers = [expected(model, image) for image in images]

    async def story(server: Running):
        headers = {"authorization": "Bearer sesame, open"}
        async with httpx2.AsyncClient(base_url=server.address, timeout=60, headers=headers) as client:
            asked = [asyncio.create_task(client.post("/predict", content=png(i), headers=PNG)) for i in images]
            await asyncio.sleep(0.05)
            for worker in server.workers():
                os.kill(worker, signal.SIGKILL)
            return await asyncio.gather(*asked)

    with serving(model) as server:
        responses = asyncio.run(story(server))
    assert {response.status_code for response in responses} <= {200, 503, 422}  # 422: two readers killed under it
    for labels, response in zip(answers, responses, strict=True):
        if response.status_code == 200:
            assert labels == pixels(response.content)


@pytest.mark.slow
def test_asked_to_stop_it_finishes_what_runs(model):
    image = noise(200, 300)
    labels = expected(model, image)

    async def story(server: Running):
        headers = {"authorization": "Bearer sesame, open"}
        async with httpx2.AsyncClient(base_url=server.address, timeout=60, headers=headers) as client:
            asked = [asyncio.create_task(client.post("/predict", content=png(image), headers=PNG)) for _ in range(20)]
            while not re.search(r"queue_length ([1-9]|1\d)", (await client.get("/metrics")).text):
                await asyncio.sleep(0)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked, return_exceptions=True)

    with serving(model) as server:
        responses = asyncio.run(story(server))
        workers = server.workers()
        assert server.process.wait(30) == 0
    for response in responses:
        if not isinstance(response, httpx2.TransportError):  # of a connection that it had not accepted yet
            assert response.status_code == 200
            assert labels == pixels(response.content)
    assert sum(isinstance(response, httpx2.Response) for response in responses) > 0
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers), "its processes outlive it"


@pytest.mark.slow
def test_killed_it_leaves_no_process_behind(model):
    with serving(model, ends=-signal.SIGKILL) as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait()
    assert workers
    end = time.monotonic() + 10
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def exchanged(model: Path) -> None:
    """The weights of the last layer, the other way round."""
    loaded = api.load(model)
    with torch.no_grad():
        for parameter in list(loaded.network.parameters())[-2:]:
            parameter.mul_(-1)
    modelfile.save(model, loaded.network, loaded.header)


@pytest.mark.slow
def test_a_file_that_changed_is_loaded_while_requests_run(model):
    image = noise(24, 32)
    before = expected(model, image)
    with serving(model) as server, server.client() as client:

        def asked() -> np.ndarray:
            return pixels(client.post("/predict", content=png(image), headers=PNG).content)

        assert before == asked()
        exchanged(model)
        after = expected(model, image)
        assert after != before.labels
        assert before == asked(), "nobody asked it to reload"
        assert client.post("/reload").json() == {"schema": 1, "reloaded": [model.parent.name]}
        assert after == asked()
        model.write_bytes(model.read_bytes()[:-10])
        refused = client.post("/reload")
        assert refused.status_code == 409
        assert str(model.parent) not in refused.json()["error"]["found"]
        assert after == asked()


@pytest.mark.slow
def test_a_signal_reloads_and_a_damaged_file_changes_nothing(model):
    image = noise(24, 32)
    with serving(model) as server, server.client() as client:
        exchanged(model)
        server.process.send_signal(signal.SIGHUP)
        after, end = expected(model, image), time.monotonic() + 60
        while after != pixels(client.post("/predict", content=png(image), headers=PNG).content):
            assert time.monotonic() < end
            time.sleep(0.05)
        model.write_bytes(b"nonsense")
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert after == pixels(client.post("/predict", content=png(image), headers=PNG).content)


@pytest.mark.slow
def test_out_of_file_descriptors_it_recovers(model):
    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))

    image = noise(24, 32)
    with serving(model, before=few) as server, server.client() as client:
        port = int(server.address.rsplit(":", 1)[1])
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
        time.sleep(0.5)
        for each in crowd:
            each.close()
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if client.post("/predict", content=png(image), headers=PNG).status_code == 200:
                    break
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.slow
def test_what_stops_it_before_it_starts(model, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert cli.main(["serve", str(model), "--port", str(taken.getsockname()[1])]) == 2
        assert "--port (0 takes a free one)" in capsys.readouterr().err
    assert cli.main(["serve", str(model), "--host", "0.0.0.0"]) == 2
    assert "--token" in capsys.readouterr().err
    model.write_bytes(b"nonsense")
    assert cli.main(["serve", str(model), "--port", "0"]) == 2
    assert str(model) in capsys.readouterr().err


def _loop(settings):
    """A worker that does as it is told."""

    def handle(header, buffers):
        if header["do"] == "die":
            os._exit(3)
        if header["do"] == "hang":
            time.sleep(60)
        return {"buffers_in": len(buffers)}, buffers

    if settings.get("broken"):
        raise UserError("the model", "broken", "Mend it")
    return {"me": os.getpid()}, handle


@pytest.mark.slow
def test_a_crew_replaces_who_dies_and_ends_who_hangs():
    deaths = []

    async def play():
        crew = await Crew(_loop, {}, size=2, seconds=1, died=lambda: deaths.append(1)).start()
        big = np.arange(2**20, dtype=np.uint8)
        said, (back,) = await crew.ask({"do": "echo"}, [big.data])
        assert (said, back) == ({"buffers_in": 1}, big.tobytes())
        for word in ("die", "hang"):
            with pytest.raises(ChildProcessError):
                await crew.ask({"do": word})
            assert (await crew.ask({"do": "echo"}))[0] == {"buffers_in": 0}
        while len(crew.processes) < 2:
            await asyncio.sleep(0.01)
        left = asyncio.create_task(crew.ask({"do": "echo"}))
        await asyncio.sleep(0)
        left.cancel()  # the worker is not lost by it
        for _ in range(4):
            await crew.ask({"do": "echo"})
        await crew.stop()
        with pytest.raises(UserError, match=r"the model: broken\. Mend it"):
            await Crew(_loop, {"broken": True}, size=1, seconds=1, died=lambda: None).start()

    asyncio.run(play())
    assert len(deaths) == 2


@pytest.mark.slow
def test_the_benchmark_finds_no_fault(tiny_run, tmp_path):
    """A small version of ten thousand requests."""
    out = tmp_path / "serving.json"
    words = ["--requests", "400", "--clients", "16", "--pictures", "60", "--run", str(tiny_run), "--out", str(out)]
    subprocess.run([sys.executable, ROOT / "benchmarks" / "serving.py", *words], check=True, capture_output=True)
    told = json.loads(out.read_text())
    assert (told["wrong_answers"], told["hangs"], told["unplanned"]) == (0, 0, {})
    assert (told["wrong_answers_alone"], told["wrong_answers_plain"]) == (0, 0)
    assert told["good"] > 200
    assert sum(told["hostile"].values()) > 40


def test_the_container_starts_what_there_is():
    text = (ROOT / "Dockerfile").read_text()
    entry = json.loads(re.search(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)[1])
    assert entry[:2] == ["segtrial", "serve"]
    assert entry[entry.index("--port") + 1] == re.search(r"^EXPOSE (\d+)$", text, re.MULTILINE)[1]
    assert "USER segtrial" in text
    sent = set((ROOT / ".dockerignore").read_text().split())
    copied = [*re.search(r"^COPY (pyproject.*) \./$", text, re.MULTILINE)[1].split(), "src"]
    assert sent == {"*", "**/__pycache__", *(f"!{name}" for name in copied)}, "nothing else is sent to the builder"
    assert all((ROOT / name).exists() for name in copied)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {declared["readme"], *declared["license-files"]} <= set(copied), "the package is built from them"
