"""What a network costs without being timed: parameters and multiply-adds."""

import copy
import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(network: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Return parameters (all, trainable) and the multiply-adds of one image of `input_shape` (C, H, W).

    Multiply-adds are half of what torch's FlopCounterMode counts, since it takes a multiply-add for two operations.
    It sees convolutions, matrix products and attention, as torch calls them. It does not see additions of a bias,
    normalisation, activations, and none of a pooling's own comparisons, sums and sorting: two variants without
    parameters show equal multiply-adds whatever their poolings do. Products inside an operator written in another
    language than torch's are not seen either.

    The forward pass runs on a copy in evaluation mode, without gradients, and torch's generators are given back as
    they were: nothing of the network or of the caller changes.

    Args:
        network: takes (B, C, H, W).
        input_shape: (C, H, W).

    >>> cost(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), (3, 2, 2))
    {'parameters': 26, 'parameters_trainable': 26, 'multiply_adds': 24}
    """
    # A network need not have parameters; where its first one (or buffer) lies and in which dtype, it wants its input.
    first = next(itertools.chain(network.parameters(), network.buffers()), torch.empty(0))
    dtype = first.dtype if first.is_floating_point() else torch.float32
    devices = [first.device] if first.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), FlopCounterMode(display=False) as counter:
        probe = copy.deepcopy(network).eval()
        probe(torch.zeros(1, *input_shape, device=first.device, dtype=dtype))
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "parameters_trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "multiply_adds": counter.get_total_flops() // 2,
    }
