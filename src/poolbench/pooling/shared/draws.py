"""Random numbers of one operator: a stream of its own, of which nothing else draws and that shifts nothing else.

Numbers are a hash of (seed, how many forward passes drew before, place), so they are the same on every device, in every
memory layout and under `torch.compile`, and a copy goes on where the original stood.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.kernels.uniform import mix, uniform


class Draws(nn.Module):
    """A stream of uniform numbers, owned by one operator.

    Its seed is drawn from torch's global generator when it is built, so two operators have different streams and
    `torch.manual_seed` before building makes them repeat. Seed and count are buffers that `deepcopy` and `to` carry
    and `state_dict` does not: they are no part of what was learned, and a network without the operator can load its
    weights. Files that have them load, and set them; `draws_state` and `load_draws_state` keep a whole network's.
    A forward pass that is repeated (activation checkpointing) draws anew.
    """

    seed: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**31, ()), persistent=False)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def reseed(self, seed: int) -> None:
        """Start the stream of another seed, from its beginning."""
        self.seed.fill_(seed % 2**31)
        self.count.zero_()

    def next_key(self) -> Tensor:
        """Return the key (int64, no dimensions) of the next draw."""
        key = mix(mix(self.count + 0x9E3779B9) ^ self.seed)
        # Not in place: a compiled backward pass may compute the key anew from the count that it was given.
        self.count = self.count + 1
        return key

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers in [0, 1) of a shape, on the device of the stream."""
        return uniform(self.next_key(), *shape)

    def set(self, seed: int, count: int) -> None:
        """Let the stream of `seed` go on after `count` forward passes that drew."""
        self.seed.fill_(seed)
        self.count.fill_(count)

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        """Take seed and count from a file of an earlier version, where the two were among the weights."""
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        for name in ("seed", "count"):
            key = prefix + name
            if key in state_dict:
                getattr(self, name).copy_(state_dict[key])
                unexpected_keys[:] = [other for other in unexpected_keys if other != key]


def draws_state(network: nn.Module) -> dict[str, tuple[int, int]]:
    """Return seed and count of every stream in a network, by the stream's name."""
    return {name: (int(draws.seed), int(draws.count)) for name, draws in _streams(network)}


def load_draws_state(network: nn.Module, state: Mapping[str, tuple[int, int]]) -> None:
    """Let every stream of a network go on where `draws_state` found it.

    Raises `KeyError` for a stream that `state` does not name.
    """
    for name, draws in _streams(network):
        draws.set(*state[name])


def _streams(network: nn.Module) -> Iterator[tuple[str, Draws]]:
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Draws))
