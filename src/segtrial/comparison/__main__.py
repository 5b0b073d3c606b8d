"""One cell as a line of JSON on stdin -> that cell finished: the process that `pool` starts for each of them.

The pipe stays open as long as whoever started this lives; when it closes, the run saves its state and ends.
"""

import json
import os
import signal
import sys
import threading

from segtrial.comparison.cells import Cell, run_cell
from segtrial.errors import Interrupted, UserError

USERS = 2


def main() -> int:
    """Run the cell; returns the exit code, as that of `segtrial train`."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return USERS  # nobody is there any more
    cell = Cell.from_json(json.loads(line))
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
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


sys.exit(main())
