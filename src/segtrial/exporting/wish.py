"""Words of a command line -> what file is to be made, checked before any work; made files -> their place."""

import importlib.util
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from segtrial.errors import RunError, UnknownName, UserError, install, listing
from segtrial.files import write_atomic

MOST_LOST = 0.5
"""Points of mIoU (hundredths) that a file may lose and still be written."""


@dataclass(frozen=True)
class Format:
    """A kind of file: how its name ends and the names of those beside it; what it may compute in, the usual first; the
    packages that make it, and the extras that bring them."""

    suffix: str
    precisions: tuple[str, ...]
    beside: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()


_ONNX = ("onnx", "onnxscript", "onnxruntime")

FORMATS = {
    "onnx": Format(".onnx", ("fp32", "int8"), (), _ONNX, ("export",)),
    "openvino": Format(
        ".xml", ("fp32", "bf16", "int8"), (".bin",), (*_ONNX, "openvino", "nncf"), ("export", "openvino")
    ),
    "torch": Format(".pt2", ("fp32",)),
}

PRECISIONS = ("fp32", "bf16", "int8")


@dataclass(frozen=True)
class Wish:
    """What is to be made. Raises UserError if there is no such format or precision, if packages are missing, or if
    `out` cannot be written."""

    format: str
    out: Path
    precision: str = "fp32"
    most_lost: float | int = MOST_LOST
    force: bool = False

    def __post_init__(self) -> None:
        for kind, word, known in (("format", self.format, FORMATS), ("precision", self.precision, PRECISIONS)):
            if word not in known:
                raise UnknownName(kind, word, known)
        _require_precision(self.format, self.precision)
        _require_packages(self.format)
        if not self.most_lost >= 0:
            raise UserError("--most-loss", f"{self.most_lost}", "Give points of mIoU (hundredths), 0 or more")
        suffix = FORMATS[self.format].suffix
        if self.out.suffix != suffix:
            fix = f"Use --out {self.out.with_name(self.out.name + suffix)}"
            raise UserError(f"--out {self.out}", f"a file for {self.format} ends in {suffix}", fix)
        _require_place(self.out)

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that there will be; last the one that is opened, `out`."""
        return (*(self.out.with_suffix(suffix) for suffix in FORMATS[self.format].beside), self.out)


def put(made: Mapping[Path, bytes]) -> None:
    """Write the files so that the last one is there, at any moment, only with the others that belong to it."""
    *beside, last = made
    if beside:
        last.unlink(missing_ok=True)
    for path, data in made.items():
        write_atomic(path, data)


def _require_precision(name: str, precision: str) -> None:
    there = FORMATS[name].precisions
    if precision not in there:
        others = [other for other, kind in FORMATS.items() if precision in kind.precisions]
        fix = f"Use --precision {' or '.join(there)}, or --format {' or '.join(others)}"
        raise UserError(f"--format {name}", f"it cannot compute in {precision}", fix)


def _require_packages(name: str) -> None:
    kind = FORMATS[name]
    missing = [package for package in kind.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"--format {name}", f"not installed: {listing(missing)}", install(*kind.extras))


def _require_place(out: Path) -> None:
    """Minutes of work are not begun for a file that cannot be written."""
    with suppress(OSError):
        out.parent.mkdir(parents=True, exist_ok=True)
    if out.is_dir() or not (out.parent.is_dir() and os.access(out.parent, os.W_OK)):
        found = "it is a folder" if out.is_dir() else f"{out.parent} cannot be written"
        raise RunError(f"--out {out}", found, "Name a file in a folder with write access")
