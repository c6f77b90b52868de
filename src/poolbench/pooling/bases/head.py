"""What every head shares."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from poolbench.pooling.bases.arguments import IMPLEMENTATIONS_OF_HEADS, checked_implementation
from poolbench.pooling.bases.maps import MapModule
from poolbench.pooling.bases.work import Work, checked_shape, work_of


class HeadPool2d(MapModule):
    """A pooling of the whole last map (B, C, H, W) → (B, F); a subclass brings `pool_map` and `operations_on`.

    If F is not C, it also defines `features_of`; if a map's size needs a remark in the audit, `remark`.

    Args:
        implementation: `"fast"` takes a compiled kernel where there is one for the head and the dtype, on the CPU;
            `"torch"` never does. `implementation_for` says which it is for a given map.

    A map without a batch dimension, (C, H, W), gives (F). Maps are float16, bfloat16, float32 or float64. Integers and
    booleans are accepted, and stay exact, if every feature is one of the map's values (the largest of the map or of a
    cell); otherwise they are an error, as complex numbers always are: convert them first, `x.float()`.

    Most heads have no kernel: they read only the last map, which takes a small part of a network's time.

    Raises:
        ValueError: `implementation` is neither.

    `gives_logits` means that F is the number of classes and that no classifier follows.

    Further attributes declare properties of the head, which the tests check: `keeps_constants` (if the whole map has
    one value, each feature has it, too), `permutes` (permuting the positions of the map changes nothing), `domain` (the
    values that the formula is for: `"real"`, `"nonnegative"` or `"positive"`) and `onnx` (why it cannot be exported to
    ONNX; None if it can). If they depend on arguments, a head sets its own in `__init__`.
    """

    kind: ClassVar[str] = "head"
    gives_logits: ClassVar[bool] = False
    keeps_constants: bool = True
    permutes: bool = True
    domain: str = "real"
    onnx: str | None = None

    def __init__(self, *, implementation: str = "fast") -> None:
        super().__init__()
        self.implementation = checked_implementation(implementation, IMPLEMENTATIONS_OF_HEADS)

    def of_batch(self, x: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, F)."""
        return self.pool_map(x)

    def pool_map(self, x_BCHW: Tensor) -> Tensor:
        """Pool (B, C, H, W) → (B, F): what a subclass brings."""
        raise NotImplementedError(f"{type(self).__name__} must define `pool_map`")

    def implementation_for(self, x_BCHW: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        return "torch", "implementation=torch" if self.implementation == "torch" else "the operator has no kernel"

    def work(self, input_shape: Sequence[int], itemsize: int = 4) -> Work:
        """Return what one example costs in evaluation, as `poolbench.pooling.bases.work` counts.

        Args:
            input_shape: of the map without its batch, (C, H, W); (C, L) for a one-dimensional head.
            itemsize: bytes of a value, 4 for float32.

        Raises:
            ValueError: an argument breaks its rule.
        """
        channels, *sizes = checked_shape(input_shape, "C, H, W" if self.spatial == 2 else "C, L")
        height, width = (1, *sizes)[-2:]
        return work_of(
            self,
            self.operations_on(channels, height, width),
            values_in=channels * height * width,
            values_out=self.features_of(channels),
            itemsize=itemsize,
        )

    def remark(self, map_size: Sequence[int]) -> str:
        """Return what the audit should say of this head on a map of (H, W); empty where there is nothing to say."""
        return ""

    def operations_on(self, channels: int, height: int, width: int) -> int:
        """Return the operations of one image: what a subclass brings for `work`."""
        raise NotImplementedError(f"{type(self).__name__} must define `operations_on` to have `work`")

    def features_of(self, channels: int) -> int:
        """Return how many features a map of so many channels has."""
        return channels


class HeadPool1d(HeadPool2d):
    """A head for sequences (B, C, L) → (B, F): the same definition, on maps of one row.

    Put first among the bases: `class GAMPPool1d(HeadPool1d, GAMPPool2d)`.
    """

    spatial: ClassVar[int] = 1

    def of_batch(self, x: Tensor) -> Tensor:
        """Pool (B, C, L) → (B, F)."""
        return self.pool_map(x.unsqueeze(-2))

    def implementation_for(self, x: Tensor) -> tuple[str, str]:
        """Return what computes this map, `"fast"` or `"torch"`, and for the latter why."""
        return super().implementation_for(x.unsqueeze(-2) if x.ndim == 3 else x)

    def remark(self, map_size: Sequence[int]) -> str:
        """Return what the audit should say of this head on a map of (L,); empty where there is nothing to say."""
        return super().remark((1, *map_size)[-2:])
