"""Every architecture -> how far its exported files are from torch, for 20 sizes of image: results/export_parity.json.

    python benchmarks/export_parity.py --out results/export_parity.json
    python benchmarks/export_parity.py --only segnet --formats onnx

Each network is traced once, with one size, and its files then answer for 20 others: from 1x1 to 131x97, odd and even,
below and above the multiple that it pads to, one image and two. Weights are random, from seed 0; a pass over random
images in train mode settles the statistics of batch normalisation, and the scales that start at 0 are drawn, so that
every layer has a say. Images are random uint8.

    largest difference   of any score, as a share of the largest score that torch gives for that image (in magnitude)
    agreement            share of pixels whose largest score is of the same class
    apart                pixels that are answered otherwise although torch's two largest scores are more than a
                         thousandth of the largest one apart

Architectures come with a ResNet-18 where their own encoder is a larger ResNet. What is in --out already is not run
again; it is written after every line, and a network that a format refuses is in it with the reason.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segtrial import hardware, models
from segtrial.errors import UserError
from segtrial.exporting import onnx_file, openvino_file, program
from segtrial.models._blocks import ZeroScaleNorm
from segtrial.models._encoder import RESNETS
from segtrial.models._init import initialise
from segtrial.models._whole import Whole

SIZES = (
    *((1, 1, 1), (1, 1, 40), (2, 33, 1), (1, 2, 3), (2, 7, 5), (1, 16, 16), (2, 31, 33), (1, 32, 32), (1, 48, 64)),
    *((2, 63, 65), (1, 64, 64), (2, 64, 96), (1, 65, 64), (1, 75, 101), (2, 90, 70), (1, 96, 128), (1, 97, 131)),
    *((2, 100, 36), (1, 127, 129), (1, 131, 97)),
)
"""(batch, height, width) of the images that files answer for."""

CLASSES = 5
NEAR = 1e-3
FORMATS = ("onnx", "openvino fp32", "openvino bf16", "torch")


@dataclass(frozen=True)
class Row:
    """One network in one format. `refused` is the reason where there is no file; then the figures are None."""

    spec: str
    format: str
    largest_difference: float | None
    agreement: float | None
    apart: int | None
    pixels: int
    sizes: int
    seconds: float
    refused: str | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="MODEL", default=specs(), help="these alone")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, help="these alone")
    parser.add_argument("--out", type=Path, help="a JSON file for the record")
    options = parser.parse_args()
    torch.set_num_threads(hardware.threads())
    record: dict[str, Any] = {"schema": 1, "rows": []}
    if options.out and options.out.exists():
        record = json.loads(options.out.read_text())
    for spec in options.only:
        done = {row["format"] for row in record["rows"] if row["spec"] == spec}
        for row in rows(spec, [form for form in options.formats if form not in done]):
            print(said(row), flush=True)
            record["rows"].append(asdict(row))
            if options.out:
                record |= {"machine": hardware.describe()}
                options.out.write_text(json.dumps(record, indent=1) + "\n")


def specs() -> list[str]:
    """Every architecture, with a small encoder where its own is a larger ResNet."""
    found = []
    for name in models.names():
        encoder = models.options(name).get("encoder")
        found.append(f"{name}:encoder=resnet18" if encoder and encoder.default in RESNETS else name)
    return found


def rows(spec: str, formats: list[str]) -> Iterator[Row]:
    """Each network is made and traced once."""
    if not formats:
        return
    network = settled(spec)
    started = time.process_time()
    try:
        graph = program.traced(network, torch.uint8)
    except UserError as error:
        yield from (refusal(spec, form, error, started) for form in formats)
        return
    with tempfile.TemporaryDirectory() as folder:
        for form in formats:
            started = time.process_time()
            try:
                answers = exported(graph, form, Path(folder))
            except UserError as error:
                yield refusal(spec, form, error, started)
                continue
            yield compared(spec, form, network, answers, started)


def settled(spec: str, classes: int = CLASSES) -> Whole:
    """A network in which every layer matters: random weights, and statistics that fit them."""
    name, options = models.parse(spec)
    core = models.build(name, classes, 3, **options)
    initialise(core, 0)
    generator = torch.Generator().manual_seed(1)
    for module in core.modules():
        if isinstance(module, ZeroScaleNorm):
            nn.init.uniform_(module.weight, 0.2, 1.0, generator=generator)
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean over all batches
    network = Whole(core, torch.tensor([0.4, 0.45, 0.5]), torch.tensor([0.2, 0.25, 0.3])).train()
    with torch.no_grad():
        for seed in range(2):
            network(images_of((4, 64, 96), seed))
    return network.eval()


def images_of(size: tuple[int, int, int], seed: int) -> Tensor:
    """Random blots and noise, so that neighbours are alike but not the same."""
    generator = torch.Generator().manual_seed(seed)
    batch, height, width = size
    coarse = torch.rand(batch, 3, -(-height // 8), -(-width // 8), generator=generator)
    blots = coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)[..., :height, :width]
    noise = torch.rand(batch, 3, height, width, generator=generator)
    return (255 * (0.7 * blots + 0.3 * noise)).to(torch.uint8)


def exported(graph: torch.export.ExportedProgram, form: str, folder: Path) -> Callable[[Tensor], Tensor]:
    """The file of that format, made and read again."""
    if form == "torch":
        program.save(graph, folder / "made.pt2", "{}")
        return program.Program(folder / "made.pt2")
    model = onnx_file.model_of(graph)
    if form == "onnx":
        onnx_file.save(model, folder / "made.onnx", "{}")
        return onnx_file.Session(folder / "made.onnx")
    openvino_file.save(openvino_file.model_of(model), folder / "made.xml", "{}")
    return openvino_file.Compiled(folder / "made.xml", form.split()[1])


@torch.no_grad()
def compared(spec: str, form: str, network: Whole, answers: Callable[[Tensor], Tensor], started: float) -> Row:
    """Both answer for all sizes."""
    largest, alike, apart, pixels = 0.0, 0, 0, 0
    for seed, size in enumerate(SIZES):
        images = images_of(size, seed + 2)
        expected, found = network(images), answers(images)
        assert found.shape == expected.shape, f"{spec} as {form}: {tuple(found.shape)} for {tuple(expected.shape)}"
        scale = float(expected.abs().max())
        largest = max(largest, float((found - expected).abs().max()) / scale)
        differs = found.argmax(1) != expected.argmax(1)
        first, second = expected.topk(2, dim=1).values.unbind(1)
        apart += int((differs & (first - second > NEAR * scale)).sum())
        alike, pixels = alike + int((~differs).sum()), pixels + differs.numel()
    seconds = round(time.process_time() - started, 1)
    return Row(spec, form, largest, alike / pixels, apart, pixels, len(SIZES), seconds)


def refusal(spec: str, form: str, error: UserError, started: float) -> Row:
    return Row(spec, form, None, None, None, 0, 0, round(time.process_time() - started, 1), error.found)


def said(row: Row) -> str:
    if row.refused:
        return f"{row.spec:<32} {row.format:<14} refused: {row.refused}"
    return (
        f"{row.spec:<32} {row.format:<14} largest difference {row.largest_difference:.1e}, "
        f"agreement {row.agreement:.4%}, {row.apart} of {row.pixels} pixels apart, {row.seconds} s"
    )


if __name__ == "__main__":
    main()
