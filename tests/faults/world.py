"""A way to be wrong, and the folders that it gets -> what must come of it: exit code 2, its message, no trace."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segtrial import cli
from tests import tiny


@dataclass(frozen=True)
class World:
    """One test's own folders: data to break, an `out` that is not there, and a finished run to read."""

    here: Path
    data: Path
    out: Path
    run: Path

    def train(self, *more: str) -> list[str]:
        return tiny.words(self.data, self.out, *more)

    def evaluate(self, model: Path, *more: str) -> list[str]:
        return ["evaluate", str(model), "--data", str(self.data), *more]

    def predict(self, *images: Path) -> list[str]:
        return ["predict", str(self.run), *map(str, images), "--out", str(self.out)]

    def file(self, name: str, content: bytes | str) -> Path:
        path = self.here / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @property
    def image(self) -> Path:
        return self.data / "train/images/1.png"

    @property
    def mask(self) -> Path:
        return self.data / "train/masks/1.png"


Fault = Callable[[World], list[str]]


def fault(table: dict[str, tuple[Fault, str]], message: str) -> Callable[[Fault], Fault]:
    """Enter a way to be wrong, and the message that must come of it."""

    def enter(arrange: Fault) -> Fault:
        table[arrange.__name__.replace("_", " ")] = (arrange, message)
        return arrange

    return enter


def damaged(path: Path, content: bytes) -> None:
    assert path.exists()
    path.write_bytes(content)


def picture(array: np.ndarray, form: str = "png", **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **options)
    return buffer.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file that can be read, hidden ones too; a lock that nobody holds is nothing."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def refused(arrange: Fault, message: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Assert that the command of a fault ends with that message and leaves everything as it was."""
    words = arrange(world)
    before = contents(world.here)
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert re.search(message, " ".join(said.err.split())), said.err
    assert "Traceback" not in said.err, said.err
    assert said.out == ""
    assert contents(world.here) == before
    assert not (world.here / "executed").exists()
