"""The rows that a kernel of sums keeps beside it while it goes over a map."""

from dataclasses import dataclass

from poolbench.kernels.cpu.spec import KernelSpec
from poolbench.kernels.sums import Sums

# Numbers of a vector (of float64 it has half as many); a row's length is a multiple of it.
WHOLE = 16


@dataclass(frozen=True)
class Buffers:
    """Which rows there are, and how long they are.

    A map's row stands in a ring: `spec.ring` of them are held, so that a window's rows are there together.

    Args:
        sums: the formula.
        spec: what the kernel is made for.
        params: learned parameters.
    """

    sums: Sums
    spec: KernelSpec
    params: int

    def places(self) -> dict[str, int]:
        """Return the first row of each buffer; `end` is how many rows there are.

        `summand`, `kept` and `cotangent` are rings, one behind the other for each sum (or what is kept). `column` holds
        sums along columns and `column_cotangent` their cotangents, a row for each sum; it stands for `cotangent` where
        no row belongs to two windows. `zeros` stands for rows outside the map, `outside` takes what they get. `param`
        holds the gradients of a unit's parameters, `per_channel` what depends on these alone.

        Vectors of windows may begin up to a step before `left`, in the end of the row before: `column` must not be
        the first. What is added there, and to `outside`, is never read.
        """
        sums, derivative = self.sums, self.spec.derivative
        sizes = {
            "summand": sums.count * self.spec.ring,
            "kept": sums.kept * self.spec.ring * derivative,
            "cotangent": sums.count * self.spec.ring * derivative * (not self.spec.rows_apart),
            "column": sums.count,
            "column_cotangent": sums.count * derivative,
            "zeros": 1,
            "outside": int(derivative),
            "param": self.params * derivative * (not self.spec.shared),
            "per_channel": len(sums.per_channel.outputs) * self.spec.channels_last,
        }
        found, at = {}, 0
        for name, rows in sizes.items():
            found[name] = at
            at += rows
        return found | {"end": at}

    def left(self) -> int:
        """Return the places of a row before the map's: at least the padding, and whole vectors if contiguous."""
        padding = self.spec.padding[1]
        return padding if self.spec.channels_last else -(-padding // WHOLE) * WHOLE

    def pitch(self, width: int, columns: int, across: int) -> int:
        """Return how many numbers a row has.

        Args:
            width: of the map.
            columns: of windows.
            across: numbers of a pixel: channels, or 1 where contiguous.
        """
        spec = self.spec
        slack = 0 if spec.channels_last else spec.lanes
        last = (columns + slack) * spec.stride[1] + (spec.kernel_size[1] - 1) * spec.dilation[1]
        pixels = self.left() + max(width, last) + slack
        return -(-pixels * across // WHOLE) * WHOLE
