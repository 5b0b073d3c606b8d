"""One cell as a line of JSON -> that cell finished: the process that is started for each of them.

    python -m segtrial.comparison             the line comes on stdin (`pool`, `on_ray`)
    python -m segtrial.comparison FILE N      it is line N of a file, from 0 (`on_slurm`)

The pipe stays open as long as whoever started this lives; when it closes, the run saves its state and ends. Nobody
need wait for a line of a file: its exit code is left beside the file, as N.code.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from segtrial.comparison.cells import Cell, run_cell
from segtrial.errors import Interrupted, UserError
from segtrial.files import write_atomic

USERS = 2


def main(words: Sequence[str]) -> int:
    """Run the cell; returns the exit code, as that of `segtrial train`."""
    if words:
        return _of_file(Path(words[0]), int(words[1]))
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return USERS  # nobody is there any more
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    return _run(Cell.from_json(json.loads(line)))


def _of_file(file: Path, number: int) -> int:
    """Run the cell in a line of a file; what is said goes to the cell's log."""
    code, left = 1, file.with_name(f"{number}.code")
    left.unlink(missing_ok=True)  # of a start before this one
    cell = Cell.from_json(json.loads(file.read_text().splitlines()[number]))
    with cell.log.open("ab") as log:
        os.dup2(log.fileno(), sys.stdout.fileno())
        os.dup2(log.fileno(), sys.stderr.fileno())
    try:
        code = _run(cell)
    finally:
        write_atomic(left, f"{code}\n".encode())
    return code


def _run(cell: Cell) -> int:
    try:
        run_cell(cell)
    except Interrupted as stop:
        return 128 + stop.signal
    except UserError as error:
        print(f"segtrial: {error}", file=sys.stderr, flush=True)
        return USERS
    return 0


def _end_with_the_starter() -> None:
    os.read(0, 1)  # nothing more is ever sent: it returns once the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


sys.exit(main(sys.argv[1:]))
