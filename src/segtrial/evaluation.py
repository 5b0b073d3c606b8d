"""A model, a task and a part of a data set -> one row of counts per image, its file, and the scores in one JSON object.

Images of one size go through the network together. The batches are fixed by the part alone and dealt out to the
ranks whole, so one process and many see the same batches and count the same pixels.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float64, Int64, Num
from torch import Tensor, nn

from segtrial import ranks
from segtrial.data.sample import Sample
from segtrial.errors import RunError
from segtrial.files import write_atomic
from segtrial.losses import Criterion
from segtrial.scores import intervals, summary
from segtrial.statistics import Interval, NoInterval
from segtrial.tasks import Task

MOST_IMAGES = 8  # 4.5x the peer's speed, against 2.8x one by one (PERFORMANCE.md, section 0)
MOST_PIXELS = 2**21  # of images together: 8 of 512 x 512, 1 of 1024 x 2048


@runtime_checkable
class Part(Protocol):
    """What is evaluated: samples by number, with their keys, groups and sizes (h, w) known beforehand."""

    @property
    def keys(self) -> Sequence[str]: ...

    @property
    def groups(self) -> Sequence[str]: ...

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    def __getitem__(self, index: int, /) -> Sample: ...


@dataclass(frozen=True, eq=False)
class Counts:
    """What an evaluation keeps, in the order of the keys: of image i the row `counts[i]`, in the form of its task.

    `loss_sums[i]` are the sums of the criterion's losses; None without a criterion, and once read from a file.
    """

    keys: tuple[str, ...]
    groups: tuple[str, ...]
    counts: Num[np.ndarray, "n *row"]
    loss_sums: Float64[np.ndarray, "n terms 2"] | None = None
    more: Mapping[str, Int64[np.ndarray, "n ..."]] = field(default_factory=dict)
    """Rows of the task's extras, by name."""


