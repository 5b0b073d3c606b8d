"""A training step of a peer's network -> ours against the plain loop that its users write: ratio, spread, n.

    python benchmarks/train_step.py --out results/train_step_cpu.json
    python benchmarks/train_step.py --network fpn --out results/train_step_cpu_fpn.json
    python benchmarks/train_step.py --device cuda

Batch 4 of 352x480 (2 for ResNet-50 at output stride 8), 12 classes, on the same random images.

    plain       the peer in float32, contiguous, AdamW, mean cross-entropy; images already normalised, targets int64
    tuned       (GPU only) the peer with autocast, channels last and torch.compile
    wrapped     the peer's own module, in the project's step by its default settings: uint8 in, precision and allocator
                as picked for the machine, channels last, class weights, the default optimizer, the running mean
    ours        this project's network in that step: for the U-Net the same network as the peer's, for the others the
                one that follows the paper, which computes more or less than the peer's does
    ours-adamw  the same with the peer's optimizer

Each contestant is a process of its own that lives as long as the benchmark: the allocator setting is process-wide,
and a fresh process would be timed while it warms up. They take turns, one runs while the others sleep on a pipe, in
an order that reverses every round. A ratio is that of one round: it compares neighbours in time.
Targets on two quiet cores: the median of plain / ours is at least 2.5 for the U-Net, that of plain / wrapped at
least 1.9 for the others.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from segtrial import hardware
from segtrial.classes import Classes
from segtrial.data.batches import Batch
from segtrial.models._whole import Whole
from segtrial.recipe import from_tree
from segtrial.training.learner import Learner
from segtrial.training.plan import Plan

SIZE, CLASSES = (352, 480), 12
IGNORED = 0.05
"""Share of the pixels that do not count."""
WARM_UP = 3
"""Untimed steps of each contestant (tuned compiles in them)."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="unet", choices=sorted(NETWORKS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=hardware.threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, help="in a row, of one contestant (default: 2; on a GPU 20)")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.steps = options.steps or (2 if options.device == "cpu" else 20)
    if options.play:
        place = torch.device(options.device)
        play(CONTESTANTS[options.play](NETWORKS[options.network], place, options.threads), options.device)
    else:
        compete(options)


# --- the networks: a peer's, and the one of ours that stands beside it ------------------------------------------


@dataclass(frozen=True)
class Network:
    """`peer` makes the peer's module, `ours` is a `--model` word."""

    peer: Callable[[], nn.Module]
    ours: str
    batch: int = 4
    same: bool = False
    """Whether ours is the peer's network, number for number."""


