"""Random streams by name: what one part draws shifts nothing in another.

Common random numbers need every source of chance (split, order, augmentation, dropout, starting weights, stochastic
operators) to depend on the seed and on its own name alone, never on how much was drawn elsewhere.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_of(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed that depends on `seed` and the names of the stream alone.

    >>> seed_of(0, "order", 1) == seed_of(0, "order", 1) != seed_of(0, "order", 2)
    True
    """
    text = "/".join([str(int(seed)), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """Return a CPU generator for the stream of these names."""
    return torch.Generator().manual_seed(seed_of(seed, *names))


@contextmanager
def drawing(seed: int, *names: str | int) -> Iterator[None]:
    """Let torch's own global generators draw from the stream inside the block, and give them back as they were.

    For code that cannot take a generator: layers that draw their starting weights, dropout.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_of(seed, *names))
        yield
