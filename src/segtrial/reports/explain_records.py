"""The folder of `segtrial explain` in, its index and its images out: numbers from JSON, arrays from .npz.

Damaged files raise RunError.
"""

import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segtrial.classes import Classes
from segtrial.errors import RunError, UserError

INDEX = "explained.json"
AGAIN = "Run the command segtrial explain again to write it anew"

Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Explained:
    """One image: what is told of it, and the arrays that its pictures are drawn from."""

    told: Json
    arrays: Mapping[str, np.ndarray]
    classes: Classes

    @property
    def name(self) -> str:
        """Its name, which is its place below the folder."""
        return str(self.told["name"])


def read_index(folder: Path) -> Json:
    """What the folder holds: the model, names of images, what was skipped, the calibration of a part."""
    return _json(folder / INDEX, ("images", "model", "temperature", "skipped", "calibration"))


def read_image(folder: Path, name: str) -> Explained:
    """One image of the folder."""
    told = _json(folder / f"{name}.json", ("name", "classes", "answer", "targets", "bands", "calibration", "layer"))
    path = folder / f"{name}.npz"
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = dict(held)
        if arrays["image"].ndim != 3:
            raise ValueError(f"an image of shape {arrays['image'].shape}")
        return Explained(told, arrays, Classes.from_json(told["classes"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, UserError) as error:
        raise RunError(path, f"cannot be read ({error})", AGAIN) from error


def _json(path: Path, wanted: tuple[str, ...]) -> Json:
    try:
        told = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise RunError(path, f"cannot be read ({error})", AGAIN) from error
    missing = [name for name in wanted if not isinstance(told, dict) or name not in told]
    if missing:
        raise RunError(path, f"it does not say {', '.join(missing)}", AGAIN)
    return told
