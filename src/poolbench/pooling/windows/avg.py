"""Average pooling."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from poolbench.kernels.graph import Value, Window
from poolbench.kernels.precision import match_input
from poolbench.kernels.sizes import are_known
from poolbench.pooling.bases.tap import TapPool2d
from poolbench.pooling.bases.window import WindowPool1d
from poolbench.pooling.shared.means import mean


def _pads(pool: nn.Module) -> bool:
    padding = getattr(pool, "padding", 0)
    return any(padding) if isinstance(padding, tuple) else bool(padding)


class AvgPool2d(TapPool2d):
    """The mean of each window: Σx / n.

    Args:
        kernel_size, stride, padding, ceil_mode, dilation, implementation: see `WindowPool2d`.
        count_include_pad: whether padding counts as zeros. False, unlike in `torch.nn.AvgPool2d`: a mean that
            shrinks at the border would be another operator there. True is left to torch, without dilation; with
            `ceil_mode`, too, `torch.export` then holds for sizes of the example's remainder only, as torch's does.

    Raises:
        ValueError: an argument breaks its rule.

    >>> import torch
    >>> AvgPool2d(2)(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).item()
    2.5
    """

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        dilation: int | Sequence[int] = 1,
        implementation: str = "fast",
        count_include_pad: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, dilation=dilation, implementation=implementation)
        if not isinstance(count_include_pad, bool):
            raise ValueError(f"`count_include_pad` must be true or false, got {count_include_pad!r}")
        if count_include_pad and self.dilation != (1, 1):
            raise ValueError(f"`dilation` must be 1 with count_include_pad, got {dilation!r}")
        self.count_include_pad = count_include_pad
        self.trace()

    def formula(self, window: Window) -> Value:
        """Return Σx / n."""
        return mean(window)

    @classmethod
    def taken_over(cls, pool: nn.Module) -> dict[str, Any]:
        """Return whether padding counts, of an average pooling."""
        counts = getattr(pool, "count_include_pad", False) and _pads(pool)
        return {"count_include_pad": True} if counts else {}

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, and why."""
        found = super().implementation_for(x_BCHW)
        if self.count_include_pad and found[0] != "torch":
            return "torch", "count_include_pad has no kernel"
        return found

    def plain(self, x_BCHW: Tensor) -> Tensor:
        """Pool by torch's own average pooling, which knows no dilation."""
        # torch's own asks sizes that are not known.
        by_sizes = self.ceil_mode and not self.count_include_pad and not are_known(*x_BCHW.shape[-2:])
        if self.dilation != (1, 1) or by_sizes:
            return super().plain(x_BCHW)
        x = x_BCHW
        if x.is_cuda and any(self.padding):
            # Of a padded map with its channels last, torch gives a wrong gradient on a GPU and says nothing
            # (pytorch/pytorch#188344, mended in July 2026).
            x = x.contiguous()
        y = F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)
        return match_input(x_BCHW, y)


class AvgPool1d(WindowPool1d, AvgPool2d):
    """`AvgPool2d` for sequences.

    >>> import torch
    >>> AvgPool1d(2)(torch.tensor([[[1.0, 2.0, 4.0, 3.0]]])).tolist()
    [[[1.5, 3.5]]]
    """
