"""An Inspection -> data.yaml: the description that train reads, with the mapping that repairs the masks."""

import json
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from segtrial.classes import Color
from segtrial.data.masks import Encoding
from segtrial.errors import DataError, RunError, listing
from segtrial.files import write_atomic
from segtrial.inspection import GUESSABLE, Inspection
from segtrial.shapes import IGNORE

DESCRIBABLE = ("folder", "camvid", "unknown")
CAMVID_GROUP = "([^/_]+)_[^/]*$"
"""The video sequence: what stands before the "_" in the name of a frame."""


def write_description(inspection: Inspection, path: Path, *, force: bool = False) -> str:
    """Write the description of what was inspected to `path`; returns what to look at in it.

    Raises DataError if there is nothing to describe, RunError if `path` is there and `force` is not given.
    """
    if path.exists() and not force:
        raise RunError(path, "it is there already", "Give another name, or --force to write over it")
    text = describe(inspection, path)
    write_atomic(path, text.encode())
    what = "The names of the classes are made up: edit them there" if inspection.guessed else "Look at its classes"
    return f"{what}; {_then(inspection, shlex.quote(str(path)))}"


def _then(inspection: Inspection, path: str) -> str:
    """What to do once the description is edited: a description mends no broken file."""
    mended = GUESSABLE if inspection.guessed else ()
    if any(one.severity == "error" and one.code not in mended for one in inspection.findings):
        return f"mend the other errors above; then: segtrial inspect {path}"
    return f"then: segtrial train --data {path}"


def describe(inspection: Inspection, path: Path) -> str:
    """The text of a description that lies at `path`. Raises DataError for layouts that need none."""
    root, encoding, classes = inspection.understood.root, inspection.encoding, inspection.classes
    dataset = inspection.dataset
    if root is None or (dataset is not None and (dataset.layout not in DESCRIBABLE or encoding is None)):
        fix = "Give the folder itself: segtrial train --data " + inspection.source
        raise DataError(inspection.source, f"the layout {inspection.layout!r} says everything that train needs", fix)
    if dataset is not None and any(note.startswith("described by") for note in dataset.notes):
        raise DataError(inspection.source, "it is described by a data.yaml already", "Edit that file")
    if classes is None or encoding is None:
        faults = listing((one.code for one in inspection.findings if one.severity == "error"), most=5)
        fix = "Mend these first: segtrial inspect " + inspection.source
        raise DataError(inspection.source, f"its masks could not be understood ({faults})", fix)
    lines = [*_suffix(inspection), *_classes(inspection, encoding)]
    if inspection.layout == "camvid":
        lines.append(f"group: {_quoted(CAMVID_GROUP)}  # the video sequence: a split never cuts it")
    head = [f"# Written by segtrial inspect from {root.name}/; every key is explained in docs/data.md."]
    return "\n".join([*head, f"root: {_quoted(_from(path, root))}", *lines]) + "\n"


def _classes(inspection: Inspection, encoding: Encoding) -> Iterator[str]:
    """Names with their colours or values, what is ignored, and the distance within which colours are repaired."""
    assert inspection.classes is not None
    of: dict[int, list[int | Color]] = {}
    for meaning, index in (encoding.colors or encoding.values or {}).items():
        of.setdefault(index, []).append(meaning)
    if inspection.guessed:
        yield "# The names are made up from the masks: put your own in their place."
    yield "classes:"
    for index, name in enumerate(inspection.classes.names):
        key = f"color: {list(_color(of[index][0]))}" if encoding.colors is not None else f"ids: {of[index]}"
        share = f"  # {100 * inspection.shares[index].pixels:.2f} % of the pixels"
        yield f"  - {{name: {_quoted(name)}, {key}}}{share}"
    ignored = [list(one) if isinstance(one, tuple) else one for one in of.get(IGNORE, ())]
    if ignored:
        yield f"ignore: {json.dumps(ignored)}"
    if encoding.tolerance:
        yield f"color_tolerance: {encoding.tolerance:g}  # a colour beside the palette takes the nearest class"


def _color(meaning: int | Color) -> Color:
    assert isinstance(meaning, tuple)
    return meaning


def _suffix(inspection: Inspection) -> Iterator[str]:
    """Which masks are meant, where each image has several."""
    for error in inspection.understood.faults:
        chosen = re.search(r'"mask_suffix: (.+)"$', error.fix)
        if chosen:
            yield f"mask_suffix: {_quoted(chosen[1])}  # each image has several masks: these were chosen"


def _quoted(text: str) -> str:
    """A YAML scalar that means exactly this text."""
    return json.dumps(text, ensure_ascii=False)


def _from(path: Path, root: Path) -> str:
    """The place of the data, from the place of the description."""
    return os.path.relpath(root.resolve(), path.resolve().parent)
