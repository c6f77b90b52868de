"""When two networks are the same: equal parameters by name and shape, equal outputs."""

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from poolbench.streams import drawing, stream

BATCH = 4
SIGNIFICANT_DIGITS = 5


def network_digest(network: nn.Module, input_shape: Sequence[int]) -> str:
    """Return a digest that two networks of equal starting weights share if they are the same function.

    It is taken of the parameters' names and shapes, and of the outputs on generated images, in evaluation mode and in
    training mode (dropout from a fixed stream), in float32 on the CPU. The network's buffers are changed by the pass
    in training mode.
    """
    images = torch.randn(BATCH, *input_shape, generator=stream(0, "digest"))
    lines = [f"{name} {tuple(parameter.shape)}" for name, parameter in sorted(network.named_parameters())]
    with torch.no_grad():
        for training in (False, True):
            with drawing(0, "digest"):
                outputs = network.train(training)(images).flatten().tolist()
            lines += [f"{value:.{SIGNIFICANT_DIGITS - 1}e}" for value in outputs]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