class Scores(nn.Module):
    """A torchvision network -> its main scores."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images)["out"]


def from_smp(name: str) -> nn.Module:
    import segmentation_models_pytorch as smp

    return getattr(smp, name)("resnet34", encoder_weights=None, classes=CLASSES)


def from_torchvision(name: str) -> nn.Module:
    from torchvision.models import segmentation

    return Scores(getattr(segmentation, name)(weights=None, weights_backbone=None, num_classes=CLASSES))


NETWORKS = {
    "unet": Network(partial(from_smp, "Unet"), "unet:encoder=resnet34", same=True),
    "deeplabv3plus": Network(partial(from_smp, "DeepLabV3Plus"), "deeplabv3plus:encoder=resnet34"),
    "pspnet": Network(partial(from_smp, "PSPNet"), "pspnet:encoder=resnet34"),
    "fpn": Network(partial(from_smp, "FPN"), "fpn:encoder=resnet34"),
    "deeplabv3": Network(partial(from_torchvision, "deeplabv3_resnet50"), "deeplabv3:encoder=resnet50", batch=2),
    "fcn": Network(partial(from_torchvision, "fcn_resnet50"), "fcn:encoder=resnet50", batch=2),
}


# --- the contestants: network, device, threads -> a function that makes one step and returns the loss ------------


def ours(network: Network, device: torch.device, threads: int, optimizer: str | None = None) -> Callable[[], Tensor]:
    return in_our_step(network, device, threads, None, {"optimizer": {"name": optimizer}} if optimizer else {})


def wrapped(network: Network, device: torch.device, threads: int) -> Callable[[], Tensor]:
    return in_our_step(network, device, threads, Whole(Foreign(peer(network)), *statistics_of(3)), {})


class Foreign(nn.Module):
    """A peer's module with an architecture's promises."""

    multiple = 32

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor]:
        return (self.network(images),)


def in_our_step(
    network: Network, device: torch.device, threads: int, given: Whole | None, chosen: dict
) -> Callable[[], Tensor]:
    hardware.keep_memory()
    torch.set_num_threads(threads)
    recipe = from_tree({"model": network.ours, "steps": 1000, **chosen})
    plan = plan_for(network, recipe.hash, hardware.pick_precision("auto", device), device, threads)
    learner = Learner(recipe, plan, device, given)
    report(learner.network, learner.plan.precision)
    images, targets = pictures(network.batch)
    batch = Batch(images, targets, tuple(str(index) for index in range(network.batch)))
    return lambda: learner.step(batch)


def plain(network: Network, device: torch.device, threads: int) -> Callable[[], Tensor]:
    torch.set_num_threads(threads)
    module = peer(network).to(device)
    images, targets = normalised(network.batch)
    optimizer, loss_of = torch.optim.AdamW(module.parameters(), lr=1e-3), nn.CrossEntropyLoss(ignore_index=255)
    report(module, "float32")

    def step() -> Tensor:
        here, truth = images.to(device, non_blocking=True), targets.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = loss_of(module(here), truth)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def tuned(network: Network, device: torch.device, threads: int) -> Callable[[], Tensor]:
    torch.set_num_threads(threads)
    module = peer(network).to(device, memory_format=torch.channels_last)
    images, targets = normalised(network.batch)
    optimizer, loss_of = torch.optim.AdamW(module.parameters(), lr=1e-3), nn.CrossEntropyLoss(ignore_index=255)
    compiled = torch.compile(module)
    report(module, "bfloat16")

    def step() -> Tensor:
        here = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        truth = targets.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = loss_of(compiled(here), truth)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


CONTESTANTS: dict[str, Callable[[Network, torch.device, int], Callable[[], Tensor]]] = {
    "ours": ours,
    "ours-adamw": partial(ours, optimizer="adamw"),
    "wrapped": wrapped,
    "plain": plain,
    "tuned": tuned,
}


def peer(network: Network) -> nn.Module:
    torch.manual_seed(0)
    return network.peer().train()


def statistics_of(channels: int) -> tuple[Tensor, Tensor]:
    return torch.full((channels,), 0.45), torch.full((channels,), 0.25)


def pictures(batch: int) -> tuple[Tensor, Tensor]:
    """Random uint8 images `b 3 h w` and targets `b h w`; targets are blocks of 16x16, some pixels ignored."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, *SIZE), generator=generator, dtype=torch.uint8)
    coarse = torch.randint(0, CLASSES, (batch, SIZE[0] // 16, SIZE[1] // 16), generator=generator, dtype=torch.uint8)
    targets = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
    targets[torch.rand(targets.shape, generator=generator) < IGNORED] = 255
    return images, targets


def normalised(batch: int) -> tuple[Tensor, Tensor]:
    """What a peer's loader hands over: float32 images and int64 targets, made outside the clock."""
    images, targets = pictures(batch)
    return (images / 255 - 0.45) / 0.25, targets.long()


def plan_for(network: Network, recipe_hash: str, precision: torch.dtype, device: torch.device, threads: int) -> Plan:
    """The plan of a run on such pictures; a step reads its precision, statistics and class weights."""
    phase = {"steps": 1000, "batch": network.batch, "size": SIZE, "scale": (1.0, 1.0)}
    return Plan(
        recipe={}, recipe_hash=recipe_hash, manifest="", start=None, steps=1000, evaluate_at=(1000,), phases=(phase,),  # type: ignore[arg-type]
        seconds_per_step=None, device=device.type, precision=str(precision).removeprefix("torch."), threads=threads,
        world=1, model={}, classes=Classes.numbered(CLASSES).to_json(), in_channels=3, mean=(0.45,) * 3,
        std=(0.25,) * 3, class_pixels=(1,) * CLASSES, class_weights=(1.0,) * CLASSES, layout="", parts={}, notes=(),
    )  # fmt: skip


# --- one contestant's process: a number of steps in, the seconds of each out -------------------------------------


def report(network: nn.Module, precision: str) -> None:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    print(json.dumps({"parameters": parameters, "precision": precision}), flush=True)


def play(step: Callable[[], Tensor], device: str) -> None:
    for line in sys.stdin:
        seconds, processor = [], []
        for _ in range(int(line)):
            start, busy = time.perf_counter(), time.process_time()
            loss = step()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - busy)
            assert loss.isfinite(), "the loss is not finite"
        print(json.dumps({"seconds": seconds, "processor": processor}), flush=True)


# --- the parent: turns, ratios, record ---------------------------------------------------------------------------


class Contestant:
    """A process of its own, which says a line about itself, then of every turn how long what it did took."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._answer()
        self.turns: list[dict[str, float]] = []

    def go(self, steps: int) -> None:
        """One turn: the means of what it measured, by name."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.turns.append({key: statistics.mean(values) for key, values in self._answer().items()})

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a contestant died; its last words are above")
        return json.loads(line)


def command(name: str, options: argparse.Namespace) -> list[str]:
    words = {"play": name, "network": options.network, "device": options.device, "threads": options.threads}
    return [sys.executable, __file__, *(part for word, value in words.items() for part in (f"--{word}", str(value)))]


def take_turns(players: Sequence[Contestant], rounds: int, steps: int) -> None:
    """Rounds in which each has a turn of so many steps, there and back again."""
    for number in range(rounds):
        for player in players[:: 1 if number % 2 == 0 else -1]:
            player.go(steps)
        show_progress(number + 1, rounds)
    for player in players:
        player.stop()


def compete(options: argparse.Namespace) -> None:
    names = [name for name in CONTESTANTS if name != "tuned" or options.device != "cpu"]
    players = {name: Contestant(command(name, options)) for name in names}
    same = [name for name in names if NETWORKS[options.network].same or not name.startswith("ours")]
    assert len({players[name].about["parameters"] for name in same}) == 1, "not the same network"
    for player in players.values():
        player.go(WARM_UP)
        player.turns.clear()
    load_before = os.getloadavg()[0]
    take_turns(list(players.values()), options.rounds, options.steps)
    record = summary(players, options, load_before)
    print_summary(record)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(record, indent=1) + "\n")


