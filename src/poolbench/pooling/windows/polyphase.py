"""What polyphase poolings share: of the s x s ways of taking every s-th value, one is chosen."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from poolbench.kernels.precision import is_channels_last
from poolbench.kernels.sizes import are_known
from poolbench.kernels.transforms import allows_custom_function, is_transformed
from poolbench.pooling.bases.window import WindowPool2d
from poolbench.pooling.shared.pad import pad
from poolbench.pooling.windows.dense_max import DenseMax2d

PADDING_MODES = ("circular", "replicate")


class PolyphasePool2d(WindowPool2d):
    """What polyphase poolings share: the map's components, of which a subclass chooses.

    Component (i, j) has the values z_(i + s·a, j + s·b) for a < H', b < W', with z the maxima of the windows that
    begin at every place, counted from the first of the padded map, or the map itself. What lies beyond the border is
    the map again (`"circular"`), or its last value (`"replicate"`, with which no window has other values than its own,
    and one beyond the map has the map's last).
    """

    small_maps: ClassVar[str] = "the norms of all components, found by a dozen operations of torch"
    keeps_range: ClassVar[bool] = False
    is_equivariant: ClassVar[bool] = False

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        ceil_mode: bool = False,
        *,
        implementation: str = "fast",
        maximum: bool = True,
        padding_mode: str = "circular",
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, implementation=implementation)
        if not isinstance(maximum, bool):
            raise ValueError(f"`maximum` must be true or false, got {maximum!r}")
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"`padding_mode` must be 'circular' or 'replicate', got {padding_mode!r}")
        self.padding_mode = padding_mode
        self.maxima = DenseMax2d(self.kernel_size, implementation=implementation) if maximum else None

    def components(self, x_BCHW: Tensor) -> Tensor:
        """Return the components: (B, C, H, W) → (B, C, H', s, W', s), rows then columns."""
        sizes = x_BCHW.shape[-2:]
        shape = self.output_shape(sizes[0], sizes[1])
        places = (shape[0] * self.stride[0], shape[1] * self.stride[1])
        if self.maxima is None:
            more = [(0, places[a] - sizes[a]) for a in (0, 1)]
            z_BCHW = pad(x_BCHW, more[0], more[1], self.padding_mode)
        else:
            more = [(self.padding[a], places[a] + self.kernel_size[a] - 1 - self.padding[a] - sizes[a]) for a in (0, 1)]
            z_BCHW = self.maxima(pad(x_BCHW, more[0], more[1], self.padding_mode), places)
        if not are_known(*sizes):
            return self._components_by_places(z_BCHW, shape)
        phases = (shape[0], self.stride[0]), (shape[1], self.stride[1])
        # In the order of memory, so that the gradient keeps the layout.
        if is_channels_last(z_BCHW):
            return z_BCHW.permute(0, 2, 3, 1).unflatten(2, phases[1]).unflatten(1, phases[0]).permute(0, 5, 1, 2, 3, 4)
        return z_BCHW.unflatten(3, phases[1]).unflatten(2, phases[0])

    def _components_by_places(self, z_BCHW: Tensor, shape: tuple[int, int]) -> Tensor:
        """Return the components of a map whose size is not known: nothing asks whether the stride divides it."""
        first = [torch.arange(shape[a], device=z_BCHW.device) * self.stride[a] for a in (0, 1)]
        lines = [z_BCHW.index_select(2, first[0] + at) for at in range(self.stride[0])]
        parts = [[line.index_select(3, first[1] + at) for at in range(self.stride[1])] for line in lines]
        return torch.stack([torch.stack(part, 4) for part in parts], 3)

    def component(self, parts_BCHIWJ: Tensor, score_BP: Tensor) -> Tensor:
        """Return the component of the largest score, of equal ones the first, all NaN where one is: (B, C, H', W')."""
        best_B = score_BP.argmax(1)
        choose = _Component.apply if allows_custom_function(parts_BCHIWJ) else _component
        chosen_BCHW: Tensor = choose(parts_BCHIWJ, best_B)
        if not chosen_BCHW.is_floating_point():
            return chosen_BCHW
        return torch.where(score_BP.isnan().any(1).view(-1, 1, 1, 1), torch.nan, chosen_BCHW)

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the maxima of this map, and where it is `"torch"` why."""
        return super().implementation_for(x_BCHW) if self.maxima is None else self.maxima.implementation_for(x_BCHW)

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the comparisons of the dense maxima, k² − 1 each, and what a subclass needs for its choice."""
        rows, columns = self.output_shape(height, width)
        places = rows * self.stride[0], columns * self.stride[1]
        maxima = 0 if self.maxima is None else self.maxima.operations_on(channels, *places)
        return maxima + self.choosing(channels, *places)

    def choosing(self, channels: int, height: int, width: int) -> int:
        """Return the operations of the choice, the components having height · width places together."""
        raise NotImplementedError(f"{type(self).__name__} must define `choosing` to have `work`")

    def extra_repr(self) -> str:
        """Show the geometry and what the components are of."""
        mode = f"maximum={self.maxima is not None}, padding_mode={self.padding_mode!r}"
        return f"{super().extra_repr()}, {mode}"


class _Component(torch.autograd.Function):
    """One component of each image; torch's own derivative of that adds numbers up where there is one for each place."""

    @staticmethod
    def forward(ctx: Any, parts_BCHIWJ: Tensor, best_B: Tensor) -> Tensor:
        ctx.size, ctx.last = parts_BCHIWJ.shape, holds_channels_last(parts_BCHIWJ)
        ctx.save_for_backward(best_B)
        return _component(parts_BCHIWJ, best_B)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        batch, channels, rows, high, columns, wide = ctx.size
        (best_B,) = ctx.saved_tensors
        image_B, row_B, column_B = _where(best_B, wide)
        if is_transformed(gradient):  # of a batch of gradients nothing can be written in place
            is_row_BI, is_column_BJ = (
                at_B[:, None] == torch.arange(size, device=at_B.device)
                for at_B, size in ((row_B, high), (column_B, wide))
            )
            chosen_B11I1J = is_row_BI[:, None, None, :, None, None] & is_column_BJ[:, None, None, None, None, :]
            return torch.where(chosen_B11I1J, gradient.unsqueeze(-2).unsqueeze(-1), 0.0), None
        if ctx.last:
            parts_BHIWJC = gradient.new_zeros(batch, rows, high, columns, wide, channels)
            parts_BHIWJC[image_B, :, row_B, :, column_B] = gradient.permute(0, 2, 3, 1)
            return parts_BHIWJC.permute(0, 5, 1, 2, 3, 4), None
        parts_BCHIWJ = gradient.new_zeros(ctx.size)
        parts_BCHIWJ[image_B, :, :, row_B, :, column_B] = gradient
        return parts_BCHIWJ, None


def _component(parts_BCHIWJ: Tensor, best_B: Tensor) -> Tensor:
    """Return one component of each image, in the memory layout of the map: (B, C, H', W')."""
    image_B, row_B, column_B = _where(best_B, parts_BCHIWJ.shape[5])
    if holds_channels_last(parts_BCHIWJ):
        parts_BHIWJC = parts_BCHIWJ.permute(0, 2, 3, 4, 5, 1)
        return parts_BHIWJC[image_B, :, row_B, :, column_B].permute(0, 3, 1, 2)
    return parts_BCHIWJ[image_B, :, :, row_B, :, column_B]


def _where(best_B: Tensor, wide: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, row and column of the chosen components."""
    return torch.arange(best_B.shape[0], device=best_B.device), best_B // wide, best_B % wide


def holds_channels_last(parts_BCHIWJ: Tensor) -> bool:
    """Whether components (B, C, H', s, W', s) lie in memory with their channels last."""
    return parts_BCHIWJ.stride(1) == 1 and parts_BCHIWJ.shape[1] > 1
