"""A kernel of sums: what is summed is computed once for each value, just before the first window needs it.

Sums are taken along columns first, then along rows. In the derivative the cotangent of a sum goes the same way back:
along rows, then columns, and a value is finished after the last window that has it. A row is kept as one vector behind
the other, with zeros before and after it, so that windows at a border need only the number of their values.

Where a value does not fit (see `Summands`), the unit is done again, by the formula itself.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from poolbench.kernels.cpu.buffers import WHOLE, Buffers
from poolbench.kernels.cpu.lower import I1, I64, Code, Lanes
from poolbench.kernels.cpu.spec import KernelSpec
from poolbench.kernels.cpu.unit import Unit, Value
from poolbench.kernels.cpu.windows import Line, WindowWriter
from poolbench.kernels.cpu.writer import Front
from poolbench.kernels.geometry import CACHE_LINE
from poolbench.kernels.program import Program
from poolbench.kernels.sums import Sums


class SumsWriter(WindowWriter):
    """Writes a kernel of sums, which falls back to one of windows."""

    def __init__(self, program: Program, spec: KernelSpec, function: ir.Function) -> None:
        super().__init__(program, spec, function)
        assert program.sums is not None
        self.sums: Sums = program.sums
        self.buffers = Buffers(self.sums, spec, program.params)
        self.first_row = self.buffers.places()
        whole = 8 if spec.dtype == "float64" else WHOLE
        # Values of a row at a time: of neighbouring channels, or of neighbouring columns.
        count = spec.lanes if spec.channels_last else whole
        self.cells = Lanes(self.b, spec.dtype, count, bounded=True, tables=spec.tables)
        # What is summed of one value has no products that must cancel. A coarse logarithm of a bfloat16 adds
        # nothing to its rounding: it is multiplied by p, by which the sum's logarithm is divided.
        coarse = spec.dtype == "bfloat16"
        self.fused = Lanes(self.b, spec.dtype, count, bounded=True, fused=True, tables=spec.tables, coarse=coarse)

    def unit(self, unit: Code) -> None:
        """Do one unit's work: by sums, and again by the formula if a value did not fit."""
        fits = _Sums(self, unit).work()
        with self.b.if_then(self.b.not_(fits)):
            scratch = self.scratch
            behind = self.b.mul(self.pitch, self.i(self.first_row["end"]))
            self.scratch = self.at(scratch, behind, self.lanes.number)
            super().unit(unit)
            self.scratch = scratch


