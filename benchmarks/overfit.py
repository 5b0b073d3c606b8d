"""CamVid -> how well each network learns eight pictures by heart, beside what its finest scored stride allows.

    python benchmarks/overfit.py ../camvid --out results/overfit.json
    python benchmarks/overfit.py ../camvid --only deeplabv3 fcn:stride=16

A network that is merely shaped right does not pass: eight pictures at half size (180x240), spread evenly over the
train part, no augmentation, weights from seed 0, at most five minutes of two cores. It is scored by `miou_dataset`
over the 11 classes on the same pictures, in eval mode.

    aim   .9 where the scores are made at stride 1 or 2, or see maps of that stride through skips;
          else .95 of the ceiling: the truth, pooled to the finest stride that scores are made at, enlarged bilinearly

Pooling is that of areas (each cell holds the share of each class), enlarging is by bilinear interpolation, as the
networks do. Seconds are processor time over two, which is the clock's on two quiet cores; they do not grow where the
run is paused or has one core. What is in --out already is not run again; networks are run one after another.
"""

import argparse
import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from segtrial import hardware
from segtrial.class_weights import class_weights
from segtrial.classes import Classes
from segtrial.counts import confusion
from segtrial.data import open_dataset
from segtrial.data.batches import Batch
from segtrial.recipe import Recipe, from_tree
from segtrial.scores import SCORES
from segtrial.shapes import IGNORE
from segtrial.training.learner import Learner
from segtrial.training.plan import Plan

SECONDS = 300.0
CORES = 2
FINE = 2
"""Up to this stride a network must reach .9 by itself."""


@dataclass(frozen=True)
class Case:
    """`stride`: the finest at which scores are made, or maps reach them. `chosen`: fields of the recipe."""

    stride: int
    batch: int = 8
    chosen: dict[str, Any] = field(default_factory=dict)


ADAMW = {"optimizer": {"name": "adamw"}}
"""Where Muon's matrix products would take longer than the network itself, or where the paper's field uses it."""


def careful(rate: float) -> dict[str, Any]:
    """Eighteen layers without normalisation die at AdamW's usual rate; dropout is there to hinder learning by heart."""
    return {"optimizer": {"name": "adamw", "lr": rate}, "clip": 1.0, "regularise": {"dropout": 0}}


UPHILL = {
    **careful(4e-4),
    "loss": {"name": "cross_entropy + lovasz"},
    "schedule": {"name": "cosine", "warmup": 0.1},
}
"""With the published border three quarters of the time go into zeros, so each step has to do more."""

CASES = {
    "compact": Case(2),
    "segnet": Case(1, batch=4),
    "segnet:batchnorm=false": Case(1),
    "segnet:variant=basic": Case(1),
    "fcn:stride=32": Case(32),
    "fcn:stride=16": Case(16),
    "fcn:stride=8": Case(8),
    "fcn:stride=32,encoder=vgg16": Case(32, batch=4, chosen=careful(6e-4)),
    "fcn:stride=16,encoder=vgg16": Case(16, batch=4, chosen=careful(3e-4)),
    "fcn:stride=8,encoder=vgg16": Case(8, batch=4, chosen=UPHILL),
    "fcn:stride=8,encoder=vgg16,upsampling=learned": Case(8, batch=4, chosen=UPHILL),
    "fcn:stride=8,encoder=vgg16,padding=same": Case(
        8, batch=4, chosen={**careful(3e-4), "loss": {"name": "cross_entropy + lovasz"}}
    ),
    "fcn_dilated": Case(8),
    "unet": Case(1),
    "unet:batchnorm=false": Case(1),
    "unet:padding=valid": Case(1),
    "unet:encoder=resnet34": Case(2),
    "unet:encoder=vgg16": Case(2),
    "ternausnet:encoder=vgg11": Case(1),
    "ternausnet:encoder=vgg16": Case(1),
    "ternausnet:encoder=resnet34": Case(4),
    "deeplabv2": Case(8, batch=4),
    "deeplabv3": Case(8, batch=4),
    "deeplabv3plus": Case(4),
    "pspnet": Case(8, batch=4),
    "fpn": Case(4),
    "upernet": Case(4),
    "segformer": Case(4, chosen=ADAMW),
    "linear": Case(14, chosen=ADAMW),
}
"""`--model` word -> what to expect of it. A test sees to it that every architecture is here."""


