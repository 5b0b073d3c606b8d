"""A search as a line of JSON on stdin -> its trials, tried until none is left: what `helpers` starts.

The pipe stays open as long as whoever started this lives; when it closes, the trial saves its state and this ends.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from segtrial import hardware
from segtrial.errors import Interrupted, UserError
from segtrial.files import held
from segtrial.signals import listening
from segtrial.training.watch import Silent
from segtrial.tuning import storage
from segtrial.tuning.attempt import trained
from segtrial.tuning.rule import read_rule
from segtrial.tuning.search import search
from segtrial.tuning.study import LOCK, Study

USERS = 2


def main() -> int:
    """Take trials; returns the exit code, as that of `segtrial train`."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return USERS  # nobody is there any more
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    told = json.loads(line)
    try:
        _search(Path(told["folder"]), told["storage"], told["wanted"])
    except Interrupted as stop:
        return 128 + stop.signal
    except UserError as error:
        print(f"segtrial: {error}", file=sys.stderr, flush=True)
        return USERS
    return 0


def _search(folder: Path, words: str | None, wanted: int) -> None:
    hardware.keep_memory()
    rule = read_rule(folder)
    assert rule is not None, "whoever starts this has written it"
    with listening() as stop:
        with held(folder / LOCK, stop.raise_if_asked):
            study = Study(rule, folder, storage.opened(words, folder))
        search(study, wanted, trained, Silent(), stop)


def _end_with_the_starter() -> None:
    os.read(0, 1)  # nothing more is ever sent: it returns once the other end is closed
    os.kill(os.getpid(), signal.SIGTERM)


sys.exit(main())
