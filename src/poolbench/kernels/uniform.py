"""Uniform random numbers as a hash of a key and a place: the same on every device and in every memory layout."""

from typing import TypeVar

import torch
from torch import Tensor

LOW = 0xFFFFFFFF
Whole = TypeVar("Whole", int, Tensor)


def uniform(key: Tensor, *shape: int) -> Tensor:
    """Return float32 numbers in [0, 1) by place in a map of this shape; the same key gives the same numbers.

    The hash is the finaliser of MurmurHash3 (Austin Appleby, public domain), twice; 24 bits are kept.

    >>> uniform(torch.tensor(5), 2).tolist() == uniform(torch.tensor(5), 2, 2)[0].tolist()
    True
    """
    count = 1
    for size in shape:
        count *= size
    place = torch.arange(count, device=key.device).view(shape)
    return (mix(mix(place & LOW) ^ key) >> 8).to(torch.float32) * 2.0**-24


def mix(x: Whole) -> Whole:
    """Mix the low 32 bits of each number (kept in int64: a product's low half does not mind the overflow).

    >>> mix(torch.tensor(7)).item() == mix(7)
    True
    """
    x = x & LOW
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & LOW
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & LOW
    return x ^ (x >> 16)
