"""A repository -> the seconds and exit code of each step of a newcomer, from a fresh clone to a served model.

    python benchmarks/newcomer.py --out results/newcomer.json
    python benchmarks/newcomer.py --out results/newcomer.json --cached        # packages come from uv's cache

The steps are those of the README and of docs/your-own-folder.md, as they stand in the clone: clone, install, demo, a
folder made and inspected, training, two networks compared, predicting, explaining, exporting, serving. Where there is
a Chromium, it opens the pages. Packages (without `--cached`), decoded data and compiled Python all start from nothing.
Some ten minutes on two cores beside the installation. Port 8765 must be free.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import tutorial  # noqa: E402

from segtrial.files import write_json  # noqa: E402

INSTALL = "uv sync --no-dev --extra serve --extra export"
CHROMIUM = "chromium --headless --no-sandbox --disable-gpu --screenshot={name}.png {page}"
PAGES = ("runs/first/report.html", "trials/networks/comparison.html")


def steps(clone: Path, page: Path, minutes: float) -> list[tutorial.File | tutorial.Commands]:
    """The demo, the page's blocks, and the pages in a browser, where there is one."""
    blocks = [
        tutorial.Commands(((f"segtrial demo --minutes {minutes:g}", 0),)),
        *tutorial.read((clone / page).read_text()),
    ]
    if shutil.which("chromium"):
        opened = [CHROMIUM.format(name=Path(each).stem, page=f"file://$PWD/{each}") for each in PAGES]
        opened.append(CHROMIUM.format(name="served", page="http://127.0.0.1:8765/"))
        blocks.append(tutorial.Commands(tuple((line, 0) for line in opened)))
    return blocks


def measured(repository: str, page: Path, *, cached: bool, minutes: float) -> dict[str, Any]:
    """Follow the path in a folder that is thrown away."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        clone = folder / "segtrial"
        fresh = {"SEGTRIAL_CACHE": str(folder / "cache"), "PYTHONPATH": "", "VIRTUAL_ENV": str(clone / ".venv")}
        fresh |= {} if cached else {"UV_CACHE_DIR": str(folder / "uv")}
        path = {"PATH": f"{clone / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"}
        install = tutorial.Commands(((f"cd segtrial && {INSTALL}", 0),))
        told = _told(
            tutorial.follow(
                [tutorial.Commands(((f"git clone -q {shlex.quote(repository)} segtrial", 0),))], folder, fresh
            )
        )
        told[0]["command"] = "git clone REPOSITORY segtrial"
        told += _told(tutorial.follow([install], folder, fresh))
        told += _told(tutorial.follow(steps(clone, page, minutes), folder, fresh | path))
    return {
        "schema": 1,
        "cached_packages": cached,
        "demo_minutes": minutes,
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "system": platform.system(),
            "processor": platform.machine(),
        },
        "steps": told,
        "seconds": round(sum(step["seconds"] for step in told), 1),
        "all_as_expected": all(step["as_expected"] for step in told),
    }


def _told(blocks: Any) -> list[dict[str, Any]]:
    """Each command as plain values, without its output, which is only shown: it names places."""
    told = []
    for block in blocks:
        for done in block:
            told.append(
                {
                    "command": done.command,
                    "seconds": round(done.seconds, 1),
                    "code": done.code,
                    "as_expected": done.fits,
                }
            )
            print(json.dumps(told[-1]), flush=True)
            print(f"$ {done.command}\n{done.output}", file=sys.stderr, flush=True)
    return told


def main() -> None:
    """Walk once, and write what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repository", default=str(ROOT), help="what is cloned; by default this checkout")
    parser.add_argument("--page", type=Path, default=Path("docs/your-own-folder.md"), help="below the clone")
    parser.add_argument("--cached", action="store_true", help="take packages from uv's cache")
    parser.add_argument("--demo-minutes", type=float, default=2.5, help="how long the demo trains")
    parser.add_argument("--out", type=Path, help="a JSON file")
    args = parser.parse_args()
    told = measured(args.repository, args.page, cached=args.cached, minutes=args.demo_minutes)
    if args.out:
        write_json(args.out, told)
    sys.exit(0 if told["all_as_expected"] else 1)


if __name__ == "__main__":
    main()
