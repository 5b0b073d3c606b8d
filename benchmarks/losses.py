"""Every loss forward and backward -> its cost beside torch's cross-entropy and the peer's loss: ratios, spread, n.

    python benchmarks/losses.py --out results/losses_cpu.json
    python benchmarks/losses.py --device cuda
    python benchmarks/losses.py --only lovasz --rounds 3

Scores of 4 x 12 x 352x480 in float32 (one channel for the binary losses, three for colours), contiguous; targets in
blocks of 16x16, 5 % of the pixels ignored. Each is given the target that it takes: uint8 ours, int64 the peers'.
Ours includes the weight that divides it. The allocator keeps its memory, as in training, for all of them. They take
turns in one process, in an order that reverses every round; a ratio is that of one round, so it compares neighbours
in time.

    cross_entropy   torch.nn.functional.cross_entropy (for binary losses binary_cross_entropy_with_logits, for
                    colours l1_loss): what the network would be trained with otherwise
    peer            segmentation_models_pytorch's loss of that name, where it has one; its region losses pool the batch
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torch import Tensor

from segtrial import hardware
from segtrial.losses import LOSSES
from segtrial.shapes import IGNORE

BATCH, HEIGHT, WIDTH = 4, 352, 480
CHANNELS = {"classes": 12, "binary": 1, "colors": 3}
IGNORED = 0.05
"""Share of the pixels that do not count."""
PEERS = {
    "cross_entropy": smp.losses.SoftCrossEntropyLoss,
    "bce_with_logits": smp.losses.SoftBCEWithLogitsLoss,
    "focal": smp.losses.FocalLoss,
    "dice": smp.losses.DiceLoss,
    "jaccard": smp.losses.JaccardLoss,
    "tversky": smp.losses.TverskyLoss,
    "lovasz": smp.losses.LovaszLoss,
}
Work = Callable[[Tensor], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", help="losses of this name")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    options = parser.parse_args()
    hardware.keep_memory()
    torch.set_num_threads(options.threads)
    load_before = os.getloadavg()[0]
    rows = []
    for kind, losses in LOSSES.items():
        names = [name for name in losses if options.only in (None, name)]
        rows += measure(kind, names, options.device, options.rounds) if names else []
    if options.out:
        record = {
            "schema": 1,
            "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
            "threads": options.threads,
            "rounds": options.rounds,
            "size": [BATCH, CHANNELS, HEIGHT, WIDTH],
            "versions": {"torch": torch.__version__, "segmentation_models_pytorch": smp.__version__},
            "load_before": load_before,
            "losses": rows,
        }
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def measure(kind: str, names: list[str], device: str, rounds: int) -> list[dict]:
    """One row per loss of a kind; the baseline takes its turn among them."""
    logits, target = (tensor.to(device) for tensor in pictures(kind))
    works = {"baseline": baseline(kind, target)}
    for name in names:
        works[name] = ours(kind, name, target)
        if kind != "colors" and name in PEERS:
            works[f"peer {name}"] = peer(kind, name, target)
    taken: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name in list(works)[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(seconds(works[name], logits, device))
    rows = [row(kind, name, {key: values[1:] for key, values in taken.items()}) for name in names]
    for one in rows:
        print(described(one), flush=True)
    return rows


def pictures(kind: str) -> tuple[Tensor, Tensor]:
    """Scores that follow the truth loosely, as those of a half-trained network do, and the target."""
    generator = torch.Generator().manual_seed(0)
    channels = CHANNELS[kind]
    logits = torch.randn(BATCH, channels, HEIGHT, WIDTH, generator=generator)
    if kind == "colors":
        return logits, torch.randn(logits.shape, generator=generator)
    coarse = torch.randint(max(channels, 2), (BATCH, HEIGHT // 16, WIDTH // 16), generator=generator)
    target = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
    holds = (target.unsqueeze(1) == torch.arange(channels).view(1, -1, 1, 1)) if kind == "classes" else target[:, None]
    target[torch.rand(target.shape, generator=generator) < IGNORED] = IGNORE
    return logits + 3 * holds, (target if kind == "classes" else target.unsqueeze(1)).byte()


def baseline(kind: str, target: Tensor) -> Work:
    if kind == "classes":
        wide = target.long()
        return lambda x: F.cross_entropy(x, wide, ignore_index=IGNORE)
    if kind == "colors":
        return lambda x: F.l1_loss(x, target)
    truth, counted = (target == 1).float(), (target != IGNORE).float()
    return lambda x: F.binary_cross_entropy_with_logits(x, truth, counted)


def ours(kind: str, name: str, target: Tensor) -> Work:
    loss = LOSSES[kind][name]
    return lambda x: loss.mean(x, target)


def peer(kind: str, name: str, target: Tensor) -> Work:
    make = PEERS[name]
    if name == "cross_entropy":
        loss = make(ignore_index=IGNORE, smooth_factor=0.0)  # its default, None, raises
    elif name == "bce_with_logits":
        loss = make(ignore_index=IGNORE)
    elif name == "lovasz":
        loss = make("multiclass" if kind == "classes" else "binary", per_image=True, ignore_index=IGNORE)
    else:
        loss = make("multiclass" if kind == "classes" else "binary", ignore_index=IGNORE)
    theirs = target.long() if kind == "classes" else target.float()
    return lambda x: loss(x, theirs)


def seconds(work: Work, logits: Tensor, device: str) -> float:
    """One forward and backward pass."""
    scores = logits.clone().requires_grad_()
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work(scores).backward()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def row(kind: str, name: str, taken: dict[str, list[float]]) -> dict:
    made: dict = {"kind": kind, "loss": name, "milliseconds": 1e3 * statistics.median(taken[name])}
    made["against_baseline"] = spread(
        [mine / plain for mine, plain in zip(taken[name], taken["baseline"], strict=True)]
    )
    if f"peer {name}" in taken:
        pairs = zip(taken[f"peer {name}"], taken[name], strict=True)
        made["times_faster_than_peer"] = spread([theirs / mine for theirs, mine in pairs])
    return made


def spread(ratios: list[float]) -> dict[str, float]:
    """The median, and between what 80 % of the rounds lie."""
    ordered = sorted(ratios)
    cut = len(ordered) // 10
    return {"median": statistics.median(ordered), "low": ordered[cut], "high": ordered[-1 - cut]}


def described(one: dict) -> str:
    words = f"{one['kind']:8} {one['loss']:16} {one['milliseconds']:8.1f} ms"
    for key, text in (("against_baseline", "x the baseline"), ("times_faster_than_peer", "times faster than the peer")):
        if key in one:
            words += "   {median:5.2f} ({low:.2f} to {high:.2f}) ".format(**one[key]) + text
    return words


if __name__ == "__main__":
    main()
