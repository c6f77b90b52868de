"""A vector of neighbouring windows of a row, in a contiguous map."""

from llvmlite import ir

from poolbench.kernels.cpu.lower import I1, I32, Code
from poolbench.kernels.cpu.spec import KernelSpec
from poolbench.kernels.cpu.writer import Writer


def phases(spec: KernelSpec, group: dict[int, int]) -> Code:
    """Return which numbers of a wide vector are values of its windows."""
    stride = spec.stride[1]
    count = spec.lanes * stride
    return ir.Constant(ir.VectorType(I1, count), [int(at % stride in group) for at in range(count)])


class Line:
    """A vector of neighbouring windows of a row: which of them there are, and which of their values are inside."""

    def __init__(self, kernel: Writer, masked: bool, column: Code, first: Code, rows_ok: list[Code]) -> None:
        self.kernel, self.masked, self.column, self.first = kernel, masked, column, first
        self.rows_ok = rows_ok if masked else []
        self.active = kernel.below(column, kernel.columns) if masked else None
        self._columns_ok: dict[int, Code] = {}

    def inside(self, start: int) -> Code | None:
        """Return which numbers of a wide vector are in the row; None: all."""
        if not self.masked:
            return None
        kernel, count = self.kernel, self.kernel.spec.lanes * self.kernel.spec.stride[1]
        at = kernel.b.trunc(kernel.b.add(self.first, kernel.i(start)), I32)
        columns = kernel.b.add(kernel.lanes.splat(at, count), kernel.lanes.steps(I32, count))
        return kernel.inside(columns, kernel.lanes.splat(kernel.b.trunc(kernel.width, I32), count))

    def belongs(self, start: int, group: dict[int, int]) -> Code | None:
        """Return which numbers of a wide vector belong to a window that there is; None: all, or none that matters."""
        inside = self.inside(start)
        if inside is None:
            return None
        kernel, stride = self.kernel, self.kernel.spec.stride[1]
        count = kernel.spec.lanes * stride
        active = kernel.below(self.column, kernel.columns, count, stride)
        found = kernel.b.and_(inside, active)
        if len(group) == stride:
            return found
        return kernel.b.and_(found, phases(kernel.spec, group))

    def columns_ok(self, j: int) -> Code:
        """Return in which windows the value of this column is inside the map."""
        if j not in self._columns_ok:
            kernel, spec = self.kernel, self.kernel.spec
            b, lanes = kernel.b, kernel.lanes
            steps = ir.Constant(ir.VectorType(I32, spec.lanes), [at * spec.stride[1] for at in range(spec.lanes)])
            at = lanes.splat(b.trunc(b.add(self.first, kernel.i(spec.offsets(1)[j])), I32))
            self._columns_ok[j] = kernel.inside(b.add(at, steps), lanes.splat(b.trunc(kernel.width, I32)))
        return self._columns_ok[j]

    def valid(self, i: int, j: int) -> Code:
        """Return in which windows the value of this row and column is inside the map."""
        return self.kernel.b.and_(self.kernel.lanes.splat(self.rows_ok[i]), self.columns_ok(j))

    def count(self) -> Code:
        """Return how many values of each window are inside the map."""
        kernel = self.kernel
        b, lanes = kernel.b, kernel.lanes
        wide = kernel.counted([self.columns_ok(j) for j in range(kernel.spec.kernel_size[1])], lanes.vector(I32))
        rows = lanes.splat(kernel.counted(self.rows_ok, I32))
        return b.sitofp(b.mul(wide, rows), lanes.vector(lanes.number))
