"""Random numbers of one operator: a stream of its own, of which nothing else draws and that shifts nothing else.

Numbers are a hash of (seed, how many forward passes drew before, place), so they are the same on every device, in every
memory layout and under `torch.compile`, and a copy or a loaded state goes on where the original stood.
"""

import torch
from torch import Tensor, nn

from poolbench.kernels.uniform import mix, uniform


class Draws(nn.Module):
    """A stream of uniform numbers, owned by one operator.

    Its seed is drawn from torch's global generator when it is built, so two operators have different streams and
    `torch.manual_seed` before building makes them repeat. Seed and count are buffers: `state_dict` and `deepcopy` carry
    them. A forward pass that is repeated (activation checkpointing) draws anew.
    """

    seed: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seed", torch.randint(2**31, ()))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

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
