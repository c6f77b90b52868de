"""From a learned tensor to the parameter of a formula, with the derivative written down.

On a small map, a kernel with its derivative takes less time than autograd does for two operations more. So what lies
between a parameter, one number for each channel or one for all, and a formula is part of the kernel's step.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from poolbench.kernels.precision import upcast


class Link(Protocol):
    """Makes one parameter (C) or (1) of a learned tensor of the same shape."""

    def value(self, learned: Tensor) -> Tensor:
        """Return the parameter, in at least float32."""
        ...

    def gradient(self, gradient: Tensor, param: Tensor) -> Tensor:
        """Return what the learned tensor gets of the gradient of its parameter."""
        ...


@dataclass(frozen=True)
class Unchanged:
    """The numbers as they are.

    >>> import torch
    >>> Unchanged().value(torch.ones(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """

    def value(self, learned: Tensor) -> Tensor:
        """Return the numbers."""
        return upcast(learned)

    def gradient(self, gradient: Tensor, param: Tensor) -> Tensor:
        """Return the gradient."""
        return gradient


@dataclass(frozen=True)
class Sigmoid:
    """Weights between 0 and 1: they are not rounded before they are used.

    >>> import torch
    >>> Sigmoid().value(torch.zeros(1)), Sigmoid().gradient(torch.ones(1), torch.full((1,), 0.5))
    (tensor([0.5000]), tensor([0.2500]))
    """

    def value(self, learned: Tensor) -> Tensor:
        """Return sigmoid(learned)."""
        return upcast(learned).sigmoid()

    def gradient(self, gradient: Tensor, param: Tensor) -> Tensor:
        """Return the gradient times a(1 − a)."""
        if param.numel() == 1 and param.is_cpu and not param.requires_grad:
            a = float(param)  # by Python's numbers: three operations of torch's take longer than a small map
            return gradient * (a * (1 - a))
        return gradient * (param * (1 - param))
