"""One map for each class, pooled straight to the logits."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from poolbench.pooling.bases.arguments import whole_number
from poolbench.pooling.bases.head import HeadPool1d, HeadPool2d
from poolbench.pooling.bases.window import WindowPool2d
from poolbench.pooling.bases.work import of_convolution
from poolbench.pooling.shared.convolution import convolved


class ClassMaps(HeadPool2d):
    """A 1x1 convolution to one map for each class, then a head that keeps the width: the logits.

    No classifier follows; the convolution's parameters count as the pooling's own.

    Args:
        channels: number of channels of the last map.
        num_classes: number of classes.
        pool: the head that pools the class maps, (B, num_classes, H, W) → (B, num_classes).
        implementation: see `HeadPool2d`; `"torch"` holds of `pool`, too.

    Raises:
        ValueError: an argument breaks its rule, or `pool` does not keep the width (found at the first forward).

    Source: Lin, Chen and Yan, Network In Network (2014), section 3.2, with global average pooling.
    """

    gives_logits: ClassVar[bool] = True
    keeps_constants = False

    def __init__(self, channels: int, num_classes: int, pool: nn.Module, *, implementation: str = "fast") -> None:
        super().__init__(implementation=implementation)
        counts = whole_number("channels", channels), whole_number("num_classes", num_classes)
        if not isinstance(pool, nn.Module):
            raise ValueError(f"`pool` must be a module or a specification of one, got {pool!r}")
        self.conv = nn.Conv2d(*counts, kernel_size=1)
        self.pool = pool
        if implementation == "torch":
            for part in pool.modules():
                if isinstance(part, HeadPool2d | WindowPool2d):
                    part.implementation = implementation
        self.permutes = getattr(pool, "permutes", False)
        self.onnx = getattr(pool, "onnx", None)

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, num_classes)."""
        maps = convolved(self.conv, x_BCHW)
        logits_BN: Tensor = self.pool(maps if self.spatial == 2 else maps.squeeze(-2))
        if logits_BN.shape[1:] != (self.conv.out_channels,):
            raise ValueError(
                f"`pool` must keep the width, {self.conv.out_channels} class maps to as many logits, "
                f"got {tuple(logits_BN.shape[1:])} from {type(self.pool).__name__}"
            )
        return logits_BN

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes the class maps' pooling; the convolution is torch's."""
        look: Any = getattr(self.pool, "implementation_for", None)
        if self.implementation == "torch" or look is None:
            return super().implementation_for(x_BCHW)
        maps = x_BCHW[:, :1].expand(-1, self.conv.out_channels, -1, -1)
        ran, why = look(maps if self.spatial == 2 else maps.squeeze(-2))
        return ran, why

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return 2C + 1 for each value of a class map, and the operations of the head that pools them.

        Raises:
            ValueError: that head has no `work`.
        """
        work: Any = getattr(self.pool, "work", None)
        if work is None:
            raise ValueError(f"`pool` must have `work` for this head to have it, got {type(self.pool).__name__}")
        classes = self.conv.out_channels
        maps = of_convolution(channels, classes * height * width, bias=True)
        return maps + int(work((classes, height, width) if self.spatial == 2 else (classes, width)).operations)

    def remark(self, map_size: Sequence[int]) -> str:
        """Return what the head that pools the class maps says."""
        remark: Any = getattr(self.pool, "remark", None)
        return "" if remark is None else str(remark(map_size))

    def features_of(self, channels: int) -> int:
        """Return the number of classes."""
        return self.conv.out_channels


class ClassMaps1d(HeadPool1d, ClassMaps):
    """The same of sequences (B, C, L): `pool` is one-dimensional, too."""
