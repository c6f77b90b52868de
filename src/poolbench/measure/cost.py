"""What a network costs without being timed: parameters and multiply-adds."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def cost(network: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Return parameters (all, trainable) and the multiply-adds of one image of `input_shape` (C, H, W).

    Multiply-adds are torch's FlopCounterMode halved (it counts a multiply-add as two): convolutions and matrix
    products alone. A pooling's own comparisons and sums are not in them.
    """
    parameter = next(network.parameters())
    image = torch.zeros(1, *input_shape, device=parameter.device, dtype=parameter.dtype)
    was_training = network.training
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network.eval()(image)
    finally:
        network.train(was_training)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "parameters_trainable": sum(p.numel() for p in network.parameters() if p.requires_grad),
        "multiply_adds": counter.get_total_flops() // 2,
    }
