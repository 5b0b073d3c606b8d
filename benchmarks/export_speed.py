"""A trained U-Net with a ResNet-34 -> its exported files against the peer's same network: results/export_speed.json.

    segtrial train --model unet:encoder=resnet34 --data ../camvid --minutes 8 --out runs/unet34
    python benchmarks/export_speed.py runs/unet34 --data ../camvid --out results/export_speed.json

The peer is segmentation_models_pytorch's Unet("resnet34") with the weights of the run, in eager mode, float32 and
contiguous, as its users run it; its images are normalised before the clock starts. A file takes uint8 images and
normalises them itself. Each file is made and proved by `segtrial export`, and not timed if it loses more than that
allows (0.5 points of mIoU, on the val part).

Images of the val part, cut to 352x480, one by one and eight together. Each contestant is a process of its own, with
the same number of threads; they take turns, one runs while the others sleep on a pipe, in an order that reverses every
round. A ratio is that of one round: it compares neighbours in time. Targets, at batch 1 and 8: a file that loses
nothing (float32 or bfloat16, at least 99.8 % of the answers the same) 2.5 and 4 times as fast as the peer, one in int8
3.5 and 5 times.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the benchmark whose contestants these are

import segtrial as st
from benchmarks.train_step import Contestant, spread, take_turns
from segtrial import hardware
from segtrial.console import watching
from segtrial.data import SplitOptions, open_dataset
from segtrial.data.cache import open_store
from segtrial.exporting import onnx_file, openvino_file
from segtrial.modelfile import Loaded

SIZE, BATCHES = (352, 480), (1, 8)
PEER = "smp"
WARM_UP = 2
"""Untimed runs of each contestant."""

FILES = {
    "onnx fp32": "model.onnx",
    "onnx int8": "int8.onnx",
    "openvino fp32": "model.xml",
    "openvino bf16": "bf16.xml",
    "openvino int8": "int8.xml",
}

Answers = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder or model file: unet:encoder=resnet34")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=FILES, default=list(FILES), help="these files alone")
    parser.add_argument("--files", type=Path, help="a folder for the files, where those of an earlier run are used")
    parser.add_argument("--threads", type=int, default=hardware.threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.play:
        return play(answers_of(options.play, options), np.load(options.files / "images.npy"))
    with tempfile.TemporaryDirectory() as place:
        options.files = options.files or Path(place)
        options.files.mkdir(parents=True, exist_ok=True)
        np.save(options.files / "images.npy", pictures(options.data))
        proofs = {name: proof_of(name, options) for name in options.only}
        record = compete([PEER, *(name for name in proofs if proofs[name]["written"])], options)
    record["files"] = proofs
    print_summary(record)
    if options.out:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
    return None


# --- the files, the peer, the images ----------------------------------------------------------------------------


def proof_of(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What `segtrial export --json` says of the file; made unless an earlier run did."""
    form, precision = name.split()
    out = options.files / FILES[name]
    kept = out.with_suffix(out.suffix + ".json")
    if not kept.exists():
        started = time.perf_counter()
        with watching() as watch:
            told = st.export(options.run, options.data, out, format=form, precision=precision, watch=watch)
        told |= {"files": [Path(file).name for file in told["files"]], "seconds": time.perf_counter() - started}
        kept.write_text(json.dumps(told))
    return json.loads(kept.read_text())


def pictures(data: Path) -> np.ndarray:
    """Eight images of the val part, evenly spread over it, cut to SIZE: `8 3 h w`, uint8."""
    store = open_store(open_dataset(data, SplitOptions()), "val")
    height, width = SIZE
    chosen = np.linspace(0, len(store.keys) - 1, max(BATCHES)).astype(int).tolist()
    return np.stack([store[index].image[:, :height, :width] for index in chosen])


def answers_of(name: str, options: argparse.Namespace) -> Answers:
    """The contestant, ready: images `b 3 h w`, uint8, to scores. The peer's are normalised before, see `play`."""
    if name == PEER:
        return peer(st.load(options.run))
    form, precision = name.split()
    path = options.files / FILES[name]
    return onnx_file.Session(path) if form == "onnx" else openvino_file.Compiled(path, precision)


