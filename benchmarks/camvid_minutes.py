"""CamVid and minutes -> what the defaults reach from random weights in so long, beside a peer's plain recipe.

    python benchmarks/camvid_minutes.py CAMVID --out results/camvid_minutes.json
    python benchmarks/camvid_minutes.py CAMVID --minutes 2 4 16 60 --only ours --out results/camvid_minutes.json
    python benchmarks/camvid_minutes.py CAMVID --part 0006R0 --only ours --out results/camvid_minutes.json

    ours    `segtrial train --data CAMVID --minutes M --seed S`
    peer    segmentation_models_pytorch's U-Net on ResNet-34, as its users write the loop: Adam at .001, batches of 8
            whole images padded to 384x480, flips, mean cross-entropy, float32; images are decoded beforehand

They take turns: ours with seed 0, the peer with seed 0, ours with seed 1, ... Each is a process of its own on all
cores; nothing else should run. The clock of both starts with the first step and leaves out the score at the end, which
is mIoU over all pixels of the part. With `--part` a sequence is held out instead of CamVid's own val part: by it
defaults may be chosen. What the file has already, on whatever CPU, is not run again; runs of ours stay in
runs/camvid-minutes.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from segtrial import hardware, scores
from segtrial.counts import confusion
from segtrial.data import open_dataset
from segtrial.files import write_json
from segtrial.shapes import IGNORE

HERE = Path(__file__).resolve().parent.parent
OWN = "its own"
BATCH, HEIGHT = 8, 384
"""Of the peer: images of a step, and the height that its network takes; CamVid has 360."""

Json = dict[str, Any]


def main() -> None:
    """Run what the file does not have yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder with train, trainannot, val and valannot")
    parser.add_argument("--minutes", type=float, nargs="+", default=[8.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", default=OWN, help="a sequence to hold out instead of the val part: 0006R0")
    parser.add_argument("--only", choices=("ours", "peer"), help="default: both, in turns")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file of all runs")
    parser.add_argument("--play", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        minutes, seed = options.play
        print(json.dumps(plain(options.data, float(minutes) * 60, int(seed))))
        return
    told = json.loads(options.out.read_text()) if options.out.exists() else {"schema": 1, "runs": []}
    told["machine"] = hardware.describe()
    cpu = {"cpu": told["machine"]["cpu"]}
    for key in turns(options):
        if any(key.items() <= run.items() for run in told["runs"]):
            continue
        told["runs"].append(key | cpu | (ours if key["who"] == "ours" else peer)(options.data, key))
        write_json(options.out, told)
        shown = told["runs"][-1]
        print(f"{key}: {shown['steps']} steps in {shown['seconds']:.0f} s, {shown['miou_dataset']:.4f}", flush=True)


def turns(options: argparse.Namespace) -> Iterator[Json]:
    """Who runs how long with which seed, in the order in which they take turns."""
    for minutes in options.minutes:
        for seed in range(options.seeds):
            for who in ("ours", "peer"):
                if options.only in (None, who) and (who == "ours" or options.part == OWN):
                    yield {"who": who, "minutes": minutes, "seed": seed, "part": options.part}


def ours(data: Path, key: Json) -> Json:
    """The verb of the command line, by its defaults, and what its run folder says."""
    name = "{minutes:g}-{seed}".format_map(key) + ("" if key["part"] == OWN else f"-{key['part']}")
    out = HERE / "runs/camvid-minutes" / name
    shutil.rmtree(out, ignore_errors=True)
    words = ["train", "--data", str(data), "--minutes", str(key["minutes"]), "--seed", str(key["seed"])]
    words += ["--out", str(out), *([] if key["part"] == OWN else ["--set", f"split.val_groups=[{key['part']}]"])]
    subprocess.run([sys.executable, "-m", "segtrial", *words], check=True, stdout=subprocess.DEVNULL)
    evaluation, plan = (json.loads((out / f"{one}.json").read_text()) for one in ("evaluation", "plan"))
    timing = (out / "timing.jsonl").read_text().splitlines()
    per_class = {row["name"]: row["iou"] for row in evaluation["per_class"]}
    pixels = [phase["steps"] * phase["batch"] for phase in plan["phases"]]
    return {
        "steps": plan["steps"], "images": sum(pixels), "seconds": json.loads(timing[-1])["seconds"],
        "miou_dataset": evaluation["scores"]["miou_dataset"],
        "pixel_accuracy": evaluation["scores"]["pixel_accuracy"], "iou": per_class,
    }  # fmt: skip


def peer(data: Path, key: Json) -> Json:
    """The plain recipe in a process of its own: settings of ours that hold for a process do not reach it."""
    words = [sys.executable, __file__, str(data), "--out", "-", "--play", str(key["minutes"]), str(key["seed"])]
    return json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def plain(data: Path, seconds: float, seed: int) -> Json:
    """Train the peer for so long, then score it on the val part."""
    import segmentation_models_pytorch as smp

    torch.set_num_threads(hardware.threads())
    torch.manual_seed(seed)
    dataset = open_dataset(str(data))
    train, val = (_arrays(dataset, part) for part in ("train", "val"))
    k = len(dataset.classes)
    network = smp.Unet("resnet34", encoder_weights=None, classes=k)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    steps, start, waiting = 0, time.monotonic(), torch.empty(0, dtype=torch.long)
    while time.monotonic() - start < seconds:
        if len(waiting) < BATCH:
            waiting = torch.randperm(len(train[0]))
        taken, waiting = waiting[:BATCH], waiting[BATCH:]
        images, masks = train[0][taken].clone(), train[1][taken].clone()
        turned = torch.rand(BATCH) < 0.5
        images[turned], masks[turned] = images[turned].flip(-1), masks[turned].flip(-1)
        loss = F.cross_entropy(network(_normalised(images)), masks.long(), ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    spent = time.monotonic() - start
    return {"steps": steps, "images": steps * BATCH, "seconds": spent, **_scores(network.eval(), val, k, dataset)}


def _arrays(dataset: Any, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images and masks of a part, as bytes, padded below to the height that the network takes."""
    samples = [dataset.read(item) for item in dataset.parts[part]]
    rows = (0, 0), (0, HEIGHT - samples[0].target.shape[0]), (0, 0)
    images = torch.from_numpy(np.stack([np.pad(sample.image, rows, mode="edge") for sample in samples]))
    masks = np.stack([np.pad(sample.target, rows[1:], constant_values=IGNORE) for sample in samples])
    return images, torch.from_numpy(masks)


def _normalised(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (images / 255 - mean) / std


@torch.inference_mode()
def _scores(network: torch.nn.Module, val: tuple[torch.Tensor, torch.Tensor], k: int, dataset: Any) -> Json:
    rows = [
        confusion(network(_normalised(image[None])).argmax(1), mask[None], k) for image, mask in zip(*val, strict=True)
    ]
    counts = torch.cat(rows).numpy()
    told = scores.summary(counts)
    per_class = scores.per_class(scores.totals(counts).sum(0), dataset.classes.names)
    return {key: told[key] for key in ("miou_dataset", "pixel_accuracy")} | {
        "iou": {row["name"]: row["iou"] for row in per_class}
    }


if __name__ == "__main__":
    main()
