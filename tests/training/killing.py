"""Commands -> how they ended, run in forks of one process that is warm already: kills by the hundred.

As a script this is that process: it reads one JSON request a line and answers with one JSON line each. It warms up by
one run of its own on one thread, so that its forks find everything loaded and no thread pool that a fork would break.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from segtrial.files import sha256_file

COMPARED = ("model.safetensors", "metrics.jsonl", "counts/val.npz", "evaluation.json")
"""The files of a run that a kill must not change by a bit."""

FAILPOINTS = (
    "write.open:1", "write.before_sync:1", "write.after_sync:1", "write.after_rename:1",
    "write.open:2", "write.after_rename:2", "write.open:4", "write.before_sync:4", "write.after_sync:4",
    "write.after_rename:4", "write.before_sync:7", "write.after_rename:9",
    "append.before:1", "append.half:1", "append.after:1", "append.before:3", "append.half:3", "append.after:4",
    "checkpoint.before_prune:1", "checkpoint.before_prune:3", "checkpoint.after_prune:1", "checkpoint.after_prune:3",
    "finish.after_model:1", "finish.before_evaluation:1",
)  # fmt: skip
"""Every named moment of `segtrial.files.failpoint`, at early and later passages."""


class Forks:
    """The warm process, asked to run `segtrial ARGV` in a fork of itself."""

    def __init__(self, cache: Path):
        environment = os.environ | {"SEGTRIAL_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(cache / "warm")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def run(self, argv: list[str], *, failpoint: str = "", after: float | None = None, number: int = 9) -> dict:
        """{"code", "seconds", "output"} of one command; `number` is the signal sent `after` seconds, if given."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"argv": argv, "failpoint": failpoint, "after": after, "number": number}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def train_words(out: Path, *extra: str) -> list[str]:
    """A run of a second that saves its state after every step."""
    settings = [
        "checkpoint_seconds=0", "progress_steps=3", "threads=1", "precision=float32", "evaluations=3",
        "phases=[{share: .5, batch: 3, crop: 1.0, scale: [.8, 1.2]}, {share: .5, batch: 2, crop: 1.0, scale: [1, 1]}]",
    ]  # fmt: skip
    words = ["train", "--model", "compact:width=8", "--data", "toytown:scenes=6,frames=2,size=32x48", "--steps", "6"]
    return [*words, "--out", str(out), *(word for each in settings for word in ("--set", each)), *extra]


def digests(run: Path) -> dict[str, str]:
    """SHA-256 of each compared file."""
    return {name: sha256_file(run / name) for name in COMPARED}


def until_done(forks: Forks, words: list[str]) -> dict:
    """Run the same command until it ends by itself."""
    ended = forks.run(words)
    assert ended["code"] == 0, ended
    return ended


def killed_at_random(forks: Forks, run: Path, seconds: float, draw: random.Random, number: int = 9) -> int:
    """Start a run, signal it at a random moment of its `seconds`, finish it; returns how the first start ended."""
    ended = forks.run(train_words(run), after=draw.uniform(0, seconds), number=number)
    until_done(forks, train_words(run))
    return ended["code"]


def _serve(warm: Path) -> None:
    import segtrial.cli

    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        assert segtrial.cli.main(train_words(warm)) == 0
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), segtrial.cli.main)), flush=True)


def _answer(request: dict, main) -> dict:
    reading, writing = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(request, writing, main)
    os.close(writing)
    if request["after"] is not None:
        time.sleep(request["after"])
        os.kill(child, request["number"])
    with os.fdopen(reading, "rb") as pipe:
        output = pipe.read().decode(errors="replace")
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return {"code": code, "seconds": time.monotonic() - start, "output": output[-2000:]}


def _become(request: dict, writing: int, main) -> None:
    """Run the command as if in a process of its own, and never return."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    os.environ["SEGTRIAL_FAILPOINT"] = request["failpoint"]
    code = 1
    try:
        code = main(request["argv"])
    except SystemExit as exit:
        code = exit.code if isinstance(exit.code, int) else 0 if exit.code is None else 1
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
