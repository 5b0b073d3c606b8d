"""SSIM of 4 photos of 3 x 360x480 -> ours against torchmetrics' functional SSIM: ratio, spread, n.

    python benchmarks/ssim.py --out results/ssim_cpu.json

Both in one process, turn by turn, on the same float32 photos. torchmetrics computes in float32, ours in float64:
both are compared with scikit-image in float64, photo by photo, and torchmetrics' mean leaves no border out, so that
only ours is the same number. Target: >= 3 times faster by the median on 2 cores.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchmetrics
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

from segtrial.image_scores import ssim

BATCH, HEIGHT, WIDTH = 4, 360, 480


def seconds(work: Callable[[], object]) -> float:
    """How long one call of `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def reference(answer: torch.Tensor, truth: torch.Tensor) -> list[float]:
    """scikit-image's SSIM of each photo, in float64."""
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 1, "channel_axis": 0}
    pairs = zip(answer.double().numpy(), truth.double().numpy(), strict=True)
    return [float(structural_similarity(*pair, **options)) for pair in pairs]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repetitions", type=int, default=21)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(BATCH, 3, HEIGHT, WIDTH, generator=generator)
    answer = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    difference = max(abs(a - b) for a, b in zip(ssim(answer, truth).tolist(), reference(answer, truth), strict=True))
    assert difference < 1e-9, "not the SSIM of scikit-image"

    rounds = [
        (
            seconds(lambda: structural_similarity_index_measure(answer, truth, data_range=1.0)),
            seconds(lambda: ssim(answer, truth)),
        )
        for _ in range(options.repetitions + 1)
    ][1:]
    ratios = sorted(theirs / ours for theirs, ours in rounds)
    record = {
        "schema": 1,
        "what": f"SSIM, {BATCH} x 3 x {HEIGHT}x{WIDTH}: torchmetrics float32 / ours float64, turn by turn",
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_low": round(ratios[len(ratios) // 10], 2),
        "ratio_high": round(ratios[-1 - len(ratios) // 10], 2),
        "n": len(ratios),
        "ms_torchmetrics": round(1e3 * statistics.median(row[0] for row in rounds), 1),
        "ms_ours": round(1e3 * statistics.median(row[1] for row in rounds), 1),
        "difference_from_scikit_image": difference,
        "threads": torch.get_num_threads(),
        "versions": {
            "torch": torch.__version__,
            "torchmetrics": torchmetrics.__version__,
            "python": platform.python_version(),
        },
    }
    print(json.dumps(record, indent=2))
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
