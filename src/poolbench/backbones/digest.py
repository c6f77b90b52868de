"""When two networks are the same: equal parameters by name and shape, equal outputs, equal gradients."""

import copy
import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from poolbench.streams import drawing, stream

BATCH = 4
DECIMALS = 6


def network_digest(network: nn.Module, input_shape: Sequence[int]) -> str | None:
    """Return a digest that two networks of equal starting weights share if they learn the same function.

    It is taken of the parameters' names and shapes, of the outputs for generated images in evaluation and in training
    mode (dropout from a fixed stream), and of the size of each parameter's gradient. All is computed in float64 on
    the CPU, with a copy of the network, so that two ways to compute the same do not differ in the digits that count.

    None where the network does not compute in float64: then it is not known.
    """
    images = torch.randn(BATCH, *input_shape, generator=stream(0, "digest"), dtype=torch.float64)
    probe = copy.deepcopy(network).cpu()
    try:
        outputs = [_outputs(probe.double().train(training), images) for training in (False, True)]
        # The plain sum of what follows a normalisation has no gradient; random weights give it one.
        weights = torch.randn(outputs[1].shape, generator=stream(0, "digest", "gradient"), dtype=torch.float64)
        (outputs[1] * weights).sum().backward()
    except Exception:  # an operator of one's own may raise anything; that it runs in float32 has been seen
        return None
    parameters = sorted(probe.named_parameters())
    gradients = [0.0 if p.grad is None else p.grad.norm().item() for _, p in parameters]
    lines = [f"{name} {tuple(parameter.shape)}" for name, parameter in parameters]
    for values in (*outputs, torch.tensor(gradients, dtype=torch.float64)):
        lines += _digits(values.detach().flatten())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    with drawing(0, "digest"):
        return network(images)


def _digits(values: Tensor) -> list[str]:
    """Return values rounded relative to the largest: what cancels to nearly nothing is noise in its own digits."""
    largest = values.abs().max().item() if values.numel() else 0.0
    relative = (values / largest).tolist() if largest > 0 else []
    # Adding 0 makes one zero of the two.
    return [f"{largest:.{DECIMALS}e}", *(f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}" for value in relative)]