def summary(players: dict[str, Contestant], options: argparse.Namespace, load_before: float) -> dict:
    network = NETWORKS[options.network]
    baselines = [name for name in players if name in ("plain", "tuned")]
    pairs = [(name, base) for name in players for base in baselines if name != base and name != "plain"]
    return {
        "schema": 1,
        "network": options.network,
        "what": f"training step, {options.network}, batch {network.batch}, {SIZE[0]}x{SIZE[1]}, {CLASSES} classes",
        "device": options.device,
        "threads": options.threads,
        "machine": hardware.describe(),
        "load_before": round(load_before, 2),
        "rounds": options.rounds,
        "steps_per_turn": options.steps,
        "contestants": {name: player.about | {"turns": player.turns} for name, player in players.items()},
        "ratios": {
            f"{base} / {name}": {clock: spread(players[base].turns, players[name].turns, clock) for clock in CLOCKS}
            for name, base in pairs
        },
    }


CLOCKS = ("seconds", "processor")


def spread(base: list[dict[str, float]], turns: list[dict[str, float]], clock: str) -> dict[str, float]:
    """How many times `turns` is faster, round by round; above 1 is faster."""
    ratios = sorted(slow[clock] / fast[clock] for slow, fast in zip(base, turns, strict=True))
    tenth = len(ratios) // 10
    middle = {"median": statistics.median(ratios), "low": ratios[tenth], "high": ratios[-1 - tenth], "n": len(ratios)}
    best = min(turn[clock] for turn in base) / min(turn[clock] for turn in turns)
    return middle | {"of_the_fastest_turns": best}


def print_summary(record: dict) -> None:
    print(f"{record['what']}; {record['device']}, {record['threads']} threads, load before {record['load_before']}")
    for name, player in record["contestants"].items():
        middle = statistics.median(turn["seconds"] for turn in player["turns"])
        about = f"{player['precision']}, {player['parameters']:,} parameters"
        print(f"  {name:<11} {1e3 * middle:8.1f} ms a step (median), {about}")
    for pair, clocks in record["ratios"].items():
        wall, processor = clocks["seconds"], clocks["processor"]
        print(
            f"  {pair:<19} {wall['median']:.2f}x by the median "
            f"(80 % of the ratios {wall['low']:.2f} to {wall['high']:.2f}, n = {wall['n']}; "
            f"fastest turns {wall['of_the_fastest_turns']:.2f}x; processor time {processor['median']:.2f}x)"
        )


def show_progress(done: int, rounds: int) -> None:
    if sys.stderr.isatty():
        print(f"\rround {done} of {rounds}", end="\n" if done == rounds else "", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