@dataclass(frozen=True)
class Pictures:
    """`images` n 3 h w uint8, `targets` n h w uint8, with `classes` classes."""

    images: Tensor
    targets: Tensor
    classes: int


@dataclass(frozen=True)
class Outcome:
    """What came out; `curve` holds (step, seconds of training, miou_dataset)."""

    spec: str
    miou: float
    aim: float
    ceiling: float
    stride: int
    parameters: int
    steps: int
    seconds: float
    curve: tuple[tuple[int, float, float], ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("camvid", type=Path, help="the CamVid folder")
    parser.add_argument("--only", nargs="+", metavar="MODEL", default=list(CASES), help="these alone")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of training, for each network")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    options = parser.parse_args()
    hardware.keep_memory()
    torch.set_num_threads(hardware.threads())
    pictures = eight_pictures(options.camvid)
    print("ceilings: " + ", ".join(f"stride {s} {ceiling(pictures, s):.3f}" for s in (2, 4, 8, 16, 32)))
    record = json.loads(options.out.read_text()) if options.out and options.out.exists() else {"schema": 1, "runs": []}
    for spec in options.only:
        if any(run["spec"] == spec for run in record["runs"]):
            continue
        outcome = overfit(spec, CASES[spec], pictures, options.seconds)
        print(said(outcome), flush=True)
        if options.out:
            record |= {"machine": hardware.describe()}
            record["runs"].append(asdict(outcome))
            options.out.write_text(json.dumps(record, indent=1) + "\n")


def said(outcome: Outcome) -> str:
    verdict = "reached" if outcome.miou >= outcome.aim else "MISSED"
    return (
        f"{outcome.spec:<40} mIoU {outcome.miou:.3f}, aim {outcome.aim:.3f} {verdict} "
        f"(ceiling {outcome.ceiling:.3f} at stride {outcome.stride}), {outcome.steps} steps, {outcome.seconds:.0f} s"
    )


def eight_pictures(camvid: Path) -> Pictures:
    """Eight images of the train part, evenly spread, at half size."""
    dataset = open_dataset(camvid)
    items = dataset.parts["train"]
    images, targets = [], []
    for number in range(8):
        sample = dataset.read(items[round(number * (len(items) - 1) / 7)])
        height, width = (side // 2 for side in sample.target.shape)
        image = Image.fromarray(sample.image.transpose(1, 2, 0)).resize((width, height), Image.Resampling.BOX)
        target = Image.fromarray(sample.target).resize((width, height), Image.Resampling.NEAREST)
        images.append(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1))
        targets.append(torch.from_numpy(np.asarray(target).copy()))
    return Pictures(torch.stack(images), torch.stack(targets), len(dataset.classes))


def ceiling(pictures: Pictures, stride: int) -> float:
    """`miou_dataset` of the truth itself, seen through cells of `stride` x `stride` pixels."""
    counted = (pictures.targets != IGNORE)[:, None]
    shares = torch.stack([pictures.targets == c for c in range(pictures.classes)], 1).float()  # n k h w
    height, width = shares.shape[-2:]
    edge = (0, -width % stride, 0, -height % stride)
    cells = F.avg_pool2d(F.pad(shares, edge), stride)
    seen = F.avg_pool2d(F.pad(counted.float(), edge), stride).clamp(min=1e-6)
    scores = F.interpolate(cells / seen, scale_factor=stride, mode="bilinear")[..., :height, :width]
    return miou(scores, pictures)


def miou(scores: Tensor, pictures: Pictures) -> float:
    counts = confusion(scores.argmax(1), pictures.targets, pictures.classes)
    return float(SCORES["miou_dataset"](counts.numpy()))


def aim_of(case: Case, pictures: Pictures) -> float:
    return 0.9 if case.stride <= FINE else 0.95 * ceiling(pictures, case.stride)


def overfit(spec: str, case: Case, pictures: Pictures, seconds: float = SECONDS) -> Outcome:
    """Train until the aim is reached or the time is over; scored at every twelfth of the steps that fit into it."""
    aim = aim_of(case, pictures)
    steps = max(12, int(0.9 * seconds / seconds_per_step(spec, case, pictures)))
    learner, curve, trained = learner_for(spec, case, pictures, steps), [], 0.0
    for step in range(steps):
        start = clock()
        learner.step(batch_of(step, case, pictures))
        trained += clock() - start
        if (step + 1) % (steps // 12) == 0 or step + 1 == steps:
            curve.append((step + 1, round(trained, 1), miou(answer(learner, pictures), pictures)))
            if curve[-1][2] >= aim:
                break
    parameters = sum(p.numel() for p in learner.network.parameters() if p.requires_grad)
    best = curve[-1]
    return Outcome(
        spec, best[2], aim, ceiling(pictures, case.stride), case.stride, parameters, best[0], best[1], tuple(curve)
    )


def clock() -> float:
    return time.process_time() / CORES


def seconds_per_step(spec: str, case: Case, pictures: Pictures) -> float:
    learner = learner_for(spec, case, pictures, 10**6)  # the learning rate stays near 0
    times = []
    for step in range(4):
        start = clock()
        learner.step(batch_of(step, case, pictures))
        times.append(clock() - start)
    return float(np.median(times[1:]))


def batch_of(step: int, case: Case, pictures: Pictures) -> Batch:
    """`case.batch` pictures, all eight in turn, in an order drawn anew each time round."""
    turns = 8 // case.batch
    order = torch.randperm(8, generator=torch.Generator().manual_seed(step // turns))
    chosen = order[step % turns * case.batch :][: case.batch]
    return Batch(pictures.images[chosen], pictures.targets[chosen], tuple(map(str, chosen.tolist())))


def answer(learner: Learner, pictures: Pictures) -> Tensor:
    learner.network.eval()
    with torch.inference_mode(), learner.autocast():
        return torch.cat([learner.network(images) for images in pictures.images.split(2)])


def learner_for(spec: str, case: Case, pictures: Pictures, steps: int) -> Learner:
    plain = {"model": spec, "steps": steps, "ema": 0, "keep": "last", "schedule": {"name": "cosine", "warmup": 0.05}}
    recipe = from_tree({**plain, **case.chosen})
    device = torch.device("cpu")
    return Learner(recipe, plan_for(recipe, pictures, steps, device), device)


def plan_for(recipe: Recipe, pictures: Pictures, steps: int, device: torch.device) -> Plan:
    values = pictures.images.transpose(0, 1).flatten(1) / 255
    shown = torch.bincount(pictures.targets.flatten().long(), minlength=IGNORE + 1)[: pictures.classes]
    pixels = shown.tolist()
    phase = {"steps": steps, "batch": 8, "size": tuple(pictures.targets.shape[1:]), "scale": (1.0, 1.0)}
    return Plan(
        recipe={}, recipe_hash=recipe.hash, manifest="", start=None, steps=steps, evaluate_at=(), phases=(phase,),  # type: ignore[arg-type]
        seconds_per_step=None, device="cpu", threads=torch.get_num_threads(), world=1, model={},
        classes=Classes.numbered(pictures.classes).to_json(),
        precision=str(hardware.pick_precision("auto", device)).removeprefix("torch."), in_channels=3,
        mean=tuple(values.mean(1).tolist()), std=tuple(values.std(1).tolist()), class_pixels=tuple(pixels),
        class_weights=tuple(class_weights(recipe.loss.class_weights, pixels, pixels).tolist()),
        layout="", parts={}, notes=(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