class _Sums(Unit):
    """Writes what is done for one unit."""

    def work(self) -> Code:
        """Write everything; return whether all values fit."""
        b, w, spec = self.b, self.writer, self.spec
        self.clear_params()
        self.compute_per_channel()
        if spec.derivative:
            self.clear_first_rows()
        with w.loop(w.i(0), w.rows) as row:
            self.row_of_windows(row)
        if spec.derivative:
            last = b.mul(b.sub(w.rows, w.i(1)), w.i(spec.stride[0]))
            end = w.clamped(b.add(last, w.i(spec.reach[0] - spec.padding[0])), w.height)
            self.each_value((end, w.height), (w.i(0), w.width), lambda _: self.nothing)
        every = b.load(self.all_fit, typ=self.cells.vector(I1))
        fits = self.cells.intrinsic(f"llvm.vector.reduce.and.v{self.cells.count}i1", I1, [every])
        if spec.derivative:
            with b.if_then(fits):
                self.commit_params()
        return fits

    def row_of_windows(self, row: Code) -> None:
        """Write what is done for a row of windows.

        Where channels lie side by side, it is gone through column by column: what was computed of a value is still in
        the nearest cache when the first of its windows asks for it.
        """
        b, w, spec = self.b, self.writer, self.spec
        first = b.sub(b.mul(row, w.i(spec.stride[0])), w.i(spec.padding[0]))
        stop, next_first = b.add(first, w.i(spec.reach[0])), b.add(first, w.i(spec.stride[0]))
        is_first, is_last = b.icmp_signed("==", row, w.i(0)), b.icmp_signed("==", row, b.sub(w.rows, w.i(1)))
        # The rows that no window had before, and those that none will have.
        new = b.select(is_first, w.i(0), b.sub(stop, w.i(spec.stride[0])))
        old = b.select(is_last, stop, next_first)
        self.coming = w.clamped(new, w.height), w.clamped(stop, w.height)
        self.going = w.clamped(first, w.height), w.clamped(old, w.height)
        self.rows = [b.add(first, w.i(i * spec.dilation[0])) for i in range(spec.kernel_size[0])]
        self.rows_ok = [w.inside(at, w.height) for at in self.rows]
        if not spec.channels_last:
            self.before_windows(w.i(0), w.width)
            self.windows_by_column(row)
            if spec.derivative:
                self.after_windows(w.i(0), w.width)
            return
        before, after = Front(w, w.width, self.before_windows), Front(w, w.width, self.after_windows)
        if spec.derivative:
            self.clear_first_columns()
        with w.loop(w.i(0), w.columns) as column:
            first = b.sub(b.mul(column, w.i(spec.stride[1])), w.i(spec.padding[1]))
            before.up_to(b.add(first, w.i(spec.reach[1])))
            self.windows_by_channel(row, column)
            if spec.derivative:
                after.up_to(b.add(first, w.i(min(spec.stride[1], spec.reach[1]))))
        if spec.derivative:
            before.up_to(w.width)
            after.up_to(w.width)

    def before_windows(self, *columns: Code) -> None:
        """Prepare columns, before the first window that has them."""
        self.prepare(columns)
        self.sum_columns(columns)

    def after_windows(self, *columns: Code) -> None:
        """Finish columns, after the last window that has them."""
        if not self.spec.rows_apart:
            self.share_columns(columns)
        self.finish(columns)
        if self.spec.rows_apart and not self.new_columns:
            first, after = (self.b.mul(at, self.across) for at in columns)
            for at in range(self.writer.sums.count):
                self.clear(self.row_of("column_cotangent", at), self.b.add(self.left, first), self.b.sub(after, first))

    # ---- one value ----

    def value_inputs(self, value: "Value", *, ahead: bool) -> dict[str, Any]:
        """Return the inputs of a value's tape; `ahead` asks for memory that is read soon."""
        w, cells = self.writer, self.cells

        def tap(_: int) -> Code:
            place = w.at(w.x, value.at, cells.stored)
            if ahead:
                w.prefetch(place, value.ahead, level=2 if self.spec.channels_last else 1)
            return cells.widen(cells.load(place, cells.stored, mask=value.mask))

        return {"tap": tap, **self.of_channel(value.channel, cells)}

    def prepare(self, columns: tuple[Code, Code]) -> None:
        """Compute what is summed of values, and what is kept of them."""
        sums = self.writer.sums
        names = [("summand", at) for at in range(sums.count)] + [("kept", at) for at in range(sums.kept)]

        def of_row(row: Code) -> Callable[[Value], None]:
            # What is kept comes last, and only the derivative has a place for it.
            held = names if self.spec.derivative else names[: sums.count]
            places = [self.row_of(*name, row) for name in held]

            def write(value: Value) -> None:
                b, cells = self.b, self.cells
                found = list(self.writer.fused.each(sums.summands, self.value_inputs(value, ahead=True)))
                fits = found.pop(sums.count)
                if value.mask is not None:
                    fits = b.or_(fits, b.not_(value.mask))
                b.store(b.and_(b.load(self.all_fit, typ=cells.vector(I1)), fits), self.all_fit)
                for place, each in zip(places, found, strict=False):
                    cells.store(each, self.number(place, value.cell), value.mask)

            return write

        self.each_value(self.coming, columns, of_row)

    def clear_first_rows(self) -> None:
        """Let the cotangents of rows begin at zero that the first windows do not begin."""
        left = self.spec.kernel_size[0] - self.new_rows - self.spec.padding[0] if self.new_rows else 0
        for row in range(left if not self.spec.rows_apart else 0):
            for at in range(self.writer.sums.count):
                self.clear(self.row_of("cotangent", at, self.writer.i(row)), self.left, self.numbers)

    def clear_first_columns(self) -> None:
        """Let the cotangents of columns begin at zero that the first window does not begin."""
        left = self.spec.kernel_size[1] - self.new_columns if self.new_columns else 0
        for at in range(self.writer.sums.count if left else 0):
            self.clear(
                self.row_of("column_cotangent", at), self.writer.i(0), self.b.mul(self.writer.i(left), self.across)
            )

    def finish(self, columns: tuple[Code, Code]) -> None:
        """Compute the gradient of values from the cotangents of all their windows."""
        sums = self.writer.sums

        def of_row(row: Code) -> Callable[[Value], None]:
            cotangents = [
                self.row_of("column_cotangent", at) if self.spec.rows_apart else self.row_of("cotangent", at, row)
                for at in range(sums.count)
            ]
            summands = [self.row_of("summand", at, row) for at in range(sums.count)]
            kept = [self.row_of("kept", at, row) for at in range(sums.kept)]

            def write(value: Value) -> None:
                b, cells = self.b, self.cells
                loaded = [self.load(cotangent, value.cell) for cotangent in cotangents]
                for cotangent in cotangents if not self.new_rows else []:
                    cells.store(cells.const(0.0), self.number(cotangent, value.cell))
                inputs = {
                    **self.value_inputs(value, ahead=False),
                    "cotangent": lambda at: loaded[at],
                    "summand": lambda at: self.load(summands[at], value.cell),
                    "kept": lambda at: self.load(kept[at], value.cell),
                }
                gradient, *parts = cells.each(sums.derivative, inputs)
                self.put(cells.narrow(gradient), value)
                for which, part in enumerate(parts):
                    if value.mask is not None:
                        part = b.select(value.mask, part, cells.const(0.0))
                    self.add_param(which, part, value.channel)

            return write

        self.each_value(self.going, columns, of_row)

    def put(self, gradient: Code, value: "Value") -> None:
        """Write the gradient of a vector of values, past the caches where the kernel is to."""
        w, cells = self.writer, self.cells
        place = w.at(w.out, value.at, cells.stored)
        if self.spec.streaming and value.mask is None and cells.count * w.size % CACHE_LINE == 0:
            cells.stream(gradient, place)
        else:
            w.prefetch(place, write=True)
            cells.store(gradient, place, value.mask)

    def nothing(self, value: "Value") -> None:
        """Write that a vector of values gets no gradient."""
        self.put(ir.Constant(self.cells.vector(self.cells.stored), None), value)

    # ---- one row of windows ----

    def sum_columns(self, columns: tuple[Code, Code]) -> None:
        """Sum columns over the windows' rows."""
        b, count = self.b, self.writer.sums.count
        zeros = self.row_of("zeros", 0)
        sources = [
            [
                b.select(ok, self.row_of("summand", at, row), zeros)
                for row, ok in zip(self.rows, self.rows_ok, strict=True)
            ]
            for at in range(count)
        ]
        targets = [self.row_of("column", at) for at in range(count)]

        def write(at: Code) -> None:
            for places, target in zip(sources, targets, strict=True):
                total = self.load(places[0], at)
                for place in places[1:]:
                    total = b.fadd(total, self.load(place, at))
                self.cells.store(total, self.number(target, at))

        self.each_vector(columns, write)

    def share_columns(self, columns: tuple[Code, Code]) -> None:
        """Add the cotangents of columns to those of the windows' rows."""
        b, cells, count = self.b, self.cells, self.writer.sums.count
        outside = self.row_of("outside", 0)
        targets = [
            [
                b.select(ok, self.row_of("cotangent", at, row), outside)
                for row, ok in zip(self.rows, self.rows_ok, strict=True)
            ]
            for at in range(count)
        ]
        sources = [self.row_of("column_cotangent", at) for at in range(count)]

        def write(at: Code) -> None:
            for places, source in zip(targets, sources, strict=True):
                cotangent = self.load(source, at)
                if not (self.new_columns and self.new_rows):
                    cells.store(cells.const(0.0), self.number(source, at))
                for left, place in zip(range(len(places), 0, -1), places, strict=True):
                    new = left <= self.new_rows
                    cells.store(cotangent if new else b.fadd(self.load(place, at), cotangent), self.number(place, at))

        self.each_vector(columns, write)

    def tape(self, masked: bool) -> Any:
        """Return what is done with a window's sums."""
        sums = self.writer.sums
        if self.spec.derivative:
            return sums.cotangents_at_border if masked else sums.cotangents
        return sums.result_at_border if masked else sums.result

    def windows_by_channel(self, row: Code, column: Code) -> None:
        """Write the windows of a place."""
        b, w, spec, lanes, count = self.b, self.writer, self.spec, self.lanes, self.writer.sums.count
        columns, column_cotangents = (
            [self.row_of(n, at) for at in range(count)] for n in ("column", "column_cotangent")
        )
        _, columns_ok = w.along(1, column, w.width)
        window = b.add(b.mul(b.add(b.mul(self.image, w.rows), row), w.columns), column)
        first = b.mul(column, w.i(spec.stride[1]))
        steps = [b.mul(b.add(first, w.i(j * spec.dilation[1])), self.across) for j in range(spec.kernel_size[1])]

        def write(masked: bool) -> None:
            values = b.mul(w.counted(self.rows_ok, I64), w.counted(columns_ok, I64)) if masked else None
            with w.loop(self.start, self.stop, spec.lanes) as channel:
                places = [b.add(step, b.sub(channel, self.start)) for step in steps]

                def summed(at: int) -> Code:
                    total = self.load(columns[at], places[0])
                    for place in places[1:]:
                        total = b.fadd(total, self.load(columns[at], place))
                    return total

                inputs = {
                    "sum": summed,
                    **self.of_channel(channel, lanes),
                    "count": lambda _: lanes.splat(b.sitofp(values, lanes.number)),
                }
                out = b.add(b.mul(window, w.channels), channel)
                if not spec.derivative:
                    (result,) = lanes.each(self.tape(masked), inputs)
                    lanes.store(lanes.narrow(result), w.at(w.out, out, lanes.stored))
                    return
                gradient = lanes.widen(lanes.load(w.at(w.gradient, out, lanes.stored), lanes.stored))
                parts = list(lanes.each(self.tape(masked), {**inputs, "gradient": lambda _: gradient}))
                for cotangent, target in zip(parts[:count], column_cotangents, strict=True):
                    for left, place in zip(range(len(places), 0, -1), places, strict=True):
                        if left <= self.new_columns:
                            lanes.store(cotangent, self.number(target, place))
                        else:
                            w.add_to(self.number(target, place), cotangent)
                for which, part in enumerate(parts[count:]):
                    self.add_param(which, part, channel)

        w.whole_or_not(w.all_of(self.rows_ok + columns_ok) if spec.masked else None, write)

    def windows_by_column(self, row: Code) -> None:
        """Write the windows of a row."""
        b, w, spec, lanes, count = self.b, self.writer, self.spec, self.lanes, self.writer.sums.count
        columns, column_cotangents = (
            [self.row_of(n, at) for at in range(count)] for n in ("column", "column_cotangent")
        )
        rows_ok = self.rows_ok if spec.masked else []
        with w.loop(w.i(0), w.columns, spec.lanes) as column:
            window = b.add(b.mul(b.add(b.mul(self.unit, w.rows), row), w.columns), column)
            first = b.mul(column, w.i(spec.stride[1]))

            def write(masked: bool) -> None:
                line = Line(w, masked, column, first, rows_ok)
                inputs = {
                    "sum": lambda at: self.sum_along(columns[at], first),
                    **self.of_channel(self.channel, lanes),
                    "count": lambda _: line.count(),
                }
                if not spec.derivative:
                    (result,) = lanes.each(self.tape(masked), inputs)
                    lanes.store(lanes.narrow(result), w.at(w.out, window, lanes.stored), line.active)
                    return
                place = w.at(w.gradient, window, lanes.stored)
                gradient = lanes.widen(lanes.load(place, lanes.stored, mask=line.active))
                parts = list(lanes.each(self.tape(masked), {**inputs, "gradient": lambda _: gradient}))
                if line.active is not None:
                    parts = [b.select(line.active, part, lanes.const(0.0)) for part in parts]
                for cotangent, target in zip(parts[:count], column_cotangents, strict=True):
                    self.cotangent_along(target, first, cotangent)
                for which, part in enumerate(parts[count:]):
                    self.add_param(which, part, self.channel)

            w.whole_or_not(w.is_whole(column, first, rows_ok), write)

    def along(self, first: Code) -> list[tuple[Code, dict[int, int]]]:
        """Return where in a row the wide vectors of a vector of windows begin, and their columns by phase."""
        b, w = self.b, self.writer
        return [(b.add(b.add(self.left, first), w.i(start)), group) for start, group in self.spec.groups().items()]

    def sum_along(self, row: Code, first: Code) -> Code:
        """Return the sums of a vector of windows from those of columns."""
        b, lanes, stride = self.b, self.lanes, self.spec.stride[1]
        total = None
        for start, group in self.along(first):
            wide = lanes.load(self.number(row, start), lanes.number, lanes.count * stride)
            for phase in group:
                each = self.writer.every(wide, phase)
                total = each if total is None else b.fadd(total, each)
        return total

    def cotangent_along(self, row: Code, first: Code, cotangent: Code) -> None:
        """Add the cotangents of a vector of windows to those of columns."""
        b, lanes = self.b, self.lanes
        for start, group in self.along(first):
            wide = self.writer.interleaved(dict.fromkeys(group, cotangent))
            place = self.number(row, start)
            lanes.store(b.fadd(lanes.load(place, lanes.number, wide.type.count), wide), place)