class Normalised:
    """The peer, with the images that it was shown last ready as its users' loaders make them."""

    def __init__(self, network: nn.Module, loaded: Loaded):
        self.network = network
        self.mean, self.std = (each.view(-1, 1, 1) for each in (loaded.network.mean, loaded.network.std))
        self.ready: dict[int, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if len(images) not in self.ready:
            self.ready[len(images)] = (images / 255 - self.mean) / self.std
        with torch.inference_mode():
            return self.network(self.ready[len(images)])


def peer(loaded: Loaded) -> Normalised:
    """The peer's network with our weights, which must answer as ours does."""
    import segmentation_models_pytorch as smp

    assert loaded.header.options["encoder"] == "resnet34", "the peer's network has a ResNet-34"
    network = smp.Unet("resnet34", encoder_weights=None, classes=loaded.task.outputs).eval()
    ours = loaded.network.core.state_dict().values()
    theirs = network.state_dict()
    assert [value.shape for value in ours] == [value.shape for value in theirs.values()], "not the same network"
    network.load_state_dict(dict(zip(theirs, ours, strict=True)))
    found = Normalised(network, loaded)
    images = torch.arange(3 * 64 * 96).remainder(251).to(torch.uint8).view(1, 3, 64, 96)
    with torch.no_grad():
        expected = loaded.network(images)
        torch.testing.assert_close(found(images), expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))
    found.ready.clear()
    return found


# --- one contestant's process: a number of runs in, milliseconds of each out --------------------------------------


def play(answers: Answers, images: np.ndarray) -> None:
    batches = {f"batch {count}": torch.from_numpy(images[:count]) for count in BATCHES}
    print("{}", flush=True)
    for line in sys.stdin:
        taken: dict[str, list[float]] = {name: [] for name in batches}
        for name, batch in batches.items():
            for _ in range(int(line)):
                start = time.perf_counter()
                answers(batch)
                taken[name].append(1000 * (time.perf_counter() - start))
        print(json.dumps(taken), flush=True)


# --- the parent: turns, ratios, record ---------------------------------------------------------------------------


def compete(names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    words = [str(options.run), "--data", str(options.data), "--files", str(options.files)]
    words += ["--threads", str(options.threads)]
    players = {name: Contestant([sys.executable, __file__, *words, "--play", name]) for name in names}
    for player in players.values():
        player.go(WARM_UP)
        player.turns.clear()
    load_before = os.getloadavg()[0]
    take_turns(list(players.values()), options.rounds, 1)
    turns = {name: player.turns for name, player in players.items()}
    return {
        "schema": 1,
        "what": f"unet:encoder=resnet34, {SIZE[0]}x{SIZE[1]}, batches of {BATCHES[0]} and {BATCHES[1]}: milliseconds",
        "threads": options.threads,
        "machine": hardware.describe(),
        "load_before": round(load_before, 2),
        "rounds": options.rounds,
        "turns": turns,
        "ratios": {
            name: {clock: spread(turns[PEER], turns[name], clock) for clock in turns[PEER][0]}
            for name in names
            if name != PEER
        },
    }


def print_summary(record: dict[str, Any]) -> None:
    print(f"{record['what']}; {record['threads']} threads, load before {record['load_before']}")
    for name, turns in record["turns"].items():
        middles = (statistics.median(turn[clock] for turn in turns) for clock in turns[0])
        print(f"  {name:<14} " + "   ".join(f"{middle:8.1f} ms" for middle in middles))
    for name, told in record["files"].items():
        ratios = record["ratios"].get(name, {})
        for clock, found in ratios.items():
            spread_ = f"(80 % of the ratios {found['low']:.2f} to {found['high']:.2f}, n = {found['n']})"
            print(f"  {name:<14} {clock}: {found['median']:.2f} times as fast as the peer {spread_}")
        lost, alike = 100 * (told["miou_before"] - told["miou_after"]), told["argmax_agreement"]
        print(f"  {name:<14} {lost:+.2f} points lost, {alike:.3%} answered alike, written: {told['written']}")


if __name__ == "__main__":
    main()
