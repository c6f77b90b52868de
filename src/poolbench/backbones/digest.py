"""When two networks are the same: equal parameters by name and shape, equal outputs, equal gradients.

Two arms of a block share all but what stands at the sites and in the head: only that has to be compared.
"""

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from poolbench.streams import drawing, stream

BATCH = 4
DECIMALS = 6


# Longer sides of a map are cut: what an operator computes is seen on a few windows.
LONGEST, PERIOD = 16, 8


@dataclass(frozen=True)
class Placed:
    """A module in its place.

    Args:
        name: of the place.
        module: what stands there.
        shape: (C, H, W) or (C, L) of a map there.
        window: sides of its window: of a map that is larger than a few of them, a part shows what it computes; None
            where it takes the whole map.
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]
    window: tuple[int, ...] | None

    def digest(self) -> str | None:
        """Return the digest of the module for a map as it meets there."""
        sides = self.shape[1:]
        if self.window is not None:
            longest = [max(LONGEST, 2 * size) for size in self.window]
            sides = tuple(
                side if side <= most else most + side % PERIOD for side, most in zip(sides, longest, strict=True)
            )
        return network_digest(self.module, (self.shape[0], *sides))


def arm_digest(network: nn.Module, placed: Sequence[Placed]) -> str | None:
    """Return a digest that two arms of a block share if they are the same network; None where it is not known.

    It is taken of the names and shapes of the network's parameters and of the digest of what stands at each place.
    """
    digests = [part.digest() for part in placed]
    if None in digests:
        return None
    lines = [f"{name} {tuple(parameter.shape)}" for name, parameter in sorted(network.named_parameters())]
    lines += [f"{part.name} {digest}" for part, digest in zip(placed, digests, strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def network_digest(network: nn.Module, input_shape: Sequence[int]) -> str | None:
    """Return a digest that two modules of equal starting weights share if they learn the same function.

    It is taken of the parameters' names and shapes, of the outputs for generated images in evaluation and in training
    mode (dropout from a fixed stream), and of the size of each parameter's gradient, or where there are no parameters
    of the images' gradient. All is computed in float64 on the CPU, with a copy of the network, so that two ways to
    compute the same do not differ in the digits that count.

    None where the network does not compute in float64: then it is not known.
    """
    images = torch.randn(BATCH, *input_shape, generator=stream(0, "digest"), dtype=torch.float64)
    probe = copy.deepcopy(network).cpu()
    if not any(parameter.requires_grad for parameter in probe.parameters()):
        images.requires_grad_()  # then its gradient is looked at
    try:
        outputs = [_outputs(probe.double().train(training), images) for training in (False, True)]
        # The plain sum of what follows a normalisation has no gradient; random weights give it one.
        weights = torch.randn(outputs[1].shape, generator=stream(0, "digest", "gradient"), dtype=torch.float64)
        (outputs[1] * weights).sum().backward()
    except Exception:  # a custom operator may raise anything; that it runs in float32 has been seen
        return None
    parameters = sorted(probe.named_parameters())
    gradients = [0.0 if p.grad is None else p.grad.norm().item() for _, p in parameters]
    given = [] if images.grad is None else [images.grad]
    lines = [f"{name} {tuple(parameter.shape)}" for name, parameter in parameters]
    digest = hashlib.sha256("\n".join(lines).encode())
    for values in (*outputs, *given, torch.tensor(gradients, dtype=torch.float64)):
        digest.update(_digits(values.detach().flatten()))
    return digest.hexdigest()[:16]


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    with drawing(0, "digest"):
        return network(images)


def _digits(values: Tensor) -> bytes:
    """Return values rounded relative to the largest: what cancels to nearly nothing is noise in its own digits."""
    largest = values.abs().max().item() if values.numel() else 0.0
    relative = values / largest if largest > 0 else values[:0]
    # Adding 0 makes one zero of the two.
    return f"{largest:.{DECIMALS}e}".encode() + (relative.round(decimals=DECIMALS) + 0.0).numpy().tobytes()
