"""What computes each pooling operator of a network: a compiled kernel or torch's own operations."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from poolbench.kernels.autocast import autocast
from poolbench.kernels.precision import laid_out

# What an operator without a choice of implementation runs by.
TORCH = "torch"


def implementations(
    network: nn.Module,
    input_shape: Sequence[int],
    *,
    device: torch.device,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    batch_size: int = 1,
) -> dict[str, dict[str, str]]:
    """Return what runs each operator of the network that can say it (`fast`, `triton`, `torch`), and why no kernel.

    Found in one forward pass of a copy over one image of zeros, in evaluation mode, on the device and by autocast to
    `dtype` as in training: what reaches an operator decides. It is asked about a whole batch of that.

    Args:
        network: takes (B, C, H, W).
        input_shape: (C, H, W).
        device: where it is trained.
        dtype: what autocast computes in; float32 is none.
        memory_format: layout of the images.
        batch_size: images a batch: a head takes no kernel for few values.
    """
    found: dict[str, dict[str, str]] = {}
    probe = copy.deepcopy(network).eval().to(device).to(memory_format=memory_format)

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            ran, reason = module.implementation_for(_batch(inputs[0], batch_size))  # type: ignore[operator]
            found[name] = {"ran": ran, "reason": reason}

        return hook

    for name, module in probe.named_modules():
        if callable(getattr(module, "implementation_for", None)):
            module.register_forward_pre_hook(look(name))
    image = laid_out(torch.zeros(1, *input_shape, device=device), memory_format)
    kept = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with kept, torch.no_grad(), autocast(device, dtype):
        probe(image)
    return found


def _batch(x: Tensor, batch_size: int) -> Tensor:
    """Return a map like that of one image for a batch of them, of any values."""
    strides = (x.stride(0) if x.shape[0] != 1 else x[0].numel(), *x.stride()[1:])
    return x.new_empty_strided((batch_size * x.shape[0], *x.shape[1:]), strides)


def summary(found: Mapping[str, Mapping[str, str]]) -> str:
    """Return what ran, joined by +: `fast`, `torch`, `triton`.

    >>> summary({"pool1": {"ran": "torch"}, "pool2": {"ran": "fast"}}), summary({})
    ('fast + torch', 'torch')
    """
    return " + ".join(sorted({each["ran"] for each in found.values()})) or TORCH
