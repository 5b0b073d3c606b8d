"""(seed, purpose, where) -> generator: randomness without state (law 1).

Nothing here remembers anything. A draw depends on the words that name it and on nothing else: not on how
many workers there are, what was drawn before, or how often the run was killed.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # whoever draws with numpy alone, such as processes that look at pictures, needs no torch
    import torch


def key_of(*words: str | int) -> int:
    """A number from 0 to 2**63 - 1 that depends on every word and on their order (BLAKE2b)."""
    text = "\x1f".join(f"{type(word).__name__}:{word}" for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *where: str | int) -> np.random.Generator:
    """The numpy generator (Philox, counter-based) of this seed, purpose and place."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, purpose, *where)))


def torch_generator(seed: int, purpose: str, *where: str | int) -> "torch.Generator":
    """The torch CPU generator of this seed, purpose and place."""
    import torch

    return torch.Generator().manual_seed(key_of(seed, purpose, *where))


def seed_network(seed: int, step: int, rank: int) -> None:
    """Key the draws inside a network (dropout, stochastic depth) for one step of one rank.

    Those layers read torch's global generator, the only place where the project touches it.
    """
    import torch

    torch.manual_seed(key_of(seed, "network", step, rank))
