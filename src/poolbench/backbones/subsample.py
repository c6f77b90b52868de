"""Every s-th row and column: how a shortcut without parameters reduces resolution."""

from torch import Tensor, nn


class Subsample1d(nn.Module):
    """Keep the first value of every stretch of `stride`: (B, C, L) → (B, C, ⌈L/s⌉)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCL: Tensor) -> Tensor:
        """Subsample the map."""
        return x_BCL[..., :: self.stride]

    def extra_repr(self) -> str:
        """Show the stride."""
        return f"stride={self.stride}"


class Subsample2d(nn.Module):
    """Keep the first value of every stride x stride block: (B, C, H, W) → (B, C, ⌈H/s⌉, ⌈W/s⌉)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Subsample the map."""
        return x_BCHW[..., :: self.stride, :: self.stride]

    def extra_repr(self) -> str:
        """Show the stride."""
        return f"stride={self.stride}"


SUBSAMPLES = (Subsample2d, Subsample1d)
# What reduces sequences (C, L).
ONE_DIMENSIONAL = (nn.MaxPool1d, nn.AvgPool1d, nn.Conv1d, Subsample1d)
