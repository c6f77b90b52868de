"""A whole map taken by a compiled kernel: a formula over disjoint windows, whose few results a head goes on with."""

from typing import Any

import torch
from torch import Tensor

from poolbench.kernels import operator as kernels
from poolbench.kernels.geometry import Geometry
from poolbench.kernels.precision import is_channels_last, lies_channels_last, upcast
from poolbench.kernels.transforms import is_only_recorded, is_transformed
from poolbench.pooling.bases.tap import TapPool2d

# Places of a window of a column and of rows: torch is left with one number in so many. Measured, as all of these:
# decision 0013.
PLACES_OF_COLUMN, PLACES_OF_ROWS = 64, 16
# Below these torch's operations take less time: values in all; places of a map with channels side by side; of another,
# where a kernel works on neighbouring windows, so that there must be some.
LEAST_VALUES, LEAST_PLACES, LEAST_PLACES_CONTIGUOUS = 2**12, 16, 4 * PLACES_OF_ROWS


class ByWindows:
    """Runs the formula of a window operator over the windows of a whole map.

    A head asks for no place of the map by itself, so the places may be arranged as suits memory. In rows: a window is
    places of one column, so that the kernel reads as many rows side by side, each in order. In one column: a window is
    places on end, for a map with its channels side by side, if the formula is one of sums, which keeps what it computed
    of some rows, and then of some places only. The last window of a column has what is left.

    No module: the numbers of the formula are the head's own, which gives them with each call.

    Args:
        kind: the window operator. Parameters of its own are not used.
        own: its own arguments.
    """

    def __init__(self, kind: type[TapPool2d], **own: Any) -> None:
        self.of_rows = kind((PLACES_OF_ROWS, 1), ceil_mode=True, **own)
        self._known: tuple[tuple[Any, ...], str] | None = None
        self.of_column = kind((PLACES_OF_COLUMN, 1), ceil_mode=True, **own) if self.of_rows.has_sums else self.of_rows

    def why_torch(self, x_BCHW: Tensor, learned: Tensor | None) -> str:
        """Return why no kernel takes this map, "" where one does."""
        if not (is_only_recorded(x_BCHW) and (learned is None or is_only_recorded(learned))):
            return self._why_torch(x_BCHW, learned)
        # Of a map like the one before it, it is known.
        asked = x_BCHW.shape, x_BCHW.dtype, x_BCHW.device, lies_channels_last(x_BCHW)
        if self._known is None or self._known[0] != asked:
            self._known = asked, self._why_torch(x_BCHW, learned)
        return self._known[1]

    def _why_torch(self, x_BCHW: Tensor, learned: Tensor | None) -> str:
        if x_BCHW.device.type != "cpu":
            return f"whole maps are taken by kernels on cpu, the map is on {x_BCHW.device.type}"
        why = self.of_rows.implementation_for(x_BCHW)[1] or self.of_column.implementation_for(x_BCHW)[1]
        if not why and is_transformed(learned):
            why = "a transform of torch.func, or a tangent, needs torch's own operations"
        return why or ("the map is so small that torch's own operations are faster" if _is_small(x_BCHW) else "")

    def __call__(self, x_BCHW: Tensor, learned: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the windows' results (B, C, M), and the share of each in the map's places, (M); None: all alike.

        Many results are taken by windows in their turn, where possible until one is left. They are then in at least
        float32, else in the dtype of the map.

        Args:
            x_BCHW: a map for which `why_torch` has nothing to say.
            learned: the number of the formula, (1,) or (C,), of floating point.
        """
        y_BCM, share_M = self._taken(x_BCHW, learned)
        while y_BCM.shape[-1] > 1 and share_M is None and _are_many(y_BC1M := upcast(y_BCM).unsqueeze(2)):
            y_BCM, share_M = self._taken(y_BC1M, learned)
        return y_BCM, share_M

    def _taken(self, x_BCHW: Tensor, learned: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the results of one map's windows, and their shares."""
        x_BCRW, operator = self._arranged(x_BCHW)
        places = operator.window_size
        height, width = x_BCRW.shape[2:]
        rows = operator.output_shape(height, width)[0]
        geometry = Geometry((places, 1), (places, 1), (0, 0), (1, 1), (rows, width))
        if is_only_recorded(x_BCRW):
            run = kernels.runner(x_BCRW, learned, operator.program, geometry)
            y_BCRW = kernels.recorded(x_BCRW, learned, None, run)
        else:
            y_BCRW = kernels.pooled(x_BCRW, upcast(learned).unsqueeze(0), None, operator.program, geometry)
        if rows == 1 or height % places == 0:
            return y_BCRW.flatten(2), None
        places_R = (height - places * torch.arange(rows, device=x_BCRW.device)).clamp(max=places)
        share_RW = (places_R.to(learned.dtype) / (height * width)).unsqueeze(-1).expand(rows, width)
        return y_BCRW.flatten(2), share_RW.flatten()

    def _arranged(self, x_BCHW: Tensor) -> tuple[Tensor, TapPool2d]:
        """Return the map in rows or in one column, a view where that can be, and what takes its windows."""
        places = x_BCHW.shape[2] * x_BCHW.shape[3]
        channels_last = is_channels_last(x_BCHW)
        if places % PLACES_OF_ROWS == 0 and not (channels_last and self.of_rows.has_sums):
            return x_BCHW.flatten(2).unflatten(2, (PLACES_OF_ROWS, places // PLACES_OF_ROWS)), self.of_rows
        if channels_last:
            return x_BCHW.view(*x_BCHW.shape[:2], places, 1), self.of_column
        return x_BCHW, self.of_rows


def _is_small(x_BCHW: Tensor) -> bool:
    """Return whether torch's own operations are faster for a map of this size."""
    height, places = x_BCHW.shape[2], x_BCHW.shape[2] * x_BCHW.shape[3]
    if is_channels_last(x_BCHW):
        return x_BCHW.numel() < LEAST_VALUES or places < LEAST_PLACES
    half_empty = places % PLACES_OF_ROWS > 0 and height < PLACES_OF_ROWS // 2
    return x_BCHW.numel() < LEAST_VALUES or places < LEAST_PLACES_CONTIGUOUS or half_empty


def _are_many(y_BC1M: Tensor) -> bool:
    """Return whether a kernel takes results of windows faster than torch does, where all count alike."""
    if is_channels_last(y_BC1M):
        return y_BC1M.shape[-1] > 1
    return y_BC1M.shape[-1] % PLACES_OF_ROWS == 0 and not _is_small(y_BC1M)
