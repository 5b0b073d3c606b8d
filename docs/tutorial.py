"""A page of documentation -> its files and commands, done in order: exit code, seconds and output of each.

    python docs/tutorial.py docs/your-own-folder.md     # in a folder of its own; prints what the commands print

Blocks of `python` and `yaml` are files, called by their first line. Each line of an `sh` block is a command, whose exit
code is 0 or what its comment says; a server runs until the page ends. Lines of the `text` block behind it must be among
what the commands print, but for words with a number in them; `...` stands for any words.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = ("python", "yaml")
SERVER = re.compile(r"segtrial serve\b")
READY, LONGEST = "Serving", 120.0
"""What a server says when it answers, and the seconds that it may take to say so."""


@dataclass(frozen=True)
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass(frozen=True)
class Commands:
    """Lines that the reader types, each with its exit code, and lines of what they print together."""

    lines: tuple[tuple[str, int], ...]
    shown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Done:
    """A command that was run: it `fits` if it ended as the page says."""

    command: str
    code: int
    fits: bool
    seconds: float
    output: str


def read(page: str) -> list[File | Commands]:
    """The blocks of a page in their order."""
    blocks: list[File | Commands] = []
    for kind, text in FENCE.findall(page):
        if kind in FILES:
            blocks.append(File(text.split("\n")[0].removeprefix("# "), text))
        elif kind == "sh":
            blocks.append(Commands(tuple(map(_line, text.strip().split("\n")))))
        elif kind == "text" and blocks and isinstance(last := blocks[-1], Commands):
            blocks[-1] = Commands(last.lines, tuple(text.strip("\n").split("\n")))
    return blocks


def follow(
    blocks: Iterable[File | Commands], folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[Done, ...]]:
    """Write the files into `folder` and run the commands there, block by block."""
    with ExitStack() as stack:
        for block in blocks:
            if isinstance(block, File):
                (folder / block.name).write_text(block.text)
                continue
            yield tuple(
                _run(line, code, folder, {**os.environ, **(environment or {})}, stack) for line, code in block.lines
            )


def missing(shown: Iterable[str], output: str) -> list[str]:
    """The lines that nothing of the output is like."""
    return [line for line in shown if not re.search(_pattern(line), output, re.MULTILINE)]


def changed(blocks: Iterable[File | Commands], change: Callable[[str], str]) -> list[File | Commands]:
    """The blocks with their files and commands changed, such as to smaller budgets; what they show stays."""
    return [
        File(block.name, change(block.text))
        if isinstance(block, File)
        else Commands(tuple((change(line), code) for line, code in block.lines), block.shown)
        for block in blocks
    ]


def _line(text: str) -> tuple[str, int]:
    """ "command  # exit code 2" -> (command, 2)."""
    command, _, comment = text.partition("  # ")
    found = re.search(r"exit code (\d+)", comment)
    return command.strip(), int(found[1]) if found else 0


def _pattern(line: str) -> str:
    words = (".*" if word == "..." else r"\S+" if re.search(r"\d", word) else re.escape(word) for word in line.split())
    return r"^\s*" + r"\s+".join(words).replace(r"\s+.*", r".*") + r"\s*$"


def _run(line: str, code: int, folder: Path, environment: Mapping[str, str], stack: ExitStack) -> Done:
    began = time.monotonic()
    if SERVER.match(line):
        output = _serve(line, folder, environment, stack)
        return Done(line, 0, READY in output, time.monotonic() - began, output)
    done = subprocess.run(
        ["bash", "-c", line], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return Done(line, done.returncode, done.returncode == code, time.monotonic() - began, done.stdout)


def _serve(line: str, folder: Path, environment: Mapping[str, str], stack: ExitStack) -> str:
    """What a server says until it answers; it is stopped with the stack."""
    said = folder / "server.log"
    with said.open("w") as log:
        server = subprocess.Popen(["bash", "-c", f"exec {line}"], cwd=folder, env=environment, stdout=log, stderr=log)
    stack.callback(server.wait, 30)
    stack.callback(server.terminate)
    until = time.monotonic() + LONGEST
    while READY not in said.read_text() and server.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    return said.read_text()


def main() -> None:
    """Follow a page, and say what does not fit it."""
    blocks, wrong = read(Path(sys.argv[1]).read_text()), list[str]()
    shown = [block.shown for block in blocks if isinstance(block, Commands)]
    with tempfile.TemporaryDirectory() as place:
        for some, lines in zip(follow(blocks, Path(place)), shown, strict=True):
            for one in some:
                print(f"$ {one.command}\n{one.output}[exit code {one.code}, {one.seconds:.1f} s]\n", flush=True)
                wrong += [] if one.fits else [f"exit code {one.code}: {one.command}"]
            wrong += missing(lines, "".join(one.output for one in some))
    sys.exit("not as the page says:\n" + "\n".join(wrong) if wrong else 0)


if __name__ == "__main__":
    main()