def evaluate(
    network: nn.Module,
    part: Part,
    task: Task,
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    criterion: Criterion | None = None,
    extras: bool = False,
    progress: Callable[[int, int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Counts:
    """The rows of every image of `part`, each at its own size, gathered over all ranks.

    `network` maps `b c h w` images to float32 scores `b k h w`; it is evaluated in eval mode and left in the mode
    it was in. With `criterion` its sums are kept too, with `extras` the rows of the task's. `precision` bfloat16 means
    autocast. `progress(done, of)` counts this rank's images; `check()` is called before each batch and may raise to
    stop.
    """
    batches = _batches(part.sizes)[ranks.rank() :: ranks.world()]
    rows = torch.from_numpy(np.zeros((len(part.keys), *task.empty.shape[1:]), task.empty.dtype))
    losses = torch.zeros(len(part.keys), len(criterion.terms) if criterion else 0, 2, dtype=torch.float64)
    added = task.extras if extras else ()
    more = {one.name: torch.zeros(len(part.keys), *one.width(len(task.classes)), dtype=torch.int64) for one in added}
    done, total = 0, sum(len(batch) for batch in batches)
    network.to(device)
    with torch.inference_mode(), _evaluating(network), _autocast(device, precision):
        for batch in batches:
            if check:
                check()
            samples = [part[index] for index in batch]
            images = _images(samples, device)
            planes = torch.from_numpy(np.stack([sample.target for sample in samples])).to(device)
            scores = network(images)
            rows[batch] = task.rows(scores, images, planes)
            for one in added:
                target = task.target(images, planes).flatten(0, -3)  # without the axis of a single score
                found = one.rows(task.class_scores(scores), target)  # several for each image, where labels are several
                more[one.name][batch] = found.unflatten(0, (len(batch), -1)).sum(1).cpu()
            if criterion:
                losses[batch] = criterion.sums(task.compared(scores), task.target(images, planes))
            done += len(batch)
            if progress:
                progress(done, total)
    found = {name: _over_ranks(values, device) for name, values in {"": rows, **more}.items()}
    return _in_key_order(part, found, _over_ranks(losses, device) if criterion else None)


def save_counts(path: Path, counts: Counts) -> None:
    """Write keys, groups, counts and more as .npz, atomically; equal counts give equal bytes (no dates inside)."""
    arrays = {
        "keys": np.array(counts.keys, dtype=str),
        "groups": np.array(counts.groups, dtype=str),
        "counts": counts.counts,
        **counts.more,
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            with archive.open(entry, "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    write_atomic(path, buffer.getvalue())


def load_counts(path: Path, task: Task) -> Counts:
    """What `save_counts` wrote for that task. Raises RunError, naming file and fault, for anything else."""
    fix = "Evaluate again to write it anew"
    try:
        data = io.BytesIO(path.read_bytes())  # numpy would leave a damaged file open
        with zipfile.ZipFile(data) as archive:
            keys, groups, counts = (_array(archive, name) for name in ("keys", "groups", "counts"))
            names = [one.name for one in task.extras if f"{one.name}.npy" in archive.namelist()]
            more = {name: _array(archive, name) for name in names}
    except FileNotFoundError as error:
        raise RunError(path, "there is no such file", fix) from error
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
        # RuntimeError is what zipfile says of a compression that it does not know, and of an encrypted file
        raise RunError(path, f"this is no file of counts, or a damaged one ({error})", fix) from error
    fault = _fault(keys, groups, counts, task.empty)
    if fault:
        raise RunError(path, fault, fix)
    return Counts(tuple(keys.tolist()), tuple(groups.tolist()), counts, more=more)


def result_json(result: Counts, task: Task) -> dict[str, Any]:
    """The object that `segtrial evaluate --json` prints, schema 1; undefined numbers are None.

    `headline` names the score that stands for all of them.

    An interval is None where there are fewer than 5 blocks; then "reason" says so in words.
    """
    tables = [(result.counts, task.table)]
    tables += [(result.more[one.name], {one.name: one.score}) for one in task.extras if one.name in result.more]
    ranges = {name: found for rows, table in tables for name, found in intervals(rows, result.groups, table).items()}
    added = {name: one.definition for _, table in tables[1:] for name, one in table.items()}
    reasons = [found.reason for found in ranges.values() if isinstance(found, NoInterval)]
    return {
        "schema": 1,
        "task": task.name,
        "headline": task.headline,
        "scores": {name: value for rows, table in tables for name, value in summary(rows, table).items()},
        "intervals": {name: interval_json(found) for name, found in ranges.items()},
        **({"reason": reasons[0]} if reasons else {}),
        **task.words(result.counts, task.classes.names),
        "n_images": len(result.keys),
        "definitions": {**task.definitions, **added},
    }


def interval_json(found: Interval | NoInterval) -> Mapping[str, Any] | None:
    """An interval, ready for JSON; None where there is none."""
    if isinstance(found, NoInterval):
        return None
    return {"low": found.low, "high": found.high, "over": found.over, "n_blocks": found.n_blocks}


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(f"{name}.npy") as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _batches(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Numbers of images that go through the network together: of one size, within both limits."""
    of_size: dict[tuple[int, int], list[int]] = {}
    for index, (height, width) in enumerate(sizes):
        of_size.setdefault((height, width), []).append(index)
    batches = []
    for (height, width), indices in of_size.items():
        most = max(1, min(MOST_IMAGES, MOST_PIXELS // (height * width)))
        batches += [indices[start : start + most] for start in range(0, len(indices), most)]
    return batches


def _images(samples: Sequence[Sample], device: torch.device) -> Tensor:
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    return images.to(device, memory_format=torch.channels_last)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode for a while, then every module as it was (frozen ones may be in eval mode while others train)."""
    before = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training


def _autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager:
    return nullcontext() if precision == torch.float32 else torch.autocast(device.type, precision)


def _over_ranks(rows: Tensor, device: torch.device) -> Tensor:
    """Every rank's rows on every rank. Each row is one rank's, 0 on the others: the sum is exact."""
    summed = ranks.sum_over_ranks(rows.to(device) if device.type == "cuda" else rows)  # nccl sums on GPUs only
    return summed.cpu()


def _in_key_order(part: Part, rows: dict[str, Tensor], losses: Tensor | None) -> Counts:
    order = sorted(range(len(part.keys)), key=lambda index: part.keys[index])
    keys, groups = (tuple(names[index] for index in order) for names in (part.keys, part.groups))
    arrays = {name: values.numpy()[order] for name, values in rows.items()}
    return Counts(keys, groups, arrays.pop(""), None if losses is None else losses.numpy()[order], arrays)


def _fault(keys: np.ndarray, groups: np.ndarray, counts: np.ndarray, empty: np.ndarray) -> str | None:
    """What is wrong with arrays that claim to be counts; None if nothing is."""
    if keys.dtype.kind != "U" or groups.dtype.kind != "U" or keys.ndim != 1 or keys.shape != groups.shape:
        return f"keys are {keys.dtype} {keys.shape} and groups {groups.dtype} {groups.shape}, not two lists of names"
    if counts.dtype != empty.dtype or counts.shape[1:] != empty.shape[1:]:
        row = ", ".join(map(str, empty.shape[1:]))
        return f"counts are {counts.dtype} {counts.shape}, not {empty.dtype} (n, {row})"
    if len(counts) != len(keys) or (counts.dtype == np.int64 and (counts < 0).any()):
        return f"{len(counts)} rows of counts, the least {counts.min(initial=2**62)}, for {len(keys)} keys"
    return None
