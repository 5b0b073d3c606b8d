"""One process or many -> the same sums and the same words on every rank.

Every function works without torch.distributed: one process is rank 0 of 1.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; rank 0 alone writes files."""
    return dist.get_rank() if dist.is_initialized() else 0


def launched() -> int:
    """The number of processes that torchrun says it started (1 without torchrun)."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """This process's number on its machine, as torchrun says."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the other ranks for a while, if torchrun started several (nccl on CUDA, else gloo)."""
    if launched() == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks; integers exactly."""
    if world() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def from_first(value: Any, device: torch.device) -> Any:
    """Rank 0's plain (JSON) value, on every rank. Sent as text: no object is ever unpickled."""
    if world() == 1:
        return value
    data = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=device)
    length = torch.tensor([len(data)], dtype=torch.int64, device=device)
    dist.broadcast(length, 0)
    text = data if rank() == 0 else torch.empty(int(length), dtype=torch.uint8, device=device)
    dist.broadcast(text, 0)
    return json.loads(bytes(text.cpu().tolist()))


def wait_for_all() -> None:
    """Return when every rank has come here."""
    if world() > 1:
        dist.barrier()


def is_first_launched() -> bool:
    """Whether this process is the one that speaks, known before the ranks have joined."""
    return int(os.environ.get("RANK", "0")) == 0


def largest(number: int, device: torch.device) -> int:
    """The largest of the ranks' whole numbers."""
    value = torch.tensor(number, dtype=torch.int64, device=device)
    if world() > 1:
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def share_buffers(module: nn.Module) -> None:
    """Give every rank rank 0's buffers (running statistics are each rank's own while it trains)."""
    if world() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)


def broadcast(value: Tensor, device: torch.device) -> Tensor:
    """Rank 0's tensor, on every rank; elsewhere `value` has its shape and type and is not read."""
    held = value.to(device).contiguous()
    dist.broadcast(held, 0)
    return held
