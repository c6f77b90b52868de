"""A kernel that runs a formula on one window after the other, in memory order, a vector of results at a time.

In the channels-last layout a vector is that of neighbouring channels of one window. In the contiguous one it is that
of neighbouring windows of a row: their values lie `stride` apart, so a wider vector is loaded and taken apart. Windows
that lie wholly inside the map, most of them, run code that asks nothing; the others run code with a condition for each
value.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from poolbench.kernels.cpu.line import Line, phases
from poolbench.kernels.cpu.lower import I32, I64, Code
from poolbench.kernels.cpu.writer import AHEAD, Front, Writer
from poolbench.kernels.geometry import CACHE_LINE


class WindowWriter(Writer):
    """Writes a kernel of windows."""

    def unit(self, unit: Code) -> None:
        """Do one unit's work."""
        (self.channels_last if self.spec.channels_last else self.contiguous)(unit)

    def tape(self, masked: bool) -> Any:
        """Return what is done with one window."""
        program = self.program
        if self.spec.derivative:
            return program.derivative_at_border if masked else program.derivative
        return program.value_at_border if masked else program.value

    # ---- channels last: a vector of channels ----

    def channels_last(self, unit: Code) -> None:
        """Do an image's block of channels."""
        b, spec, lanes = self.b, self.spec, self.lanes
        image, first, last = self.block(unit)
        across = b.sub(last, first)
        origin = b.mul(image, b.mul(self.height, self.width))
        zero = ir.Constant(lanes.vector(self.sum_kind), None)

        @contextmanager
        def values(start: Code, stop: Code) -> Iterator[tuple[Code, Code]]:
            with self.loop(start, stop) as row:
                pixels, summed = b.add(origin, b.mul(row, self.width)), summed_row(row)
                with self.loop(self.i(0), self.width) as column, self.loop(first, last, spec.lanes) as channel:
                    place = self.at(summed, b.add(b.mul(column, across), b.sub(channel, first)), lanes.number)
                    yield b.add(b.mul(b.add(pixels, column), self.channels), channel), place

        def clear(start: Code, stop: Code) -> None:
            with values(start, stop) as (at, _):
                lanes.store(zero, self.at(self.out, at, self.sum_kind))

        def finish(start: Code, stop: Code) -> None:
            with values(start, stop) as (at, place):
                self.write_out(lanes.load(place, lanes.number), self.at(self.out, at, lanes.stored))
                lanes.store(zero, place)  # for the row that takes this place next

        def summed_row(row: Code) -> Code:
            """Return where the gradients of a row of the map are summed: one place after the other, over and over."""
            at = b.mul(b.and_(row, self.i(spec.ring - 1)), self.width)
            return self.at(self.scratch, b.mul(at, across), lanes.number)

        # A row is cleared just before the first window needs it or finished just after the last: still in the cache.
        sums = self.param_accumulators() if spec.shared else []
        cleared = finished = None
        if spec.accumulates_apart:
            finished = Front(self, self.height, finish)
        elif spec.derivative:
            cleared = Front(self, self.height, clear)
        with self.loop(self.i(0), self.rows) as row:
            rows, rows_ok = self.along(0, row, self.height)
            starts = [b.mul(b.mul(b.add(b.mul(image, self.height), at), self.width), self.channels) for at in rows]
            sources = [self.at(self.x, at, lanes.stored) for at in starts]
            if spec.accumulates_apart:
                targets = [self.at(summed_row(at), b.neg(first), self.sum_kind) for at in rows]
            else:
                targets = [self.at(self.out, at, lanes.stored) for at in starts]
            start = b.mul(row, self.i(spec.stride[0]))
            if cleared is not None:
                with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                    reach = max(spec.offsets(0)[-1] + 1, spec.stride[0] - spec.padding[0])
                    cleared.up_to(b.add(start, self.i(reach)))
            with self.loop(self.i(0), self.columns) as column:
                columns, columns_ok = self.along(1, column, self.width)
                ok = [b.and_(rows_ok[i], columns_ok[j]) for i, j in self.taps] if spec.masked else []
                count = b.mul(self.counted(rows_ok, I64), self.counted(columns_ok, I64)) if spec.masked else None
                place = b.add(b.mul(row, self.columns), column)
                window = b.mul(b.add(b.mul(image, b.mul(self.rows, self.columns)), place), self.channels)

                def write(masked: bool) -> None:
                    steps = columns if masked else self.steps(1, column)
                    read = [b.mul(at, self.channels) for at in steps]
                    ahead = [self.ahead(at) for at in steps]
                    put = [b.mul(at, across) for at in steps] if spec.accumulates_apart else read
                    with self.loop(first, last, spec.lanes) as channel:
                        inputs = self.channel_inputs(image, channel, place, sources, read, ahead)
                        if masked:
                            inputs["valid"] = lambda at: lanes.splat(ok[at])
                            inputs["count"] = lambda _: lanes.splat(b.sitofp(count, lanes.number))
                        out = b.add(window, channel)
                        if spec.derivative:
                            gradient = lanes.widen(lanes.load(self.at(self.gradient, out, lanes.stored), lanes.stored))
                            parts = lanes.each(self.tape(masked), {**inputs, "gradient": lambda _: gradient})
                            there = ok if masked else [None] * len(self.taps)
                            for (i, j), inside, part in zip(self.taps, there, parts, strict=False):
                                target = self.at(targets[i], b.add(put[j], channel), self.sum_kind)
                                self.spread(part, target, inside)
                            self.add_params(parts, channel, sums)
                        else:
                            (result,) = lanes.each(self.tape(masked), inputs)
                            lanes.store(lanes.narrow(result), self.at(self.out, out, lanes.stored))

                self.whole_or_not(self.all_of(rows_ok + columns_ok) if spec.masked else None, write)
            if finished is not None:
                finished.up_to(b.add(start, self.i(spec.stride[0] - spec.padding[0])))
        if cleared is not None:
            with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                cleared.up_to(self.height)
        if finished is not None:
            finished.up_to(self.height)
        for which, sum_ in enumerate(sums):
            self.add_to_param(which, first, lanes.load(sum_, lanes.number))

    def ahead(self, column: Code) -> Code:
        """Return how many bytes behind a value of this column lies one that is read some time later.

        Rows that windows have for the first time are read together, column by column: as many after them are next.
        """
        b = self.b
        pixel = b.mul(self.channels, self.i(self.size))
        row = b.mul(self.width, pixel)
        steps = self.clamped(self.i(AHEAD[2]), row)
        is_beyond = b.icmp_signed(">=", b.add(b.mul(column, pixel), steps), row)
        return b.select(is_beyond, b.add(steps, b.mul(self.i(self.spec.stride[0] - 1), row)), steps)

    def channel_inputs(
        self, image: Code, channel: Code, place: Code, sources: list[Code], read: list[Code], ahead: list[Code]
    ) -> dict[str, Any]:
        """Return the inputs of a window's tape, each for a vector of channels."""
        b, spec, lanes = self.b, self.spec, self.lanes

        def tap(at: int) -> Code:
            i, j = self.taps[at]
            taken = self.at(sources[i], b.add(read[j], channel), lanes.stored)
            # Once for each value that (without dilation) no window before has read.
            if i >= spec.kernel_size[0] - spec.stride[0] and j >= spec.kernel_size[1] - spec.stride[1]:
                self.prefetch(taken, ahead[j], level=2)
            return lanes.widen(lanes.load(taken, lanes.stored))

        def uniform(which: int) -> Code:
            # The place in the order (B, C, H', W'), whatever the layout.
            windows = b.mul(self.rows, self.columns)
            first = b.add(b.mul(b.add(b.mul(image, self.channels), channel), windows), place)
            steps = b.mul(lanes.steps(I32), lanes.splat(b.trunc(windows, I32)))
            return lanes.uniform(b.add(lanes.splat(b.trunc(first, I32)), steps), self.key_vector(which))

        return {"tap": tap, "param": lambda which: self.param(which, channel, lanes), "uniform": uniform}

    def key_vector(self, which: int) -> Code:
        """Return the key of random number `which`."""
        return self.lanes.splat(self.b.trunc(self.b.add(self.key, self.i(which)), I32))

    def spread(self, part: Code, target: Code, ok: Code | None) -> None:
        """Add or, where no other window has the value, write what a value of a window gets.

        What is outside the map stands for the nearest value inside: nothing is written there, and nothing is added.
        """
        if not self.spec.disjoint:
            if ok is not None:  # a formula may make anything of what is outside
                part = self.b.select(self.lanes.splat(ok), part, self.lanes.const(0.0))
            self.add_to(target, part)
        elif ok is None:
            self.write_out(part, target)
        else:
            with self.b.if_then(ok):
                self.write_out(part, target)

    def write_out(self, numbers: Code, place: Code) -> None:
        """Write results, past the caches where the kernel is to."""
        (self.lanes.stream if self.spec.streaming else self.lanes.store)(self.lanes.narrow(numbers), place)

    def param_accumulators(self) -> list[Code]:
        """Return a vector of zeros for each parameter, of whose gradients it becomes the sum."""
        return [self.accumulator(self.lanes) for _ in range(self.program.params)] if self.spec.derivative else []

    def add_params(self, parts: Iterable[Code], channel: Code, sums: list[Code]) -> None:
        """Add to the gradients of parameters: to their sums, where there are such."""
        for which, part in enumerate(parts):
            at = self.at(self.param_gradients, self.param_at(which, channel), self.lanes.number)
            self.add_to(sums[which] if sums else at, part)

    # ---- contiguous: a vector of windows in a row ----

    def contiguous(self, unit: Code) -> None:
        """Do one channel's map."""
        b, spec, lanes = self.b, self.spec, self.lanes
        channel = b.srem(unit, self.channels)
        pixels = b.mul(self.height, self.width)
        origin = b.mul(unit, pixels)
        summed, base = (self.scratch, self.i(0)) if spec.accumulates_apart else (self.out, origin)
        if spec.derivative:
            with b.if_then(b.icmp_signed("!=", self.zero_first, self.i(0))):
                self.clear(self.at(summed, base, self.sum_kind), pixels)
        sums = self.param_accumulators()
        with self.loop(self.i(0), self.rows) as row:
            rows, rows_ok = self.along(0, row, self.height)
            starts = [b.mul(at, self.width) for at in rows]
            with self.loop(self.i(0), self.columns, spec.lanes) as column:
                window = b.add(b.mul(b.add(b.mul(unit, self.rows), row), self.columns), column)
                first = b.mul(column, self.i(spec.stride[1]))

                def write(masked: bool) -> None:
                    line = Line(self, masked, column, first, rows_ok)
                    inputs = self.line_inputs(line, channel, window, origin, starts)
                    if not spec.derivative:
                        (result,) = lanes.each(self.tape(masked), inputs)
                        lanes.store(lanes.narrow(result), self.at(self.out, window, lanes.stored), line.active)
                        return
                    place = self.at(self.gradient, window, lanes.stored)
                    gradient = lanes.widen(lanes.load(place, lanes.stored, mask=line.active))
                    parts = lanes.each(self.tape(masked), {**inputs, "gradient": lambda _: gradient})
                    by_tap = dict(zip(self.taps, parts, strict=False))
                    self.spread_line(line, by_tap, summed, [b.add(base, at) for at in starts])
                    for sum_, part in zip(sums, parts, strict=True):
                        if line.active is not None:
                            part = b.select(line.active, part, lanes.const(0.0))
                        lanes.store(b.fadd(lanes.load(sum_, lanes.number), part), sum_)

                self.whole_or_not(self.is_whole(column, first, rows_ok), write)
        for which, sum_ in enumerate(sums):
            self.add_to_param(which, channel, lanes.load(sum_, lanes.number))
        if spec.accumulates_apart:
            with self.loop(self.i(0), pixels, spec.lanes) as pixel:
                mask = self.below(pixel, pixels)
                total = lanes.load(self.at(summed, pixel, lanes.number), lanes.number, mask=mask)
                lanes.store(lanes.narrow(total), self.at(self.out, b.add(origin, pixel), lanes.stored), mask)

    def is_whole(self, column: Code, first: Code, rows_ok: list[Code]) -> Code | None:
        """Whether a vector of windows lies inside the map, and so do the wide vectors that it is taken from."""
        b, spec = self.b, self.spec
        if not spec.masked:
            return None
        starts = list(spec.groups())
        wide = spec.lanes * spec.stride[1]
        return self.all_of(
            [
                *rows_ok,
                b.icmp_signed(">=", b.add(first, self.i(min(starts))), self.i(0)),
                b.icmp_signed("<=", b.add(first, self.i(max(starts) + wide)), self.width),
                b.icmp_signed("<=", b.add(column, self.i(spec.lanes)), self.columns),
            ]
        )

    def line_inputs(self, line: Line, channel: Code, window: Code, origin: Code, starts: list[Code]) -> dict[str, Any]:
        """Return the inputs of a window's tape, each for a vector of windows."""
        b, spec, lanes = self.b, self.spec, self.lanes
        stride = spec.stride[1]
        groups = spec.groups()
        group_of = {column: (start, phase) for start, g in groups.items() for phase, column in g.items()}
        wide: dict[tuple[int, int], Code] = {}

        def tap(at: int) -> Code:
            i, j = self.taps[at]
            start, phase = group_of[j]
            if (i, start) not in wide:
                place = b.add(b.add(origin, starts[i]), b.add(line.first, self.i(start)))
                taken = self.at(self.x, place, lanes.stored)
                # Once for each row that (without dilation) no window above has read.
                if start == max(groups) and i >= spec.kernel_size[0] - spec.stride[0]:
                    for part in range(0, spec.lanes * stride * self.size, CACHE_LINE):
                        self.prefetch(taken, self.i(AHEAD[1] + part))
                wide[i, start] = lanes.load(taken, lanes.stored, spec.lanes * stride, mask=line.inside(start))
            return lanes.widen(self.every(wide[i, start], phase))

        def uniform(which: int) -> Code:
            place = b.add(lanes.splat(b.trunc(window, I32)), lanes.steps(I32))
            return lanes.uniform(place, self.key_vector(which))

        return {
            "tap": tap,
            "valid": lambda at: line.valid(*self.taps[at]),
            "count": lambda _: line.count(),
            "param": lambda which: self.param(which, channel, lanes),
            "uniform": uniform,
        }

    def every(self, wide: Code, phase: int) -> Code:
        """Return every `stride`-th number of a wide vector, from number `phase` on."""
        lanes, stride = self.spec.lanes, self.spec.stride[1]
        if stride == 1:
            return wide
        chosen = ir.Constant(ir.VectorType(I32, lanes), [at * stride + phase for at in range(lanes)])
        return self.b.shuffle_vector(wide, ir.Constant(wide.type, ir.Undefined), chosen)

    def spread_line(self, line: Line, by_tap: dict[Any, Code], summed: Code, starts: list[Code]) -> None:
        """Add (or write) what the values of a vector of windows get, wide vector by wide vector."""
        b, spec, lanes = self.b, self.spec, self.lanes
        for i in range(spec.kernel_size[0]):

            def row(i: int = i) -> None:
                for start, group in spec.groups().items():
                    place = self.at(summed, b.add(starts[i], b.add(line.first, self.i(start))), self.sum_kind)
                    mask = line.belongs(start, group)
                    if mask is None and spec.disjoint and len(spec.groups()) > 1:
                        mask = phases(spec, group)  # the other numbers are another wide vector's
                    wide = self.interleaved({phase: by_tap[i, column] for phase, column in group.items()})
                    if spec.streaming and mask is None:
                        lanes.stream(lanes.narrow(wide), place)
                    elif spec.disjoint:
                        lanes.store(lanes.narrow(wide), place, mask)
                    else:
                        known = lanes.load(place, lanes.number, wide.type.count, mask)
                        lanes.store(b.fadd(known, wide), place, mask)

            if line.rows_ok:
                with b.if_then(line.rows_ok[i]):
                    row()
            else:
                row()

    def interleaved(self, parts: dict[int, Code]) -> Code:
        """Return the wide vector whose every `stride`-th number is a part's, by phase; zeros where no part is."""
        b, lanes, stride = self.b, self.lanes, self.spec.stride[1]
        if stride == 1:
            return parts[0]
        count = lanes.count * stride
        wide = lanes.const(0.0, count=count)
        for phase, part in parts.items():
            spread = ir.Constant(ir.VectorType(I32, count), [min(at, lanes.count) for at in range(count)])
            longer = b.shuffle_vector(part, lanes.const(0.0), spread)
            order = [count + at // stride if at % stride == phase else at for at in range(count)]
            wide = b.shuffle_vector(wide, longer, ir.Constant(ir.VectorType(I32, count), order))
        return wide
