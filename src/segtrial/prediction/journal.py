"""What has been answered into a folder, one line of JSON a picture: a later run knows from it what is left to do.

    OUT/.answers.jsonl
      {"schema": 1, "model": "<sha256>"}
      {"name": "rel/stem", "note": "<sha256>", "outputs": {"rel/stem.png": 1234}, "areas": [...], ...}

`note` stands for the model, the picture's bytes and whatever else decides the answer; `outputs` are the files that
were written and their sizes. The last line about a name counts. A folder holds the answers of one model.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segtrial.errors import RunError
from segtrial.files import append_line, complete_lines, write_atomic

FILE, SCHEMA = ".answers.jsonl", 1
ALONG = ".tif"
"""Written beside the labels where the picture is a GeoTIFF, which nobody knows beforehand."""

Entry = dict[str, Any]


class Notes:
    """What was noted of some pictures of a folder: `lines` has a line of JSON for each name."""

    def __init__(self, out: Path, lines: Mapping[str, str]):
        self._out, self._path = out, out / FILE
        self._lines = dict(lines)  # as text: there may be a million

    def find(self, name: str, note: str, outputs: Sequence[str]) -> bool:
        """Whether the answer is there: noted so, and all of `outputs` as they were written."""
        if name not in self._lines:
            return False
        entry = self[name]
        written: dict[str, int] = entry["outputs"]
        wanted = [*outputs, *(path for path in written if path.endswith(ALONG))]
        return entry["note"] == note and all(written.get(path) == _size(self._out / path) for path in wanted)

    def __getitem__(self, name: str) -> Entry:
        """What was noted last of a picture."""
        return self._parsed(self._lines[name])

    def add(self, entry: Entry) -> None:
        """Note a picture whose outputs are in place."""
        self._lines[entry["name"]] = json.dumps(entry)

    def of(self, names: Iterable[str]) -> dict[str, str]:
        """The lines about these pictures, of those that have one."""
        return {name: self._lines[name] for name in names if name in self._lines}

    def _parsed(self, line: str) -> Entry:
        try:
            return dict(json.loads(line))
        except (ValueError, TypeError) as error:
            fix = "Delete it: the pictures are then answered again"
            raise RunError(self._path, f"damaged ({line!r:.60})", fix) from error


class Journal(Notes):
    """The journal of a folder, which must be locked. Raises RunError if another model has answered into it."""

    def __init__(self, out: Path, model: str):
        super().__init__(out, {})
        lines = complete_lines(self._path)
        head = self._parsed(lines[0]) if lines else {"schema": SCHEMA, "model": model}
        if (head.get("schema"), head.get("model")) != (SCHEMA, model):
            found = f"another model has answered into it (sha256 {head.get('model', 'unknown')!s:.12})"
            raise RunError(out, found, "Choose another --out, or delete the folder")
        self._lines = {self._parsed(line)["name"]: line for line in lines[1:]}
        self._rewrite(head)

    def add(self, entry: Entry) -> None:
        """Note a picture whose outputs are in place, on disk too."""
        super().add(entry)
        append_line(self._path, self._lines[entry["name"]])

    def _rewrite(self, head: Entry) -> None:
        """Leave out half a last line, and what counts no longer."""
        write_atomic(self._path, "".join(f"{line}\n" for line in (json.dumps(head), *self._lines.values())).encode())


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1
