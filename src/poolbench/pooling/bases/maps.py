"""What every operator takes: a map of the right dimensions and of numbers that its formula is for, checked once."""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.fx import Proxy

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
WHOLE = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})
# Whole numbers that torch cannot compare everywhere, and what has the same order.
STAND_INS = {torch.bool: torch.uint8, torch.uint16: torch.int32, torch.uint32: torch.int64}


class MapModule(nn.Module):
    """A module that takes a map, or a batch of them; a subclass brings `of_batch`.

    Numbers: float16, bfloat16, float32 and float64. Whole numbers and booleans are taken where every result is one of
    the map's values (see `selects`), which then is exact; elsewhere they are an error, because a mean or a sum of them
    would be rounded or wrapped. Complex numbers are an error everywhere.

    `small_maps` says of a module what the time goes into if it takes more than three times as long as `nn.MaxPool2d` on
    a map so small that calls weigh more than what they compute; "" if it does not (`benchmarks/small_maps.py`).

    torch.fx (`symbolic_trace`, torchvision's `create_feature_extractor`) takes the module for a leaf, as those of
    `torch.nn`. `torch.jit.trace` follows it, save one that draws in training; `torch.jit.script` is an error.
    """

    spatial: ClassVar[int] = 2
    small_maps: ClassVar[str] = ""

    def forward(self, x: Tensor) -> Tensor:
        """Pool a batch (B, C, H, W) or one map (C, H, W); one dimension fewer for a one-dimensional operator."""
        if type(x) is not Tensor and isinstance(x, Proxy):
            return _leaf(self, x)
        batched = x.ndim == self.spatial + 2
        if not batched and x.ndim != self.spatial + 1:
            inner = "H, W" if self.spatial == 2 else "L"
            raise ValueError(
                f"the map must be (B, C, {inner}) or (C, {inner}) for {type(self).__name__}, got {tuple(x.shape)}"
            )
        if not batched:
            x = x.unsqueeze(0)
        y = self.of_batch(x) if x.dtype in FLOATS else self._of_whole_numbers(x)
        return y if batched else y.squeeze(0)

    def of_batch(self, x: Tensor) -> Tensor:
        """Pool a batch of maps: what a subclass brings."""
        raise NotImplementedError(f"{type(self).__name__} must define `of_batch`")

    def selects(self, height: int, width: int) -> bool:
        """Return whether every result of a map of this size is one of its values, so that whole numbers stay exact."""
        return False

    def _of_whole_numbers(self, x: Tensor) -> Tensor:
        """Pool a map of whole numbers or booleans, exactly.

        Raises:
            ValueError: the operator computes with its values, or they are no real numbers.
        """
        if x.is_complex():
            raise ValueError(
                f"the map must be of real numbers for {type(self).__name__}, got {x.dtype}: "
                "pool its real and its imaginary part, x.real and x.imag"
            )
        if x.dtype not in WHOLE and x.dtype not in STAND_INS:
            raise ValueError(
                f"the map must be float16, bfloat16, float32 or float64 for {type(self).__name__}, got {x.dtype}: "
                "convert it first, x.float()"
            )
        height, width = (1, *x.shape[2:])[-2:]
        if not self.selects(height, width):
            raise ValueError(
                f"the map must be of floating point for {type(self).__name__}, which computes with its values, "
                f"got {x.dtype}: convert it first, x.float()"
            )
        if x.dtype in WHOLE:
            return self.of_batch(x)
        return self.of_batch(x.to(STAND_INS[x.dtype])).to(x.dtype)

    def __prepare_scriptable__(self) -> "MapModule":
        """Tell `torch.jit.script` that it cannot have this module."""
        raise RuntimeError(
            f"torch.jit.script cannot compile {type(self).__name__}, whose formula is Python: "
            "use torch.jit.trace, torch.export or torch.compile"
        )


def lowest(dtype: torch.dtype) -> float | int:
    """Return what is below all other numbers of a dtype, or equal to the least.

    >>> lowest(torch.float32), lowest(torch.int8)
    (-inf, -128)
    """
    return -torch.inf if dtype.is_floating_point else torch.iinfo(dtype).min


def _leaf(module: nn.Module, x: Proxy) -> Tensor:
    """Return the call of a module as torch.fx records that of a leaf.

    Raises:
        ValueError: the module itself is what is traced.
    """
    path = x.tracer.path_of_module(module)  # type: ignore[attr-defined]
    if not path:
        raise ValueError(
            f"torch.fx cannot look into {type(module).__name__}, which it takes for a leaf: trace a module "
            "that has it, as nn.Sequential(operator)"
        )
    return cast(Tensor, x.tracer.create_proxy("call_module", path, (x,), {}))
