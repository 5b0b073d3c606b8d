"""One image of 20,000 x 20,000 pixels, as .npy and as tiled TIFF -> its answer, and the most memory that it took.

    python benchmarks/huge_image.py --out results/huge_image.json

Each file is predicted in a process of its own, which writes labels, overlay and confidence and then says the largest
resident size that it ever had (ru_maxrss: code, torch and the network are in it; `resident_idle_mb` is what they take
before the first pixel). The answers of both files must be the same bytes. Target: < 2000 MB.
"""

import argparse
import hashlib
import json
import platform
import resource
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 256  # made at once; and a tile of the TIFF


def rows(first: int, count: int, side: int) -> np.ndarray:
    """Rows of a picture with broad waves and a little noise, h w 3."""
    y, x = np.arange(first, first + count)[:, None], np.arange(side)[None]
    waves = [
        np.sin(x / scale + channel) + np.cos(y / (1.3 * scale) - channel)
        for channel, scale in enumerate((90, 230, 410))
    ]
    noise = np.random.default_rng(first).integers(0, 24, (count, side, 3))
    return (np.stack(waves, axis=2) * 55 + 116 + noise).clip(0, 255).astype(np.uint8)


def write_npy(path: Path, height: int, side: int) -> None:
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (height, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, height, ROWS):
            file.write(rows(first, min(ROWS, height - first), side).tobytes())


def write_tiff(path: Path, height: int, side: int) -> None:
    import tifffile

    def tiles():
        for first in range(0, height, ROWS):
            strip = np.zeros((ROWS, -(-side // ROWS) * ROWS, 3), np.uint8)
            made = rows(first, min(ROWS, height - first), side)
            strip[: len(made), :side] = made
            for left in range(0, side, ROWS):
                yield np.ascontiguousarray(strip[:, left : left + ROWS])

    options = {"photometric": "rgb", "tile": (ROWS, ROWS), "compression": "zlib"}
    tifffile.imwrite(path, tiles(), shape=(height, side, 3), dtype=np.uint8, **options)


WRITERS = {"npy": write_npy, "tif": write_tiff}


def predict(image: Path, out: Path, options: argparse.Namespace) -> None:
    """In a process of its own: the answer, and one line of JSON about it."""
    from types import SimpleNamespace

    import torch

    from segtrial import models
    from segtrial.classes import Classes
    from segtrial.hardware import keep_memory
    from segtrial.models._init import initialise
    from segtrial.models._whole import Whole
    from segtrial.prediction import predict_files, tiling
    from segtrial.tasks import make

    torch.set_num_threads(options.threads)
    keep_memory()
    core = models.build(options.model, options.classes)
    initialise(core, seed=0)
    network = Whole(core, torch.full((3,), 0.5), torch.full((3,), 0.25)).to(memory_format=torch.channels_last).eval()
    model = SimpleNamespace(network=network, task=make("segmentation", Classes.numbered(options.classes)), digest="0")
    idle = resident()
    start = time.perf_counter()
    report = predict_files(
        model, [image], out, tiling=tiling("auto", None, (512, 512)), precision="float32", max_pixels=options.most
    )
    assert len(report.done) == 1, report.skipped
    seconds = time.perf_counter() - start
    print(json.dumps({"resident_mb": resident(), "resident_idle_mb": idle, "seconds": round(seconds, 1)}))


def resident() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)  # which Linux gives in KiB


def digests(folder: Path) -> dict[str, str]:
    """Of each PNG without its note, which names the file that was predicted."""
    return {path.name: digest(path) for path in sorted(folder.glob("*.png"))}


def digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        file.seek(8)
        while head := file.read(8):
            length, kind = struct.unpack(">I4s", head)
            data = file.read(length + 4)[:-4]
            found.update(data if kind != b"tEXt" else b"")
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--only", nargs="+", choices=WRITERS, default=list(WRITERS), help="files of this kind alone")
    parser.add_argument("--height", type=int, help="of an image that is no square")
    parser.add_argument("--model", default="compact")
    parser.add_argument("--classes", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=int, default=2**22, help="larger TIFFs are read in pieces")
    parser.add_argument("--folder", type=Path, help="where the files go; several GB")
    parser.add_argument("--predict", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.predict:
        return predict(*options.predict, options)
    record = {
        "schema": 1,
        "what": f"{options.height or options.side}x{options.side} by {options.model}, tiles of 512: resident memory",
        "files": {},
        "threads": options.threads,
        "python": platform.python_version(),
    }
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        found = []
        for kind in options.only:
            write = WRITERS[kind]
            image, out = Path(place) / f"image.{kind}", Path(place) / kind
            write(image, options.height or options.side, options.side)
            command = [sys.executable, __file__, *sys.argv[1:], "--predict", str(image), str(out)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            record["files"][kind] = {"file_mb": round(image.stat().st_size / 1e6), **json.loads(done.stdout)}
            image.unlink()
            found.append(digests(out))
            if len(found) > 1:
                record["same_answers"] = {name: digest == found[0][name] for name, digest in found[-1].items()}
            print(json.dumps(record, indent=2), flush=True)
            if options.out:
                options.out.write_text(json.dumps(record, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
